"""How long the daemon and the commands take, and how still it stands while it reloads."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.bench.machine import Took, run_time
from tests.bench.notify import Ear
from tests.bench.pulse import Pulse
from tests.bench.table import Row, milliseconds
from tests.daemon.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.hbd import Hbd
    from tests.bench.lab import Lab

TRIES: Final = 5
"""Of a command."""
PATIENCE: Final = 120
"""Seconds that a start is looked at."""


def start(lab: Lab) -> Iterator[Row]:
    peers = 200 if lab.quick else 10_000
    _ready(lab, 1)  # compiled, as an installed hbd is
    times, ups = zip(*(_ready(lab, peers) for _ in range(lab.runs)), strict=True)
    facts = {"peers": peers, "up": min(ups), "seconds": times}
    what = f"{peers:,} peers: launch to READY=1"
    yield _row("start-ready", what, statistics.median(times), "< 1.5 s", facts)
    hbd = lab.hbd(peers)
    took = _wall(hbd, "check", hbd.file)
    yield _row("start-check", f"{peers:,} peers: hbd check", took, "< 1.5 s", facts)
    with lab.reflector(), hbd:
        calm = _calm(hbd, peers)
        facts = {"peers": peers, "up": hbd.all_are("up")}
        yield replace(calm, facts=facts | calm.facts)
        lab.settle()
        lab.wait_for_calm(hbd.pid)
        yield _status_of_all(hbd, facts)
        yield _reload(lab, hbd, facts)
    yield _status_of_a_handful(lab)


def _ready(lab: Lab, peers: int) -> tuple[float, int]:
    hbd = lab.hbd(peers)
    with lab.reflector(), Ear(lab.directory / "notify") as ear:
        hbd.environment["NOTIFY_SOCKET"] = str(ear.path)
        began = time.monotonic()
        with hbd:
            at = until(lambda: ear.times("READY=1"), 60)[0]
            return at - began, hbd.all_are("up")


def _calm(hbd: Hbd, peers: int) -> Row:
    """Look at a start until nothing of it is left to be done."""
    began, ran, looks = time.monotonic(), run_time(hbd.pid), []
    for _ in range(PATIENCE):
        time.sleep(1.0)
        before, ran = ran, run_time(hbd.pid)
        looks.append((ran - before) / 1e9)
        *_, last = latest = looks[-3:]
        if len(latest) == 3 and last < 0.5 and max(latest) < 1.2 * min(latest):
            break
    seconds = time.monotonic() - began - 3.0
    return Row(
        name="start-calm",
        what=f"{peers:,} peers: READY=1 to when it costs no more than later",
        figure=f"{max(seconds, 0.0):.0f} s",
        goal="-",
        remarks=f"{sum(looks[:-3]):.1f} s of processor time until then, {looks[-1]:.2f} a second",
        facts={"seconds": looks},
    )


def _status_of_all(hbd: Hbd, facts: dict[str, int]) -> Row:
    commands, daemons = [], []
    for _ in range(TRIES):
        ran = run_time(hbd.pid)
        commands.append(_took(hbd, "status", "--json"))
        daemons.append((run_time(hbd.pid) - ran) / 1e9)
    wall, processor = _medians(commands)
    return Row(
        name="start-status",
        what=f"{facts['peers']:,} peers: hbd status --json",
        figure=f"{wall:.2f} s",
        goal="< 0.3 s",
        remarks=f"processor time of the command {milliseconds(processor)},"
        f" of the daemon meanwhile {milliseconds(statistics.median(daemons))}",
        facts=facts | {"seconds": commands, "daemon_seconds": daemons},
    )


def _reload(lab: Lab, hbd: Hbd, facts: dict[str, int]) -> Row:
    """Change one peer; beside it the same file is read, as in a reload, and not taken over."""
    reloads, checks, times = [], [], []
    for number in range(lab.runs):
        hbd.write([hbd.peers[0] | {"interval": f"{2 + number}s"}, *hbd.peers[1:]])
        with Pulse(hbd) as pulse:
            _wall(hbd, "check", hbd.file, tries=1)
        checks.append(pulse.longest)
        with Pulse(hbd) as pulse:
            times.append(_wall(hbd, "reload", tries=1))
            time.sleep(0.2)
        reloads.append(pulse.longest)
    (wall, processor), (quiet, quiet_processor) = map(_medians, (reloads, checks))
    lost = hbd.counts().lost
    return Row(
        name="start-reload",
        what=f"{facts['peers']:,} peers, one changed: longest turn of the loop in a reload",
        figure=milliseconds(wall),
        other=f"beside hbd check: {milliseconds(quiet)}",
        goal="<= 20 ms",
        remarks=f"of processor time {milliseconds(processor)}, {milliseconds(quiet_processor)};"
        f" the reload took {statistics.median(times):.2f} s; lost {lost}",
        facts=facts | {"lost": lost, "turns": reloads, "other_turns": checks},
    )


def _medians(turns: Sequence[Took]) -> Took:
    return Took(*(statistics.median(times) for times in zip(*turns, strict=True)))


def _status_of_a_handful(lab: Lab) -> Row:
    with lab.reflector(), lab.hbd(3) as hbd:
        up = hbd.all_are("up")
        took = statistics.median(_took(hbd, "status").processor for _ in range(TRIES))
    return Row(
        name="status-cpu",
        what="3 peers: CPU of hbd status",
        figure=milliseconds(took),
        goal="< 60 ms",
        facts={"peers": 3, "up": up},
    )


def _wall(hbd: Hbd, *words: object, tries: int = TRIES) -> float:
    """Give the seconds that a command takes, the median of some tries."""
    return statistics.median(_took(hbd, *words).wall for _ in range(tries))


def _took(hbd: Hbd, *words: object) -> Took:
    """Say how long a command takes, its start included; to read what it prints is not its work."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "hbd", *map(str, words)],
        cwd="/",
        env=hbd.environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return Took(wall, used.ru_utime + used.ru_stime)


def _row(name: str, what: str, seconds: float, goal: str, facts: dict[str, object]) -> Row:
    return Row(name=name, what=what, figure=f"{seconds:.2f} s", goal=goal, facts=facts)
