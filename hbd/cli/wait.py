"""`hbd wait`: blocks until a peer is in a state."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import FAILURES, AskError, ask, client, complain, declare, in_words, span
from hbd.report.answer import NoDaemonError
from hbd.report.tally import ORDER

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

ACCEPTED: Final = {"up": {"up", "degraded"}, "down": {"down", "unreachable"}}
"""Who waits for up is content with degraded, who waits for down with unreachable."""

STATES: Final = tuple(state.value for state in ORDER)

EPILOG: Final = """\
up includes degraded, down includes unreachable.
What was stored before the daemon started counts once a verdict confirms it.
Exit status: 0, or 1 at the timeout.

examples:
  hbd wait db1 --timeout 30s && start-the-application
  hbd wait db1 --for down; echo "db1 went down"
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "wait", "Wait until a peer is in a state.", EPILOG)
    parser.add_argument("peer", metavar="PEER")
    parser.add_argument(
        "--for", dest="state", default="up", choices=STATES, metavar="STATE", help="default: up"
    )
    parser.add_argument("--timeout", type=span, metavar="DURATION", help="default: no limit")


def run(arguments: Namespace) -> int:
    """Follow the peer's state until it is right."""
    accepted = ACCEPTED.get(arguments.state, {arguments.state})
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind `&` of a script
    end = None if arguments.timeout is None else time.monotonic() + arguments.timeout / 1e9
    try:
        return _follow(arguments.peer, accepted, end)
    except TimeoutError:
        return _timed_out(arguments.peer, arguments.state, accepted)
    except FAILURES as error:
        return complain(in_words(error))


def _timed_out(peer: str, wanted: str, accepted: set[str]) -> int:
    """See once more how it is, so that what is said is so."""
    try:
        view = ask("Status", peers=[peer])["peers"][0]
    except AskError as error:
        return complain(error)
    state = view["state"]
    if state not in accepted:
        sys.stderr.write(f"hbd: {peer} is {state}, not {wanted}: timed out\n")
        return 1
    if view["restored"]:
        words = f"was {state} before the daemon started, with no verdict since: timed out"
        sys.stderr.write(f"hbd: {peer} {words}\n")
        return 1
    return os.EX_OK


def _follow(peer: str, accepted: set[str], end: float | None) -> int:
    for state in _states(peer, end):
        if state in accepted and _holds(peer, accepted, end):
            break
    return os.EX_OK


def _states(peer: str, end: float | None) -> Iterator[str]:
    """Watch it, over restarts of the daemon too, which is away for a moment only."""
    seen = False
    while True:
        timeout = None if end is None else max(end - time.monotonic(), 0.0)
        try:
            for change in client().stream("Watch", timeout=timeout, peers=[peer]):
                seen = True
                yield change["state"]
        except NoDaemonError:
            if not seen:
                raise
            _breathe(end)


def _holds(peer: str, accepted: set[str], end: float | None) -> bool:
    """Whether it is in one of these states by a verdict, and not by what was stored before."""
    while True:
        try:
            view = client().call("Status", peers=[peer])["peers"][0]
        except NoDaemonError:
            return False  # who watches is told so, too
        if view["state"] not in accepted:
            return False
        if not view["restored"]:
            return True
        _breathe(end)


def _breathe(end: float | None) -> None:
    if end is not None and time.monotonic() >= end:
        raise TimeoutError
    time.sleep(0.2)
