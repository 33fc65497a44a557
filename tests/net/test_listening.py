"""Clients that connect to us, over real sockets on loopback."""

import errno
import os
import resource
import select
import socket
import struct
from contextlib import ExitStack

import pytest

from hbd.core.model import Cause
from hbd.net.listening import Connection, Listener

READ = 4_096


@pytest.fixture
def listener(loopback):
    opened = Listener(loopback(0)[0], 0)
    yield opened
    opened.close()


@pytest.fixture
def client_of(family):
    with ExitStack() as clients:

        def connected(listener):
            client = clients.enter_context(socket.socket(family, socket.SOCK_STREAM))
            client.settimeout(2)
            client.connect(listener._socket.getsockname())
            return client

        yield connected


@pytest.fixture
def accepted():
    """Take connections, and close them in the end."""
    taken = []

    def take(listener, limit=10):
        select.select([listener], [], [], 2)
        connections = listener.accept(limit)
        taken.extend(connections)
        return connections

    yield take
    for connection in taken:
        connection.close()


def read(connection):
    select.select([connection], [], [], 2)
    return connection.read(READ)


def test_a_client_is_heard(listener, client_of, accepted):
    """A connection gives what its client sends, a slice at a time, and whence."""
    client = client_of(listener)
    [connection] = accepted(listener)
    assert connection.source == client.getsockname()
    assert connection.read(READ) is None
    client.sendall(b"heart" + b"beat")
    assert read(connection) + (connection.read(READ) or b"") == b"heartbeat"
    client.sendall(b"heartbeat")
    select.select([connection], [], [], 2)
    assert connection.read(5) == b"heart"
    assert connection.read(5) == b"beat"
    assert connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_client_that_goes_is_told(listener, client_of, accepted):
    """The end of a connection has a cause that names the client."""
    client = client_of(listener)
    [connection] = accepted(listener)
    port = client.getsockname()[1]
    client.close()
    end = read(connection)
    assert end.cause is Cause.CLOSED
    assert end.words.endswith(f":{port}")


def test_a_reset_is_told(listener, client_of, accepted):
    """A client that resets its connection, before or after we took it, ends with that cause."""
    for take_first in (True, False):
        client = client_of(listener)
        connections = accepted(listener) if take_first else []
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        client.close()
        [connection] = connections or accepted(listener)
        assert read(connection).cause is Cause.RESET


def test_accept_takes_no_more_than_asked(listener, client_of, accepted):
    """What is over the limit is left for the next call."""
    clients = [client_of(listener) for _ in range(5)]
    first = accepted(listener, 2)
    assert len(first) == 2
    connections = first + accepted(listener)
    assert [each.source for each in connections] == [each.getsockname() for each in clients]
    assert listener.accept(10) == []


def test_a_port_can_be_had_again_at_once(loopback, client_of, accepted):
    """Connections of before do not keep the port, a listener does."""
    before = Listener(loopback(0)[0], 0)
    port = before._socket.getsockname()[1]
    client = client_of(before)
    [connection] = accepted(before)
    with pytest.raises(OSError, match="in use") as caught:
        Listener(loopback(0)[0], port)
    assert caught.value.errno == errno.EADDRINUSE
    connection.close()
    client.close()
    before.close()
    Listener(loopback(0)[0], port).close()


def test_both_families_may_have_a_port():
    """The listener of [::] leaves IPv4 to the one of 0.0.0.0."""
    one = Listener("0.0.0.0", 0)  # noqa: S104 - for a moment, on a port that nobody knows
    port = one._socket.getsockname()[1]
    Listener("::", port).close()
    one.close()


def test_what_is_no_address_of_ours_is_an_oserror():
    """A listener that cannot be is not made."""
    for address in ("192.0.2.250", "localhost", ""):
        with pytest.raises(OSError, match=r"assign|numeric"):
            Listener(address, 0)


def test_without_descriptors_clients_are_turned_away(listener, client_of):
    """When no file descriptor is left a client is closed, rather than left waiting."""
    clients = [client_of(listener) for _ in range(2)]
    select.select([listener], [], [], 2)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        for _ in range(3):
            assert listener.accept(10) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [client.recv(1) for client in clients] == [b"", b""]
    client_of(listener)
    [connection] = listener.accept(10)
    assert isinstance(connection, Connection)
    connection.close()
