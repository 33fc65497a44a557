import sys
from pathlib import Path

import pytest

# With --import-mode=importlib no test directory is on the path; tests here import `namespaces`.
sys.path.insert(0, str(Path(__file__).parent))

import figures
import namespaces
from topology import Topology


@pytest.fixture(scope="session")
def _namespaces_work():
    if reason := namespaces.why_not():
        pytest.skip(reason)


@pytest.fixture
def net(_namespaces_work):
    """A network of namespaces, gone after the test."""
    with namespaces.network() as made:
        yield made


@pytest.fixture(scope="session")
def lab(_namespaces_work):
    """The hosts of `topology`, each but the monitor with an hbd that answers; left as found."""
    with namespaces.network() as made:
        topology = Topology(made)
        try:
            topology.start(*topology.hosts)
            yield topology
        finally:
            topology.close()


def pytest_terminal_summary(terminalreporter):
    """Print what was told of each fault."""
    if lines := figures.lines():
        terminalreporter.section("faults made for real")
        for line in lines:
            terminalreporter.write_line(line)
