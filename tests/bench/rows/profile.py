"""Where the processor time of a heartbeat goes: what is the kernel, what is Python, what is left.

The daemon is the real one; the few calls that it makes in a turn are timed by the clock of its
thread, so that no time in which it slept, or waited for a core, is counted.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final

from tests.bench.table import Row
from tests.daemon.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.lab import Lab

PATIENCE: Final = 10.0

STAGES: Final = {
    "send": "the kernel: sendmmsg",
    "receive": "the kernel: recvmmsg",
    "sleep": "the kernel: to sleep, and to be woken",
    "compose": "Python: heartbeats are written",
    "read": "Python: replies are got out of where they lie",
    "take": "Python: replies are looked at, and noted",
    "duties": "Python: all that is no heartbeat",
    "turn": "Python: the rest of a turn",
}

PROGRAM: Final = """
import functools, json, os, signal, time
from hbd.core import volleys
from hbd.daemon.daemon import Daemon
from hbd.daemon.monitor import Monitor
from hbd.daemon.poller import Poller
from hbd.net import batch

clock, took, inner = time.thread_time_ns, {}, [0]

def timed(name, call):
    @functools.wraps(call)
    def timing(*arguments, **options):
        began = clock()
        inner.append(0)
        try:
            return call(*arguments, **options)
        finally:
            all_of_it, of_others = clock() - began, inner.pop()
            inner[-1] += all_of_it
            took[name] = took.get(name, 0) + all_of_it - of_others
    return timing

def write(*_):
    with open(FILE + ".new", "w") as file:
        json.dump(took, file)
    os.rename(FILE + ".new", FILE)

calls = batch.calls()
timed_calls = calls._replace(
    sendmmsg=timed("send", calls.sendmmsg), recvmmsg=timed("receive", calls.recvmmsg)
)
batch.calls = lambda: timed_calls
volleys.take = timed("take", volleys.take)
for owner, name, stage in (
    (Poller, "wait", "sleep"),
    (volleys.Volleys, "compose", "compose"),
    (Monitor, "drain", "read"),
    (Daemon, "_do_duties", "duties"),
    (Daemon, "_turn", "turn"),
):
    setattr(owner, name, timed(stage, getattr(owner, name)))
signal.signal(signal.SIGUSR1, lambda *_: took.clear())
signal.signal(signal.SIGUSR2, write)
"""


def profile(lab: Lab) -> Iterator[Row]:
    peers = 200 if lab.quick else 10_000
    file = lab.directory / "profile.json"
    with (
        lab.reflector() as reflector,
        lab.hbd(peers, program=f"FILE = {str(file)!r}\n{PROGRAM}") as hbd,
    ):
        up = hbd.all_are("up")
        lab.cost(hbd.pid, lambda: 0)  # until all is calm
        hbd.process.send_signal(signal.SIGUSR1)
        began = reflector["received"]
        lab.settle()
        lab.settle()
        hbd.process.send_signal(signal.SIGUSR2)
        heartbeats = reflector["received"] - began
        took = until(lambda: _written(file), PATIENCE)
    whole = sum(took.values())
    for stage, what in STAGES.items():
        yield Row(
            name=f"profile-{stage}",
            what=f"{peers:,} peers, {what}",
            figure=f"{took[stage] / 1000 / heartbeats:.2f} us",
            goal="-",
            remarks=f"{took[stage] / whole:.0%} of {whole / 1000 / heartbeats:.2f} us",
            facts={"peers": peers, "up": up, "nanoseconds": took[stage]},
        )


def _written(file: Path) -> dict[str, int] | None:
    return json.loads(file.read_text()) if file.exists() else None
