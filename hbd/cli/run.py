"""`hbd run`: the daemon, in the foreground."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import declare
from hbd.config.model import ConfigError, Loaded
from hbd.daemon import memory
from hbd.daemon.binding import BindError
from hbd.daemon.daemon import Daemon
from hbd.daemon.loading import load_now
from hbd.daemon.teller import new_id
from hbd.net.clock import Clock
from hbd.report import messages
from hbd.report.choose import choose
from hbd.report.control import SocketTakenError
from hbd.report.notify import Notifier
from hbd.report.places import CONFIGURATION
from hbd.report.store import StoreTakenError

if TYPE_CHECKING:
    from argparse import Namespace


PACE_S: Final = 5
"""Systemd tries again at once, as after a crash: too often where what is missing takes its time."""

EPILOG: Final = """\
Under systemd entries go to the journal, else to standard error. An ordinary
user sets RUNTIME_DIRECTORY and STATE_DIRECTORY, for the commands too.
Exit status: 0 stopped by SIGTERM or SIGINT, 71 cannot bind or start,
78 bad configuration. SIGHUP reloads.

example:
  hbd run --config ./hbd.yaml --log text
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "run", "Run the daemon in the foreground.", EPILOG)
    parser.add_argument(
        "--config", default=CONFIGURATION, metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--log", choices=("text", "json"), help="to standard error, as text or as JSON lines"
    )


def run(arguments: Namespace) -> int:
    """Load, start, turn until stopped."""
    # systemd's watchdog ends us with SIGABRT: then the journal shows where we hung.
    faulthandler.enable()
    memory.begin()
    notifier = Notifier(os.environ)
    try:
        daemon = _begin(load_now(arguments.config), arguments.log)
    except ConfigError as error:
        return _refuse(error, notifier)
    except (BindError, SocketTakenError, StoreTakenError, OSError) as error:
        notifier.status(f"cannot start: {error}")
        sys.stderr.write(f"hbd: cannot start: {error}\n")
        if "NOTIFY_SOCKET" in os.environ:
            time.sleep(PACE_S)
        return os.EX_OSERR
    memory.settle()
    daemon.run()
    return os.EX_OK


def _refuse(error: ConfigError, notifier: Notifier) -> int:
    notifier.status(f"configuration error: {messages.first_of(error.problems)}")
    for problem in error.problems:
        sys.stderr.write(f"hbd: {problem}\n")
    return os.EX_CONFIG


def _begin(loaded: Loaded, log: str | None) -> Daemon:
    clock = Clock()
    sink = choose(log, os.environ, lambda n: messages.entries_lost(new_id(), clock.wall(), n))
    daemon = Daemon(loaded, sink, os.environ)
    daemon.start(_kept_sockets())
    return daemon


def _kept_sockets() -> dict[str, int]:
    """Give the sockets that systemd kept over a restart, by the names we gave them."""
    if "LISTEN_FDS" not in os.environ:
        return {}
    from systemd.daemon import listen_fds_with_names  # noqa: PLC0415 - not needed otherwise

    return {name: fd for fd, name in listen_fds_with_names().items()}
