"""What all commands have in common."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["report", "--help"], ["keygen"]])
def test_a_full_disk_is_told(words):
    """Where nothing can be written that is said in one line, with a status of its own."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hbd", *words],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.stderr == "hbd: cannot write: No space left on device\n"
    assert done.returncode == os.EX_IOERR
