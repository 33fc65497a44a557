"""Where everything is measured: a network of our own, and how long things are looked at."""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tests.bench.hbd import PORT, Hbd
from tests.bench.machine import run_time
from tests.bench.programs import Monitor, Program, Reflector
from tests.network import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.network.namespaces import Namespace

SETTLE: Final = 2.0
"""Seconds after the last peer came up until the journal and the state files are done with it."""


class Lab:
    """A host with nothing but a loopback interface, and what is started in it."""

    def __init__(self, *, quick: bool, runs: int | None, say: Callable[[str], None]) -> None:
        self.quick = quick
        self.runs = runs or (1 if quick else 5)
        """How often two programs are measured in turn."""
        self.span = 1.5 if quick else 4.0
        """Seconds that one is looked at."""
        self.say = say
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.net = stack.enter_context(namespaces.network())
            self.host = self.net.host("bench")
            directory = tempfile.TemporaryDirectory(prefix="hbd-bench-")
            self.directory = Path(stack.enter_context(directory))
            self.key = self.directory / "fleet.key"
            self.key.touch(mode=0o600)
            self.key.write_text(f"{secrets.token_hex(32)}\n")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reflector(
        self, *, keyed: bool = False, poll_usec: int = 500, host: Namespace | None = None
    ) -> Reflector:
        """Start one that answers on every address of loopback."""
        key = self.key if keyed else None
        where = host or self.host
        return Reflector(where, self.directory, port=PORT, key=key, poll_usec=poll_usec)

    def monitor(
        self, peers: int, *, interval: float = 1.0, keyed: bool = False, port: int = PORT
    ) -> Monitor:
        key = self.key if keyed else None
        return Monitor(self.host, self.directory, peers, interval=interval, key=key, port=port)

    def hbd(self, peers: int, *, keyed: bool = False, **keys: str) -> Hbd:
        """Write a configuration; entering the result starts it."""
        return Hbd(self.host, peers, key=self.key if keyed else None, **keys)

    def cost(self, pid: int, counter: Program, word: str = "received") -> Cost:
        """Look at a process for a while; what it does is counted by another."""
        time.sleep(SETTLE)
        began, ran, counted = time.monotonic(), run_time(pid), counter[word]
        time.sleep(self.span)
        seconds = time.monotonic() - began
        return Cost(run_time(pid) - ran, counter[word] - counted, seconds)


class Cost(NamedTuple):
    """What a process took to do something so many times."""

    nanoseconds: int
    times: int
    seconds: float
    """That it was looked at."""

    @property
    def usec(self) -> float:
        """Microseconds for each."""
        return self.nanoseconds / 1000 / max(self.times, 1)

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.times / self.seconds

    @property
    def share(self) -> float:
        """Of one core, percent."""
        return self.nanoseconds / self.seconds / 1e7


class Pairs(NamedTuple):
    """Two programs measured in turn, several times."""

    ours: list[Cost]
    theirs: list[Cost]

    @property
    def usec(self) -> tuple[float, float]:
        """The medians of both."""
        return median(self.ours), median(self.theirs)

    @property
    def ratio(self) -> float:
        """The median of the ratios of neighbours: what else the machine does hits both."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours.usec / theirs.usec for ours, theirs in pairs)

    @property
    def ratio_of_minima(self) -> float:
        return min(cost.usec for cost in self.ours) / min(cost.usec for cost in self.theirs)


def median(costs: Iterable[Cost]) -> float:
    return statistics.median(cost.usec for cost in costs)
