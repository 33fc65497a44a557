"""What hbd does when it is stopped itself, and when all peers fall silent at once."""

from __future__ import annotations

import signal
import time
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND, Timing
from tests.bench.lab import OTHER_PORT, Lab
from tests.bench.notify import Ear
from tests.bench.table import Row, milliseconds, percentile
from tests.daemon.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.hbd import Hbd

STALLS: Final = (0.1, 0.5, 1.0, 3.0, 10.0)
"""Seconds that hbd is stopped."""

DETECTION: Final = Timing().detection / SECOND
"""Seconds from the last good reply to the verdict."""

WATCHDOG: Final = 2.0
"""Seconds: hbd.service has 30, with which a storm would be over before it is late."""


def stall(lab: Lab) -> Iterator[Row]:
    """SIGSTOP and SIGCONT, as a hypervisor may do; everybody else goes on."""
    for peers in (200,) if lab.quick else (10_000, 50_000):
        yield _stall(lab, peers, STALLS[1:2] if lab.quick else STALLS)


def _stall(lab: Lab, peers: int, stalls: tuple[float, ...]) -> Row:
    with lab.reflector(), lab.hbd(peers, start_grace="0s") as hbd:
        up = hbd.all_are("up", 120)
        lab.settle()
        before, told = hbd.counts(), len(hbd.entries("state", state="down"))
        for seconds in stalls:
            hbd.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            hbd.process.send_signal(signal.SIGCONT)
            time.sleep(DETECTION + 1)  # a false verdict would have come
        after, false = hbd.counts(), len(hbd.entries("state", state="down")) - told
    lost = max(after.lost - before.lost, 0)
    return Row(
        name=f"stall-{peers}",
        what=f"{peers:,} peers; we are stopped for {', '.join(f'{s:g}' for s in stalls)} s",
        figure=f"{false} false DOWN, {lost} replies lost",
        goal="0 false",
        remarks=f"{after.sent - before.sent:,} heartbeats; up {up:,}",
        facts={"peers": peers, "up": up, "false": false, "lost": lost},
    )


def storm(lab: Lab) -> Iterator[Row]:
    """All fall silent at one moment but ten, which prove that it is not us; and come back."""
    yield from _silence(lab, "storm", 10)


def uplink(lab: Lab) -> Iterator[Row]:
    """Nobody at all is heard: that may be our own fault, and is no DOWN of theirs."""
    yield from _silence(lab, "uplink", 0)


def _silence(lab: Lab, name: str, witnesses: int) -> Iterator[Row]:
    peers = 200 if lab.quick else 10_000
    hbd = lab.hbd(peers, others=witnesses, start_grace="0s")
    with (
        lab.reflector() as reflector,
        lab.reflector(port=OTHER_PORT),
        Ear(lab.directory / "notify") as ear,
    ):
        hbd.environment["NOTIFY_SOCKET"] = str(ear.path)
        hbd.environment["WATCHDOG_USEC"] = f"{WATCHDOG * 1e6:.0f}"
        with hbd:
            up = hbd.all_are("up")
            living = lab.cost(hbd.pid, lambda: reflector["received"])
            told = len(hbd.entries("state"))
            silent_at = time.time()
            reflector.pause()
            first = until(lambda: _first_verdicts(hbd, told, peers), 60)
            told_in = time.time() - silent_at
            dead = lab.cost(hbd.pid, lambda: reflector["received"])
            reflector.go()
            back_at = time.monotonic()
            up_again = hbd.all_are("up")
            back = time.monotonic() - back_at
    detections = [int(entry["HBD_DETECTION_USEC"]) / 1e6 - DETECTION for entry in first]
    last = max(datetime.fromisoformat(entry["HBD_SINCE"]).timestamp() for entry in first)
    beats = [later - earlier for earlier, later in pairwise(ear.times("WATCHDOG=1"))]
    states = Counter(f"{entry['HBD_STATE']} {entry.get('HBD_CAUSE')}" for entry in first)
    facts = {"peers": peers + witnesses, "up": up, "up_again": up_again, "verdicts": dict(states)}
    yield Row(
        name=name,
        what=f"{peers:,} peers silent at once: verdict beyond interval + 4 x timeout",
        figure=f"p50 {milliseconds(percentile(detections, 50))},"
        f" max {milliseconds(max(detections))}",
        goal="<= 100 ms",
        remarks=f"the last verdict {last - silent_at:.2f} s, the last entry {told_in:.2f} s after"
        f" the silence began; all up {back:.1f} s after its end; {_in_words(states)}",
        facts=facts,
    )
    yield Row(
        name=f"{name}-watchdog",
        what=f"longest time between beats of a watchdog of {WATCHDOG:g} s in it",
        figure=f"{max(beats):.2f} s",
        goal=f"< {WATCHDOG:g} s",
        facts=facts,
    )
    yield Row(
        name=f"{name}-dead",
        what=f"{peers:,} dead peers: share of one core",
        figure=f"{dead.share:.2f} %",
        other=f"living: {living.share:.2f} %",
        ratio=dead.share / living.share,
        goal="<= 2 x living",
        remarks=f"{dead.rate:,.0f}/s beside {living.rate:,.0f}/s",
        facts=facts,
    )


def _first_verdicts(hbd: Hbd, told: int, peers: int) -> list[dict[str, str]] | None:
    """Give the first entry of each peer after so many entries of all, once there are all."""
    first: dict[str, dict[str, str]] = {}
    for entry in hbd.entries("state")[told:]:
        if entry["HBD_STATE"] != "up":
            first.setdefault(entry["HBD_PEER"], entry)
    return list(first.values()) if len(first) == peers else None


def _in_words(states: Counter[str]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in states.most_common())
