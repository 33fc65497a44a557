"""What is in a password's file or credential. No message ever holds a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.config.keys import KeyFileError, KeyUnreadableError, content_of
from hbd.config.model import ConfigError, Configuration, Place, Problem
from hbd.wire.bfd import LONGEST_SECRET

if TYPE_CHECKING:
    from collections.abc import Collection

    from hbd.core.model import PeerSettings, SecretSource

MAX_OCTETS: Final = 512


def read_password(
    source: SecretSource, *, owner_ids: Collection[int], directory: str | None
) -> bytes:
    """Read a password; raises KeyUnreadableError without access, KeyFileError for a bad one.

    `owner_ids` are the users the file may belong to: root and the daemon's; `directory` is
    systemd's $CREDENTIALS_DIRECTORY.
    """
    return parse(*content_of(source, MAX_OCTETS + 3, owner_ids, directory))


def parse(path: str, content: bytes) -> bytes:
    """Give the one line of 1 to 512 octets, without its line end; raises KeyFileError."""
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise KeyFileError(f"{path} is empty; write the password into it, in one line")
    if len(line) > MAX_OCTETS:
        raise KeyFileError(f"{path} has more than {MAX_OCTETS} octets; that is no password")
    if b"\n" in line:
        raise KeyFileError(f"{path} has several lines; write the password in one, and only that")
    if any(octet < 0x20 or octet == 0x7F for octet in line):  # noqa: PLR2004 - ASCII
        raise KeyFileError(f"{path} holds a control character; write the password as text")
    return line


def check_passwords(
    configuration: Configuration, *, owner_ids: Collection[int], directory: str | None
) -> tuple[dict[str, bytes], list[Problem], list[Problem]]:
    """Give the passwords by peer, what must not be used, and what cannot be read from here."""
    passwords: dict[str, bytes] = {}
    mistakes, unreadable = [], []
    for peer in configuration.peers:
        if peer.password is None:
            continue
        place = configuration.password_places.get(peer.name, Place(configuration.file, 1, 1))
        try:
            secret = read_password(peer.password, owner_ids=owner_ids, directory=directory)
            _check_length(peer, secret)
        except KeyUnreadableError as error:
            unreadable.append(_problem(peer, place, error))
        except KeyFileError as error:
            mistakes.append(_problem(peer, place, error))
        else:
            passwords[peer.name] = secret
    return passwords, sorted(mistakes), sorted(unreadable)


def read_passwords(
    configuration: Configuration, *, owner_ids: Collection[int], directory: str | None
) -> dict[str, bytes]:
    """Read every password, by peer; raises ConfigError with all that cannot be used."""
    passwords, mistakes, unreadable = check_passwords(
        configuration, owner_ids=owner_ids, directory=directory
    )
    if mistakes or unreadable:
        raise ConfigError(sorted([*mistakes, *unreadable]))
    return passwords


def _check_length(peer: PeerSettings, secret: bytes) -> None:
    if peer.protocol == "bfd" and len(secret) > LONGEST_SECRET:
        words = f"has more than {LONGEST_SECRET} octets, too many for BFD (RFC 5880 4.4)"
        raise KeyFileError(f"the password {words}; use a shorter one on both sides")


def _problem(peer: PeerSettings, place: Place, error: KeyFileError) -> Problem:
    return Problem(place.file, place.line, place.column, f"peer {peer.name}: password: {error}")
