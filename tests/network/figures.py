"""What the tests of causes saw: a table of faults and a confusion matrix, printed at the end."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

ROWS: Final[list[Row]] = []


class Row(NamedTuple):
    """One peer in one fault."""

    fault: str
    peer: str
    expected: tuple[str, str]
    """State and cause."""
    seen: tuple[str, str]
    detection: float | None
    """From the last good reply to the verdict, seconds; None where there was none before."""
    formula: float


def note(
    fault: str,
    entry: dict[str, str],
    expected: tuple[str, str],
    formula: float,
) -> None:
    took = entry.get("HBD_DETECTION_USEC")
    seen = entry["HBD_STATE"], entry.get("HBD_CAUSE", "")
    detection = None if took is None else int(took) / 1e6
    ROWS.append(Row(fault, entry["HBD_PEER"], expected, seen, detection, formula))


def lines() -> list[str]:
    """Give both tables as text."""
    if not ROWS:
        return []
    told = [f"{'fault':34} {'peer':9} {'expected':25} {'seen':25} {'seconds':>7} / formula"]
    for row in ROWS:
        took = "-" if row.detection is None else f"{row.detection:.3f}"
        expected, seen = " ".join(row.expected), " ".join(row.seen)
        words = f"{row.fault:34} {row.peer:9} {expected:25} {seen:25} {took:>7} / {row.formula:.3f}"
        told.append(words)
    return [*told, "", *_matrix(), "", *_times()]


def _matrix() -> list[str]:
    """Rows are the causes made, columns the causes told."""
    counts = Counter((row.expected[1] or "up", row.seen[1] or "up") for row in ROWS)
    made = list(dict.fromkeys(expected for expected, _ in counts))
    seen = made + sorted({cause for _, cause in counts if cause not in made})
    head = f"{'made for real / told':18}" + "".join(f"{cause[:11]:>12}" for cause in seen)
    return [
        head,
        *(
            f"{fault:18}" + "".join(f"{counts[fault, cause] or '.':>12}" for cause in seen)
            for fault in made
        ),
    ]


def _times() -> list[str]:
    ratios = sorted(row.detection / row.formula for row in ROWS if row.detection is not None)
    if not ratios:
        return []
    late = sorted(1000 * (row.detection - row.formula) for row in ROWS if row.detection is not None)
    words = (
        f"detection time as part of the formula, of {len(ratios)}:"
        f" p50 {ratios[len(ratios) // 2]:.3f}, p99 {ratios[-1 - len(ratios) // 100]:.3f},"
        f" max {ratios[-1]:.3f}; latest against the formula {late[-1]:+.1f} ms"
    )
    return [words]
