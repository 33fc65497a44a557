"""What is told beside a cause, and what becomes of it later: by a real daemon."""

import contextlib

import figures
import pytest
from topology import ADDRESS, DETECTION, MARGIN, ROUTER, Fake, peer, peers, stateless

pytestmark = [pytest.mark.root, pytest.mark.slow]


def dropping(lab):
    return lab.ruled(lab.hosts["a"], "input", "udp dport 862 drop")


def dropping_all(lab, *but, host="a"):
    """A firewall that lets nothing in from us; the neighbours' questions are no business of it."""
    ours = "ip saddr 10.1.0.1 drop", "ip6 saddr fd01::1 drop"
    return lab.ruled(lab.hosts[host], "input", *but, *ours)


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
        assert ("its next link takes 1300 octets" in told) is is_told
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
        # One of these looks is at a moment when none is on its way.
        looks = [monitor.status("a4") for _ in range(5)]
        before = min(looks, key=lambda look: look["sent"] - look["received"])
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
    # Of the first that are lost it may not be known yet, and that is said.
    words = ("% on the way there, ", "direction not known: the reflector's count does not tell")
    assert any(told in verdict["HBD_EVIDENCE"] for told in words)
    assert words[0] in " ".join(after["evidence"])
    # All are among the last 100, and replies came before the first loss and after the last one.
    assert before["received"] > 0
    assert after["sent"] <= 100
    told = (after["loss_out_percent"], after["loss_in_percent"])
    assert told in tellable(after["sent"], lost_there, lost_back)


def tellable(sent, there, back):
    """Give what may be told of each direction where so many were lost on the way.

    The first heartbeat, and one after the last reply, are not of the span that is told. Nor are
    those lost in a row beside which a probe was sent, which is once at the most.
    """
    spans = [(sent - less, 0, 0) for less in (1, 2)]
    spans += [(sent - less - t - b, t, b) for less in (2, 3) for t in range(10) for b in range(10)]
    return {
        (round(100 * (there - t) / span, 1), round(100 * (back - b) / (span - there + t), 1))
        for span, t, b in spans
        if t <= there and b <= back
    }
