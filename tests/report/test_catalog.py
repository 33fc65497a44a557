import shutil
import subprocess
from pathlib import Path

import pytest

from hbd.report.catalog import catalog
from hbd.report.kinds import KINDS

SHIPPED = Path(__file__).parents[2] / "packaging" / "hbd.catalog"


def test_shipped_catalog_is_the_generated_one():
    """packaging/hbd.catalog says what the table of kinds says."""
    assert SHIPPED.read_text(encoding="utf-8") == catalog()


@pytest.mark.skipif(not shutil.which("journalctl"), reason="needs journalctl")
def test_journalctl_takes_every_entry_of_the_catalog(tmp_path):
    """The real journalctl finds each message id in the compiled catalog."""
    (tmp_path / "usr/lib/systemd/catalog").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(SHIPPED, tmp_path / "usr/lib/systemd/catalog")
    command = ["journalctl", f"--root={tmp_path}"]
    subprocess.run([*command, "--update-catalog"], check=True, capture_output=True)
    done = subprocess.run([*command, "--list-catalog"], check=True, capture_output=True, text=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {
        text.message_id for text in KINDS.values()
    }
