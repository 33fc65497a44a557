"""Chaos: faults from a seed befall the daemon, and an oracle that knows the truth hears it.

    python -m tests.chaos [--seed N] [--minutes M] [--container]

Needs root: all happens in namespaces of its own. The wall clock and suspension are not touched, as
no namespace has its own of them: tests/simulation steps those.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.chaos import faults
from tests.chaos.host import Host
from tests.chaos.run import Run, report
from tests.chaos.service import Service, named
from tests.network import namespaces
from tests.systemd.container import booted

INSIDE = "HBD_CHAOS_INSIDE"
NICE = -10
"""As hbd.service: the peers of this run must answer on time, or the oracle is wrong."""


def main():
    """Run; 0 where all was right, 1 where it was not, 77 where it cannot be done here."""
    arguments = _arguments()
    if reason := namespaces.why_not():
        print(f"chaos: {reason}", file=sys.stderr)
        return os.EX_NOPERM
    os.nice(NICE - os.nice(0))
    if arguments.container:
        return _in_container(arguments)
    if INSIDE not in os.environ:
        # Small file systems and a journald of our own are to be seen by nobody else.
        words = ["unshare", "--mount", "--", sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execvpe(words[0], words, os.environ | {INSIDE: "1"})  # noqa: S606 - no shell needed
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    with _place() as place, namespaces.network() as net:
        host = net.host("monitor")
        return _run(arguments, net, faults.PROCESS, partial(Host, place, host))


def _in_container(arguments):
    with (
        _place() as place,
        booted(place / "console") as machine,
        named(machine) as host,
        namespaces.network() as net,
    ):
        make = partial(Service, machine, host, place)
        return _run(arguments, net, faults.CONTAINER, make)


@contextmanager
def _place():
    with tempfile.TemporaryDirectory(prefix="hbd-chaos-") as place:
        yield Path(place)


def _run(arguments, net, groups, host):
    run = Run(arguments.seed, net, groups, host)
    try:
        run.go(arguments.minutes * 60)
        wrong, said = [*run.oracle.wrong], run.host.said()
    finally:
        run.close()
    print("\n".join(report(run, arguments.seed)))
    if wrong:
        print(f"\nWRONG: {wrong[0]}\n\n{run.oracle.story()}\n{said}")
    return 1 if wrong else 0


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--container", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
