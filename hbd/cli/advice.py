"""What `hbd check` says of timing, by the advisor and by what the running daemon has measured."""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.cli.asking import FAILURES
from hbd.config.model import Problem
from hbd.config.values import show_duration
from hbd.core.advisor import MOSTLY, ORDINARY, Advice, Measured, advise
from hbd.core.model import MILLISECOND, WINDOW, PeerSettings, Way
from hbd.core.spans import roomy
from hbd.report.client import Client
from hbd.report.places import control_socket
from hbd.report.words import duration, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hbd.config.model import Loaded, Place
    from hbd.core.model import Timing

PATIENCE_S: Final = 5.0
"""A daemon that does not answer by then is one that has measured nothing."""

SHOWN: Final = 10
"""So many are named, the worst first: of ten thousand peers behind one bad line that is enough."""

DAYS: Final = 365
ALMOST_TEN: Final = 9.5
DAYS_TOLD: Final = 10
"""What comes more often than once in so many days is told by the day, all else by the year."""


class Unsafe(NamedTuple):
    """A peer whose timing is not safe."""

    expected: float
    """False DOWN a day."""
    name: str
    words: str


def views() -> dict[str, dict[str, Any]]:
    """Give the daemon's view of each peer; nothing where there is no daemon to ask."""
    try:
        status = Client(control_socket(os.environ), PATIENCE_S).call("Status")
        return {view["name"]: view for view in status["peers"]}
    except FAILURES:
        return {}


def timing_warnings(loaded: Loaded, views: dict[str, dict[str, Any]]) -> list[Problem]:
    """Give what is unsafe in the timing of peers that are asked, the worst first.

    `views`: what the daemon tells of peers of that name; they may be others, or elsewhere.
    """
    unsafe: list[Unsafe] = []
    unmeasured: dict[Timing, list[str]] = {}
    for peer in filter(_is_judged_by_rounds, loaded.configuration.peers):
        paths = list(_measured(peer, views.get(peer.name)))
        if paths:
            unsafe += sorted(_of_measured(peer, paths))[-1:]
        elif not peer.is_asked_by_connection:  # what the kernel sends again is not lost
            unmeasured.setdefault(peer.timing, []).append(peer.name)
    unsafe += _of_unmeasured(unmeasured)
    unsafe.sort(reverse=True)
    problems = [_problem(loaded.timing_places[each.name], each) for each in unsafe[:SHOWN]]
    if unsafe[SHOWN:]:
        words = f"{len(unsafe) - SHOWN} more such warnings are not shown; these are the worst"
        problems.append(Problem(loaded.configuration.file, 1, 1, words))
    return problems


def _problem(place: Place, unsafe: Unsafe) -> Problem:
    return Problem(place.file, place.line, place.column, f"peer {unsafe.name}: {unsafe.words}")


def _is_judged_by_rounds(peer: PeerSettings) -> bool:
    keeps_alive = peer.protocol == "tcp" and peer.send is None  # by the kernel, in its own rounds
    return peer.way is Way.ASKED and not keeps_alive


# -- measured -------------------------------------------------------------------------------------


def _measured(peer: PeerSettings, view: dict[str, Any] | None) -> Iterator[tuple[str, Measured]]:
    """Give what is known of each path of the very same peer, where that is enough."""
    if view is None or view.get("timeout_ms") is None or view["protocol"] != peer.protocol:
        return
    slowest = view["rtt_ms"]["max"]
    for path in view["paths"]:
        if path["address"] not in peer.addresses:
            continue
        measured = Measured(
            _nanoseconds(view["timeout_ms"]),
            view["retries"],
            tuple(path["rounds"]),
            path["overdue"],
            None if slowest is None else _nanoseconds(slowest),
        )
        if measured.is_enough:
            yield path["address"], measured


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * MILLISECOND)


def _of_measured(peer: PeerSettings, paths: list[tuple[str, Measured]]) -> Iterator[Unsafe]:
    for address, measured in paths:
        unsafe = _of_path(peer.timing, measured)
        if unsafe is not None:
            where = f"{address}: " if len(peer.addresses) > 1 else ""
            yield Unsafe(unsafe[0], peer.name, where + unsafe[1])


def _of_path(timing: Timing, measured: Measured) -> tuple[float, str] | None:
    slowest = measured.slowest
    if slowest is not None and timing.timeout <= slowest and timing.timeout < measured.timeout:
        words = f"`timeout: {show_duration(timing.timeout)}` is shorter than its slowest reply of"
        room = show_duration(roomy(slowest))
        return inf, f"{words} the last {WINDOW}, {duration(slowest)}; `timeout: {room}` has room"
    advice = advise(timing, measured)
    if advice is None:
        return None
    words = f"at the measured loss of {_loss(measured, timing)} {_outlook(timing, advice)}"
    return advice.expected, words


def _loss(measured: Measured, timing: Timing) -> str:
    chances = measured.chances(timing.timeout)
    details = [f"{measured.at_least(0):,} rounds"]
    if timing.retries:
        details.append(f"{_percent(chances.further)} after a miss")
    if measured.late >= MOSTLY and measured.slowest is not None:
        details.append(f"most of it late, up to {duration(measured.slowest)}")
    return f"{_percent(chances.first)} ({', '.join(details)})"


# -- not measured ---------------------------------------------------------------------------------


def _of_unmeasured(unmeasured: dict[Timing, list[str]]) -> Iterator[Unsafe]:
    """Give all that have the same timing at once: it is mostly written in one place."""
    for timing, (first, *others) in unmeasured.items():
        advice = advise(timing)
        if advice is None:
            continue
        words = f"at a loss of {_percent(ORDINARY.first)}, as any network may have,"
        words = f"{words} {_outlook(timing, advice)}"
        if others:
            words += f"; the same holds for {listed(others, 3)}"
        yield Unsafe(advice.expected, first, words)


# -- words ----------------------------------------------------------------------------------------


def _outlook(timing: Timing, advice: Advice) -> str:
    words = f"`{_written(timing, timing)}` expects {_often(advice.expected)}"
    better = advice.better
    if better is None:
        return f"{words}; no retries: make that one a year, a longer interval: and timeout: may"
    then = f"`{_written(better, timing)}` expects {_seldom(advice.then)}"
    return f"{words}; {then}, and an outage is found within {duration(better.detection)}"


def _written(timing: Timing, now: Timing) -> str:
    """Give the keys as they are to be written, the timeout where it is another than now."""
    retries = f"retries: {timing.retries}"
    if timing.timeout == now.timeout:
        return retries
    return f"timeout: {show_duration(timing.timeout)}, {retries}"


def _often(a_day: float) -> str:
    if a_day >= 1 / DAYS_TOLD:
        return f"{_figure(a_day)} false DOWN a day"
    return f"{_figure(a_day * DAYS)} false DOWN a year"


def _seldom(a_day: float) -> str:
    years = int(1 / (a_day * DAYS))
    return "one a year" if years == 1 else f"one in {years:,} years"


def _figure(number: float) -> str:
    """Give two digits, and all before the point."""
    return f"{number:.2g}" if number < ALMOST_TEN else f"{number:,.0f}"


def _percent(chance: float) -> str:
    return f"{_figure(100 * chance)} %"
