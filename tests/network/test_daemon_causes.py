"""Every cause by which a peer is down, made for real and told by a real daemon.

The last table of the run says what was expected, what was told, and how long it took.
"""

import contextlib
from typing import NamedTuple

import figures
import pytest
from topology import ADDRESS, DETECTION, MARGIN, ROUTER, Fake, peer, peers, stateless

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Case(NamedTuple):
    """A fault, and what is to be told of the peers that have it."""

    name: str
    cause: str
    evidence: str
    """With the peer's address and the router's."""
    make: object
    ill: tuple[str, ...] = ("a4", "a6")
    well: tuple[str, ...] = ("b4", "b6")
    first: str | None = None
    """What may be told first, where the evidence can come after the deadline."""


def stopped(lab):
    return lab.stopped("a")


def rejecting(v4, v6):
    """A router that refuses what goes to host a."""
    return lambda lab: lab.ruled(
        lab.router,
        "forward",
        f"ip daddr {ADDRESS['a4']} reject with icmp type {v4}",
        f"ip6 daddr {ADDRESS['a6']} reject with icmpv6 type {v6}",
    )


def rejecting_itself(lab):
    """A firewall on the host that claims that nothing listens."""
    return lab.ruled(lab.hosts["a"], "input", "udp dport 862 reject")


def dropping(lab):
    return lab.ruled(lab.hosts["a"], "input", "udp dport 862 drop")


def dropping_replies(lab):
    return lab.ruled(lab.hosts["a"], "output", "udp sport 862 drop")


def dropping_on_the_way(lab):
    to_a = f"ip daddr {ADDRESS['a4']}", f"ip6 daddr {ADDRESS['a6']}"
    return lab.ruled(lab.router, "forward", *(f"{to} udp dport 862 drop" for to in to_a))


def dropping_all(lab, *but, host="a"):
    """A firewall that lets nothing in from us; the neighbours' questions are no business of it."""
    ours = "ip saddr 10.1.0.1 drop", "ip6 saddr fd01::1 drop"
    return lab.ruled(lab.hosts[host], "input", *but, *ours)


def dropping_but_tcp(lab):
    return dropping_all(lab, "meta l4proto tcp accept")


@contextlib.contextmanager
def off_on_link(lab):
    with lab.off(lab.hosts["d"]):
        lab.monitor.ip("neigh flush dev two")
        yield


def off_behind_router(lab):
    return lab.off(lab.hosts["a"])


@contextlib.contextmanager
def without_route(lab):
    """The router forgets the way to one subnet, not to the others."""
    lab.router.ip("route del 10.12.0.0/24 dev to-c")
    lab.router.ip("-6 route del fd12::/64 dev to-c")
    try:
        yield
    finally:
        lab.router.ip("route add 10.12.0.0/24 dev to-c src 10.12.0.1")
        lab.router.ip("-6 route add fd12::/64 dev to-c")
        lab.router.ip("route replace 10.13.0.0/24 via 10.12.0.2")
        lab.router.ip("-6 route replace fd13::/64 via fd12::2")


@contextlib.contextmanager
def looping(lab):
    """The last router sends back what is for host e."""
    far = lab.hosts["c"]
    far.ip("route replace 10.13.0.2/32 via 10.12.0.1")
    far.ip("-6 route replace fd13::2/128 via fd12::1")
    try:
        yield
    finally:
        far.ip("route del 10.13.0.2/32")
        far.ip("-6 route del fd13::2/128")


@contextlib.contextmanager
def another_program(lab):
    """Something that is no reflector has taken the port."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(lab.stopped("a"))
        for name in ("a4", "a6"):
            fake = Fake(lab.hosts["a"], ADDRESS[name], 862, lambda _: b"hello")
            stack.enter_context(fake)
        yield


CASES = [
    Case("hbd stopped", "port-closed", "ICMP port unreachable from {peer}", stopped),
    Case(
        "router: admin prohibited",
        "rejected",
        "administratively prohibited from {router}",
        rejecting("admin-prohibited", "admin-prohibited"),
    ),
    Case(
        "router: host prohibited, policy",
        "rejected",
        "from {router}",
        rejecting("host-prohibited", "policy-fail"),
    ),
    Case(
        "router: port unreachable",
        "rejected",
        "ICMP port unreachable from {router}",
        rejecting("port-unreachable", "port-unreachable"),
    ),
    Case("host: firewall rejects", "port-closed", "port unreachable from {peer}", rejecting_itself),
    Case("host off behind router", "host-unreachable", "from {router}", off_behind_router),
    Case(
        "host off on our link",
        "host-unreachable",
        "{peer}, which is on our link, does not answer ARP or ND",
        off_on_link,
        ("d4", "d6"),
        ("f4", "f6"),
    ),
    Case(
        "router without the route",
        "net-unreachable",
        "from {router}",
        without_route,
        ("c4", "c6"),
        first="silent",
    ),
    Case("routing loop", "routing-loop", "exceeded from ", looping, ("e4", "e6"), ("b4", "b6")),
    Case("host drops heartbeats", "filtered", "the host answers ICMP echo", dropping),
    Case("host drops replies", "filtered", "the host answers ICMP echo", dropping_replies),
    Case("router drops heartbeats", "filtered", "the host answers ICMP echo", dropping_on_the_way),
    Case("host drops all but TCP", "filtered", "answers TCP port 862 (refuses", dropping_but_tcp),
    Case("host drops everything", "silent", "no reply, no ICMP error", dropping_all),
    Case(
        "another program there",
        "bad-reply",
        "replies of 5 octets",
        another_program,
        first="port-closed",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_each_fault_has_its_cause(lab, case):
    """A fault is told in time, with its cause, its evidence and as an error; others stay up."""
    with lab.watch(peers(*case.ill, *case.well)) as monitor:
        since = monitor.all_up().count()
        with case.make(lab):
            for name in case.ill:
                verdict = monitor.told(name, since, state="down")
                if verdict["HBD_CAUSE"] == case.first:
                    verdict |= monitor.told(name, since, state="down", cause=case.cause) | {
                        key: verdict[key] for key in ("PRIORITY", "HBD_DETECTION_USEC")
                    }
                figures.note(case.name, verdict, ("down", case.cause), DETECTION)
                assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == (case.cause, "3")
                assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
                words = case.evidence.format(peer=ADDRESS[name], router=ROUTER[name[1]])
                assert words in verdict["HBD_EVIDENCE"]
                assert "cannot be told apart" not in verdict["HBD_EVIDENCE"]
            assert all(monitor.changes(name, since) == [] for name in case.well)


def test_silence_never_claims_that_the_host_is_down(lab):
    """What is silent may be a firewall's DROP, and both message and evidence say so."""
    with lab.watch(peers("a4", "b4")) as monitor:
        since = monitor.all_up().count()
        with dropping_all(lab):
            verdict = monitor.told("a4", since, cause="silent")
    assert "firewall's DROP" in verdict["HBD_EVIDENCE"]
    assert "host is down" not in verdict["MESSAGE"] + verdict["HBD_EVIDENCE"]


@pytest.mark.parametrize(("name", "hop", "away"), [("a", 1, 2), ("e", 2, 3)])
@pytest.mark.parametrize("family", "46")
def test_silence_says_how_far_heartbeats_get(lab, name, family, hop, away):
    """The last router that answers is named, beside the hops of better days and all that failed."""
    last = {"a": ROUTER, "e": {"4": "10.12.0.2", "6": "fd12::2"}}[name][family]
    with lab.watch(peers(f"{name}{family}", "b4")) as monitor:
        monitor.all_up()
        with dropping_all(lab, host=name):
            words = f"that answers is hop {hop} ({last}); when the peer answered it was {away} hops"
            monitor.until(lambda: words in _evidence(monitor, f"{name}{family}"))
        assert "no answer to ICMP echo nor to TCP" in _evidence(monitor, f"{name}{family}")


def test_what_the_kernel_forbids_is_said(lab):
    """Without a ping group nothing is known of ICMP echo, and nothing is guessed."""
    lab.monitor.sysctl("ipv4.ping_group_range", "1 0")
    try:
        with lab.watch(peers("a4", "b4")) as monitor:
            monitor.all_up()
            with dropping_all(lab):
                monitor.until(lambda: "no answer to TCP" in _evidence(monitor, "a4"))
                told = _evidence(monitor, "a4")
        assert "net.ipv4.ping_group_range" in told
        assert "no answer to ICMP echo" not in told
    finally:
        lab.monitor.sysctl("ipv4.ping_group_range", "0 2147483647")


def _evidence(monitor, name):
    return "\n".join(monitor.status(name)["evidence"])


@pytest.mark.parametrize("family", "46")
@pytest.mark.parametrize("is_told", [True, False], ids=["ICMP", "black-hole"])
def test_a_way_too_narrow_has_its_cause(lab, family, is_told):
    """Padded heartbeats do not pass: a router says so, or only the small ones are answered."""
    name = f"c{family}"
    with lab.watch([peer(name, size=1400), peer("b4")]) as monitor:
        since = monitor.all_up().count()
        with narrow(lab, is_told=is_told):
            verdict = monitor.told(name, since, state="down")
            if verdict["HBD_CAUSE"] != "mtu":
                verdict |= {"HBD_CAUSE": monitor.told(name, since, cause="mtu")["HBD_CAUSE"]}
            told = _evidence(monitor, name)
        figures.note("way too narrow", verdict, ("down", "mtu"), DETECTION)
        assert ("1400 octets at once" in told or "too big" in told or "needed" in told) is is_told
        assert ("heartbeats without padding are answered, none of 1400" in told) is not is_told
        monitor.told(name, since, state="up")


@contextlib.contextmanager
def narrow(lab, *, is_told):
    """A link of 1,300 octets on the way, by a router that says so or one that does not."""
    if not is_told:
        with lab.ruled(lab.router, "forward", "udp dport 862 meta length > 1300 drop"):
            yield
        return
    lab.router.ip("link set to-c mtu 1300")
    try:
        yield
    finally:
        lab.router.ip("link set to-c mtu 1500")
        lab.monitor.ip("route flush cache")
        lab.monitor.ip("-6 route flush cache")


def test_later_evidence_refines_the_cause(lab):
    """The verdict does not wait for evidence; what comes later is one further entry at info."""
    reject = f"ip daddr {ADDRESS['a4']} reject with icmp type admin-prohibited"
    with lab.watch(peers("a4", "b4")) as monitor:
        since = monitor.all_up().count()
        with dropping_all(lab):
            monitor.told("a4", since, cause="silent")
            with lab.ruled(lab.router, "forward", reject):
                refined = monitor.told("a4", since, cause="rejected")
        assert refined["HBD_STATE"] == refined["HBD_PREVIOUS_STATE"] == "down"
        assert refined["PRIORITY"] == "6"
        assert monitor.changes("a4", since) == [("down", "silent"), ("down", "rejected")]


def test_a_peer_that_answers_again_is_up_in_time(lab):
    """Recovery takes at most one spacing of probes and `rise` timeouts."""
    with lab.watch(peers("a4", "b4")) as monitor:
        since = monitor.all_up().count()
        with dropping(lab):
            monitor.told("a4", since, state="down")
        verdict = monitor.told("a4", since, state="up", seconds=3 + 2 * 0.1 + 2 * MARGIN)
    assert verdict["PRIORITY"] == "5"
    assert "up again" in verdict["MESSAGE"]


@pytest.mark.parametrize("delay", [0.03])
def test_a_slow_reflector_is_degraded(lab, delay):
    """A peer whose median RTT is over max_rtt is degraded as slow, until it is fast again."""
    watched = [peer("slow", "10.11.0.2", port=8001, max_rtt="20ms"), peer("b4")]
    with Fake(lab.hosts["a"], "10.11.0.2", 8001, stateless) as fake, lab.watch(watched) as monitor:
        since = monitor.all_up().count()
        fake.delay = delay
        verdict = monitor.told("slow", since, state="degraded")
        assert verdict["HBD_CAUSE"] == "slow"
        assert verdict["PRIORITY"] == "4"
        assert int(verdict["HBD_RTT_USEC"]) >= delay * 1e6
        figures.note("replies 30 ms late", verdict, ("degraded", "slow"), 20 * 0.2)
        fake.delay = 0.0
        monitor.told("slow", since, state="up")


LOST = 30


def test_loss_is_counted_as_it_is(lab):
    """Each heartbeat that a firewall counts as dropped is lost, no other; the peer is lossy."""
    host = lab.hosts["a"]
    quick = {"interval": "50ms", "timeout": "30ms", "retries": 10, "max_loss": "10%"}
    lossy = f"ip saddr 10.1.0.1 udp dport 862 numgen random mod 100 < {LOST} counter drop"
    with lab.watch([peer("a4", **quick), peer("b4")]) as monitor:
        since = monitor.all_up().count()
        before = monitor.status("a4")
        with lab.ruled(host, "input", lossy):
            verdict = monitor.told("a4", since, state="degraded")
            monitor.until(lambda: monitor.status("a4")["sent"] >= before["sent"] + 150)
            share = monitor.status("a4")["loss_percent"]
            # All is lost in the end, so that none is on its way while we count.
            host.block("input", "ip saddr 10.1.0.1 udp dport 862 counter drop", table="end")
            monitor.told("a4", since, state="down")
            dropped = sum(dropped_by(host, table) for table in ("fault", "end"))
            after = monitor.status("a4")
            host.unblock("end")
    assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == ("lossy", "4")
    figures.note("30 % of heartbeats dropped", verdict, ("degraded", "lossy"), 100 * 0.05)
    lost = after["sent"] - after["received"] - (before["sent"] - before["received"])
    assert lost == dropped
    # Of 100, four standard deviations of a share of 0.3 are 0.18.
    assert abs(share - LOST) <= 18


def dropped_by(host, table):
    """Read the counter of the one rule of a table."""
    (dropped,) = counted_by(host, table)
    return dropped


def counted_by(host, table):
    """Read the counters of a table's rules, in their order."""
    rules = host.run("nft", "list", "table", "inet", table)
    return [int(rest.split()[0]) for rest in rules.split("packets ")[1:]]


@pytest.mark.parametrize(("there", "back"), [(25, 5), (5, 25)])
def test_loss_is_split_by_direction(lab, there, back):
    """What a router drops of heartbeats and of replies is what status tells of each direction."""
    quick = {"interval": "50ms", "timeout": "30ms", "retries": 10, "max_loss": "2%"}
    lossy = (
        f"ip daddr {ADDRESS['a4']} udp dport 862 numgen random mod 100 < {there} counter drop",
        f"ip saddr {ADDRESS['a4']} udp sport 862 numgen random mod 100 < {back} counter drop",
    )
    with lab.watch([peer("a4", **quick), peer("b4")]) as monitor:
        since = monitor.all_up().count()
        before = monitor.status("a4")
        assert (before["loss_out_percent"], before["loss_in_percent"]) == (0.0, 0.0)
        with lab.ruled(lab.router, "forward", *lossy):
            verdict = monitor.told("a4", since, state="degraded")
            monitor.until(lambda: monitor.status("a4")["sent"] >= 60)
            # None is dropped any more while we count.
            lab.router.run("nft", "insert", "rule", "inet", "fault", "forward", "accept")
            lost_there, lost_back = counted_by(lab.router, "fault")
        mark = monitor.status("a4")["received"]
        monitor.until(lambda: monitor.status("a4")["received"] >= mark + 2)
        after = monitor.status("a4")
    assert "% on the way there, " in verdict["HBD_EVIDENCE"]
    # All are among the last 100, and replies came before the first loss and after the last one.
    assert before["received"] > 0
    assert after["sent"] <= 100
    # The first and those after the last reply are not of the span that is told.
    sent = after["sent"] - 1.5
    assert after["loss_out_percent"] == pytest.approx(100 * lost_there / sent, rel=0.02, abs=0.1)
    replies = sent - lost_there
    assert after["loss_in_percent"] == pytest.approx(100 * lost_back / replies, rel=0.02, abs=0.1)
