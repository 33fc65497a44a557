"""What of the daemon's answer about one peer the page and the metrics need, as a frozen value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hbd import __version__
from hbd.report.answer import can_be_forged

FACT_LIMIT: Final = 160
"""Characters of the first fact, in the table; the page of the peer has all."""


@dataclass(frozen=True, slots=True)
class Rtt:
    """Of the last 100 heartbeats, milliseconds."""

    last: float
    least: float
    mean: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class View:
    """One peer as the daemon told it last."""

    name: str
    state: str
    cause: str | None
    since: str
    flapping: bool
    restored: bool
    protocol: str
    via: str | None
    labels: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    sent: int
    received: int
    late: int
    duplicate: int
    loss: float | None
    """Percent of the last 100."""
    rtt: Rtt | None
    fact: str
    """The first of the evidence; empty where there is none."""
    forgeable: bool
    text: bytes
    """All of it, the JSON that the daemon wrote."""

    def row(self) -> list[Any]:
        """Give the row of the table, as the page's script reads it."""
        rtt = None if self.rtt is None else float(f"{self.rtt.last:.3g}")
        since = int(datetime.fromisoformat(self.since).timestamp())
        cause = "" if self.cause in (None, self.state) else self.cause
        flags = "~" * self.flapping + "?" * self.restored + "!" * self.forgeable
        fact = "" if self.state == "up" else self.fact
        labels = " ".join(f"{key}={value}" for key, value in self.labels)
        where = ", ".join(self.addresses)
        return [self.name, self.state, cause, since, rtt, self.loss, where, flags, labels, fact]


def parsed(text: bytes) -> View:
    """Read the JSON text of one peer; ValueError where it is none, as of another version."""
    try:
        return _view(text)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not as hbd {__version__} tells of a peer ({error!r})") from error


def _view(text: bytes) -> View:
    told: dict[str, Any] = json.loads(text)
    facts = told["evidence"]
    return View(
        name=told["name"],
        state=told["state"],
        cause=told["cause"],
        since=told["since"],
        flapping=told["flapping"],
        restored=told["restored"],
        protocol=told["protocol"],
        via=told["via"],
        labels=tuple(told["labels"].items()),
        addresses=tuple(path["address"] for path in told["paths"]),
        sent=told["sent"],
        received=told["received"],
        late=told["late"],
        duplicate=told["duplicate"],
        loss=told["loss_percent"],
        rtt=_rtt(told["rtt_ms"]),
        fact=facts[0][:FACT_LIMIT] if facts else "",
        forgeable=can_be_forged(told),
        text=text,
    )


def _rtt(told: dict[str, float | None]) -> Rtt | None:
    last, least, mean, p99, most = (told[key] for key in ("last", "min", "mean", "p99", "max"))
    if last is None or least is None or mean is None or p99 is None or most is None:
        return None
    return Rtt(last, least, mean, p99, most)
