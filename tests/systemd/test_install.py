import subprocess
from pathlib import Path

import pytest

INSTALL = (Path(__file__).parents[2] / "packaging/install.sh").read_text()


@pytest.mark.root
def test_an_ordinary_user_is_told_about_sudo():
    """Without root the installer changes nothing and names sudo."""
    done = subprocess.run(
        ["runuser", "-u", "nobody", "--", "sh", "-s"],
        input=INSTALL, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1
    assert "sudo" in done.stderr


@pytest.mark.root
def test_another_distribution_is_told_what_is_needed(tmp_path):
    """Where there is no apt-get the installer says what hbd needs."""
    for tool in ("id", "dirname"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=INSTALL, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "systemd-python" in done.stderr
