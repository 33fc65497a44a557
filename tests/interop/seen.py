"""What hbd told of each fault of a live peer, beside the formula and the peer's own log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from programs import Program
    from topology import Daemon

ROWS: Final[list[Row]] = []

MARGIN: Final = 0.5
"""What two busy cores may add to a detection time, seconds: our own lateness moves deadlines."""


class Row(NamedTuple):
    """One fault of one peer."""

    fault: str
    told: str
    """State and cause."""
    took: float | None
    """Seconds to the verdict from the last good reply, None where there was none before."""
    formula: float
    logged: str
    """What the peer itself saw of it."""


def note(fault: str, entry: dict[str, Any], formula: float, logged: str) -> dict[str, Any]:
    """Take a row into the table; give the entry."""
    took = entry.get("HBD_DETECTION_USEC")
    told = f"{entry['HBD_STATE']} {entry.get('HBD_CAUSE', '')}".strip()
    ROWS.append(Row(fault, told, None if took is None else int(took) / 1e6, formula, logged))
    return entry


def falls(
    monitor: Daemon,
    name: str,
    cause: str | tuple[str, ...],
    fault: str,
    formula: float,
    *,
    since: int = 0,
    state: str = "down",
    logged: Callable[[], str] = str,
) -> dict[str, Any]:
    """Wait until a peer is up no more: at once for such a cause, no later than the formula."""
    is_other = lambda entry: (  # noqa: E731 - one condition, too long for its call
        entry.get("HBD_EVENT") == "state"
        and entry["HBD_PEER"] == name
        and entry["HBD_STATE"] != "up"
    )
    entry = monitor.find(is_other, since, formula + 15)
    causes = (cause,) if isinstance(cause, str) else cause
    if (causes, entry.get("HBD_CAUSE")) == (("filtered",), "silent"):
        # No verdict waits for evidence; on a busy machine that comes after it.
        entry |= {"HBD_CAUSE": monitor.told(name, since, cause="filtered")["HBD_CAUSE"]}
    note(fault, entry, formula, logged())
    assert (entry["HBD_STATE"], entry.get("HBD_CAUSE") in causes) == (state, True), entry
    took = int(entry.get("HBD_DETECTION_USEC", 0)) / 1e6
    assert took <= formula + MARGIN, (fault, took)
    return entry


def rises(monitor: Daemon, name: str, since: int = 0) -> dict[str, Any]:
    """Wait until a peer is up again."""
    return monitor.told(name, since, state="up")


def last(peer: Program, words: str, since: int = 0) -> str:
    """Give the last line of a peer's own log with these words, else what it said last."""
    lines = [line.words for line in peer.lines()[since:]]
    return ([line for line in lines if words in line] or lines or ["nothing"])[-1]


def lines() -> list[str]:
    """Give the table as text."""
    if not ROWS:
        return []
    told = [f"{'fault':46} {'told':27} {'seconds':>7} / formula  the peer's own log"]
    for row in ROWS:
        took = "-" if row.took is None else f"{row.took:.3f}"
        words = f"{row.fault:46} {row.told:27} {took:>7} / {row.formula:<7.3f}  {row.logged[:70]}"
        told.append(words.rstrip())
    return told
