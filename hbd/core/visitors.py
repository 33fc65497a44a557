"""What is remembered of those that ask our reflector: all of it is bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hbd.core import rate
from hbd.core.model import SECOND
from hbd.core.rate import Buckets, remember

if TYPE_CHECKING:
    from hbd.core.rate import Bucket

IDLE: Final = 900 * SECOND
"""A session unheard for so long begins anew (REFWAIT, RFC 5357 4.2)."""


@dataclass(slots=True, eq=False)
class Session:
    """One STAMP session of somebody with us."""

    key: tuple[str, int, int, str]
    """Host and port that ask, SSID, and our address that is asked."""
    host: str
    """The first of these: one look into memory less for each request."""
    bucket: Bucket
    accepted: int
    heard: int
    spelling: bytes | None = None
    """If it is familiar, how the kernel has it: where from, with what a reply leaves, SSID."""

    @property
    def ssid(self) -> int:
        return self.key[2]


class Visitors:
    """Sessions, how often each source may ask, and when it last did."""

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.sessions: OrderedDict[tuple[str, int, int, str], Session] = OrderedDict()
        self.requests_from: OrderedDict[str, int] = OrderedDict()
        """When, monotonic, each source address last sent a request that was answered."""
        self.familiar: dict[bytes, Session] = {}
        """By their spelling: those of which it need not be asked again who they are."""

    def count(self, key: tuple[str, int, int, str], now: int) -> Session:
        """Give the session that has one more request, from which a token was taken."""
        bucket = self.buckets[key[0], key[3]]
        session = self.sessions.get(key)
        if session is None:
            session = Session(key, key[0], bucket, accepted=0, heard=now)
        elif now - session.heard > IDLE:
            session.accepted = 0
        session.accepted += 1
        session.heard, session.bucket = now, bucket
        forgotten = remember(self.sessions, key, session)
        if forgotten is not None:
            self._lose_sight_of(forgotten)
        return session

    def get_to_know(self, session: Session, spelling: bytes) -> None:
        """From now on it is familiar, as long as its requests are spelt so."""
        self._lose_sight_of(session)
        session.spelling = spelling
        self.familiar[spelling] = session

    def _lose_sight_of(self, session: Session) -> None:
        if session.spelling is not None:
            self.familiar.pop(session.spelling, None)

    def are_crowded(self) -> bool:
        """Whether it matters by now who is forgotten first: where there is room, nobody is."""
        most = max(len(self.sessions), len(self.buckets), len(self.requests_from))
        return most > rate.TABLE // 2

    def renew(self, session: Session) -> None:
        """Make all that is remembered of it the newest."""
        self.sessions.move_to_end(session.key)
        self.buckets.renew(session.bucket)
        remember(self.requests_from, session.host, session.heard)
