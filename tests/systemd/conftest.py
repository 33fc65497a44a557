import subprocess
from pathlib import Path

import pytest

from tests.systemd.container import booted

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The .deb of this tree."""
    out = tmp_path_factory.mktemp("package")
    built = subprocess.run(
        [ROOT / "packaging/build-deb.sh", out], check=True, capture_output=True, text=True
    )
    return Path(built.stdout.strip())


@pytest.fixture(scope="module")
def machine(package, tmp_path_factory):
    """A booted container in which the package lies at /root/hbd.deb."""
    with booted(tmp_path_factory.mktemp("boot") / "console") as container:
        container.path("/root/hbd.deb").write_bytes(package.read_bytes())
        yield container
