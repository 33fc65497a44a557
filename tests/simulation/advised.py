"""The advisor against the detector: false DOWN predicted from what was measured before.

One fleet is measured, with some number of retries; what the advisor makes of it is then held
against what another fleet suffers, with another number, on the same kind of network.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from hbd.core.advisor import DAY, Measured, advise, false_downs_a_day
from hbd.core.model import MILLISECOND, SECOND, Timing
from tests.simulation.classes import (
    HOUR,
    PEERS,
    Referee,
    Row,
    Tally,
    quick_world,
    run_skipping,
    with_witnesses,
)
from tests.simulation.world import Air

HALF = 500 * MILLISECOND
MEASURING = 0.25
"""So much of the time is measured before."""
SHARE_LATE = 0.0005
"""Of the hours, for each run in which nothing is skipped."""


class Case(NamedTuple):
    """A network, a setting that is measured and one that is predicted."""

    loss: float
    """Of round trips, one by one,"""
    bad: float
    """and the share of the time in which all are lost,"""
    burst: int
    """so long at a time on average."""
    measured: int
    """Retries."""
    retries: int
    interval: int
    share: float
    """Of the hours: for at least 100 false DOWN."""

    @property
    def words(self) -> str:
        bursts = f"{self.bad:.1%} in bursts of {self.burst / SECOND:g} s"
        parts = [f"{self.loss:.1%}"] * (self.loss > 0) + [bursts] * (self.bad > 0)
        return (
            f"loss {' and '.join(parts)}, every {self.interval // SECOND} s,"
            f" {self.measured} retries measured, {self.retries} predicted"
        )


INDEPENDENT = (
    Case(0.001, 0, 1, 3, 0, 10 * SECOND, 0.21),
    Case(0.003, 0, 1, 3, 1, 1 * SECOND, 0.42),
    Case(0.01, 0, 1, 3, 1, 4 * SECOND, 0.20),
    Case(0.03, 0, 1, 3, 1, 10 * SECOND, 0.10),
    Case(0.1, 0, 1, 1, 2, 10 * SECOND, 0.07),
)
BURSTS = (
    Case(0, 0.001, HALF, 3, 3, 5 * SECOND, 0.55),
    Case(0, 0.003, HALF, 2, 3, 5 * SECOND, 0.20),
    Case(0, 0.01, HALF, 1, 3, 10 * SECOND, 0.10),
    Case(0.005, 0.005, SECOND, 3, 5, 10 * SECOND, 0.20),
    Case(0, 0.03, SECOND, 3, 5, 10 * SECOND, 0.05),
    Case(0, 0.1, SECOND, 3, 6, 10 * SECOND, 0.05),
)


def independent(seed: int, hours: float) -> Tally:
    """Loss from 0.1 to 10 %, each round trip by itself."""
    return _advised("independent", INDEPENDENT, seed, hours)


def bursts(seed: int, hours: float) -> Tally:
    """Loss from 0.1 to 10 %, in bursts about as long as a timeout or two."""
    return _advised("bursts", BURSTS, seed, hours)


def _advised(name: str, cases: tuple[Case, ...], seed: int, hours: float) -> Tally:
    tally = Tally(f"advised-{name}", seed)
    for number, case in enumerate(cases):
        mine = seed + 10 * number
        measured = _measured(mine, case, tally, MEASURING * case.share * hours)
        timing = Timing(case.interval, HALF, case.retries, 2)
        before, began = tally.false, tally.peer_time
        _run(mine + 5, case, timing, tally, (1 - MEASURING) * case.share * hours)
        a_day = false_downs_a_day(measured.chances(HALF), timing)
        predicted = a_day * (tally.peer_time - began) / DAY
        tally.rows.append(Row(case.words, predicted, tally.false - before))
    return _summed(tally)


def _summed(tally: Tally) -> Tally:
    tally.expected = sum(row.predicted for row in tally.rows)
    tally.false = sum(row.seen for row in tally.rows)
    return tally


def _measured(seed: int, case: Case, tally: Tally, hours: float) -> Measured:
    """Give what all the peers of a fleet have counted."""
    timing = Timing(case.interval, HALF, case.measured, 2)
    world = _run(seed, case, timing, tally, hours)
    rounds = _added([peer.paths[0] for peer in world.fleet.peers.values()])
    rounds[0] += sum(link.skipped for link in world.links.values())
    return Measured(HALF, case.measured, tuple(rounds))


def _added(paths) -> list[int]:
    """Add up the rounds of several paths."""
    return [
        sum(counts) for counts in zip_longest(*(path.rounds.ended for path in paths), fillvalue=0)
    ]


def _run(seed: int, case: Case, timing: Timing, tally: Tally, hours: float):
    world = quick_world(seed)
    links = with_witnesses(world, timing)
    for link in links:
        link.air = Air(world.dice, case.loss, case.bad, case.burst)
    run_skipping(world, links, tally, hours)
    return world


def late(seed: int, hours: float) -> Tally:
    """Replies that take 0 to 0.8 s, and 10 % of them lost; the advisor asks for a longer timeout.

    Nothing can be skipped, as hardly a round is answered at once: few hours, but eventful ones.
    """
    tally = Tally("advised-late", seed)
    timing = Timing(SECOND, HALF, 1, 2)
    rounds, overdue, slowest = _run_late(seed, replace(timing, retries=3), tally, hours)
    measured = Measured(HALF, 3, tuple(rounds), overdue, slowest)
    advised = replace(advise(timing, measured).better, retries=1)
    for number, one in enumerate((timing, advised), start=1):
        before, began = tally.false, tally.peer_time
        _run_late(seed + number, one, tally, hours)
        a_day = false_downs_a_day(measured.chances(one.timeout), one)
        predicted = a_day * (tally.peer_time - began) / DAY
        words = f"loss 10.0%, replies within 800 ms, timeout {one.timeout // MILLISECOND} ms"
        tally.rows.append(Row(words, predicted, tally.false - before))
    assert advised.timeout > timing.timeout
    return _summed(tally)


def _run_late(seed: int, timing: Timing, tally: Tally, hours: float) -> tuple[list[int], int, int]:
    """Give what all the peers of a fleet have counted, and the slowest reply of late."""
    world = quick_world(seed)
    for link in with_witnesses(world, timing):
        link.air = Air(world.dice, 0.1)
        link.delay, link.spread = 0, 400 * MILLISECOND
    Referee(world, tally)
    world.run(int(hours * SHARE_LATE * HOUR / PEERS))
    tally.peer_time += hours * SHARE_LATE * HOUR
    tally.heartbeats += world.heartbeats
    paths = [world.path(f"10.0.1.{n}") for n in range(PEERS)]
    slowest = max(max(path.figures.window.rtts()) for path in paths)
    return _added(paths), sum(path.rounds.overdue for path in paths), slowest


CLASSES = {f"advised-{one.__name__}": one for one in (independent, bursts, late)}
