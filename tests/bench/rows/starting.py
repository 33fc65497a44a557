"""How long the daemon and the commands take, and how still it stands while it reloads."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.bench.notify import Ear
from tests.bench.table import Row, milliseconds
from tests.daemon.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.hbd import Hbd
    from tests.bench.lab import Lab

TRIES: Final = 5
"""Of a command."""


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
    with lab.reflector() as reflector, hbd:
        facts = {"peers": peers, "up": hbd.all_are("up")}
        lab.settle()
        took = _wall(hbd, "status", "--json")
        yield _row("start-status", f"{peers:,} peers: hbd status --json", took, "< 0.3 s", facts)
        reflector["gap"] = 0
        time.sleep(2 * lab.span)
        quiet = reflector["gap"] / 1e9
        hbd.write([hbd.peers[0] | {"interval": "2s"}, *hbd.peers[1:]])
        reflector["gap"] = 0
        took = _wall(hbd, "reload")
        time.sleep(0.2)
        gap = reflector["gap"] / 1e9
        lost = hbd.counts().lost
    yield Row(
        name="start-reload",
        what=f"{peers:,} peers, one changed: longest gap between heartbeats in a reload",
        figure=milliseconds(gap),
        other=f"without: {milliseconds(quiet)}",
        goal="<= 20 ms",
        remarks=f"the reload took {took:.2f} s; lost {lost}",
        facts=facts | {"lost": lost},
    )
    yield _status_of_a_handful(lab)


def _ready(lab: Lab, peers: int) -> tuple[float, int]:
    hbd = lab.hbd(peers)
    with lab.reflector(), Ear(lab.directory / "notify") as ear:
        hbd.environment["NOTIFY_SOCKET"] = str(ear.path)
        began = time.monotonic()
        with hbd:
            at = until(lambda: ear.times("READY=1"), 60)[0]
            return at - began, hbd.all_are("up")


def _status_of_a_handful(lab: Lab) -> Row:
    with lab.reflector(), lab.hbd(3) as hbd:
        up = hbd.all_are("up")
        took = statistics.median(_cpu(hbd, "status") for _ in range(TRIES))
    return Row(
        name="status-cpu",
        what="3 peers: CPU of hbd status",
        figure=milliseconds(took),
        goal="< 60 ms",
        facts={"peers": 3, "up": up},
    )


def _wall(hbd: Hbd, *words: object) -> float:
    """Give the seconds that a command takes, the median of some tries."""
    times = []
    for _ in range(1 if words[0] == "reload" else TRIES):
        began = time.monotonic()
        done = hbd.hbd(*words, seconds=120)
        times.append(time.monotonic() - began)
        assert done.returncode == 0, done.stderr
    return statistics.median(times)


def _cpu(hbd: Hbd, *words: str) -> float:
    """Give the seconds of processor time that a command takes, its start included."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hbd", *words],
        cwd="/",
        env=hbd.environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return used.ru_utime + used.ru_stime


def _row(name: str, what: str, seconds: float, goal: str, facts: dict[str, object]) -> Row:
    return Row(name=name, what=what, figure=f"{seconds:.2f} s", goal=goal, facts=facts)
