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


@pytest.mark.parametrize("words", ["check etc/hbd.yaml", "check --help", "--version", "run --help"])
def test_a_closed_standard_output_is_no_fault(words):
    """Whoever starts us may have closed it: what is asked for is done all the same."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m hbd {words} >&-"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
