"""What the tests with live peers saw: one table, printed at the end."""

from __future__ import annotations

from typing import Final, NamedTuple

ROWS: Final[list[Row]] = []
LINES: Final[list[str]] = []

OTHER_LENGTH: Final = 90


class Row(NamedTuple):
    """One fault and what each end said of it."""

    peer: str
    """What was at the other end."""
    fault: str
    state: str
    cause: str
    seconds: float | None
    """From the last sign of life to the verdict; None where that is not asked."""
    formula: float | None
    """What it should be."""
    other: str
    """The peer's own words."""


def note(
    peer: str,
    fault: str,
    state: str,
    cause: str | None,
    *,
    seconds: float | None = None,
    formula: float | None = None,
    other: str = "",
) -> None:
    """Add a row; times are seconds."""
    ROWS.append(Row(peer, fault, state, cause or "", seconds, formula, other))


def say(line: str) -> None:
    """Add a line below the table."""
    LINES.append(line)


def took(entry: dict[str, str]) -> float | None:
    """Give the time to detect that an entry tells, seconds."""
    usec = entry.get("HBD_DETECTION_USEC")
    return None if usec is None else int(usec) / 1e6


def lines() -> list[str]:
    """Give the table as text."""
    if not ROWS:
        return LINES
    head = (
        f"{'peer':12} {'fault':38} {'state and cause':26} {'seconds':>7} / formula  the peer says"
    )
    return [head, *map(_line, ROWS), *LINES]


def _line(row: Row) -> str:
    seconds = "-" if row.seconds is None else f"{row.seconds:.3f}"
    formula = "-" if row.formula is None else f"{row.formula:.3f}"
    verdict = f"{row.state} {row.cause}"
    other = " ".join(row.other.split())[:OTHER_LENGTH]
    return f"{row.peer:12} {row.fault:38} {verdict:26} {seconds:>7} / {formula:7}  {other}"
