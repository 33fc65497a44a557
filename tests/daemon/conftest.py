import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

# With --import-mode=importlib no test directory is on the path; tests here import both of these.
sys.path.insert(0, str(Path(__file__).parent))

from reflectors import Reflector
from running import Daemon, network


@pytest.fixture
def net():
    """A block of loopback addresses that nobody else uses: net(1) to net(254)."""
    return network()


def _daemons(stack):
    def make(**configuration):
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hbd-")))
        daemon = Daemon(directory)
        stack.callback(daemon.end)
        if configuration:
            daemon.configure(**configuration)
        return daemon

    return make


def _reflectors(stack):
    def make(address, behave=None, **options):
        return stack.enter_context(Reflector(address, behave, **options))

    return make


@pytest.fixture
def daemon():
    """Make daemons, each in a directory of its own; all end well after the test."""
    with ExitStack() as stack:
        yield _daemons(stack)


@pytest.fixture
def reflector():
    """Make reflectors that are gone after the test."""
    with ExitStack() as stack:
        yield _reflectors(stack)


@pytest.fixture(scope="module")
def shared():
    """(daemon, reflector) makers for all tests of a file."""
    with ExitStack() as stack:
        reflectors = _reflectors(stack)
        yield _daemons(stack), reflectors
