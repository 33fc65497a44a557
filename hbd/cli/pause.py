"""`hbd pause`: maintenance, during which a peer is measured but not judged."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask, complain, declare, span
from hbd.cli.question import label, labels_of
from hbd.cli.table import local

if TYPE_CHECKING:
    from argparse import Namespace

EPILOG: Final = """\
The pause survives a restart of the daemon and ends by itself, or by hbd resume.

examples:
  sudo hbd pause db1 --for 30min --reason "new disk"
  sudo hbd pause --label site=ams
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "pause", "Give no verdict on peers for a while.", EPILOG)
    parser.add_argument("peers", nargs="*", metavar="PEER")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        type=label,
        metavar="K=V",
        help="all peers with this label, or those of the named; several: with all of them",
    )
    parser.add_argument(
        "--for", dest="span", type=span, metavar="DURATION", help="default: 1h", default=None
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="shown in hbd status")


def run(arguments: Namespace) -> int:
    """Pause them and say until when."""
    if not arguments.peers and not arguments.label:
        return complain(AskError("name a PEER or a --label K=V; see hbd pause --help", os.EX_USAGE))
    usec = None if arguments.span is None else arguments.span // 1_000
    try:
        answer = ask(
            "Pause",
            peers=arguments.peers,
            labels=labels_of(arguments.label),
            duration_usec=usec,
            reason=arguments.reason,
        )
    except AskError as error:
        return complain(error)
    for name in answer["peers"]:
        sys.stdout.write(f"{name} paused until {local(answer['until'])}\n")
    return os.EX_OK
