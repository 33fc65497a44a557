import subprocess
import sys
from pathlib import Path

import pytest

from tests.network import namespaces
from tests.systemd.container import debian

ROOT = Path(__file__).parents[2]
PATIENCE = 240

pytestmark = pytest.mark.slow


def survives(*words):
    """Run it from the same seed each time; by hand from any."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed", "7", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_chaos_around_the_process():
    """Whatever befalls the daemon, each change is told, once, and nothing else is."""
    survives("--minutes", "1.2")


@pytest.mark.systemd
@pytest.mark.timeout(900)
def test_chaos_around_the_service():
    """So it is under systemd: restarts, upgrades, the watchdog, and journald's own troubles."""
    debian()  # made once: that takes longer than the run
    survives("--minutes", "0.8", "--container")
