"""Routes, links and neighbours of a host with two uplinks, made for real.

gateway -- 10.1.0.0/24, fd01::/64 -- one [here] two -- 10.2.0.0/24, fd02::/64 -- other
"""

import contextlib
import errno
import socket
import time

import pytest
from namespaces import as_nobody

from hbd.core.model import MILLISECOND, Leaving
from hbd.net.routes import KEPT, SETTLED, Link, NoRouteError, Routes

pytestmark = pytest.mark.root


class Lab:
    """The three hosts above, and what `here` knows of its routes."""

    def __init__(self, net):
        self.here, self.gateway, self.other = net.host("here"), net.router("gw"), net.host("other")
        net.link(
            (self.here, "one", ["10.1.0.1/24", "fd01::1/64"]),
            (self.gateway, "south", ["10.1.0.254/24", "fd01::fe/64"]),
        )
        net.link(
            (self.here, "two", ["10.2.0.1/24", "fd02::1/64"]),
            (self.other, "uplink", ["10.2.0.2/24", "fd02::2/64"]),
        )
        with self.here.inside():
            self._routes = Routes()

    @property
    def routes(self):
        """As a new turn of the loop has them."""
        self._routes.forget(time.monotonic_ns())
        return self._routes


@pytest.fixture
def lab(net):
    made = Lab(net)
    with made.here.inside():
        yield made
    made.routes.close()


@pytest.fixture
def lookup(lab):
    """Return interface, gateway and source of a route."""

    def found(address, *leaving):
        route = lab.routes.lookup(socket_address(address), *leaving)
        return route.interface, route.gateway, route.source

    return found


def socket_address(address):
    return (address, 862, 0, 0) if ":" in address else (address, 862)


def until(seen, expected, seconds=2.0):
    """Ask until the answer is as expected, or time is up; return the last answer."""
    deadline = time.monotonic() + seconds
    while (answer := seen()) != expected and time.monotonic() < deadline:
        time.sleep(0.002)
    return answer


def test_each_destination_has_its_interface(lab, lookup):
    """On-link destinations have an interface and a source, others a gateway besides."""
    lab.here.ip("route add default via 10.1.0.254")
    lab.here.ip("-6 route add default via fd01::fe")
    assert lookup("10.1.0.9") == ("one", None, "10.1.0.1")
    assert lookup("10.2.0.9") == ("two", None, "10.2.0.1")
    assert lookup("10.9.0.9") == ("one", "10.1.0.254", "10.1.0.1")
    assert lookup("fd01::9") == ("one", None, "fd01::1")
    assert lookup("fd02::9") == ("two", None, "fd02::1")
    assert lookup("fd09::9") == ("one", "fd01::fe", "fd01::1")
    assert not lab.routes.lookup(("10.1.0.9", 862)).is_local
    assert lab.routes.lookup(("10.1.0.1", 862)).is_local
    assert lab.routes.lookup(("fd01::1", 862, 0, 0)).is_local


def test_a_gateway_may_be_of_the_other_family(lab, lookup):
    """An IPv4 route through an IPv6 router (RFC 5549) tells that router."""
    lab.here.ip("route add 10.9.0.0/16 via inet6 fd01::fe dev one")
    assert lookup("10.9.0.9") == ("one", "fd01::fe", "10.1.0.1")


def test_a_scope_chooses_the_link(lab):
    """A link-local destination goes out by the interface of its scope id."""
    for name in ("one", "two"):
        with lab.here.inside():
            index = socket.if_nametoindex(name)
        route = lab.routes.lookup(("fe80::9", 862, 0, index))
        assert (route.interface, route.index) == (name, index)


def test_interface_source_and_mark_are_followed(lab, lookup):
    """What a socket is bound to decides its route, and so do rules for source and DSCP."""
    lab.here.ip("route add default via 10.1.0.254")
    lab.here.ip("route add default via 10.2.0.2 metric 100")
    lab.here.ip("route add default via 10.2.0.2 table 7")
    assert lookup("10.9.0.9", Leaving(interface="two")) == ("two", "10.2.0.2", "10.2.0.1")
    assert lookup("10.9.0.9", Leaving(source="10.2.0.1")) == ("one", "10.1.0.254", "10.2.0.1")
    lab.here.ip("rule add from 10.2.0.1 table 7")
    assert lookup("10.9.0.9", Leaving(source="10.2.0.1")) == ("two", "10.2.0.2", "10.2.0.1")
    assert lookup("10.9.0.9", Leaving(dscp=8)) == ("one", "10.1.0.254", "10.1.0.1")
    lab.here.ip("rule add tos 0x10 table 7")
    assert lookup("10.9.0.9", Leaving(dscp=4)) == ("two", "10.2.0.2", "10.2.0.1")


def test_rules_for_the_port_are_followed(lab, lookup):
    """A rule that routes the heartbeats' protocol and port elsewhere is seen."""
    for flag, far, one, two in (
        ("", "10.9.0.9", "10.1.0.254", "10.2.0.2"),
        ("-6 ", "fd09::9", "fd01::fe", "fd02::2"),
    ):
        lab.here.ip(f"{flag}route add default via {one}")
        lab.here.ip(f"{flag}route add default via {two} table 7")
        lab.here.ip(f"{flag}rule add ipproto udp dport 862 table 7")
        assert lookup(far)[:2] == ("two", two)
        assert lab.routes.lookup((far, 863, *socket_address(far)[2:])).interface == "one"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_no_route_says_why(lab, lookup, family):
    """A missing, unreachable, prohibited or blackholed route is an error with its errno."""
    prefix, flag = ("10.9.0.", "") if family == "ipv4" else ("fd09::", "-6 ")
    for kind, last in (("unreachable", 2), ("prohibit", 3), ("blackhole", 4), ("throw", 5)):
        lab.here.ip(f"{flag}route add {kind} {prefix}{last}")
    for last, number in (
        (1, errno.ENETUNREACH),
        (2, errno.EHOSTUNREACH),
        (3, errno.EACCES),
        (4, errno.EINVAL),
        (5, errno.ENETUNREACH),
    ):
        with pytest.raises(NoRouteError) as caught:
            lookup(f"{prefix}{last}")
        assert caught.value.errno == number
        assert caught.value.strerror


def test_a_link_down_is_seen(lab, lookup):
    """An interface that is switched off is down and takes its routes along."""
    assert lab.routes.link("one") == Link(up=True, carrier=True)
    lab.here.ip("link set one down")
    assert lab.routes.link("one") == Link(up=False, carrier=False)
    with pytest.raises(NoRouteError) as caught:
        lookup("10.1.0.9")
    assert caught.value.errno == errno.ENETUNREACH


def test_a_lost_carrier_is_seen(lab):
    """A cable pulled at the other end is an interface that is up without a carrier."""
    lab.gateway.ip("link set south down")
    assert until(lambda: lab.routes.link("one"), Link(up=True, carrier=False)) == Link(
        up=True, carrier=False
    )
    lab.gateway.ip("link set south up")
    assert until(lambda: lab.routes.link("one"), Link(up=True, carrier=True)).carrier


def test_a_link_that_is_gone_is_none(lab):
    """An interface that was removed has no state."""
    lab.here.ip("link del two")
    assert lab.routes.link("two") is None


def test_an_interface_of_another_name_is_seen(lab, lookup):
    """A new turn believes nothing of what an earlier one was told of names and indices."""
    assert lookup("10.2.0.9", Leaving(interface="two")) == ("two", None, "10.2.0.1")
    assert lab.routes.link("two") == Link(up=True, carrier=True)
    for change in ("down", "name deux", "up"):
        lab.here.ip(f"link set {'deux' if change == 'up' else 'two'} {change}")
    assert lookup("10.2.0.9", Leaving(interface="deux")) == ("deux", None, "10.2.0.1")
    assert lab.routes.link("two") is None
    with pytest.raises(NoRouteError, match="no interface two"):
        lookup("10.2.0.9", Leaving(interface="two"))


@pytest.mark.parametrize(("there", "gone"), [("10.1.0.254", "10.1.0.77"), ("fd01::fe", "fd01::77")])
def test_a_neighbour_tells_its_state(lab, there, gone):
    """Who answers is reachable, who does not becomes failed, who was never asked is None."""
    kind = "ipv6" if ":" in there else "ipv4"
    lab.here.sysctl(f"{kind}.neigh.one.retrans_time_ms", 20)
    index = lab.routes.lookup(socket_address(there)).index
    assert lab.routes.neighbour(index, there) is None
    family = socket.AF_INET6 if ":" in there else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as ping:
        ping.sendto(b"", socket_address(there))
        ping.sendto(b"", socket_address(gone))

    def state(address):
        return lab.routes.neighbour(index, address).state

    assert state(gone) == "incomplete"
    assert until(lambda: state(there), "reachable") == "reachable"
    assert until(lambda: state(gone), "failed") == "failed"
    lab.here.ip(f"neigh replace {there} lladdr 02:00:00:00:00:01 dev one nud permanent")
    assert state(there) == "permanent"


@pytest.mark.slow
def test_a_neighbour_tells_when_it_answered_last(lab):
    """The time since the last answer to ARP is small at first and then grows."""
    index = lab.routes.lookup(socket_address("10.1.0.254")).index
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ping:
        ping.sendto(b"", socket_address("10.1.0.254"))
    until(lambda: lab.routes.neighbour(index, "10.1.0.254").state, "reachable")
    assert lab.routes.neighbour(index, "10.1.0.254").confirmed < 200 * MILLISECOND
    time.sleep(0.3)
    grown = lab.routes.neighbour(index, "10.1.0.254").confirmed
    assert 300 * MILLISECOND <= grown < 600 * MILLISECOND


CHANGES = [
    "route add 10.9.0.0/24 via 10.2.0.2",
    "route add blackhole 10.9.0.9",
    "rule add to 10.9.0.0/24 lookup 7",
    "link set one down",
    "addr del 10.1.0.1/24 dev one",
    "link set one name three",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_known_in_the_next_turn(lab, lookup, change):
    """However recently it was asked where a destination leads, it is asked again after a change."""
    lab.here.ip("route add default via 10.1.0.254")
    lab.here.ip("route add default via 10.2.0.2 table 7")
    there = socket_address("10.9.0.9")
    before = lookup(there[0])
    assert lookup(there[0]) == before == ("one", "10.1.0.254", "10.1.0.1")
    lab.here.ip(change)
    try:
        after = lookup(there[0])
    except NoRouteError as error:
        after = error.errno
    assert after != before


def test_a_change_of_ipv6_is_known_in_the_next_turn(lab, lookup):
    """Routes and rules of IPv6 are told of by groups of their own."""
    lab.here.ip("-6 route add default via fd01::fe")
    lab.here.ip("-6 route add default via fd02::2 table 7")
    assert lookup("fd09::9")[:2] == ("one", "fd01::fe")
    lab.here.ip("-6 rule add to fd09::/16 lookup 7")
    assert lookup("fd09::9")[:2] == ("two", "fd02::2")
    lab.here.ip("-6 rule del to fd09::/16 lookup 7")
    assert lookup("fd09::9")[:2] == ("one", "fd01::fe")
    lab.here.ip("-6 route add fd09::/16 via fd02::2")
    assert lookup("fd09::9")[:2] == ("two", "fd02::2")


def test_a_next_hop_that_is_another_is_known_in_the_next_turn(lab, lookup):
    """A route may name a next hop that stands elsewhere and changes by itself."""
    lab.here.ip("nexthop add id 5 via 10.1.0.254 dev one")
    lab.here.ip("route add 10.9.0.0/24 nhid 5")
    assert lookup("10.9.0.9")[:2] == ("one", "10.1.0.254")
    lab.here.ip("nexthop replace id 5 via 10.2.0.2 dev two")
    assert lookup("10.9.0.9")[:2] == ("two", "10.2.0.2")


def test_just_after_a_change_nothing_is_believed_for_longer_than_a_turn(lab):
    """Of a route that goes the kernel tells before it is gone: what is asked between is wrong."""
    routes, there = lab.routes, socket_address("10.1.0.9")
    now = time.monotonic_ns()

    def is_asked_again(moment):
        routes.forget(moment)
        before = routes._sequence
        routes.lookup(there)
        return routes._sequence > before

    assert is_asked_again(now)
    assert not is_asked_again(now + 1)
    lab.here.ip("route add 10.9.0.0/24 via 10.2.0.2")
    assert is_asked_again(now + 2)
    assert is_asked_again(now + 2 + SETTLED - 1)
    assert not is_asked_again(now + 2 + SETTLED)
    assert is_asked_again(now + 2 + SETTLED + KEPT)


def test_more_changes_than_can_be_kept_are_a_change(lab, lookup):
    """Thousands of routes may change before it is asked: that there were any is known."""
    lab.here.ip("route add default via 10.1.0.254")
    assert lookup("10.9.0.9")[:2] == ("one", "10.1.0.254")
    for number in range(200):
        lab.here.ip(f"route add 10.20.{number}.0/24 via 10.2.0.2")
    lab.here.ip("route add 10.9.0.0/24 via 10.2.0.2")
    assert lookup("10.9.0.9")[:2] == ("two", "10.2.0.2")
    lab.here.ip("route del 10.9.0.0/24 via 10.2.0.2")
    assert lookup("10.9.0.9")[:2] == ("one", "10.1.0.254")


def test_questions_need_no_privilege_and_no_file(lab, tmp_path):
    """Nobody, without /proc and /sys and all other files, gets every answer."""
    lab.here.ip("route add default via 10.1.0.254")
    lab.here.ip("neigh replace 10.1.0.254 lladdr 02:00:00:00:00:01 dev one nud stale")

    def ask():
        routes = Routes()
        way = Leaving(interface="one", source="10.1.0.1", dscp=46)
        route = routes.lookup(("10.9.0.9", 862), way)
        return route, routes.link("one"), routes.neighbour(route.index, route.gateway)

    route, link, neighbour = as_nobody(ask, root=tmp_path)
    assert (route.interface, route.gateway, route.source) == ("one", "10.1.0.254", "10.1.0.1")
    assert link == Link(up=True, carrier=True)
    assert neighbour.state == "stale"
