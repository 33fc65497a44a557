"""The wall clock is not a clock: what was told while it was wrong is put where it belongs.

journald notes both clocks with each entry. Their difference grows when the machine sleeps and when
the wall clock is set forward; it shrinks only when that is set back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeGuard

from hbd.core.model import SECOND
from hbd.report.history.told import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.report.history.told import News, Told

TOLERANCE: Final = 1 * SECOND
"""Less is a clock that is slewed, or the time that an entry took."""
PATIENCE: Final = 60 * SECOND
"""So much later than others an entry may come that tells of a sleep."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Wall time in which nobody watched, though no entry says so."""

    begin: int
    end: int


def straightened(entries: Iterable[Told]) -> tuple[list[Told], list[Gap]]:
    """Give entries, each once, in the order in which they happened, and the gaps between them.

    Where the wall clock was set back, the later clock is taken to be the right one. Where it was
    set forward, the wall time that was leapt over follows the last entry before.
    """
    once: dict[str, Told] = {}
    for entry in sorted(entries, key=_received):
        once.setdefault(entry.event_id, entry)
    boots: dict[str, list[Told]] = {}
    for entry in once.values():
        boots.setdefault(entry.receipt.boot, []).append(entry)
    straight: list[Told] = []
    gaps: list[Gap] = []
    for boot in boots.values():
        boot.sort(key=lambda entry: entry.receipt.real)
        put_right = _set_back(boot)
        straight += put_right
        gaps += _leaps(put_right)
    straight.sort(key=_order)
    return straight, gaps


def _received(entry: Told) -> tuple[int, int, str]:
    return entry.receipt.wall, entry.receipt.real, entry.event_id


def _order(entry: Told) -> tuple[int, int, str]:
    return entry.since, entry.receipt.real, entry.event_id


def _offset(entry: Told) -> int:
    return entry.receipt.wall - entry.receipt.real


def _set_back(boot: list[Told]) -> list[Told]:
    """Move what was told by a clock that was set back later by as much."""
    moved: list[Told] = []
    least: int | None = None
    for entry in reversed(boot):
        offset = _offset(entry)
        least = offset if least is None else min(least, offset)
        moved.append(_moved(entry, offset - least) if offset - least > TOLERANCE else entry)
    moved.reverse()
    return moved


def _moved(entry: Told, wrong: int) -> Told:
    receipt = replace(entry.receipt, wall=entry.receipt.wall - wrong)
    return replace(entry, since=entry.since - wrong, receipt=receipt)


def _leaps(boot: list[Told]) -> list[Gap]:
    """Give the wall time that no clock ran through, but for what entries tell as sleep."""
    sleeps = [(one.receipt.real, one.news.duration) for one in boot if _is_sleep(one.news)]
    gaps: list[Gap] = []
    for before, entry in pairwise(boot):
        leap = _offset(entry) - _offset(before)
        if leap > TOLERANCE:
            begin, end = before.receipt.real, entry.receipt.real + PATIENCE
            leap -= sum(slept for real, slept in sleeps if begin < real <= end)
        if leap > TOLERANCE:
            gaps.append(Gap(before.since, before.since + leap))
    return gaps


def _is_sleep(news: News) -> TypeGuard[Absent]:
    return isinstance(news, Absent) and news.is_suspend
