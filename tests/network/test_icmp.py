"""Each kind of refusal a router or a firewall may answer with, made for real.

here -- 10.1.0.0/24, fd01::/64 -- router -- 10.2.0.0/24, fd02::/64 -- peer
"""

import contextlib
import errno
import socket
from pathlib import Path

import namespaces
import pytest
from namespaces import as_nobody, gather

from hbd.core.model import Leaving
from hbd.net.sender import SenderSocket

pytestmark = pytest.mark.root

ROUTER = {socket.AF_INET: "10.1.0.254", socket.AF_INET6: "fd01::fe"}
PEER = {socket.AF_INET: "10.2.0.2", socket.AF_INET6: "fd02::2"}
V4, V6 = socket.AF_INET, socket.AF_INET6

REJECTS = "; ".join(
    [
        f"ip daddr 10.2.0.2 udp dport {port} reject with icmp type {kind}"
        for port, kind in (
            (1001, "net-prohibited"),
            (1002, "host-prohibited"),
            (1003, "admin-prohibited"),
            (1004, "port-unreachable"),
        )
    ]
    + [
        f"ip6 daddr fd02::2 udp dport {port} reject with icmpv6 type {kind}"
        for port, kind in (
            (1001, "admin-prohibited"),
            (1002, "policy-fail"),
            (1003, "reject-route"),
            (1004, "port-unreachable"),
        )
    ]
)


class Lab:
    """The three hosts above."""

    def __init__(self, net):
        self.here, self.router, self.peer = net.host("here"), net.router("r"), net.host("peer")
        net.link(
            (self.here, "uplink", ["10.1.0.1/24", "fd01::1/64"]),
            (self.router, "north", ["10.1.0.254/24", "fd01::fe/64"]),
        )
        net.link(
            (self.router, "south", ["10.2.0.254/24", "fd02::fe/64"]),
            (self.peer, "uplink", ["10.2.0.2/24", "fd02::2/64"]),
        )
        for host, gateway, gateway6 in (
            (self.here, "10.1.0.254", "fd01::fe"),
            (self.peer, "10.2.0.254", "fd02::fe"),
        ):
            host.ip(f"route add default via {gateway}")
            host.ip(f"-6 route add default via {gateway6}")
            host.answer_all()


@pytest.fixture(scope="module")
def lab():
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with namespaces.network() as net:
        made = Lab(net)
        made.router.ip("route add prohibit 10.2.0.4")
        made.router.ip("-6 route add prohibit fd02::4")
        # A loop: the router sends to the peer what the peer sends back to the router.
        made.peer.sysctl("ipv4.ip_forward", 1)
        made.peer.sysctl("ipv6.conf.all.forwarding", 1)
        made.router.ip("route add 10.7.0.0/16 via 10.2.0.2")
        made.router.ip("-6 route add fd07::/64 via fd02::2")
        # The router gives up a missing host in tens of milliseconds, not in three seconds.
        made.router.sysctl("ipv4.neigh.south.retrans_time_ms", 20)
        made.router.sysctl("ipv6.neigh.south.retrans_time_ms", 20)
        made.router.block("forward", REJECTS)
        yield made


@contextlib.contextmanager
def sender_in(host, family, **options):
    with host.inside():
        opened = SenderSocket(family, **options)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("address", "port", "number", "said"),
    [
        ("10.2.0.2", 9, errno.ECONNREFUSED, (3, 3, "10.2.0.2")),
        ("10.9.0.1", 862, errno.ENETUNREACH, (3, 0, ROUTER[V4])),
        ("10.2.0.77", 862, errno.EHOSTUNREACH, (3, 1, ROUTER[V4])),
        ("10.2.0.4", 862, errno.EHOSTUNREACH, (3, 13, ROUTER[V4])),
        ("10.2.0.2", 1001, errno.ENETUNREACH, (3, 9, ROUTER[V4])),
        ("10.2.0.2", 1002, errno.EHOSTUNREACH, (3, 10, ROUTER[V4])),
        ("10.2.0.2", 1003, errno.EHOSTUNREACH, (3, 13, ROUTER[V4])),
        ("10.2.0.2", 1004, errno.ECONNREFUSED, (3, 3, ROUTER[V4])),
        ("10.7.0.1", 862, errno.EHOSTUNREACH, (11, 0, ROUTER[V4])),
        ("fd02::2", 9, errno.ECONNREFUSED, (1, 4, "fd02::2")),
        ("fd09::1", 862, errno.ENETUNREACH, (1, 0, ROUTER[V6])),
        ("fd02::77", 862, errno.EHOSTUNREACH, (1, 3, ROUTER[V6])),
        ("fd02::4", 862, errno.EACCES, (1, 1, ROUTER[V6])),
        ("fd02::2", 1001, errno.EACCES, (1, 1, ROUTER[V6])),
        ("fd02::2", 1002, errno.EACCES, (1, 5, ROUTER[V6])),
        ("fd02::2", 1003, errno.EACCES, (1, 6, ROUTER[V6])),
        ("fd02::2", 1004, errno.ECONNREFUSED, (1, 4, ROUTER[V6])),
        ("fd07::1", 862, errno.EHOSTUNREACH, (3, 0, "fd02::fe")),
    ],
)
def test_an_icmp_error_says_who_refused_what(lab, address, port, number, said):
    """Each refusal comes with errno, type, code, the refusing address and the heartbeat itself."""
    family = V6 if ":" in address else V4
    destination = (address, port, 0, 0) if family == V6 else (address, port)
    heartbeat = b"heartbeat to %s" % address.encode()
    with sender_in(lab.here, family) as sender:
        assert sender.send(heartbeat, destination) is None
        [error] = gather(sender.errors, sender, 1)
    assert error.destination == destination
    assert error.errno == number
    assert error.origin == ("icmp6" if family == V6 else "icmp")
    assert (error.type, error.code, error.offender) == said
    assert error.payload == heartbeat


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_all_errors_at_once_find_their_destinations(lab, family):
    """Refused and accepted destinations asked in turn: no error strays, no heartbeat is lost."""
    tail = (0, 0) if family == V6 else ()
    refused = [(PEER[family], port, *tail) for port in (9, 1001, 1002, 1003, 1004)]
    with lab.peer.inside(), contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as healthy:
        healthy.bind((PEER[family], 0))
        healthy.settimeout(2)
        with sender_in(lab.here, family) as sender:
            for number in range(20):
                for destination in refused:
                    assert sender.send(b"%d" % destination[1], destination) is None
                    assert sender.send(b"%d" % number, healthy.getsockname()) is None
            got = [int(healthy.recv(100)) for _ in range(20 * len(refused))]
            errors = gather(sender.errors, sender, 20 * len(refused), seconds=0.2)
    assert sorted(got) == sorted(list(range(20)) * len(refused))
    assert {error.destination for error in errors} == set(refused)
    assert all(int(error.payload) == error.destination[1] for error in errors)


@pytest.mark.parametrize(
    ("destination", "number"),
    [
        (("10.8.0.1", 862), errno.ENETUNREACH),
        (("10.8.0.2", 862), errno.EHOSTUNREACH),
        (("10.8.0.3", 862), errno.EACCES),
        (("10.8.0.4", 862), errno.EINVAL),
        (("fd08::1", 862, 0, 0), errno.ENETUNREACH),
        (("fd08::2", 862, 0, 0), errno.EHOSTUNREACH),
        (("fd08::3", 862, 0, 0), errno.EACCES),
        (("fd08::4", 862, 0, 0), errno.EINVAL),
    ],
)
def test_a_route_of_our_own_that_refuses_is_the_datagrams_own_error(net, destination, number):
    """No route, unreachable, prohibit and blackhole: each is told at once, and only of its own."""
    here = net.host("here")
    for kind, last in (("unreachable", 2), ("prohibit", 3), ("blackhole", 4)):
        here.ip(f"route add {kind} 10.8.0.{last}")
        here.ip(f"-6 route add {kind} fd08::{last}")
    family = V6 if len(destination) == 4 else V4
    with sender_in(here, family) as sender:
        assert sender.send(b"heartbeat", destination) == number
        itself = ("::1", sender.port, 0, 0) if family == V6 else ("127.0.0.1", sender.port)
        assert sender.send(b"heartbeat", itself) is None
        assert len(gather(sender.receive, sender, 1)) == 1


@pytest.mark.parametrize(
    ("destination", "ours", "icmp"),
    [
        (("10.1.0.77", 862), "10.1.0.1", (3, 1)),
        (("fd01::77", 862, 0, 0), "fd01::1", (1, 3)),
    ],
)
def test_a_neighbour_that_does_not_answer_is_told_by_ourselves(lab, destination, ours, icmp):
    """On-link and switched off: EHOSTUNREACH, and the offender is our own address."""
    family = V6 if len(destination) == 4 else V4
    kind = "ipv6" if family == V6 else "ipv4"
    lab.here.sysctl(f"{kind}.neigh.uplink.retrans_time_ms", 20)
    with sender_in(lab.here, family) as sender:
        assert sender.send(b"heartbeat", destination) is None
        [error] = gather(sender.errors, sender, 1)
    assert (error.destination, error.errno) == (destination, errno.EHOSTUNREACH)
    assert (error.type, error.code) == icmp
    assert error.offender == ours
    assert error.payload == b"heartbeat"


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_a_link_too_narrow_gives_its_mtu(net, family):
    """A padded heartbeat over a narrow link is not fragmented: the router says what would fit."""
    lab = Lab(net)
    lab.router.ip("link set south mtu 1300")
    destination = (PEER[family], 862) + ((0, 0) if family == V6 else ())
    with sender_in(lab.here, family) as sender:
        assert sender.send(bytes(1400), destination) is None
        [error] = gather(sender.errors, sender, 1)
        assert (error.errno, error.mtu, error.offender) == (errno.EMSGSIZE, 1300, ROUTER[family])
        assert (error.type, error.code) == ((2, 0) if family == V6 else (3, 4))
        # The next one leaves too: what the kernel believes of the path anybody may have told it.
        assert sender.send(bytes(1400), destination) is None
        [error] = gather(sender.errors, sender, 1)
        assert (error.errno, error.mtu, error.offender) == (errno.EMSGSIZE, 1300, ROUTER[family])
        assert sender.send(bytes(1000), destination) is None


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_our_own_firewall_is_eperm(lab, family):
    """What our own firewall drops on its way out is told at once, and of that datagram alone."""
    tail = (0, 0) if family == V6 else ()
    lab.here.block("output", "udp dport 862 drop")
    try:
        with sender_in(lab.here, family) as sender:
            assert sender.send(b"heartbeat", (PEER[family], 862, *tail)) == errno.EPERM
            assert sender.send(b"heartbeat", (PEER[family], 863, *tail)) is None
    finally:
        lab.here.unblock()


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_errors_need_no_privilege(lab, family):
    """Nobody, without a capability, gets the same errors, bound to an interface too."""
    destination = (PEER[family], 1003) + ((0, 0) if family == V6 else ())

    def ask():
        sender = SenderSocket(family, Leaving(interface="uplink", dscp=46))
        sent = sender.send(b"heartbeat", destination)
        return sent, gather(sender.errors, sender, 1), sender.drops()

    with lab.here.inside():
        sent, [error], drops = as_nobody(ask)
    assert (sent, drops) == (None, 0)
    assert (error.destination, error.offender) == (destination, ROUTER[family])
    assert (error.type, error.code) == ((1, 6) if family == V6 else (3, 13))
    assert error.payload == b"heartbeat"


def test_forbidden_ports_are_never_used(net):
    """The kernel's choice among two ports, one of them forbidden, is always the other."""
    here = net.host("here")
    with here.inside():
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50001")
        for family in (V4, V6):
            for forbidden in (50000, 50001) * 5:
                sender = SenderSocket(family, forbidden_ports={forbidden})
                assert sender.port == 100_001 - forbidden
                sender.close()
            with pytest.raises(OSError, match="in use") as caught:
                SenderSocket(family, forbidden_ports=range(50000, 50002))
            assert caught.value.errno == errno.EADDRINUSE
