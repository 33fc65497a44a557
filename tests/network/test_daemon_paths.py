"""Several addresses, parents, chosen interfaces, and interfaces that change under a daemon."""

import re

import figures
import pytest
from topology import ADDRESS, DETECTION, MARGIN, Daemon, peer, peers

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_one_of_two_addresses_cut_is_degraded(lab):
    """A peer that answers on one address only is degraded, with the other's own cause."""
    both = peer("ab", [ADDRESS["a4"], ADDRESS["a6"]])
    with lab.watch([both, *peers("b4", "b6")]) as monitor:
        since = monitor.all_up().count()
        with lab.ruled(lab.hosts["a"], "input", "meta nfproto ipv6 udp dport 862 drop"):
            verdict = monitor.told("ab", since, state="degraded")
            figures.note("one of two addresses cut", verdict, ("degraded", "path-down"), DETECTION)
            assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == ("path-down", "4")
            assert verdict["HBD_ADDRESS"] == ADDRESS["a6"]
            assert f"{ADDRESS['a6']}: filtered" in verdict["HBD_EVIDENCE"]
            states = {path["address"]: path["state"] for path in monitor.status("ab")["paths"]}
            assert states == {ADDRESS["a4"]: "up", ADDRESS["a6"]: "down"}
        monitor.told("ab", since, state="up")


QUICK = {"interval": "50ms", "timeout": "30ms", "retries": 1}
SLOW = {"interval": "400ms", "timeout": "200ms", "retries": 2}


@pytest.mark.parametrize(
    ("timing", "expected"),
    [(SLOW, ["unreachable"]), (QUICK, ["down", "unreachable"])],
    ids=["parent-first", "child-first"],
)
def test_behind_a_dead_router_is_unreachable(lab, timing, expected):
    """Who is behind a router that is off is unreachable, whoever of both is judged first."""
    formula = sum(int(timing[key][:-2]) for key in ("interval", "timeout")) / 1e3
    formula += timing["retries"] * int(timing["timeout"][:-2]) / 1e3
    family = {
        f"child{version}": peer(f"child{version}", ADDRESS[f"e{version}"], via=f"c{version}")
        for version in "46"
    }
    watched = [*peers("c4", "c6", "b4", "b6"), *(child | timing for child in family.values())]
    with lab.watch(watched) as monitor:
        since = monitor.all_up().count()
        with lab.off(lab.hosts["c"]):
            for version in "46":
                gateway = monitor.told(f"c{version}", since, state="down")
                figures.note(
                    "router of others off", gateway, ("down", "host-unreachable"), DETECTION
                )
                child = monitor.told(f"child{version}", since, state="unreachable")
                if expected[0] == "down":
                    # It was judged twice: its own detection time is that of the first verdict.
                    first = monitor.told(f"child{version}", since, state="down")
                    assert int(first["HBD_DETECTION_USEC"]) / 1e6 <= formula + MARGIN
                    del child["HBD_DETECTION_USEC"]
                figures.note(
                    "behind a router that is off", child, ("unreachable", "parent-down"), formula
                )
                assert (child["HBD_CAUSE"], child["PRIORITY"]) == ("parent-down", "4")
                assert f"via c{version}: down" in child["HBD_EVIDENCE"]
                told = [state for state, _ in monitor.changes(f"child{version}", since)]
                assert list(dict.fromkeys(told)) == expected  # a cause may become known better
            assert monitor.changes("b4", since) == []
        lab.hosts["c"].ip("-6 route replace fd13::/64 dev to-e")
        for name in ("c4", "child4", "c6", "child6"):
            monitor.told(name, since, state="up")


def test_interface_and_source_decide_the_way(lab):
    """`interface:` and `source:` are what heartbeats leave by, and what they are judged by."""
    watched = [
        peer("by-one", "10.1.0.254", interface="one"),
        peer("by-two", "10.2.0.2", interface="two"),
        peer("from-two", "10.2.0.3", source="10.2.0.1"),
        peer("wrong-way", "10.2.0.2", interface="one"),
        peer("no-such", "10.2.0.2", interface="three"),
        peer("not-ours", "10.2.0.2", source="10.9.9.9"),
    ]
    good = ("by-one", "by-two", "from-two")
    with lab.watch(watched) as monitor:
        for name in good:
            monitor.told(name, state="up")
        egresses = {p["name"]: p["paths"][0]["egress"] for p in monitor.status()["peers"]}
        assert [egresses[name] for name in good] == ["one", "two", "two"]
        since = monitor.count()
        for name in ("no-such", "not-ours"):
            assert monitor.told(name, state="unknown")["HBD_CAUSE"] in ("own-link", "no-route")
        monitor.told("wrong-way", state="down")
        with lab.off(lab.monitor, "one"):
            verdict = monitor.told("by-one", since, state="unknown")
            assert verdict["HBD_CAUSE"] == "own-link"
            assert not monitor.changes("by-two", since)
        monitor.told("by-one", since, state="up")


def test_the_daemon_outlives_its_interfaces(lab):
    """An interface that gets other addresses, goes and comes back costs no restart."""
    watched = [*peers("a4", "b4", "d4"), peer("bound", ADDRESS["b4"], interface="one")]
    with lab.watch(watched) as monitor:
        since = monitor.all_up().count()
        for before, after in (("1", "9"), ("9", "1")):
            lab.monitor.ip(f"addr del 10.1.0.{before}/24 dev one")
            lab.monitor.ip(f"addr add 10.1.0.{after}/24 dev one")
            lab.route_monitor()
            mark = monitor.status("a4")["received"]
            monitor.until(lambda mark=mark: monitor.status("a4")["received"] >= mark + 5)
        assert not monitor.changes("a4", since)
        for _ in range(2):
            mark = monitor.count()
            lab.monitor.ip("link del one")
            for name in ("a4", "bound"):
                assert monitor.told(name, mark, state="unknown")["HBD_CAUSE"] == "own-link"
            lab.plug_monitor("one")
            lab.route_monitor()
            for name in ("a4", "b4", "bound"):
                monitor.told(name, mark, state="up")
        assert monitor.changes("d4", since) == []
        assert not any(state == "down" for state, _ in monitor.changes("a4", since))


DEAD = 60


def test_an_interface_that_failed_unnoticed_is_not_blamed_later(lab):
    """Who was heard after its interface was gone leaves by another, and is down when it dies."""
    with lab.watch(peers("d4", "f4")) as monitor:
        since = monitor.all_up().count()
        try:
            rename(lab.monitor, "two", "deux")
            monitor.until(lambda: monitor.status("d4")["paths"][0]["egress"] == "deux")
            with lab.stopped("d"):
                verdict = monitor.told("d4", since)
                assert (verdict["HBD_STATE"], verdict["HBD_CAUSE"]) == ("down", "port-closed")
        finally:
            rename(lab.monitor, "deux", "two")
        monitor.told("d4", since, state="up")
        assert monitor.changes("f4", since) == []


BOUND = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


def test_a_silent_name_that_moved_is_followed(lab, tmp_path):
    """Who is silent is asked for by name again soon; of two addresses the evidence says which."""
    hosts = tmp_path / "hosts"

    def stand_for(*names):
        hosts.write_text("".join(f"{ADDRESS[name]} moving.test\n" for name in names))

    stand_for("a4", "b4")
    watched = [peer("moving", "moving.test"), *peers("c4", "d4")]
    with Daemon(lab.monitor, wrap=(*BOUND, str(hosts)), peers=watched) as monitor:
        since = monitor.all_up().count()
        refused = "ip daddr { 10.11.0.2, 10.11.0.3 } udp dport 862 reject with icmp"
        with lab.ruled(lab.router, "forward", f"{refused} type admin-prohibited"):
            verdict = monitor.told("moving", since, state="down", cause="rejected")
            assert re.search(r"from 10\.1\.0\.254 about 10\.11\.0\.[23]", verdict["HBD_EVIDENCE"])
            stand_for("d4")
            monitor.told("moving", since, state="up", seconds=25)
            assert monitor.status("moving")["paths"][0]["target"] == ADDRESS["d4"]


def rename(host, before, after):
    """Give an interface another name; its addresses stay, and come up again at once."""
    for words in (f"{before} down", f"{before} name {after}", f"{after} up"):
        host.ip(f"link set {words}")


def test_a_healthy_peer_misses_nothing_beside_many_dead_ones(lab):
    """ICMP errors of many dead peers on one socket cost the healthy one no heartbeat."""
    extra = [f"10.11.0.{100 + number}" for number in range(DEAD)]
    for address in extra:
        lab.hosts["a"].ip(f"addr add {address}/24 dev uplink")
    try:
        quick = {"interval": "50ms", "timeout": "25ms", "retries": 3}
        watched = [
            peer("healthy", ADDRESS["b4"], interval="50ms", timeout="40ms"),
            *(peer(f"dead{n}", address, port=9, **quick) for n, address in enumerate(extra)),
        ]
        with lab.watch(watched) as monitor:
            monitor.until(lambda: monitor.states().get("healthy") == "up")
            for number in range(DEAD):
                monitor.told(f"dead{number}", state="down", cause="port-closed")
            monitor.until(lambda: monitor.status("healthy")["sent"] >= 150)
            status = monitor.status("healthy")
            assert status["sent"] - status["received"] <= 1  # on its way
            assert (status["late"], status["state"]) == (0, "up")
            assert len(monitor.changes("healthy")) == 1
    finally:
        for address in extra:
            lab.hosts["a"].ip(f"addr del {address}/24 dev uplink")


def refusing(lab, host):
    """A router that says that it has no way to host e."""
    return lab.ruled(
        host,
        "forward",
        f"ip daddr {ADDRESS['e4']} reject with icmp type net-unreachable",
        f"ip6 daddr {ADDRESS['e6']} reject with icmpv6 type no-route",
    )


def two_of_host_e(version):
    """Two peers that nobody else can vouch for."""
    name = f"e{version}"
    return [peer(name), peer("too", ADDRESS[name], interval="210ms")]


@pytest.mark.parametrize("version", ["4", "6"])
def test_a_refusal_from_beyond_the_next_hop_is_a_witness(lab, version):
    """Where a router further on has no route, our own side is sound: its peers are down."""
    name = f"e{version}"
    with lab.watch(two_of_host_e(version)) as monitor:
        since = monitor.all_up().count()
        with refusing(lab, lab.hosts["c"]):
            for each in (name, "too"):
                verdict = monitor.told(each, since, state="down")
                figures.note(
                    "far router has no route", verdict, ("down", "net-unreachable"), DETECTION
                )
                assert verdict["HBD_CAUSE"] == "net-unreachable"
                assert "cannot be told apart" not in verdict["HBD_EVIDENCE"]


def link_local(host, interface):
    words = host.run("ip", "-6", "-o", "addr", "show", "dev", interface, "scope", "link").split()
    return words[words.index("inet6") + 1].partition("/")[0]


@pytest.mark.parametrize("known", ["itself", "by-another-address"])
@pytest.mark.parametrize("version", ["4", "6"])
def test_a_refusal_of_the_next_hop_is_no_witness(lab, version, known):
    """Where our own router has no route for anybody, the fault is on our side, and it answers."""
    name = f"e{version}"
    route = (
        "route replace 10.13.0.0/16 via {}"
        if version == "4"
        else "-6 route replace fd13::/64 via {}"
    )
    gateway = {"4": "10.1.0.254", "6": "fd01::fe"}[version]
    if known != "itself":  # as with VRRP, or a route learnt from the router's advertisement
        gateway = "10.1.0.253" if version == "4" else link_local(lab.router, "north")
        lab.router.ip("addr replace 10.1.0.253/24 dev north")
        lab.monitor.ip(f"{route.format(gateway)} dev one")
    try:
        with lab.watch(two_of_host_e(version)) as monitor:
            since = monitor.all_up().count()
            with refusing(lab, lab.router):
                for each in (name, "too"):
                    verdict = monitor.told(each, since, state="unknown")
                    figures.note(
                        "next hop has no route", verdict, ("unknown", "own-uplink"), DETECTION
                    )
                    assert verdict["HBD_CAUSE"] == "own-uplink"
                    assert f"the next hop {gateway} answers (ICMP" in verdict["HBD_EVIDENCE"]
    finally:
        lab.router.ip("addr flush dev north to 10.1.0.253")
        lab.route_monitor()


def test_behind_a_dead_next_hop_nobody_is_down(lab):
    """With the router off that is our only way out, it alone is down, who is behind unreachable."""
    watched = [peer("r4"), peer("a4", via="r4"), peer("b4", via="r4"), peer("d4")]
    with lab.watch(watched) as monitor:
        since = monitor.all_up().count()
        lab.switch.ip("link set p-r-north down")
        try:
            assert "cannot be told apart" in monitor.told("r4", since, state="down")["HBD_EVIDENCE"]
            for name in ("a4", "b4"):
                verdict = monitor.told(name, since, state="unreachable")
                assert verdict["HBD_CAUSE"] == "parent-down"
        finally:
            lab.switch.ip("link set p-r-north up")
        for name in ("r4", "a4", "b4"):
            monitor.told(name, since, state="up")
            assert ("down", "silent") not in monitor.changes(name, since) or name == "r4"
