"""Every row of the table, by name, in the order in which they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.bench.rows import (
    accuracy,
    faults,
    heartbeats,
    others,
    profile,
    reflecting,
    small,
    starting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.lab import Lab
    from tests.bench.table import Row

ROWS: Final[dict[str, Callable[[Lab], Iterator[Row]]]] = {
    "open-1000": heartbeats.open_1000,
    "open-10000": heartbeats.open_10000,
    "open-50000": heartbeats.open_50000,
    "limits-10000": heartbeats.limits_10000,
    "untold-10000": heartbeats.untold_10000,
    "authenticated-10000": heartbeats.authenticated_10000,
    "fping-100": others.fping_100,
    "fping-1000": others.fping_1000,
    "fping-5000": others.fping_5000,
    "oping-1000": others.oping_1000,
    "bird-100": others.bird_100,
    "bird-300": others.bird_300,
    "bird-1000": others.bird_1000,
    "rate-100000": heartbeats.rate_100000,
    "reflector": reflecting.reflector,
    "profile": profile.profile,
    "handful": small.handful,
    "memory": small.memory_rows,
    "lost": heartbeats.lost,
    "accuracy-1000": accuracy.accuracy_1000,
    "accuracy-10000": accuracy.accuracy_10000,
    "stall": faults.stall,
    "start": starting.start,
    "storm": faults.storm,
    "uplink": faults.uplink,
}

QUICK: Final = [
    name
    for name in ROWS
    if name
    not in {
        "open-10000",
        "open-50000",
        "limits-10000",
        "untold-10000",
        "fping-1000",
        "fping-5000",
        "bird-300",
        "bird-1000",
        "accuracy-10000",
    }
]
"""With few peers these are as others are."""
