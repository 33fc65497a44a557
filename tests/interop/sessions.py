"""What BIRD and FRR have in common as BFD neighbours (RFC 5880)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from programs import Line, Server, until

if TYPE_CHECKING:
    from namespaces import Namespace


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Whom a router speaks BFD with: by one hop where an interface is named, else by many."""

    address: str
    interface: str | None = None
    local: str | None = None
    """The router's own address; FRR needs it for many hops and for IPv6."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a router is told for all its neighbours; milliseconds."""

    tx: int = 100
    rx: int = 100
    multiplier: int = 3
    passive: bool = False
    shutdown: bool = False
    """FRR says AdminDown once, with diagnostic 0; BIRD forgets the sessions in silence."""
    auth: str | None = None
    """BIRD alone, in its words: `keyed sha1`, `meticulous keyed sha1`."""
    password: str = ""
    key_id: int = 1
    minimum_ttl: int = 254
    """FRR alone, for many hops."""


class Seen(NamedTuple):
    """A session as its router shows it."""

    address: str
    state: str
    """up, down, init; FRR also shutdown."""
    interval: float
    """How often the router sends, without jitter; seconds."""
    detection: float
    """How long a silence the router bears; seconds, 0 where it does not know yet."""
    shown: dict[str, Any]
    """All that FRR shows: the diagnostics and timers of both sides."""


class Change(NamedTuple):
    """A change of state that a router logged."""

    at: float
    """Seconds since 1970."""
    address: str
    old: str
    new: str
    reason: str
    """Why, in the router's words; BIRD tells only `expired`."""


class Router(Server):
    """What BIRD and FRR have in common."""

    COMPLAINT: re.Pattern[str]
    """In a line of its log about a packet that it dropped, or that it could not send."""
    HOP_TTL: int
    """The TTL of its multihop packets one hop away."""

    def __init__(self, host: Namespace, *neighbours: Neighbour, **settings: object) -> None:
        super().__init__(host)
        self.neighbours = neighbours
        self.settings = Settings(**settings)

    def sessions(self) -> list[Seen]:
        raise NotImplementedError

    def changes(self, address: str | None = None) -> list[Change]:
        """Give every change of state so far, of one neighbour where one is named."""
        raise NotImplementedError

    def session(self, address: str | None = None) -> Seen | None:
        """Give the session with a neighbour, the first if none is named; None while none is."""
        address = address or self.neighbours[0].address
        return next((seen for seen in self.sessions() if seen.address == address), None)

    def sees(self, state: str, address: str | None = None, seconds: float = 10.0) -> Seen:
        """Wait until the router shows this state of a neighbour."""
        return until(
            lambda: (seen := self.session(address)) and seen.state == state and seen,
            seconds,
            lambda: f"{state}: {self.sessions()}\n{self.told()}",
        )

    def changed(
        self, new: str, since: int = 0, address: str | None = None, seconds: float = 10.0
    ) -> Change:
        """Wait for a change to this state, the first from number `since` of `changes(address)`."""
        return until(
            lambda: next((c for c in self.changes(address)[since:] if c.new == new), None),
            seconds,
            lambda: f"{new} in {self.changes()}\n{self.told()}",
        )

    def complaints(self, since: int = 0) -> list[str]:
        """Give what it said of packets that it dropped, from line number `since` of log()."""
        return [words for _, words in self.log()[since:] if self.COMPLAINT.search(words)]

    def log(self) -> list[Line]:
        """Give the router's own log with its own times."""
        file = self.directory / "log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return [Line(*logged) for line in lines if (logged := _logged(line))]

    def told(self) -> str:
        return "\n".join([super().told(), *(line.words for line in self.log())])


def _logged(line: str) -> tuple[float, str] | None:
    """Read `2026-11-22 17:00:00.123456 WORDS`, with slashes too, of a log in UTC."""
    found = re.fullmatch(r"(\d{4})[-/](\d\d)[-/](\d\d) ([\d:.]+) (.*)", line)
    if found is None:
        return None
    year, month, day, time, words = found.groups()
    return datetime.fromisoformat(f"{year}-{month}-{day} {time}+00:00").timestamp(), words
