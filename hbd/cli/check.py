"""`hbd check`: every mistake of a configuration at once, then what is doubtful in it."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hbd.cli import advice, as_service
from hbd.cli.asking import declare
from hbd.config.files import load
from hbd.config.keys import KeyFileError, KeyUnreadableError, problem_of, read
from hbd.config.model import ConfigError, Configuration, Problem
from hbd.config.passwords import check_passwords
from hbd.net.crowding import crowded
from hbd.report.answer import OtherVersionError
from hbd.report.places import CONFIGURATION

if TYPE_CHECKING:
    from argparse import Namespace

    from hbd.config.model import Loaded

SERVICE_CREDENTIALS: Final = "/run/credentials/hbd.service"

EPILOG: Final = """\
Mistakes and warnings go to standard error, one a line: FILE:LINE:COLUMN: text.
Exit status: 0 good, warnings or not; 78 mistakes.

example:
  hbd check && systemctl reload hbd
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "check", "Validate a configuration without running it.", EPILOG)
    parser.add_argument(
        "file", nargs="?", default=CONFIGURATION, metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--service", action="store_true", help="what the service cannot read is a mistake (as root)"
    )


def run(arguments: Namespace) -> int:
    """Print mistakes and warnings; give the exit status."""
    try:
        loaded = load(arguments.file)
    except ConfigError as error:
        _print_problems(error.problems, "")
        return os.EX_CONFIG
    mistakes, warnings = _check_secrets(loaded.configuration)
    if arguments.service:
        mistakes += _check_as_service(loaded)
    elif arguments.file == CONFIGURATION:
        warnings += _check_as_service(loaded)
    _print_problems(mistakes, "")
    warnings += _check_neighbours(loaded.configuration)
    warnings += _check_listening(loaded.configuration)
    _print_problems(sorted([*loaded.warnings, *warnings]), "warning: ")
    _print_problems(_doubtful_timing(loaded), "warning: ")
    if mistakes:
        return os.EX_CONFIG
    sys.stdout.write(f"{arguments.file}: good: {_count(loaded.configuration)}\n")
    return os.EX_OK


def _doubtful_timing(loaded: Loaded) -> list[Problem]:
    try:
        return advice.timing_warnings(loaded, advice.views())
    except OtherVersionError:  # what that one has measured cannot be read
        return advice.timing_warnings(loaded, {})


def _print_problems(problems: list[Problem], mark: str) -> None:
    for problem in problems:
        place = f"{problem.file}:{problem.line}:{problem.column}"
        sys.stderr.write(f"{place}: {mark}{problem.text}\n")


def _count(configuration: Configuration) -> str:
    peers = len(configuration.peers)
    paths = sum(max(1, len(peer.addresses)) for peer in configuration.peers)
    return f"{peers} peer{'s'[: peers != 1]}, {paths} path{'s'[: paths != 1]}"


def _check_secrets(configuration: Configuration) -> tuple[list[Problem], list[Problem]]:
    """Give mistakes and warnings: what this user cannot read, the daemon perhaps can."""
    mistakes, warnings = [], []
    owner_ids, directory = _owner_ids(), _credentials_directory()
    for name, source in configuration.keys.items():
        try:
            read(source, owner_ids=owner_ids, directory=directory)
        except KeyUnreadableError as error:
            warnings.append(problem_of(name, source, error))
        except KeyFileError as error:
            mistakes.append(problem_of(name, source, error))
    _, wrong, unreadable = check_passwords(configuration, owner_ids=owner_ids, directory=directory)
    return sorted([*mistakes, *wrong]), [*warnings, *unreadable]


def _check_as_service(loaded: Loaded) -> list[Problem]:
    """Root reads every file: the service may not, and does not start or reload then."""
    if os.geteuid() != 0:
        return []
    configuration = loaded.configuration
    problems = {file: Problem(file, 1, 1, "this file: ") for file in loaded.files}
    for peer in configuration.peers:
        if peer.password and peer.password.file:
            place = configuration.password_places[peer.name]
            problems[peer.password.file] = place.problem(f"peer {peer.name}: password: ")
    for name, source in configuration.keys.items():
        if source.file and source.place:
            problems[source.file] = source.place.problem(f"keys: {name}: ")
    with suppress(KeyError, OSError):  # no such user: then the caller runs the daemon
        why = as_service.why_unreadable(file for file in problems if Path(file).exists())
        return sorted(replace(problems[file], text=problems[file].text + why[file]) for file in why)
    return []


def _check_listening(configuration: Configuration) -> list[Problem]:
    """An address that is not here may be that of another machine, or yet to come."""
    warnings = []
    for listen in (*configuration.listen, *configuration.listen_tcp):
        family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((listen.address, 0))
        except OSError as error:
            is_missing = error.errno == errno.EADDRNOTAVAIL and listen.address != "::"
            if is_missing and listen.place is not None:
                words = f"{listen.address} is not on this machine now: hbd does not start without"
                warnings.append(listen.place.problem(f"listen: {words}"))
    return warnings


def _check_neighbours(configuration: Configuration) -> list[Problem]:
    addresses = [address for peer in configuration.peers for address in peer.addresses]
    return [Problem(configuration.file, 1, 1, words) for words in crowded(addresses)]


def _credentials_directory() -> str | None:
    """Give our own credentials, else those of the running service where we may look."""
    own = os.environ.get("CREDENTIALS_DIRECTORY")
    if own or not Path(SERVICE_CREDENTIALS).is_dir():
        return own
    return SERVICE_CREDENTIALS


def _owner_ids() -> set[int]:
    owners = {0, os.getuid()}
    with suppress(KeyError):  # not installed here: then the caller runs the daemon
        owners.add(pwd.getpwnam(as_service.USER).pw_uid)
    return owners
