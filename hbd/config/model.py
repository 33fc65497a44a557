"""A configuration that was found good."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from hbd.core.model import SECOND, PeerSettings
from hbd.wire import ports

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the configuration something stands; line and column from 1."""

    file: str
    line: int
    column: int

    def problem(self, text: str) -> Problem:
        return Problem(self.file, self.line, self.column, text)


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port on which heartbeats of others are answered."""

    address: str
    port: int
    place: Place | None = field(default=None, compare=False)


DEFAULT_LISTEN = tuple(Listen(every, ports.STAMP) for every in ("0.0.0.0", "::"))  # noqa: S104 - its job


class Accept(StrEnum):
    """Who is answered, where it is not a list of prefixes."""

    PEERS = "peers"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key is read from: a systemd credential or a file, exactly one of them."""

    credential: str | None = None
    file: str | None = None
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything in /etc/hbd.yaml and what it includes."""

    file: str
    listen: tuple[Listen, ...] = DEFAULT_LISTEN
    accept: Accept | tuple[IPv4Network | IPv6Network, ...] = Accept.PEERS
    node: str = ""
    """Empty: the host name."""
    keys: dict[str, KeySource] = field(default_factory=dict)
    start_grace: int = 10 * SECOND
    listen_tcp: tuple[Listen, ...] = ()
    """Where clients connect that are expected to be heard from."""
    peers: tuple[PeerSettings, ...] = ()
    password_places: dict[str, Place] = field(default_factory=dict, compare=False)
    """Where the password of each peer is named."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A mistake or a warning, with its place; sorts by file, line, column."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class ConfigError(Exception):
    """The user's configuration cannot be used; holds every mistake."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Loaded:
    """A good configuration and what is doubtful in it."""

    configuration: Configuration
    warnings: tuple[Problem, ...] = ()
    timing_places: dict[str, Place] = field(default_factory=dict, compare=False)
    """Where the retries of each peer stand, or the peer where it has none of its own."""
    files: tuple[str, ...] = ()
    """All that was read, the main file first."""
