"""`hbd status`: the daemon's view."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask_octets, complain, declare, understood, verdict
from hbd.cli.question import label, question_of, states
from hbd.cli.table import page
from hbd.cli.terminal import standard_output
from hbd.report import varlink

if TYPE_CHECKING:
    from argparse import Namespace

    from hbd.cli.question import Question

EPILOG: Final = """\
RECENT shows the last 100 heartbeats: low answered, then slowly, then more lost.
Exit status: 0 all shown are up or paused; 1 something degraded, unknown or
left; 2 something down or unreachable.

examples:
  hbd status 'db*' --label site=ams --json
  hbd status --state down,unreachable --watch
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "status", "Show who is up, who is down, and why.", EPILOG)
    parser.add_argument("peers", nargs="*", metavar="PEER", help="a name or 'db*'; default: all")
    parser.add_argument(
        *("--state",),
        dest="states",
        action="append",
        default=[],
        type=states,
        metavar="STATE[,STATE]",
        help="only those in one of them",
    )
    parser.add_argument(
        *("--label",),
        dest="labels",
        action="append",
        default=[],
        type=label,
        metavar="K=V",
        help="only those with it",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument("--watch", action="store_true", help="redraw every second")


def run(arguments: Namespace) -> int:
    """Print the table, or the JSON."""
    try:
        question = question_of(arguments)
        if arguments.watch:
            from hbd.cli import live  # noqa: PLC0415 - who does not watch need not load it

            return live.watch(question)
        return _print_json(question) if arguments.json else _print_table(question)
    except AskError as error:
        return complain(error)


def _print_table(question: Question) -> int:
    status = understood(ask_octets("Status", **question.parameters(), recent=True))
    counts = question.counts(status)
    terminal = standard_output()
    lines = page(status, question, terminal).lines(terminal)
    sys.stdout.write("\n".join(lines) + "\n")
    return _verdict(counts)


def _print_json(question: Question) -> int:
    octets = ask_octets("Status", **question.parameters())
    # Ten thousand peers need not be read: what stands before them has how many are in which state.
    counts = question.counts(understood(octets.partition(varlink.PEERS)[0] + b"}"))
    sys.stdout.buffer.writelines((octets, b"\n"))
    return _verdict(counts)


def _verdict(counts: dict[str, int]) -> int:
    return verdict([state for state, count in counts.items() if count])
