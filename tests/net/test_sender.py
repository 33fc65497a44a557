import errno
import socket
import time

import pytest

from hbd.core.model import Leaving
from hbd.net.icmp import icmp_error
from hbd.net.sender import SenderSocket

pytestmark = pytest.mark.usefixtures("way")

CLOSED = {
    socket.AF_INET: ("icmp", 3, 3),
    socket.AF_INET6: ("icmp6", 1, 4),
}


def test_a_heartbeat_and_its_reply_go_round(sender, reflector, loopback, gather):
    """A reply comes back from where the heartbeat went, stamped by the kernel, at full TTL."""
    port = reflector._socket.getsockname()[1]
    before = time.time_ns()
    assert sender.send(b"heartbeat", loopback(port)) is None
    [request] = gather(reflector.receive, reflector, 1)
    assert reflector.send(b"reply", request)
    [reply] = gather(sender.receive, sender, 1)
    datagram, source, stamp, ttl = reply
    assert (datagram, source, ttl) == (b"reply", loopback(port), 255)
    assert before <= stamp <= time.time_ns()
    assert request.source == loopback(sender.port)


def test_an_error_is_told_of_the_destination_it_concerns(
    family, sender, free_port, loopback, gather
):
    """A closed port comes out of the error queue as type, code, offender, errno and payload."""
    closed = loopback(free_port())
    assert sender.send(b"heartbeat 1", closed) is None
    [error] = gather(sender.errors, sender, 1)
    assert error.destination == closed
    assert error.errno == errno.ECONNREFUSED
    assert (error.origin, error.type, error.code) == CLOSED[family]
    assert error.offender == closed[0]
    assert error.payload == b"heartbeat 1"
    assert error.mtu is None
    assert sender.errors(10) == []


def test_another_destinations_error_costs_no_heartbeat(
    sender, reflector, free_port, loopback, gather
):
    """Of closed and open ports asked in turn, every open one gets its heartbeat and is clean."""
    healthy = loopback(reflector._socket.getsockname()[1])
    closed = loopback(free_port())
    for number in range(100):
        assert sender.send(b"to closed", closed) is None
        assert sender.send(b"%d" % number, healthy) is None
    requests = gather(reflector.receive, reflector, 100)
    assert [int(request.datagram) for request in requests] == list(range(100))
    errors = gather(sender.errors, sender, 100)
    assert {error.destination for error in errors} == {closed}


def test_replies_behind_an_error_are_read(sender, reflector, free_port, loopback, gather):
    """A pending error does not hide the replies that came with it."""
    healthy = loopback(reflector._socket.getsockname()[1])
    for _ in range(3):
        sender.send(b"heartbeat", healthy)
    for request in gather(reflector.receive, reflector, 3):
        reflector.send(b"reply", request)
    sender.send(b"to closed", loopback(free_port()))
    assert len(gather(sender.errors, sender, 1)) == 1
    sender.send(b"to closed", loopback(free_port()))
    assert [datagram for datagram, *_ in sender.receive(10)] == [b"reply"] * 3


def test_a_datagram_may_be_empty(sender, reflector, loopback, gather):
    """A datagram of no octets is a datagram, and no end of anything."""
    sender.send(b"", loopback(reflector._socket.getsockname()[1]))
    [request] = gather(reflector.receive, reflector, 1)
    assert request.datagram == b""
    assert reflector.send(b"", request)
    assert reflector.send(b"next", request)
    replies = gather(sender.receive, sender, 2)
    assert [datagram for datagram, *_ in replies] == [b"", b"next"]


def test_receive_takes_no_more_than_asked(sender, reflector, loopback, gather):
    """What is over the limit is left for the next call."""
    healthy = loopback(reflector._socket.getsockname()[1])
    for number in range(5):
        sender.send(b"%d" % number, healthy)
    first = gather(reflector.receive, reflector, 2)
    rest = gather(reflector.receive, reflector, 3)
    assert [request.datagram for request in first + rest] == [b"0", b"1", b"2", b"3", b"4"]
    for request in first + rest:
        reflector.send(request.datagram, request)
    assert len(gather(sender.receive, sender, 4)) == 4
    assert len(gather(sender.receive, sender, 1)) == 1


def test_a_heartbeat_too_long_is_its_own_error(sender, loopback):
    """A datagram that no packet can hold is refused with EMSGSIZE, whatever else is pending."""
    assert sender.send(bytes(65508), loopback(9)) == errno.EMSGSIZE
    assert sender.receive(10) == []


def test_our_own_kernel_says_how_narrow_the_link_is(gather):
    """Nothing is fragmented: the local error of a heartbeat too long for its link gives the MTU."""
    sender = SenderSocket(socket.AF_INET6)
    assert sender.send(bytes(65500), ("::1", 9, 0, 0)) == errno.EMSGSIZE
    error = gather(sender.errors, sender, 1)[0]
    sender.close()
    assert (error.origin, error.errno, error.mtu) == ("local", errno.EMSGSIZE, 65536)
    assert error.destination == ("::1", 9, 0, 0)
    assert error.offender is None


def test_every_lost_reply_is_counted(sender, loopback):
    """What does not fit into the receive buffer is counted to the datagram."""
    sender._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    assert sender.drops() == 0
    for _ in range(100):
        assert sender.send(bytes(100), loopback(sender.port)) is None
    kept = sender.receive(1000)
    assert 0 < len(kept) < 100
    assert sender.drops() == 100 - len(kept)


def test_a_fault_of_the_program_is_raised(sender, loopback):
    """A send on a closed socket is no weather."""
    sender.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send(b"heartbeat", loopback(9))
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.receive(1)


def test_the_source_is_the_one_asked_for():
    """Heartbeats of a socket with a source leave from that address."""
    bound = SenderSocket(socket.AF_INET, Leaving(source="127.0.0.9"))
    assert bound._socket.getsockname()[0] == "127.0.0.9"
    bound.close()
    with pytest.raises(OSError, match="assign requested address") as caught:
        SenderSocket(socket.AF_INET, Leaving(source="192.0.2.250"))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match="assign requested address"):
        SenderSocket(socket.AF_INET, Leaving(source="not an address"))


def test_heartbeats_are_marked(family, loopback, gather):
    """The DSCP asked for is in the packets."""
    sender = SenderSocket(family, Leaving(dscp=46))
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        opened.bind(loopback(0))
        sender.send(b"heartbeat", opened.getsockname())
        [[(_, _, mark)]] = gather(lambda _: [opened.recvmsg(100, 100)[1]], opened, 1)
    sender.close()
    assert mark[0] == 46 << 2


def test_no_such_interface_is_an_oserror(family):
    """A socket for an interface that does not exist is not made."""
    with pytest.raises(OSError, match="No such device"):
        SenderSocket(family, Leaving(interface="hbd-none"))


def test_a_message_without_an_error_is_none():
    """What else the kernel may put into the error queue is passed over."""
    assert icmp_error(b"", [(socket.SOL_SOCKET, 35, bytes(16))], ("127.0.0.1", 9)) is None
