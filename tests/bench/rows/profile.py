"""Where the processor time of a heartbeat goes: what is the kernel, what is Python, what is left.

The daemon is the real one; the few calls that it makes in a turn are timed by the clock of its
thread, so that no time in which it slept, or waited for a core, is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.bench.inside import Notes
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.lab import Lab

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

TIMED: Final = """
import functools, time
from hbd.core import volleys
from hbd.daemon.daemon import Daemon
from hbd.daemon.monitor import Monitor
from hbd.daemon.poller import Poller
from hbd.net import batch

clock, inner = time.thread_time_ns, [0]

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
            notes[name] = notes.get(name, 0) + all_of_it - of_others
    return timing

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
"""


def profile(lab: Lab) -> Iterator[Row]:
    peers = 200 if lab.quick else 10_000
    notes = Notes(lab.directory / "profile.json", TIMED)
    with lab.reflector() as reflector, lab.hbd(peers, program=notes.program) as hbd:
        up = hbd.all_are("up")
        lab.cost(hbd.pid, lambda: 0)  # until all is calm
        notes.begin(hbd)
        began = reflector["received"]
        lab.settle()
        lab.settle()
        heartbeats = reflector["received"] - began
        took = notes.read(hbd)
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
