"""How exact hbd is while every core is busy, as somebody sees it who only looks at the cable.

An hbd at each end, as hbd.service runs it, and a busy loop on every core. The observer
has the kernel's stamps of all that leaves and arrives at the near end.

* RTT: what hbd says of the last reply of each peer, against reply less request less dwell.
* Sending: a heartbeat is due exactly an interval after the moment that the one before says it was
  sent at (T1): of intervals, the random part is left out here.
* Asking again: an eighth of the peers falls silent; a retransmission is due a timeout after T1.
* Verdict: due a timeout after the last of them left; it was given when its entry says.

What is due when something is missed moves by our own lateness, for nothing is owed for time in
which we did not run. Only the daemon knows by how much; both are told, with what was forgiven and
without.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hbd.core.model import MILLISECOND, SECOND, Timing
from tests.bench.capture import Capture
from tests.bench.inside import Notes
from tests.bench.lab import ON_CABLE, PORT, Lab, address, busy_cores
from tests.bench.table import Row, milliseconds, percentile
from tests.daemon.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.capture import Request
    from tests.bench.hbd import Hbd

TIMING: Final = Timing()
TOO_EARLY: Final = TIMING.interval // 4
"""A heartbeat so much too early is a retransmission: a reply was lost, or late."""
PATIENCE: Final = 120.0
"""Seconds until silent peers are down: with more to do than it can, hbd judges late."""

REGULAR: Final = """
import hbd.core.volleys
hbd.core.volleys.JITTER = 0.0
"""
"""Without the random part of intervals it is known when each heartbeat is due."""

MISSES: Final = """
from hbd.core.asked import Asked
from hbd.core.path import Step
from hbd.core.verdicts import Verdicts
advance, compose, give = Asked.advance, Asked.compose, Verdicts.give
due = {}
def advance_and_note(path, now, lateness):
    is_asked, deadline = path.asked is not None, (path.deadline or 0) + lateness - path.lateness
    step = advance(path, now, lateness)
    if is_asked and path.state.value == "up" and step in (Step.MISSED, Step.EXHAUSTED):
        due[path] = deadline
    return step
def compose_and_note(path, now, *clocks):
    if path in due:
        notes.setdefault("again", []).append(now - due.pop(path))
    return compose(path, now, *clocks)
def give_and_note(verdicts, path, *verdict):
    if path in due:
        notes.setdefault("verdict", []).append(verdicts._clock.now - due.pop(path))
    return give(verdicts, path, *verdict)
Asked.advance, Asked.compose, Verdicts.give = advance_and_note, compose_and_note, give_and_note
"""
"""Each path that misses something: how long after its deadline, wherever that has moved to, the
retransmission is written, or the verdict given."""

KINDS: Final = {
    "rtt": ("error of the RTT", "p99 <= 0.10 ms"),
    "sending": ("a heartbeat leaves after it is due", "p50 <= 0.15 ms, p99 < 5 ms"),
    "again": ("a retransmission after its deadline", "p99 < 5 ms"),
    "again-seen": ("... lateness that is forgiven included", "-"),
    "verdict": ("a verdict after its deadline", "p99 <= 2 ms"),
    "verdict-seen": ("... lateness that is forgiven included", "-"),
}
"""What is looked at, and the goal."""

ASKED: Final = 1_000
SLICE: Final = 50
"""So many peers are asked for their RTT, and so many at once, for which hbd hardly stops."""
GUARD: Final = 5 * MILLISECOND
"""A reply so close to a look at hbd's status may or may not be the last that it knows."""


def accuracy_1000(lab: Lab) -> Iterator[Row]:
    yield from _accuracy(lab, 1_000)


def accuracy_10000(lab: Lab) -> Iterator[Row]:
    yield from _accuracy(lab, 10_000)


def _accuracy(lab: Lab, peers: int) -> Iterator[Row]:
    name, peers = f"accuracy-{peers}", min(peers, 200) if lab.quick else peers
    near, far = lab.cable
    notes = Notes(lab.directory / "misses.json", REGULAR + MISSES)
    with (
        lab.hbd(0, host=far, listen=f'["0.0.0.0:{PORT}"]', accept="any", as_service=True),
        lab.hbd(
            peers,
            host=near,
            first=ON_CABLE,
            start_grace="0s",
            as_service=True,
            program=notes.program,
        ) as hbd,
        Capture(near, "va") as capture,
    ):
        up = hbd.all_are("up")
        lab.settle()
        lab.wait_for_calm(hbd.pid)
        with busy_cores():
            began = time.time_ns()
            time.sleep(lab.span + 2)  # some intervals
            requests = [each for each in capture.packets()[0] if each.at > began]
            samples = {"sending": _late_heartbeats(requests), "rtt": _rtt_errors(hbd, capture)}
            facts = {"peers": peers, "up": up, "real_time": hbd.is_real_time}
            yield from _rows(name, facts, samples)
            lab.settle()
            notes.begin(hbd)
            silent = _silence(lab, hbd, peers)
            known = notes.read(hbd)
        again, verdicts = _lateness_in_silence(capture.packets()[0], silent)
    samples = {"again": known["again"], "again-seen": again}
    samples |= {"verdict": known["verdict"], "verdict-seen": verdicts}
    yield from _rows(name, facts, samples)


def _rows(name: str, facts: dict[str, int], samples: dict[str, list[int]]) -> Iterator[Row]:
    up = f"up {facts['up']:,}" if facts["real_time"] else f"up {facts['up']:,}; not in real time"
    for kind, nanoseconds in samples.items():
        what, goal = KINDS[kind]
        figures = [abs(each) / SECOND for each in nanoseconds]
        yield Row(
            name=f"{name}-{kind}",
            what=f"{facts['peers']:,} peers, busy cores: {what}",
            figure=f"p50 {milliseconds(percentile(figures, 50))},"
            f" p99 {milliseconds(percentile(figures, 99))}",
            goal=goal,
            remarks=f"of {len(figures):,}; max {milliseconds(max(figures))}; {up}",
            facts={**facts, "samples": len(figures)},
        )


def _rtt_errors(hbd: Hbd, capture: Capture) -> list[int]:
    """Compare the last RTT of some peers, nanoseconds."""
    looks = [_look(hbd, first) for first in range(0, min(len(hbd.peers), ASKED), SLICE)]
    time.sleep(0.2)
    requests, replies = capture.packets()
    sent = {(request.peer, request.t1): request.at for request in requests}
    heard = defaultdict(list)
    for reply in replies:
        heard[reply.peer].append(reply)
    errors = []
    for began, ended, rtts in looks:
        for peer, rtt in rtts.items():
            earlier = [reply for reply in heard[peer] if reply.at < ended + GUARD]
            if rtt is None or not earlier or earlier[-1].at > began - GUARD:
                continue
            reply = earlier[-1]
            if (left := sent.get((peer, reply.t1))) is not None:
                errors.append(round(rtt * MILLISECOND) - (reply.at - left - reply.dwell))
    return errors


def _look(hbd: Hbd, first: int) -> tuple[int, int, dict[str, float | None]]:
    """Ask for the last RTT of a slice of the peers: when, until when, and what was said."""
    names = [f"peer-{number}" for number in range(len(hbd.peers))[first : first + SLICE]]
    began = time.time_ns()
    views = hbd.client.call("Status", peers=names)["peers"]
    return (
        began,
        time.time_ns(),
        {view["paths"][0]["address"]: view["rtt_ms"]["last"] for view in views},
    )


def _silence(lab: Lab, hbd: Hbd, peers: int) -> dict[str, dict[str, str]]:
    """Let an eighth of the peers fall silent; give the entry of each, by its address."""
    bits = (peers // 8).bit_length() - 1
    count, told = 1 << bits, len(hbd.entries("state"))
    block = f"ip daddr {address(ON_CABLE)}/{32 - bits} udp dport 862 drop"
    lab.cable.far.block("prerouting", block)
    try:
        entries = until(lambda: _all_down(hbd, told, count), PATIENCE)
    finally:
        lab.cable.far.unblock()
    return entries


def _all_down(hbd: Hbd, told: int, count: int) -> dict[str, dict[str, str]] | None:
    down: dict[str, dict[str, str]] = {}
    for entry in hbd.entries("state")[told:]:
        if entry["HBD_STATE"] == "down":  # later ones only know the cause better
            down.setdefault(entry["HBD_ADDRESS"], entry)
    return down if len(down) >= count else None


def _late_heartbeats(requests: list[Request]) -> list[int]:
    """Give how late ordinary heartbeats left, nanoseconds."""
    return [
        max(late, 0)  # who joins others is asked with them, up to a tenth of the interval sooner
        for asked in _by_peer(requests).values()
        for before, after in pairwise(asked)
        if (late := after.at - before.said - TIMING.interval) > -TOO_EARLY
    ]


def _lateness_in_silence(
    requests: list[Request], silent: dict[str, dict[str, str]]
) -> tuple[list[int], list[int]]:
    """Give how late retransmissions left, and how late verdicts were, nanoseconds.

    Who was asked in between, to be a witness for another, is left out: that moves nothing that is
    due, but what it is due after does not show from outside.
    """
    asked = _by_peer(requests)
    late, verdicts = [], []
    for peer, entry in silent.items():
        at = round(datetime.fromisoformat(entry["HBD_SINCE"]).timestamp() * SECOND)
        last = [request for request in asked[peer] if request.at < at][-1 - TIMING.retries :]
        if any(after.at - before.at < TIMING.timeout // 2 for before, after in pairwise(last)):
            continue
        late += [after.at - before.said - TIMING.timeout for before, after in pairwise(last)]
        verdicts.append(at - last[-1].at - TIMING.timeout)
    return late, verdicts


def _by_peer(requests: list[Request]) -> dict[str, list[Request]]:
    asked = defaultdict(list)
    for request in requests:
        asked[request.peer].append(request)
    return asked
