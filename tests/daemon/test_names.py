"""Peers that are named, with and without luck."""

import pytest
from running import peer

from hbd.daemon.names import ADDRESSES, Names
from hbd.net.resolver import Answer, Resolver
from tests.simulation import world

pytestmark = pytest.mark.slow


def test_a_name_without_an_address_stops_nothing(daemon, reflector, net):
    """It is unknown for the cause unresolved; the daemon starts and judges all others."""
    reflector(net(1))
    one = daemon(peers=[peer("lost", "no-such-host.invalid"), peer("good", net(1))]).start()
    one.wait("good", "up")
    view = one.wait("lost", "unknown", "unresolved")
    assert view["evidence"][0].startswith("no-such-host.invalid: does not resolve: ")
    entry = one.entry("state", peer="lost", cause="unresolved")
    assert entry["PRIORITY"] == "6"
    assert "lost is unknown: its name has no address" in entry["MESSAGE"]
    assert one.hbd("status", "lost").returncode == 1
    assert one.files()["lost"] == ("unknown", "unresolved")
    assert "resolvectl" in one.hbd("explain", "lost").stdout


def test_a_link_local_address_of_no_link_is_no_fault_of_dns(daemon):
    """The evidence names the interface that is missing here."""
    one = daemon(peers=[peer("lost", "fe80::1%nowhere")]).start()
    (fact,) = one.wait("lost", "unknown", "unresolved")["evidence"]
    assert fact == "fe80::1%nowhere: does not resolve: this machine has no interface nowhere"


def test_a_name_that_resolves_is_watched(daemon, reflector):
    """localhost is resolved in the background and judged as any other."""
    port = 18_700
    reflector("127.0.0.1", port=port)
    one = daemon(peers=[peer("here", "localhost") | {"port": port}]).start()
    view = one.wait("here", "up")
    assert view["paths"][0]["address"] == "localhost"
    assert view["paths"][0]["target"] == "127.0.0.1"


def test_a_name_is_replaced_by_a_reload(daemon, reflector, net):
    """A peer whose name did not resolve gets its verdict when a reload gives it an address."""
    reflector(net(1))
    one = daemon(peers=[peer("a", "no-such-host.invalid")]).start()
    one.wait("a", "unknown", "unresolved")
    one.configure(peers=[peer("a", net(1))])
    assert one.reload()["changed"] == ["a"]
    one.wait("a", "up")


def test_a_name_with_ten_thousand_addresses_takes_the_room_of_a_few():
    """Some of them are used, the one that is asked among them while it is one of the name's."""
    air = world.World(1)
    air.fleet.apply([world.peer("pool.example")])
    path = air.path("pool.example")
    port = path.peer.settings.port
    names = Names(air.fleet, Resolver())
    names.take([path], air.now)
    many = [(f"10.0.{number // 250}.{number % 250}", port) for number in range(10_000)]

    def hear(addresses):
        names._hear_one(Answer("pool.example", port, tuple(addresses), None), air.now)
        return path.targets

    assert hear(many) == tuple(many[:ADDRESSES])
    assert path.target == many[0]
    for turn in range(1_000, 10_000, 1_000):
        targets = hear(many[turn:] + many[:turn])
        assert (len(targets), path.target) == (ADDRESSES, many[0])
        assert set(targets) < {many[0], *many[turn : turn + ADDRESSES]}
    assert len(air.fleet._roster._known_by) == ADDRESSES
    assert hear(many[5_000:]) == tuple(many[5_000 : 5_000 + ADDRESSES])
    assert path.target == many[5_000]
