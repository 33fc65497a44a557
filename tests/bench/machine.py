"""What the figures hold for, and how what a process costs is read."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1e6


def run_time(pid: int) -> int:
    """Give the exact time that a process ran so far, all its threads, nanoseconds.

    The split into user and system is sampled at ticks, on which we and hbd wake: the sum is not.
    """
    # Linux's clock of another process, CPUCLOCK_SCHED (linux/posix-timers.h).
    return time.clock_gettime_ns(~pid << 3 | 2)


class Took(NamedTuple):
    """How long something took, seconds."""

    wall: float
    """What it had to wait for included;"""
    processor: float
    """and what it ran itself."""


class Memory(NamedTuple):
    """Megabytes."""

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """Give what a process holds, all of it and its fair share of what others hold too."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    octets = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines}
    return Memory(octets["Rss:"] / MEGABYTE, octets["Pss:"] / MEGABYTE)


def wakeups(pid: int) -> int:
    """Count how often a process of one thread slept and was woken."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])


def description() -> Iterator[str]:
    """Tell machine and versions, a line each."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    yield f"CPU: {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores"
    yield f"kernel: {platform.release()}"
    yield f"Python: {platform.python_version()}"
    yield f"load when it began: {os.getloadavg()[0]:.2f}"
    for command in (
        ["cc", "--version"],
        ["openssl", "version"],
        ["fping", "--version"],
        ["oping", "-h"],
        ["bird", "--version"],
    ):
        yield f"{command[0]}: {_version(command)}"


def _version(command: list[str]) -> str:
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    lines = [*told.stdout.splitlines(), *told.stderr.splitlines()]
    return next((line for line in lines if re.search(r"\d\.\d", line)), "of no known version")
