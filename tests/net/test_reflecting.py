import errno
import os
import socket
import time

import pytest

from hbd.net.reflecting import ReflectorSocket
from hbd.net.sender import SenderSocket

pytestmark = pytest.mark.usefixtures("way")

WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - the promise is about them


def test_a_request_says_where_and_when_it_came_in(sender, reflector, loopback, gather):
    """A request carries its destination, interface, TTL and the kernel's stamp."""
    address = reflector._socket.getsockname()
    before = time.time_ns()
    sender.send(b"heartbeat", address)
    [request] = gather(reflector.receive, reflector, 1)
    assert request.datagram == b"heartbeat"
    assert request.source == loopback(sender.port)
    assert request.destination == address[0]
    assert request.interface == socket.if_nametoindex("lo")
    assert request.ttl == 255
    assert before <= request.stamp <= time.time_ns()
    assert request.is_unicast


def test_a_reply_leaves_from_the_address_asked(gather):
    """A socket bound to all addresses replies from the very one the heartbeat was sent to."""
    reflector = ReflectorSocket("0.0.0.0", 0)  # noqa: S104 - the promise is about it
    sender = SenderSocket(socket.AF_INET)
    asked = ("127.0.0.5", reflector._socket.getsockname()[1])
    sender.send(b"heartbeat", asked)
    [request] = gather(reflector.receive, reflector, 1)
    assert request.destination == "127.0.0.5"
    assert reflector.send(b"reply", request)
    [(_, source, _, ttl)] = gather(sender.receive, sender, 1)
    reflector.close()
    sender.close()
    assert (source, ttl) == (asked, 255)


def test_both_families_share_a_port(free_port, family):
    """A wildcard socket of one family leaves the port of the other alone."""
    port = free_port()
    for address in WILDCARDS.values():
        opened = ReflectorSocket(address, port)
        assert opened._socket.getsockname()[:2] == (address, port)
        opened.close()
    first = ReflectorSocket(WILDCARDS[family], port)
    second = ReflectorSocket(next(a for f, a in WILDCARDS.items() if f != family), port)
    first.close()
    second.close()


def test_the_longest_datagram_is_read_whole(family, reflector, gather):
    """65,507 octets are one request, and no harm."""
    with socket.socket(family, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(bytes(65507), reflector._socket.getsockname())
        [request] = gather(reflector.receive, reflector, 1)
    assert len(request.datagram) == 65507


def test_a_reply_that_cannot_go_out_is_counted(sender, reflector, loopback, gather):
    """Whatever a stranger wrote as its source, a failing reply is a count and a False."""
    sender.send(b"heartbeat", reflector._socket.getsockname())
    [request] = gather(reflector.receive, reflector, 1)
    forged = request._replace(source=loopback(0))
    assert not reflector.send(b"reply", forged)
    assert not reflector.send(bytes(65528), request)
    assert reflector.unsent == {"EINVAL": 1, "EMSGSIZE": 1}


def test_a_fault_of_the_program_is_raised(sender, reflector, gather):
    """A reply on a closed socket is no weather."""
    sender.send(b"heartbeat", reflector._socket.getsockname())
    [request] = gather(reflector.receive, reflector, 1)
    reflector.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        reflector.send(b"reply", request)


def test_every_lost_request_is_counted(sender, reflector):
    """What does not fit into the receive buffer is counted to the datagram."""
    reflector._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(100):
        sender.send(bytes(100), reflector._socket.getsockname())
    kept = len(reflector.receive(1000))
    assert 0 < kept < 100
    assert reflector.drops() == 100 - kept


def test_a_port_taken_is_an_oserror(reflector):
    """A port that another socket has, and an address that is not ours, cannot be bound."""
    address, port, *_ = reflector._socket.getsockname()
    with pytest.raises(OSError, match="in use") as caught:
        ReflectorSocket(address, port)
    assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match="assign requested") as caught:
        ReflectorSocket("192.0.2.250", port)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match="not a numeric address"):
        ReflectorSocket("localhost", port)


def test_a_socket_kept_for_us_loses_no_request(sender, reflector, gather):
    """A passed socket is taken over with the requests that wait in it."""
    address, port, *_ = reflector._socket.getsockname()
    sender.send(b"heartbeat", reflector._socket.getsockname())
    adopted = ReflectorSocket(address, port, fd=os.dup(reflector.fileno()))
    [request] = gather(adopted.receive, adopted, 1)
    assert adopted.send(b"reply", request)
    assert [datagram for datagram, *_ in gather(sender.receive, sender, 1)] == [b"reply"]
    adopted.close()


def test_a_plain_socket_is_made_fit(family, sender, loopback, gather):
    """A passed socket with no option set measures as one of our own."""
    plain = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    plain.bind(loopback(0))
    adopted = ReflectorSocket(*plain.getsockname()[:2], fd=plain.detach())
    assert adopted.receive(1) == []
    sender.send(b"heartbeat", adopted._socket.getsockname())
    [request] = gather(adopted.receive, adopted, 1)
    adopted.close()
    assert request.stamp
    assert request.ttl == 255


def test_a_socket_bound_elsewhere_is_refused(family, loopback, free_port):
    """A passed socket of another address, port or kind is left open and not taken."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as other:
            other.bind(loopback(0))
            address, port, *_ = other.getsockname()
            asked = free_port() if kind == socket.SOCK_DGRAM else port
            with pytest.raises(OSError, match="is not bound to") as caught:
                ReflectorSocket(address, asked, fd=other.fileno())
            assert caught.value.errno == errno.EINVAL
            assert other.getsockname()[1] == port


def test_a_socket_of_both_families_is_refused():
    """A passed IPv6 socket that takes in IPv4 too would show IPv4 peers under other addresses."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        with pytest.raises(OSError, match="alone"):
            ReflectorSocket("::", both.getsockname()[1], fd=both.fileno())
