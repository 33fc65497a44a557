"""What the commands that ask the daemon have in common."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from hbd.cli.help import Help
from hbd.report.answer import NoDaemonError, OtherVersionError, TooLongError
from hbd.report.client import Client, RemoteError, read
from hbd.report.places import control_socket

EX_NO_DAEMON: Final = 3

EXIT_OF: Final = {
    "NoSuchPeer": os.EX_UNAVAILABLE,
    "PermissionDenied": os.EX_NOPERM,
    "ReloadRefused": os.EX_CONFIG,
    "Busy": EX_NO_DAEMON,
}

FAILURES: Final = (RemoteError, NoDaemonError, OSError)
"""What asking may end with."""

LONGEST: Final = 36_500 * 86_400 * 1_000_000_000
"""Nanoseconds; Python waits for no more than 292 years."""

OK: Final = {"up", "paused"}
BAD: Final = {"down", "unreachable"}


class AskError(Exception):
    """The daemon cannot be asked, or refuses; `status` is the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def declare(subparsers: Any, name: str, words: str, epilog: str) -> ArgumentParser:
    """Declare a command; `words` say what it does, from the second word on in lower case."""
    parser: ArgumentParser = subparsers.add_parser(
        name,
        help=words[0].lower() + words[1:].rstrip("."),
        description=words,
        epilog=epilog,
        formatter_class=Help,
    )
    return parser


def client() -> Client:
    """Give a client of the daemon that the environment points to."""
    return Client(control_socket(os.environ))


def ask(method: str, **parameters: object) -> dict[str, Any]:
    """Ask the daemon once; AskError where it cannot be asked, or refuses."""
    return understood(ask_octets(method, **parameters))


def ask_octets(method: str, **parameters: object) -> bytes:
    """Do the same for the JSON text, as the daemon wrote it."""
    try:
        return client().octets(method, **parameters)
    except FAILURES as error:
        raise in_words(error) from error


def understood(octets: bytes) -> dict[str, Any]:
    """Read what the daemon answered; AskError where that is nothing of a daemon's."""
    try:
        return read(octets)
    except NoDaemonError as error:
        raise in_words(error) from error


def in_words(error: RemoteError | NoDaemonError | OSError) -> AskError:
    """Say why there is no answer and what to do."""
    match error:
        case RemoteError():
            return _refused(error)
        case TooLongError():
            return AskError(str(error), os.EX_USAGE)
        case OtherVersionError():
            return AskError(str(error), os.EX_SOFTWARE)
        case NoDaemonError():
            words = (
                f"{error}: start it with systemctl start hbd,"
                " or set RUNTIME_DIRECTORY to where yours runs"
            )
            return AskError(words, EX_NO_DAEMON)
        case PermissionError():
            words = "not permitted to open the control socket: try sudo"
            return AskError(words, os.EX_NOPERM)
    return AskError(f"cannot ask the daemon: {error}", os.EX_NOPERM)


def _refused(error: RemoteError) -> AskError:
    parameters = error.parameters
    match error.name:
        case "NoSuchPeer":
            text = f"no peer {parameters.get('name')} in the configuration; see hbd status"
        case "PermissionDenied":
            text = f"not permitted: {parameters.get('help')}"
        case "ReloadRefused":
            text = "\n".join(map(str, parameters.get("errors", ())))
        case "Busy":
            text = "the daemon has too many clients; try again"
        case "org.varlink.service.MethodNotFound" | "org.varlink.service.InterfaceNotFound":
            text = str(OtherVersionError(f"method {parameters.get('method', 'of that name')}"))
        case _:
            text = f"the daemon refused: {error}"
    return AskError(text, EXIT_OF.get(error.name, os.EX_SOFTWARE))


def complain(error: AskError) -> int:
    """Print what went wrong; give the exit status."""
    for line in str(error).splitlines():
        sys.stderr.write(f"hbd: {line}\n")
    return error.status


def verdict(states: list[str]) -> int:
    """Give the exit status of the plug-in convention: 0 well, 1 warning, 2 critical."""
    if any(state in BAD for state in states):
        return 2
    return 0 if all(state in OK for state in states) else 1


def span(text: str) -> int:
    """Read a duration of the command line, nanoseconds; a type for argparse."""
    from hbd.config.values import Mistake, nanoseconds_of  # noqa: PLC0415 - status need not load YAML

    try:
        nanoseconds = nanoseconds_of(text)
    except Mistake as error:
        raise ArgumentTypeError(str(error)) from error
    if nanoseconds > LONGEST:
        raise ArgumentTypeError(f"{text} is longer than hbd can wait; write at most 36500d")
    return nanoseconds
