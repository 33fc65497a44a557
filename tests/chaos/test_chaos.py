import subprocess
import sys
from pathlib import Path

import pytest

from tests.network import namespaces

ROOT = Path(__file__).parents[2]
PATIENCE = 240

pytestmark = pytest.mark.slow


def survives(*words):
    """Run it from a seed of its own, which a failure shows."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_chaos_around_the_process():
    """Whatever befalls the daemon, each change is told, once, and nothing else is."""
    survives("--minutes", "1.2")


@pytest.mark.systemd
def test_chaos_around_the_service():
    """So it is under systemd: restarts, upgrades, the watchdog, and journald's own troubles."""
    survives("--minutes", "0.8", "--container")
