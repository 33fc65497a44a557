"""What is in a key's file or credential. No message ever holds a key's text."""

from __future__ import annotations

import errno
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hbd.config.model import ConfigError, KeySource, Place, Problem
from hbd.config.octets import read_regular

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from hbd.core.model import SecretSource

MAX_OCTETS: Final = 256
"""Two lines of 64 digits and room for line ends; more is no key."""

_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key's octets; its repr shows none of them."""

    sign: bytes = field(repr=False)
    """What we sign with: the first line."""
    accept: tuple[bytes, ...] = field(repr=False)
    """What we take from others: every line."""


class KeyFileError(Exception):
    """A key or password that must not be used; says what to change, never what is in it."""


class KeyUnreadableError(KeyFileError):
    """A key or password that this user cannot read, or not from here."""


def path_of(source: KeySource | SecretSource, directory: str | None) -> str:
    """Give the file that holds the secret; `directory` is systemd's $CREDENTIALS_DIRECTORY."""
    if source.file is not None:
        return source.file
    if directory is None:
        raise KeyUnreadableError(
            f"credential {source.credential} is given by systemd to the service alone "
            f"(LoadCredential={source.credential} in the unit)",
        )
    return f"{directory}/{source.credential}"


def read(source: KeySource, *, owner_ids: Collection[int], directory: str | None) -> Key:
    """Read a key; raises KeyUnreadableError without access, KeyFileError when it must not be used.

    `owner_ids` are the users a key may belong to: root and the daemon's.
    """
    return parse(*content_of(source, MAX_OCTETS + 1, owner_ids, directory))


def content_of(
    source: KeySource | SecretSource, limit: int, owner_ids: Collection[int], directory: str | None
) -> tuple[str, bytes]:
    """Give the file's path and at most `limit` octets of it; raises as `read` does."""
    path = path_of(source, directory)
    try:
        status, content = read_regular(path, limit)
    except OSError as error:
        raise KeyUnreadableError(_why_unreadable(source, path, error)) from error
    check_owner(path, status, owner_ids)
    return path, content


def _why_unreadable(source: KeySource | SecretSource, path: str, error: OSError) -> str:
    if source.credential is not None and error.errno == errno.ENOENT:
        name = source.credential
        return (
            f"credential {name} was not given by systemd: put it into /etc/credstore/{name} and"
            f" LoadCredential={name} into the unit (systemctl edit hbd), then restart hbd"
        )
    advice = f"; for the service run chown hbd {path}" if error.errno == errno.EACCES else ""
    return f"{path} cannot be read: {error.strerror}{advice}"


def read_all(
    sources: dict[str, KeySource], *, owner_ids: Collection[int], directory: str | None
) -> dict[str, Key]:
    """Read every key, as `read` does; raises ConfigError with all that cannot be used."""
    keys: dict[str, Key] = {}
    problems = []
    for name, source in sources.items():
        try:
            keys[name] = read(source, owner_ids=owner_ids, directory=directory)
        except KeyFileError as error:
            problems.append(problem_of(name, source, error))
    if problems:
        raise ConfigError(sorted(problems))
    return keys


def problem_of(name: str, source: KeySource, error: KeyFileError) -> Problem:
    """Give the problem at the place where the key is named."""
    place = source.place or Place("", 1, 1)
    return Problem(place.file, place.line, place.column, f"keys: {name}: {error}")


def check_owner(path: str, status: os.stat_result, owner_ids: Collection[int]) -> None:
    """Refuse a file that someone else could have read or written; raises KeyFileError."""
    if status.st_uid not in owner_ids:
        raise KeyFileError(
            f"{path} belongs to user {status.st_uid}, neither root nor the daemon's; "
            f"run chown root {path}",
        )
    if status.st_mode & stat.S_IRWXO:
        raise KeyFileError(f"{path} has rights for others; run chmod o= {path}")


def parse(path: str, content: bytes) -> Key:
    """Give the key in one or two lines of 64 hexadecimal digits; raises KeyFileError."""
    lines = [line.strip() for line in content.strip().splitlines()]
    if len(content) > MAX_OCTETS or not 1 <= len(lines) <= 2:  # noqa: PLR2004 - old and new
        raise KeyFileError(f"{path} has not one or two lines; `hbd keygen` makes a key")
    for number, line in enumerate(lines, 1):
        if not _DIGITS.fullmatch(line):
            raise KeyFileError(
                f"{path} line {number} is not 64 hexadecimal digits; `hbd keygen` makes a key",
            )
    accepted = tuple(bytes.fromhex(line.decode("ascii")) for line in lines)
    return Key(accepted[0], accepted)
