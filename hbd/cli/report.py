"""`hbd report`: availability, outages and causes, from the journal."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, complain, declare
from hbd.core.model import SECOND
from hbd.report.answer import NoDaemonError
from hbd.report.client import Client
from hbd.report.history.figures import figures
from hbd.report.history.reading import (
    SLACK,
    NoAccessError,
    NoJournalError,
    Reading,
    Unit,
)
from hbd.report.history.timeline import history
from hbd.report.places import control_socket
from hbd.report.words import peers_in_words

if TYPE_CHECKING:
    from argparse import Namespace

    from hbd.report.history.figures import Figures
    from hbd.report.history.told import Receipt

DEFAULT_DAYS: Final = 30
DAY: Final = 86_400 * SECOND
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"

EPILOG: Final = """\
WHEN is as in systemd.time(7): -7d, '2 weeks ago', yesterday, 2026-11-01,
'2026-11-01 10:00:00'. Available is (up + degraded) / (up + degraded + down);
what is not known, or was not watched, is in neither.
Reads the journal: as root, or in the group systemd-journal or adm.

examples:
  hbd report
  hbd report --since -7d db1 db2
  hbd report --since 2026-11-01 --until 2026-12-01 --html november.html
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "report", "Tell of outages and availability.", EPILOG)
    parser.add_argument("peers", nargs="*", metavar="PEER", help="default: all")
    parser.add_argument("--since", metavar="WHEN", help=f"default: -{DEFAULT_DAYS}d")
    parser.add_argument("--until", metavar="WHEN", help="default: now")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--html", metavar="FILE", help="write a page; - is standard output")
    parser.add_argument(
        "--unit", default="hbd.service", help="whose entries are read; default: %(default)s"
    )
    parser.add_argument("--user", action="store_true", help="of a daemon in your own systemd")


def run(arguments: Namespace) -> int:
    """Read, count, print."""
    now = time.time_ns()
    try:
        since, until = _span(arguments, now)
    except ValueError as error:
        return complain(AskError(str(error), os.EX_USAGE))
    reading = Reading(_unit(arguments), _progress)
    try:
        found = _figures(reading, arguments.peers, since, until, now)
    except NoAccessError as error:
        return complain(AskError(_no_access(error), os.EX_NOPERM))
    except NoJournalError:
        words = "there is no journal of this machine: is systemd-journald running here?"
        return complain(AskError(words, os.EX_NOINPUT))
    finally:
        _progress(None)
    missing = sorted(set(arguments.peers) - {peer.name for peer in found.peers})
    if missing and reading.read:
        words = f"the journal tells nothing of {', '.join(missing)} in this time; see hbd status"
        return complain(AskError(words, os.EX_UNAVAILABLE))
    if not reading.read:
        _say_nothing_found(arguments)
        if not (arguments.json or arguments.html):
            return os.EX_OK
    return _write(found, arguments)


def _unit(arguments: Namespace) -> Unit:
    name = arguments.unit if "." in arguments.unit else f"{arguments.unit}.service"
    return Unit(name, os.getuid() if arguments.user else None)


def _span(arguments: Namespace, now: int) -> tuple[int, int]:
    """Give the span of the report; ValueError says what is wrong with it."""
    from hbd.cli.moments import moment_of  # noqa: PLC0415 - loads YAML, which --help need not

    until = now if arguments.until is None else min(moment_of(arguments.until, now), now)
    if arguments.since is None:
        since = max(until - DEFAULT_DAYS * DAY, 0)
    else:
        since = moment_of(arguments.since, now)
    if since >= until:
        raise ValueError("--since is not before --until, or not in the past: nothing lies between")
    return since, until


def _figures(reading: Reading, names: list[str], since: int, until: int, now: int) -> Figures:
    entries = list(reading.entries(since, until))
    horizon = min(until + SLACK, now)
    is_watched = horizon == now and _is_running(reading.last)
    past = history(entries, horizon, is_watched=is_watched)
    past = replace(
        past,
        lost=past.lost + reading.suppressed,
        unreadable=past.unreadable + reading.unreadable,
    )
    return figures(past, since, until, names)


def _is_running(last: Receipt | None) -> bool:
    """Whether who told the last entry watches still: a quiet daemon tells nothing for a day."""
    if last is None:
        return False
    with suppress(OSError):
        if last.boot != Path(BOOT_ID).read_text().strip().replace("-", ""):
            return False
    with suppress(OSError, NoDaemonError):
        return Client(control_socket(os.environ)).process() == last.process
    return False


def _progress(count: int | None) -> None:
    """Say how far it is, to a person only; None: it is done."""
    if sys.stderr.isatty():
        words = "" if count is None else f"reading the journal: {count:,} entries"
        sys.stderr.write(f"\r{words}\x1b[K")
        sys.stderr.flush()


def _no_access(error: NoAccessError) -> str:
    return (
        f"not permitted to read the journal ({error}): try sudo, or become a member of the group"
        " systemd-journal or adm (usermod -aG systemd-journal NAME, then log in again)"
    )


def _say_nothing_found(arguments: Namespace) -> None:
    unit = _unit(arguments).name
    where = " of your own systemd (--user)" if arguments.user else ""
    sys.stderr.write(
        f"hbd: the journal has no entries of {unit}{where} in this time: hbd did not run, runs as"
        " another unit (--unit), or the journal is not kept that long (journalctl --disk-usage)\n"
    )


def _write(found: Figures, arguments: Namespace) -> int:
    if arguments.html is not None:
        return _write_page(found, arguments.html)
    if arguments.json:
        from hbd.report.history.shape import written  # noqa: PLC0415 - one of three

        sys.stdout.writelines(written(found))
        return os.EX_OK
    from hbd.report.history.text import text  # noqa: PLC0415 - one of three

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    note = f" (the last {DEFAULT_DAYS} days; see --since)" if arguments.since is None else ""
    lines = text(found, colour=colour, named=bool(arguments.peers), note=note)
    sys.stdout.write("\n".join(lines) + "\n")
    return os.EX_OK


def _write_page(found: Figures, file: str) -> int:
    from hbd.report.history.page import page  # noqa: PLC0415 - one of three

    if file == "-":
        sys.stdout.writelines(page(found, time.time_ns()))
        return os.EX_OK
    try:
        with Path(file).open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(page(found, time.time_ns()))
    except OSError as error:
        return complain(AskError(f"cannot write {file}: {error.strerror}", os.EX_CANTCREAT))
    sys.stderr.write(f"{file}: {peers_in_words(len(found.peers))}\n")
    return os.EX_OK
