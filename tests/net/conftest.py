import select
import socket
import time

import pytest

from hbd.net.reflecting import ReflectorSocket
from hbd.net.sender import SenderSocket

ADDRESSES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def _has(family):
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ADDRESSES[family], 0))
        except OSError:
            return False
    return True


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request):
    if not _has(request.param):
        pytest.skip("no IPv6 loopback here")
    return request.param


@pytest.fixture
def sender(family):
    opened = SenderSocket(family)
    yield opened
    opened.close()


@pytest.fixture
def reflector(family, free_port):
    opened = ReflectorSocket(ADDRESSES[family], free_port())
    yield opened
    opened.close()


@pytest.fixture
def free_port(family):
    """Return a port on which nothing listens."""

    def pick():
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ADDRESSES[family], 0))
            return probe.getsockname()[1]

    return pick


@pytest.fixture
def loopback(family):
    """Return the socket address of a port on loopback."""
    return lambda port: (ADDRESSES[family], port) + ((0, 0) if family == socket.AF_INET6 else ())


@pytest.fixture
def gather():
    """Take from a socket, as it becomes ready, until so many have come or two seconds are up."""

    def taken(take, opened, count):
        found = []
        deadline = time.monotonic() + 2
        while len(found) < count and (left := deadline - time.monotonic()) > 0:
            select.select([opened], [], [], left)
            found += take(count)
        return found

    return taken
