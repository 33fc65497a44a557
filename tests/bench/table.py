"""What was measured, as rows of one table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TITLES = ("row", "what", "hbd", "beside it", "ratio", "goal", "remarks")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, as it is read; what it should be stands beside it, and no verdict."""

    name: str
    what: str
    figure: str
    goal: str
    other: str = ""
    """The same of the program compared with."""
    ratio: float | None = None
    remarks: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """For programs: raw numbers, and what must hold on any machine."""

    def line(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        cells = (self.name, self.what, self.figure, self.other, ratio, self.goal, self.remarks)
        return f"| {' | '.join(cells)} |"


def head() -> Iterable[str]:
    yield f"| {' | '.join(TITLES)} |"
    yield "|---" * len(TITLES) + "|"


def write(file: Path, machine: list[str], rows: list[Row]) -> None:
    """Write all of it as JSON."""
    whole = {"version": 1, "machine": machine, "rows": [asdict(row) for row in rows]}
    file.write_text(json.dumps(whole, indent=1) + "\n")


def percentile(values: Iterable[float], share: int) -> float:
    """Give the value that so many percent do not exceed."""
    ordered = sorted(values)
    assert ordered, "nothing was seen"
    return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.2f} ms"
