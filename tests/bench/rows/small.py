"""What hbd costs while it hardly does anything, and what it holds in memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.machine import Memory, memory, wakeups
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.lab import Lab


def handful(lab: Lab) -> Iterator[Row]:
    """Three peers; the reflector waits in the kernel, so each heartbeat wakes it, as in life."""
    span = 2 if lab.quick else 30
    with lab.reflector(poll_usec=0) as reflector, lab.hbd(3) as hbd:
        up = hbd.all_are("up")
        lab.settle()
        woken, began = wakeups(hbd.pid), time.monotonic()
        cost = lab.cost(hbd.pid, lambda: reflector["received"], span)
        rate = (wakeups(hbd.pid) - woken) / (time.monotonic() - began)
        lost = hbd.counts().lost
    yield Row(
        name="handful",
        what=f"3 peers at 1 s: share of one core, over {span} s",
        figure=f"{cost.share:.2f} %",
        goal="< 0.3 %",
        remarks=f"{rate:.1f} wake-ups a second; {cost.usec:.0f} us for each heartbeat",
        facts={"peers": 3, "up": up, "lost": lost},
    )


def memory_rows(lab: Lab) -> Iterator[Row]:
    counts = [200] if lab.quick else [10, 1_000, 10_000]
    for keyed, goal in ((False, 1.0), (True, 1.6)):
        first: Memory | None = None
        _memory(lab, counts[0], keyed=keyed)  # who starts first compiles for all others
        for peers in counts:
            up, held = _memory(lab, peers, keyed=keyed)
            first = first or held
            growth = (held.rss - first.rss) / max(peers - counts[0], 1) * 1000
            mode = " with keys" if keyed else ""
            yield Row(
                name=f"memory-{peers}{'-keyed' if keyed else ''}",
                what=f"RSS, {peers:,} peers{mode}",
                figure=f"{held.rss:.1f} MB",
                goal=f"<= {22 + goal * peers / 1000:.1f} MB",
                remarks=f"PSS {held.pss:.1f} MB"
                + (f"; {growth:.2f} MB for each 1,000 more" if peers != counts[0] else ""),
                facts={"peers": peers, "up": up, "rss": held.rss, "pss": held.pss},
            )


def _memory(lab: Lab, peers: int, *, keyed: bool) -> tuple[int, Memory]:
    with lab.reflector(keyed=keyed), lab.hbd(peers, keyed=keyed) as hbd:
        up = hbd.all_are("up")
        time.sleep(lab.span)
        lab.settle()
        return up, memory(hbd.pid)
