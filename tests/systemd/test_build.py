import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed"),
]


def test_the_same_sources_give_the_same_octets(package, tmp_path):
    """The package is reproducible."""
    subprocess.run([ROOT / "packaging/build-deb.sh", tmp_path], check=True, capture_output=True)
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_lintian_finds_no_errors(package):
    """lintian finds no errors."""
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--allow-root", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
