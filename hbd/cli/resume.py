"""`hbd resume`: ends a pause."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask, complain, declare
from hbd.report.words import is_pattern

if TYPE_CHECKING:
    from argparse import Namespace

EPILOG: Final = """\
example:
  sudo hbd resume db1
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "resume", "End the pause of peers.", EPILOG)
    parser.add_argument("peers", nargs="+", metavar="PEER")


def run(arguments: Namespace) -> int:
    """Resume them and say which were paused."""
    try:
        answer = ask("Resume", peers=arguments.peers)
    except AskError as error:
        return complain(error)
    for name in answer["peers"]:
        sys.stdout.write(f"{name} is judged again\n")
    for name in dict.fromkeys(arguments.peers):
        if not is_pattern(name) and name not in answer["peers"]:
            sys.stdout.write(f"{name} was not paused\n")
    if not answer["peers"] and all(map(is_pattern, arguments.peers)):
        sys.stdout.write("none of them was paused\n")
    return os.EX_OK
