"""`hbd status`: the daemon's view."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import EX_NO_DAEMON, AskError, ask, ask_octets, complain, declare, verdict
from hbd.cli.table import table
from hbd.report import varlink

if TYPE_CHECKING:
    from argparse import Namespace

REDRAW_S: Final = 1.0
CLEAR: Final = "\x1b[H\x1b[J"

EPILOG: Final = """\
Exit status: 0 all up or paused; 1 something degraded, unknown or left;
2 something down or unreachable.

examples:
  hbd status
  hbd status db1 db2 --json
  hbd status --watch
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "status", "Show who is up, who is down, and why.", EPILOG)
    parser.add_argument("peers", nargs="*", metavar="PEER", help="default: all")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", action="store_true", help="redraw every second")


def run(arguments: Namespace) -> int:
    """Print the table, or the JSON."""
    if arguments.watch:
        return _watch(arguments.peers)
    try:
        octets = ask_octets("Status", peers=arguments.peers)
    except AskError as error:
        return complain(error)
    if not arguments.json:
        status = json.loads(octets)
        sys.stdout.write("\n".join(table(status, colour=_has_colour())) + "\n")
        return verdict([peer["state"] for peer in status["peers"]])
    sys.stdout.buffer.writelines((octets, b"\n"))
    if arguments.peers:
        return verdict([peer["state"] for peer in json.loads(octets)["peers"]])
    # Ten thousand peers need not be read: what stands before them has how many are in which state.
    head = json.loads(octets.partition(varlink.PEERS)[0] + b"}")
    return verdict([state for state, count in head["summary"].items() if count])


def _has_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _watch(peers: list[str]) -> int:
    while True:
        try:
            lines = table(ask("Status", peers=peers), colour=_has_colour())
        except AskError as error:
            if error.status != EX_NO_DAEMON:
                return complain(error)
            lines = [f"hbd: {error}"]
        sys.stdout.write(CLEAR + "\n".join(lines) + "\n")
        sys.stdout.flush()
        time.sleep(REDRAW_S)
