"""`hbd demo`: shows on loopback what hbd says about faults."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hbd.cli.asking import declare
from hbd.demo.show import show
from hbd.demo.stage import DemoError, Stage
from hbd.report.answer import NoDaemonError
from hbd.report.client import RemoteError

if TYPE_CHECKING:
    from argparse import Namespace
    from types import FrameType

EPILOG: Final = """\
Needs no root and no configuration, changes nothing and leaves nothing behind:
what it starts runs on loopback and in a directory that is removed again.
It takes about half a minute; Ctrl-C ends it at any moment.
Exit status: 0 if everything was seen as announced, else 1.

example:
  hbd demo
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    declare(subparsers, "demo", "Show on loopback what hbd says about faults.", EPILOG)


def run(_arguments: Namespace) -> int:
    """Show it; whatever ends it, take away what was started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        stage = Stage()
    except OSError as error:
        return _complain(f"no directory can be made: {error}; set TMPDIR")
    try:
        show(stage)
    except BrokenPipeError:
        raise
    except (DemoError, NoDaemonError, RemoteError, OSError) as error:
        return _complain(str(error))
    finally:
        stage.close()
    return os.EX_OK


def _complain(text: str) -> int:
    sys.stderr.write(f"hbd: the demonstration failed: {text}\n")
    return 1


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
