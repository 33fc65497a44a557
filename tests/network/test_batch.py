"""Many datagrams at once to many that fare differently: nobody's trouble is anybody else's.

here -- 10.1.0.0/24, fd01::/64 -- peer
"""

import contextlib
import errno
import socket

import pytest
from namespaces import gather

from hbd.net.reflecting import ReflectorSocket, ways_back
from hbd.net.sender import SenderSocket

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("way")]

ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - all addresses of a test host


class Lab:
    """The two hosts above; the peer has a socket that answers on all its addresses."""

    def __init__(self, net, family):
        self.here, self.peer = net.host("here"), net.host("peer")
        net.link(
            (self.here, "uplink", ["10.1.0.1/24", "fd01::1/64"]),
            (self.peer, "uplink", ["10.1.0.2/24", "fd01::2/64"]),
        )
        self.here.answer_all()
        self.peer.answer_all()
        with self.here.inside():
            self.sender = SenderSocket(family)
            self.scope = socket.if_nametoindex("uplink")
        with self.peer.inside():
            self.reflector = ReflectorSocket(ANY[family], 862)
            self.peer_scope = socket.if_nametoindex("uplink")

    def close(self):
        self.sender.close()
        self.reflector.close()

    def heard(self, count):
        """Give what the peer receives: so many datagrams, and nothing after them."""
        requests = gather(self.reflector.receive, self.reflector, count)
        return [request.datagram for request in requests + self.reflector.receive(100)]


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture
def lab(net, family):
    with contextlib.closing(Lab(net, family)) as made:
        yield made


def address(family, host, port=862):
    """Give a socket address of the network above, or of another one that ends alike."""
    if family == socket.AF_INET:
        return (host, port)
    return (host.replace("10.1.0.", "fd01::").replace("10.", "fd").replace(".0.", "::"), port, 0, 0)


def test_each_is_refused_on_its_own_account(lab, family):
    """Routes that refuse and a firewall are told of those they concern, and all others arrive."""
    healthy = address(family, "10.1.0.2")
    flag = "-4" if family == socket.AF_INET else "-6"
    ways = {
        "10.3.0.1": ("prohibit", errno.EACCES),
        "10.4.0.1": ("unreachable", errno.EHOSTUNREACH),
        "10.5.0.1": ("blackhole", errno.EINVAL),
    }
    for host, (kind, _) in ways.items():
        lab.here.ip(f"{flag} route add {kind} {address(family, host)[0]}")
    lab.here.block("output", "udp dport 999 drop")
    refused_by = {address(family, host): number for host, (_, number) in ways.items()}
    refused_by[address(family, "10.6.0.1")] = errno.ENETUNREACH
    refused_by[address(family, "10.1.0.2", 999)] = errno.EPERM
    closed = address(family, "10.1.0.2", 9)
    addresses = []
    for troubled in refused_by:
        addresses += [healthy, troubled, closed, troubled, troubled, healthy, closed]
    datagrams = [b"%d" % number for number in range(len(addresses))]
    refused = lab.sender.send_many(datagrams, addresses)
    assert refused == {
        at: refused_by[address] for at, address in enumerate(addresses) if address in refused_by
    }
    assert lab.heard(10) == [d for d, a in zip(datagrams, addresses, strict=True) if a == healthy]


def test_one_too_long_for_the_link_is_its_own_error(lab, family):
    """Nothing is fragmented: what is longer than the link takes is refused, what fits is sent."""
    healthy = address(family, "10.1.0.2")
    longest = 1472 if family == socket.AF_INET else 1452
    datagrams = [bytes(length) for length in (44, longest + 1, longest, 9000, 44)]
    refused = lab.sender.send_many(datagrams, [healthy] * 5)
    assert refused == {1: errno.EMSGSIZE, 3: errno.EMSGSIZE}
    assert lab.heard(3) == [bytes(44), bytes(longest), bytes(44)]


def test_neighbours_that_are_off_leave_room_for_others(lab, family):
    """What is sent to them waits in the kernel for an answer to ARP or ND; others are sent to."""
    off = [address(family, f"10.1.0.{n}") for n in range(20, 220)]
    for _ in range(3):
        assert lab.sender.send_many([bytes(84)] * len(off), off) == {}
    assert lab.sender.send_many([b"on"], [address(family, "10.1.0.2")]) == {}
    assert lab.heard(1) == [b"on"]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_what_finds_no_room_is_refused_and_the_rest_is_tried(lab, family, number):
    """A full send buffer and a full queue are told of each datagram that met them."""
    healthy = address(family, "10.1.0.2")
    assert lab.sender.send_many([b"first"], [healthy]) == {}
    assert lab.heard(1) == [b"first"]
    room = 3000 if number == errno.ENOBUFS else 1_000_000
    words = f"qdisc add dev uplink root tbf rate 8kbit burst 1600 limit {room}"
    lab.here.run("tc", *words.split())
    if number == errno.EAGAIN:
        lab.sender._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    datagrams = [b"%04d" % at + bytes(996) for at in range(20)]
    # One has another trouble, in the middle of those that find no room.
    addresses = [healthy] * 10 + [address(family, "10.6.0.1")] + [healthy] * 9
    refused = lab.sender.send_many(datagrams, addresses)
    assert refused.pop(10) == errno.ENETUNREACH
    assert set(refused.values()) == {number}
    assert 0 not in refused
    assert 19 in refused
    lab.here.run("tc", "qdisc", "del", "dev", "uplink", "root")
    assert lab.sender.send_many([b"last"], [healthy]) == {}


@pytest.mark.parametrize("family", [socket.AF_INET6], ids=["ipv6"])
def test_link_local_addresses_keep_their_scope(lab):
    """To a link-local address many go by its scope, and come back from it; no %scope is seen."""
    with lab.peer.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.connect(("fe80::1", 9, 0, lab.peer_scope))
        host = probe.getsockname()[0]
    addresses = [(host, 862, 0, lab.scope), ("fd01::2", 862, 0, 0)] * 5
    datagrams = [b"%d" % number for number in range(10)]
    assert lab.sender.send_many(datagrams, addresses) == {}
    requests = gather(lab.reflector.receive, lab.reflector, 10)
    assert [request.destination for request in requests] == [host, "fd01::2"] * 5
    assert [request.source[3] for request in requests] == [lab.peer_scope, 0] * 5
    lab.reflector.send_many(datagrams, *ways_back(requests))
    replies = gather(lab.sender.receive, lab.sender, 10)
    assert [reply[:2] for reply in replies] == list(zip(datagrams, addresses, strict=True))


def test_blocked_replies_are_counted(lab, family):
    """Of many replies those that our firewall keeps are counted, and all others go out."""
    assert lab.sender.send_many([b"heartbeat"] * 3, [address(family, "10.1.0.2")] * 3) == {}
    requests = gather(lab.reflector.receive, lab.reflector, 3)
    blocked = [each._replace(source=(each.source[0], 9, *each.source[2:])) for each in requests]
    lab.peer.block("output", "udp dport 9 drop")
    replies = [b"%d" % at for at in range(6)]
    lab.reflector.send_many(replies, *ways_back(requests + blocked))
    assert [datagram for datagram, *_ in gather(lab.sender.receive, lab.sender, 3)] == [
        b"0",
        b"1",
        b"2",
    ]
    assert lab.reflector.unsent == {"EPERM": 3}
