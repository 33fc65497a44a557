"""What one heartbeat costs: hbd against a monitor in C that does the same (monitor.c).

The two take turns, as two cores hold only one of them and its reflector undisturbed: hbd is
started, comes up, is measured and ended; the monitor in C, which pauses meanwhile, goes, comes up
and is measured; and so on. A heartbeat counts once its request has come to the reflector, which
polls: the one who sends to it pays for no wake-up.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.bench.lab import Cost, Lab, Pairs
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.programs import Monitor, Reflector


def open_1000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-1000", 1_000, "<= 1.8 x C")


def open_10000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-10000", 10_000, "<= 1.4 x C")


def open_50000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "open-50000", 50_000, "<= 1.4 x C")


def authenticated_10000(lab: Lab) -> Iterator[Row]:
    yield _against_c(lab, "authenticated-10000", 10_000, "<= 1.7 x C", keyed=True)


def _against_c(lab: Lab, name: str, peers: int, goal: str, *, keyed: bool = False) -> Row:
    peers = 200 if lab.quick else peers
    pairs, starts, ups, lost = Pairs([], []), [], [], 0
    with (
        lab.reflector(keyed=keyed) as reflector,
        lab.monitor(peers, keyed=keyed) as monitor,
    ):
        for _ in range(lab.runs):
            started, up, ours, unanswered = _hbd(lab, peers, reflector, keyed=keyed)
            pairs.ours.append(ours)
            pairs.theirs.append(_monitor(lab, monitor, reflector))
            starts.append(started)
            ups.append(up)
            lost += unanswered
            lab.say(f"{name}: hbd {ours.usec:.2f} us, C {pairs.theirs[-1].usec:.2f} us")
        c_lost = monitor["lost"] + monitor["refused"]
    mode = "with HMACs" if keyed else "open"
    ours, theirs = pairs.usec
    reached = statistics.median(cost.rate for cost in pairs.ours)
    beside = statistics.median(cost.rate for cost in pairs.theirs)
    return Row(
        name=name,
        what=f"CPU per heartbeat, {peers:,} peers at 1 s, {mode}",
        figure=f"{ours:.2f} us",
        other=f"C: {theirs:.2f} us",
        ratio=pairs.ratio,
        goal=goal,
        remarks=f"minima {pairs.ratio_of_minima:.2f}; {reached:,.0f}/s against {beside:,.0f}/s;"
        f" up {min(ups):,}; lost {lost}, C {c_lost}; configuration read and started in"
        f" {statistics.median(starts):.1f} s",
        facts={
            "peers": peers,
            "up": min(ups),
            "lost": lost,
            "c_lost": c_lost,
            "usec": [cost.usec for cost in pairs.ours],
            "c_usec": [cost.usec for cost in pairs.theirs],
        },
    )


def _hbd(
    lab: Lab, peers: int, reflector: Reflector, *, keyed: bool
) -> tuple[float, int, Cost, int]:
    """Give the seconds of its start, how many peers came up, the cost and what it lost."""
    with lab.hbd(peers, keyed=keyed) as hbd:
        up = hbd.all_up()
        cost = lab.cost(hbd.pid, reflector)
        return hbd.started_in, up, cost, hbd.counts().lost


def _monitor(lab: Lab, monitor: Monitor, reflector: Reflector) -> Cost:
    monitor.all_up()
    cost = lab.cost(monitor.pid, reflector)
    monitor.pause()
    return cost
