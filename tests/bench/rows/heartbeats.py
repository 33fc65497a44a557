"""What one heartbeat costs: hbd against a monitor in C that does the same (monitor.c).

The two take turns, as two cores hold only one of them and its reflector undisturbed: hbd is
started, comes up, is measured and ended; the monitor in C, which pauses meanwhile, goes, comes up
and is measured; and so on. A heartbeat counts once its request has come to the reflector, which
polls: the one who sends to it pays for no wake-up.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.lab import Cost, Lab, Pairs
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.hbd import Hbd
    from tests.bench.programs import Monitor, Reflector


class Turn(NamedTuple):
    """One of hbd's."""

    started_in: float
    """Seconds."""
    up: int
    """Peers."""
    cost: Cost
    lost: int
    """Heartbeats, since it was started."""


def open_1000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-1000", 1_000, "<= 1.8 x C")


def open_10000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-10000", 10_000, "<= 1.4 x C")


def open_50000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-50000", 50_000, "<= 1.4 x C")


def authenticated_10000(lab: Lab) -> Iterator[Row]:
    with_, goal = "with HMACs", "<= 1.7 x C"
    yield _against_c(lab, "authenticated-10000", 10_000, goal, with_=with_, keyed=True)


def limits_10000(lab: Lab) -> Iterator[Row]:
    """Who has a max_rtt is looked at one by one until twenty were measured."""
    name, each = "limits-10000", {"max_loss": "5%", "max_rtt": "100ms"}
    with_ = "with max_loss and max_rtt"
    yield _against_c(lab, name, 10_000, "-", with_=with_, each=each, rest=25.0)


def untold_10000(lab: Lab) -> Iterator[Row]:
    """As other reflectors than hbd's are asked; C goes on with hbd's TLV."""
    yield _against_c(lab, "untold-10000", 10_000, "-", with_="without TLV", each={"tlv": "off"})


def rate_100000(lab: Lab) -> Iterator[Row]:
    """10,000 peers at 100 ms: as many heartbeats a second as a hundred thousand at 1 s."""
    peers = 200 if lab.quick else 10_000
    each = {"interval": "100ms", "timeout": "50ms"}
    with lab.reflector() as reflector, lab.hbd(peers, each=each) as hbd:
        up = hbd.all_are("up")
        cost = lab.cost(hbd.pid, lambda: reflector["received"], lab.span * 2)
        counts = hbd.counts()
    yield Row(
        name="rate-100000",
        what=f"{peers:,} peers at 100 ms: share of one core",
        figure=f"{cost.share:.0f} % at {cost.rate:,.0f}/s, lost {counts.lost:,}",
        goal=f"< 60 % at {10 * peers:,}/s or more, lost 0",
        remarks=f"{cost.usec:.2f} us for each; lost of {counts.sent:,}; up {up:,}",
        facts={"peers": peers, "up": up, "lost": counts.lost},
    )


def lost(lab: Lab) -> Iterator[Row]:
    """As long as ten million heartbeats take."""
    peers, span = (200, 2) if lab.quick else (50_000, 200)
    with lab.reflector() as reflector, lab.hbd(peers) as hbd:
        up = hbd.all_are("up")
        cost = lab.cost(hbd.pid, lambda: reflector["received"], span)
        counts = hbd.counts()
    yield Row(
        name="lost",
        what=f"heartbeats lost by us, {peers:,} peers at 1 s",
        figure=f"{counts.lost:,} of {counts.sent:,}",
        goal="0",
        remarks=f"{cost.rate:,.0f}/s, {cost.share:.0f} % of a core; up {up:,}",
        facts={"peers": peers, "up": up, "lost": counts.lost},
    )


def _against_c(
    lab: Lab,
    name: str,
    peers: int,
    goal: str,
    *,
    with_: str = "",
    keyed: bool = False,
    each: dict[str, str] | None = None,
    rest: float = 0.0,
) -> Row:
    peers = min(peers, 200) if lab.quick else peers
    turns, pairs = [], Pairs([], [])
    with lab.reflector(keyed=keyed) as reflector, lab.monitor(peers, keyed=keyed) as monitor:
        for _ in range(lab.runs):
            turns.append(_hbd(lab, reflector, lab.hbd(peers, keyed=keyed, each=each), rest))
            pairs.ours.append(turns[-1].cost)
            pairs.theirs.append(_monitor(lab, monitor, reflector))
            lab.say(f"{name}: hbd {pairs.ours[-1].usec:.2f} us, C {pairs.theirs[-1].usec:.2f} us")
        c_lost = monitor["lost"] + monitor["refused"]
    up, unanswered = min(turn.up for turn in turns), sum(turn.lost for turn in turns)
    started_in = statistics.median(turn.started_in for turn in turns)
    return pairs.row(
        name,
        ", ".join(filter(None, [f"CPU per heartbeat, {peers:,} peers at 1 s", with_])),
        "C",
        goal=goal,
        remarks=f"up {up:,}; lost {unanswered}, C {c_lost}; started in {started_in:.1f} s",
        facts={"peers": peers, "up": up, "lost": unanswered, "other_lost": c_lost},
    )


def _hbd(lab: Lab, reflector: Reflector, started: Hbd, rest: float) -> Turn:
    with started as hbd:
        up = hbd.all_are("up")
        time.sleep(rest)
        cost = lab.cost(hbd.pid, lambda: reflector["received"])
        return Turn(hbd.started_in, up, cost, hbd.counts().lost)


def _monitor(lab: Lab, monitor: Monitor, reflector: Reflector) -> Cost:
    monitor.all_up()
    cost = lab.cost(monitor.pid, lambda: reflector["received"])
    monitor.pause()
    return cost
