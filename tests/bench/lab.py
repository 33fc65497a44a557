"""Where everything is measured: a network of our own, and how long things are looked at."""

from __future__ import annotations

import os
import secrets
import socket
import statistics
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tests.bench.hbd import Hbd
from tests.bench.machine import run_time
from tests.bench.programs import Monitor, Reflector
from tests.bench.table import Row
from tests.network import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.network.namespaces import Namespace

PORT: Final = 862
OTHER_PORT: Final = 1862
CALM: Final = 60
"""So often at most it is seen whether a start is over."""

ON_LOOPBACK: Final = 0x7F010000
"""127.1.0.0: from here on there are peers, as in monitor.c."""
ON_CABLE: Final = 0x0A400000
"""10.64.0.0: these are at the far end of the cable."""


class Cable(NamedTuple):
    """Two hosts; all of 10.64.0.0/10 is the far one."""

    near: Namespace
    far: Namespace


class Lab:
    """A host with nothing but a loopback interface, and what is started in it."""

    def __init__(self, *, quick: bool, runs: int | None, say: Callable[[str], None]) -> None:
        self.quick = quick
        self.runs = runs or (1 if quick else 5)
        """How often two programs are measured in turn."""
        self.span = 1.0 if quick else 4.0
        """Seconds that one is looked at."""
        self._settle = 0.5 if quick else 2.0
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

    # -- programs -----------------------------------------------------------------------------

    def reflector(
        self,
        *,
        keyed: bool = False,
        poll_usec: int = 500,
        host: Namespace | None = None,
        port: int = PORT,
    ) -> Reflector:
        """Start one that answers on every address of its host."""
        key = self.key if keyed else None
        where = host or self.host
        return Reflector(where, self.directory, port=port, key=key, poll_usec=poll_usec)

    def monitor(self, peers: int, *, interval: float = 1.0, keyed: bool = False) -> Monitor:
        """Start one that waits for its turn."""
        key = self.key if keyed else None
        return Monitor(self.host, self.directory, peers, interval=interval, key=key, port=PORT)

    def hbd(
        self,
        peers: int,
        *,
        first: int = ON_LOOPBACK,
        others: int = 0,
        keyed: bool = False,
        host: Namespace | None = None,
        each: dict[str, str] | None = None,
        as_service: bool = False,
        program: str = "",
        **keys: str,
    ) -> Hbd:
        """Write a configuration; entering the result starts it.

        The peers are at so many addresses from the first on, and `others` more after them that
        answer on the other port; `each` are their other settings.
        """
        if keyed:
            each = {"key": "fleet", **(each or {})}
            keys["keys"] = f"{{fleet: {{file: {self.key}}}}}"
        settings = [
            {"address": address(first + number), **(each or {})} for number in range(peers + others)
        ]
        for other in settings[peers:]:
            other["port"] = str(OTHER_PORT)
        return Hbd(
            host or self.host,
            self.directory,
            settings,
            as_service=as_service,
            program=program,
            **keys,
        )

    # -- networks -----------------------------------------------------------------------------

    @cached_property
    def cable(self) -> Cable:
        """Two more hosts, for who sends what the kernel answers.

        On loopback, who asks is billed for the answer. Here the far end, and what comes back from
        it, is worked off by the last core, and programs at the near end belong on the first.
        """
        made = Cable(self.net.host("near"), self.net.host("far"))
        self.net.link((made.near, "va", ["10.99.0.1/24"]), (made.far, "vb", ["10.99.0.2/24"]))
        made.near.ip("route add 10.64.0.0/10 via 10.99.0.2")
        made.far.ip("route add local 10.64.0.0/10 dev lo")
        cores = os.cpu_count() or 1
        for host, interface in ((made.near, "va"), (made.far, "vb")):
            mask = f"/sys/class/net/{interface}/queues/rx-0/rps_cpus"
            host.run("sh", "-c", f"echo {1 << cores - 1:x} > {mask}")
        return made

    # -- looking ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the journal and the state files are done with the last peer that came up."""
        time.sleep(self._settle)

    def cost(self, pid: int, count: Callable[[], int], span: float | None = None) -> Cost:
        """Look at a process for a while; what it does is counted elsewhere."""
        self.settle()
        self.wait_for_calm(pid)
        began, ran, counted = time.monotonic(), run_time(pid), count()
        time.sleep(span or self.span)
        seconds = time.monotonic() - began
        return Cost(run_time(pid) - ran, count() - counted, seconds)

    def wait_for_calm(self, pid: int) -> None:
        """Wait until a process has no start behind it: it was idle at times, and does no less now.

        What is measured is what it costs for months.
        """
        least, looks = self._settle, 0
        for _ in range(CALM):
            ran = run_time(pid)
            time.sleep(self._settle)
            used = (run_time(pid) - ran) / 1e9
            looks = looks + 1 if used > 0.95 * least else 0
            least = min(used, least)
            if looks == 2 and least < 0.95 * self._settle:
                return


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
        ours, theirs = ([cost.usec for cost in costs] for costs in self)
        return statistics.median(ours), statistics.median(theirs)

    @property
    def rates(self) -> tuple[float, float]:
        """How many a second they did, medians too."""
        ours, theirs = ([cost.rate for cost in costs] for costs in self)
        return statistics.median(ours), statistics.median(theirs)

    @property
    def ratio(self) -> float:
        """The median of the ratios of neighbours: what else the machine does hits both."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours.usec / theirs.usec for ours, theirs in pairs)

    @property
    def ratio_of_minima(self) -> float:
        """What is left of it when the machine is quiet for a moment."""
        ours, theirs = (min(cost.usec for cost in costs) for costs in self)
        return ours / theirs

    def row(
        self, name: str, what: str, other: str, *, goal: str, remarks: str, facts: dict[str, int]
    ) -> Row:
        """Say what one of ours costs beside one of the other program's."""
        ours, theirs = self.usec
        our_rate, their_rate = self.rates
        each, other_each = ([round(cost.usec, 3) for cost in costs] for costs in self)
        return Row(
            name=name,
            what=what,
            figure=f"{ours:.2f} us",
            other=f"{other}: {theirs:.2f} us",
            ratio=self.ratio,
            goal=goal,
            remarks=f"of minima {self.ratio_of_minima:.2f};"
            f" {our_rate:,.0f}/s, {other} {their_rate:,.0f}/s; {remarks}",
            facts={**facts, "usec": each, "other_usec": other_each},
        )


def address(number: int) -> str:
    """Write an IPv4 address."""
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def on_core(pid: int, core: int) -> None:
    """Keep a process on one core, the last for -1."""
    os.sched_setaffinity(pid, {range(os.cpu_count() or 1)[core]})


def kernel_count(host: Namespace, protocol: str, name: str) -> int:
    """Read one of the kernel's counters of a host, such as Udp OutDatagrams."""
    with host.inside():
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith(f"{protocol}: "))
    return int(values[names.index(name)])


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy meanwhile."""
    loops = []
    try:
        for core in range(os.cpu_count() or 1):
            pid = os.posix_spawnp(
                "setpriv",
                ["setpriv", "--pdeathsig=KILL", "sh", "-c", "while :; do :; done"],
                os.environ,
            )
            loops.append(pid)
            on_core(pid, core)
        yield
    finally:
        for pid in loops:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
