import sys
from pathlib import Path

import pytest

# With --import-mode=importlib no test directory is on the path; tests here import `namespaces`.
sys.path.insert(0, str(Path(__file__).parent))

import namespaces


@pytest.fixture(scope="session")
def _namespaces_work():
    if reason := namespaces.why_not():
        pytest.skip(reason)


@pytest.fixture
def net(_namespaces_work):
    """A network of namespaces, gone after the test."""
    with namespaces.network() as made:
        yield made
