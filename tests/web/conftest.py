import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# With --import-mode=importlib no test directory is on the path.
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon"), str(HERE.parent / "network")]

from serving import makers  # noqa: E402

CACHE = Path(os.environ.get("HBD_TESTS_CACHE") or Path.home() / ".cache" / "hbd-tests")


@pytest.fixture
def made():
    """(daemon, web) makers; all end well after the test."""
    pytest.importorskip("aiohttp", reason="python3-aiohttp is not installed; tests/run.sh does it")
    pytest.importorskip(
        "prometheus_client",
        reason="python3-prometheus-client is not installed; tests/run.sh does it",
    )
    with ExitStack() as stack:
        yield makers(stack)


@pytest.fixture(scope="module")
def browser():
    """A browser; its pages are those of one file of tests."""
    pytest.importorskip("aiohttp", reason="python3-aiohttp is not installed; tests/run.sh does it")
    from browser import Browser, program  # noqa: PLC0415 - needs aiohttp

    if program() is None:
        pytest.skip("no chromium is installed; tests/run.sh installs it")
    running = Browser()
    yield running
    running.close()


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, which tests/run.sh fetched."""
    file = CACHE / "axe-core" / "axe.min.js"
    if not file.exists():
        pytest.skip(f"no {file}; tests/run.sh fetches it with npm")
    return file.read_text()
