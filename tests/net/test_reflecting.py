import errno
import os
import random
import socket
import time

import pytest

from hbd.net.batch import TIMED
from hbd.net.reflecting import ReflectorSocket, Request, ways_back
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


def test_many_replies_leave_in_order(gather, family):
    """Each of many requests is answered from the address it asked, in the order of the list."""
    reflector, sender = ReflectorSocket(WILDCARDS[family], 0), SenderSocket(family)
    port = reflector._socket.getsockname()[1]
    asked = [("127.0.0.5", port), ("127.0.0.77", port), ("127.0.0.1", port)]
    asked = [("::1", port, 0, 0)] if family == socket.AF_INET6 else asked
    addresses = [asked[number % len(asked)] for number in range(300)]
    for first in range(0, 300, 60):  # as many as any receive buffer has room for
        part = addresses[first : first + 60]
        datagrams = [b"%d" % number + bytes(number) for number in range(first, first + 60)]
        assert sender.send_many(datagrams, part) == {}
        requests = gather(reflector.receive, reflector, 60)
        reflector.send_many([request.datagram for request in requests], *ways_back(requests))
        replies = gather(sender.receive, sender, 60)
        assert [reply[:2] for reply in replies] == list(zip(datagrams, part, strict=True))
        assert {ttl for *_, ttl in replies} == {255}
    assert not reflector.unsent
    reflector.close()
    sender.close()


def test_replies_are_finished_just_before_they_leave(sender, reflector, gather, way):
    """What is written last is written once into each, for some at a time, in order.

    One by one there is nothing to finish: each was made just before.
    """
    asked = reflector._socket.getsockname()
    lots = []

    def finish(replies, size):
        lots.append(len(replies) // size)
        replies[:] = bytes([len(lots)]) * len(replies)

    assert sender.send_many([b"heartbeat"] * 60, [asked] * 60) == {}
    requests = gather(reflector.receive, reflector, 60)
    reflector.send_many([bytes(44)] * 60, *ways_back(requests), finish)
    replies = [datagram for datagram, *_ in gather(sender.receive, sender, 60)]
    assert lots == ([] if way == "one by one" else [TIMED, 60 - TIMED])
    finished = [b"\1" * 44] * TIMED + [b"\2" * 44] * (60 - TIMED)
    assert replies == (finished if lots else [bytes(44)] * 60)


def test_of_many_replies_those_that_cannot_go_out_are_counted(sender, reflector, loopback, gather):
    """A reply that fails is a count, and those around it go out."""
    sender.send(b"heartbeat", reflector._socket.getsockname())
    [request] = gather(reflector.receive, reflector, 1)
    forged = request._replace(source=loopback(0))
    replies = [b"1", b"2", bytes(65528), b"3", bytes(70_000), b"4"]
    asked = [request, forged, request, forged, request, request]
    reflector.send_many(replies, *ways_back(asked))
    assert [datagram for datagram, *_ in gather(sender.receive, sender, 2)] == [b"1", b"4"]
    assert reflector.unsent == {"EINVAL": 2, "EMSGSIZE": 2}
    reflector.send_many([], [], [])
    reflector.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        reflector.send_many([b"1", b"2"], *ways_back([request, request]))


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_read_the_same_requests(family, loopback, one_by_one, seed):
    """What a request says does not depend on the way it is read, whatever else the kernel says."""
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    reflector = ReflectorSocket(WILDCARDS[family], 0)
    with one_by_one():
        other = ReflectorSocket(WILDCARDS[family], 0)
    option = (socket.IPPROTO_IP, socket.IP_TTL, socket.IP_RECVTOS)
    hosts = ["127.0.0.1", "127.0.0.9", "127.3.2.1"]
    if family == socket.AF_INET6:
        option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_RECVTCLASS)
        hosts = ["::1"]
    with socket.socket(family, socket.SOCK_DGRAM) as stranger:
        stranger.bind(loopback(0))
        for turn in range(4):
            for opened in (reflector, other):
                opened._socket.setsockopt(option[0], option[2], turn % 2)
            for _ in range(dice.choice([1, 20, 60])):
                stranger.setsockopt(*option[:2], dice.randint(1, 255))
                datagram, host = (
                    dice.randbytes(dice.choice([0, 44, 44, 1472, 3000])),
                    dice.choice(hosts),
                )
                for opened in (reflector, other):
                    stranger.sendto(datagram, (host, opened._socket.getsockname()[1]))
            ours, theirs = reflector.receive(100), other.receive(100)
            assert [each._replace(stamp=None) for each in ours] == [
                each._replace(stamp=None) for each in theirs
            ]
            stamps = [each.stamp for row in zip(ours, theirs, strict=True) for each in row]
            assert stamps == sorted(stamps)
            assert all(isinstance(each, Request) for each in ours)
    reflector.close()
    other.close()


@pytest.mark.parametrize("typed", [False, True])
def test_what_came_together_says_what_each_says(family, sender, typed):
    """Column by column requests say the same as one by one, also where the kernel says more."""
    reflector = ReflectorSocket(WILDCARDS[family], 0)
    option = (socket.IPPROTO_IP, socket.IP_RECVTOS)
    hosts = [("127.0.0.1",), ("127.0.0.9",)]
    if family == socket.AF_INET6:
        option, hosts = (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS), [("::1",)]
    reflector._socket.setsockopt(*option, int(typed))
    port = reflector._socket.getsockname()[1]
    datagrams = [b"%d" % number * number for number in (44, 44, 88, 3, 900)]
    for number, datagram in enumerate(datagrams):
        sender.send(datagram, (*hosts[number % len(hosts)], port))
    count = 0
    for requests, singly in reflector.arrivals(100):
        each = singly()
        assert (requests.places, requests.ways) == ways_back(each)
        assert requests.lengths == [len(one.datagram) for one in each]
        assert [*requests.ttls] == [one.ttl for one in each]
        assert [*requests.stamps] == [one.stamp for one in each]
        for at, one in enumerate(each):
            assert one.datagram == datagrams[count]
            begin, kept = at * requests.stride, one.datagram[: requests.stride]
            assert requests.octets[begin:][: len(kept)] == kept
            count += 1
    reflector.close()
    assert count == len(datagrams)


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
