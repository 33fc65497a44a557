"""`hbd status --watch`: the table, drawn again every second, over restarts of the daemon."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.cli.asking import EX_NO_DAEMON, FAILURES, AskError, in_words
from hbd.cli.screen import Screen
from hbd.cli.table import Page, page, wrapped
from hbd.cli.terminal import DIM, RED, clean, standard_output
from hbd.report.answer import NoDaemonError
from hbd.report.client import Client
from hbd.report.places import control_socket
from hbd.report.words import duration

if TYPE_CHECKING:
    from hbd.cli.question import Question
    from hbd.cli.terminal import Terminal

REDRAW_S: Final = 1.0
PATIENCE_S: Final = 2.0
"""A daemon that does not answer by then is said to be lost, until it does."""
FIRST_PATIENCE_S: Final = 30.0

SMALL: Final = 12
"""A screen of fewer lines is filled with peers as far as it goes."""

FRESH: Final = 2_000_000_000
"""What is no older was told just now."""


class Known(NamedTuple):
    """What the daemon said last, and when."""

    status: dict[str, Any]
    moment: datetime
    clock: int
    """The same by a clock that nobody sets and that goes on while the machine sleeps."""
    lost: str = ""
    """Why it has said nothing since; empty while it answers."""

    def age(self) -> int:
        """How old that is, nanoseconds."""
        return _clock() - self.clock


def watch(question: Question) -> int:
    """Draw until somebody ends it; where that is no terminal, print."""
    terminal = standard_output()
    known = _asked(question, terminal, FIRST_PATIENCE_S)
    question.counts(known.status)
    if terminal.width is None or os.environ.get("TERM") == "dumb":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind `&` of a script
        _print(question, known, terminal)
    try:
        _draw(question, known)
    except OSError as error:
        if error.errno != errno.EIO:  # the terminal is gone
            raise
    return os.EX_OK


def _draw(question: Question, known: Known) -> None:
    with Screen() as screen:
        while True:
            terminal = _terminal()
            screen.draw(frame(known, question, terminal))
            if not screen.wait(REDRAW_S):
                known = _again(question, known, terminal)


def _print(question: Question, known: Known, terminal: Terminal) -> None:
    was_lost = False
    while True:
        if not (known.lost and was_lost):
            lines = heading(known, terminal)
            if not known.lost:
                lines += ["", *_page(known, question, terminal).lines(terminal), ""]
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        was_lost = bool(known.lost)
        time.sleep(REDRAW_S)
        known = _again(question, known, terminal)


def _terminal() -> Terminal:
    """Give that of this moment, one column narrower: to erase after the last would erase it."""
    terminal = standard_output()
    return terminal._replace(width=max((terminal.width or 1) - 1, 1))


# -- asking ---------------------------------------------------------------------------------------


def _asked(question: Question, terminal: Terminal, patience: float) -> Known:
    most = None if terminal.width is None else terminal.height
    client = Client(control_socket(os.environ), patience)
    try:
        status = client.call("Status", **question.parameters(), recent=True, most=most)
    except FAILURES as error:
        raise in_words(error) from error
    return Known(status, datetime.now(UTC), _clock())


def _again(question: Question, known: Known, terminal: Terminal) -> Known:
    """Give what it says now, or that it is lost; AskError where it refuses."""
    try:
        return _asked(question, terminal, PATIENCE_S)
    except AskError as error:
        if error.status != EX_NO_DAEMON:
            raise
        cause = error.__cause__
        return known._replace(lost=str(cause if isinstance(cause, NoDaemonError) else error))


def _clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


# -- drawing --------------------------------------------------------------------------------------


def heading(known: Known, terminal: Terminal) -> list[str]:
    """Say of whom and of when the table is, and whether that still holds."""
    moment = f"{known.moment.astimezone():%H:%M:%S}"
    age = known.age()
    if known.lost:
        text = f"hbd has not answered since {moment} ({duration(_whole(age))}): {clean(known.lost)}"
        lines = wrapped(f"{text}; what it said last:", terminal)
        return [terminal.paint(line, RED) for line in lines]
    past = "now" if age < FRESH else f"{duration(_whole(age))} ago"
    text = f"{clean(known.status['node'])}, as of {moment} ({past})"
    return [terminal.cut(text, terminal.width)]


def frame(known: Known, question: Question, terminal: Terminal) -> list[str]:
    """Give what fits on the screen: the worst peers, and how many more there are."""
    top = heading(known, terminal)
    plain = terminal._replace(has_colour=False) if known.lost else terminal
    peers = known.status["peers"]
    lines = _below(known, question, plain)
    while len(top) + len(lines) > terminal.height and peers:
        peers = peers[: -(len(top) + len(lines) - terminal.height)]
        lines = _below(known._replace(status=known.status | {"peers": peers}), question, plain)
    if known.lost:
        lines = [terminal.paint(line, DIM) for line in lines]
    return [*top, *lines][: terminal.height]


def _below(known: Known, question: Question, terminal: Terminal) -> list[str]:
    """Give what stands below the heading."""
    shown = _page(known, question, terminal)
    if terminal.height < SMALL:
        return shown.few_lines(terminal)
    return ["", *shown.lines(terminal)]


def _page(known: Known, question: Question, terminal: Terminal) -> Page:
    try:
        return page(known.status, question, terminal, known.moment)
    except AskError as error:  # a reload has removed them since
        return Page([], str(error))


def _whole(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000_000 * 1_000_000_000
