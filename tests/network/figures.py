"""What the tests of causes saw: what was made, what was told of it and how fast, for the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROWS: Final[list[Row]] = []


class Row(NamedTuple):
    """One peer in one fault; states and causes are as told, no cause where it is up."""

    fault: str
    peer: str
    expected: tuple[str, str]
    first: tuple[str, str]
    """What was told at the deadline,"""
    seen: tuple[str, str]
    """and when all evidence was there."""
    detection: float | None
    """Until the verdict, seconds, from the last good reply or, where none is told, the fault."""
    formula: float | None
    """At most so long."""


def note(fault: str, entry: dict[str, str], expected: tuple[str, str], formula: float) -> None:
    """Put down one verdict, by its entry."""
    took = entry.get("HBD_DETECTION_USEC")
    seen = entry["HBD_STATE"], entry.get("HBD_CAUSE", "")
    detection = None if took is None else int(took) / 1e6
    ROWS.append(Row(fault, entry["HBD_PEER"], expected, seen, seen, detection, formula))


def lines() -> list[str]:
    """Give all tables as text."""
    if not ROWS:
        return []
    return [*_times("fault", _fault), "", *_times("state and cause", _told), "", *_matrix()]


def _fault(row: Row) -> str:
    return f"{row.fault}: {_told(row)}"


def _told(row: Row) -> str:
    return _words(row.expected)


def _words(told: tuple[str, str]) -> str:
    return " ".join(told).strip()


def _times(title: str, key: Callable[[Row], str]) -> list[str]:
    """Give a Markdown table with a line for each kind of row."""
    kinds: dict[str, list[Row]] = {}
    for row in ROWS:
        kinds.setdefault(key(row), []).append(row)
    return [
        f"| {title} | made | told otherwise | at first | detection: p50, p99, max |",
        "|---|---|---|---|---|",
        *(f"| {kind} | {_counts(rows)} | {_shares(rows)} |" for kind, rows in kinds.items()),
        f"| all | {_counts(ROWS)} | {_shares(ROWS)} |",
    ]


def _counts(rows: list[Row]) -> str:
    otherwise = _tally(row.seen for row in rows if row.seen != row.expected)
    first = _tally(row.first for row in rows if row.first != row.seen)
    return f"{len(rows)} | {otherwise or '0'} | {first}"


def _tally(told: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{count} {_words(each)}" for each, count in Counter(told).items())


def _shares(rows: list[Row]) -> str:
    shares = sorted(row.detection / row.formula for row in rows if row.detection and row.formula)
    if not shares:
        return ""
    at = len(shares) // 2, -1 - len(shares) // 100, -1
    return ", ".join(f"{100 * shares[index]:.0f} %" for index in at)


def _matrix() -> list[str]:
    """Give the confusion matrix: a row for each cause made, its columns are the causes told."""
    counts = Counter((_words(row.expected), _words(row.seen)) for row in ROWS)
    made = sorted({expected for expected, _ in counts})
    told = made + sorted({seen for _, seen in counts} - set(made))
    head = f"{'made for real / told as number':31}" + "".join(f"{n:>4}" for n in _numbers(told))
    rows = [
        f"{number:>2} {one:28}" + "".join(f"{counts[one, seen] or '.':>4}" for seen in told)
        for number, one in zip(_numbers(told), told, strict=True)
    ]
    return [head, *rows]


def _numbers(told: list[str]) -> range:
    return range(1, len(told) + 1)
