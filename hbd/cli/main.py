"""The program `hbd`: finds the command and runs it."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from hbd import __version__
from hbd.cli.help import Overview
from hbd.report.answer import OtherVersionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

COMMANDS: Final = (
    "run",
    "check",
    "reload",
    "status",
    "explain",
    "wait",
    "pause",
    "resume",
    "ping",
    "keygen",
    "report",
    "demo",
    "web",
)

NEGATIVE: Final = re.compile("-[0-9]")
OPTION: Final = re.compile("--[a-z-]+")

HUNG_UP: Final = 128 + signal.SIGPIPE
"""As a shell says of programs that end by it: what we had to say was not all read."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why a file that we were sent to takes no more."""

EPILOG: Final = """\
Exit status of every command besides its own: 3 no daemon to ask, 64 usage,
69 no such peer, 77 not permitted, 78 bad configuration; all are in hbd(8). See
hbd COMMAND --help for examples, and hbd.yaml(5).
"""


class Parser(ArgumentParser):
    """An argument parser whose errors end with EX_USAGE, and that takes `--since -7d`."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Read what begins with a minus and a digit as the value of the option before it."""
        joined: list[str] = []
        for word in args:
            is_value = NEGATIVE.match(word) and joined and OPTION.fullmatch(joined[-1])
            joined[-1:] = [f"{joined[-1]}={word}"] if is_value else [*joined[-1:], word]
        return super().parse_known_args(joined, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        sys.stderr.write(f"hbd: {message}; see {self.prog} --help\n")
        sys.exit(os.EX_USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; give the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _open_what_is_closed()
    # Only what is asked for is imported: `hbd status` is to be cheap.
    asked = next((word for word in arguments if not word.startswith("-")), None)
    names = (asked,) if asked in COMMANDS else COMMANDS
    modules = {name: import_module(f"hbd.cli.{name}") for name in names}
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sign that the terminal lacks is no failure
    try:
        return _run(modules, arguments)
    except BrokenPipeError:
        _write_no_more()  # whoever read us (head, less) has seen enough
        return HUNG_UP
    except KeyboardInterrupt:
        return 130
    except OtherVersionError as error:
        sys.stderr.write(f"hbd: {error}\n")
        return os.EX_SOFTWARE
    except OSError as error:
        if error.errno not in FULL:
            raise
        _write_no_more()
        sys.stderr.write(f"hbd: cannot write: {error.strerror}\n")
        return os.EX_IOERR


def _run(modules: Mapping[str, ModuleType], arguments: Sequence[str]) -> int:
    try:
        parsed = _parser(modules.values()).parse_args(arguments)
        status: int = modules[parsed.command].run(parsed)
    finally:
        sys.stdout.flush()  # of --help, too: here it is known what to say where it fails
    return status


def _open_what_is_closed() -> None:
    """Who starts us may have closed where we write: no socket of ours is to take its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as we run


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(modules: Iterable[ModuleType]) -> Parser:
    parser = Parser(
        prog="hbd",
        usage="hbd [--help] [--version] COMMAND ...",
        add_help=False,
        description="Says which of your machines are alive and reachable, and if not, why.",
        epilog=EPILOG,
        formatter_class=Overview,
    )
    parser.add_argument("-h", "--help", action="help", help=SUPPRESS)
    parser.add_argument("--version", action="version", version=f"hbd {__version__}", help=SUPPRESS)
    subparsers = parser.add_subparsers(
        title="commands",
        prog="hbd",
        dest="command",
        metavar="COMMAND",
        required=True,
        parser_class=Parser,
    )
    for module in modules:
        module.add(subparsers)
    return parser
