"""Heartbeats in a connection: what goes into it, and what of its octets is an answer.

A stream session is told of each new connection by `opened` and forgets the one before.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hbd.core.asked import THAW
from hbd.core.model import Cause
from hbd.core.session import Answer, Fact

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings

SHOWN: Final = 40
"""Octets of a stranger's words that become evidence."""


class Reading(NamedTuple):
    """What octets from the peer lead to."""

    answers: list[Answer]
    write: bytes = b""
    """To be sent at once."""
    fault: Fact | None = None
    """Why the connection is to be closed."""
    stray: Fact | None = None
    """What came is not what was asked for: the cause, if no answer follows. No reason to close."""


class StreamSession(Protocol):
    """A protocol's part of a connection: heartbeats and replies as octets."""

    @property
    def greeting(self) -> bytes:
        """The octets that a new connection begins with; where they are others, it takes one."""

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings; they apply from the next heartbeat, or the next connection."""

    def opened(self) -> None:
        """Begin a new connection."""

    def compose(self, sequence: int) -> bytes:
        """Give the octets of a heartbeat; none where it has to wait, or is none of ours to send."""

    def feed(self, octets: bytes) -> Reading:
        """Take octets that came from the peer, in whatever pieces."""

    def closing(self) -> bytes:
        """Give the last octets of a connection that we close."""


class Outstanding:
    """The heartbeats of a connection that have no answer yet; only the last of very many."""

    __slots__ = ("_sequences", "forgotten")

    def __init__(self) -> None:
        self._sequences: deque[int] = deque()
        self.forgotten = 0
        """How many older ones would be answered before."""

    def __len__(self) -> int:
        return len(self._sequences)

    def add(self, sequence: int) -> None:
        if len(self._sequences) == THAW:
            self._sequences.popleft()
            self.forgotten += 1
        self._sequences.append(sequence)

    def oldest(self) -> list[Answer]:
        """Answer the oldest one alone, if it is not forgotten."""
        if self.forgotten:
            self.forgotten -= 1
            return []
        return [_answer(self._sequences.popleft())]

    def all(self) -> list[Answer]:
        """Answer each of them."""
        answers = [_answer(sequence) for sequence in self._sequences]
        self._sequences.clear()
        return answers


def _answer(sequence: int) -> Answer:
    return Answer(sequence & 0xFFFFFFFF, token=None, dwell=0)


class TcpSession:
    """`send`, and `expect_reply` or just anything back.

    An answer is one to all heartbeats before it: a server that reads two at once and replies once
    would otherwise seem later and later, until it seemed down.
    """

    __slots__ = ("_expected", "_heartbeat", "_outstanding", "_stray", "_tail")

    greeting: Final = b""

    def __init__(self, settings: PeerSettings) -> None:
        self.adopt(settings)
        self.opened()

    def adopt(self, settings: PeerSettings) -> None:
        self._heartbeat = settings.send or b""
        self._expected = settings.expect_reply or b""

    def opened(self) -> None:
        self._outstanding = Outstanding()
        self._tail = b""
        """The last octets, as many as may begin what is expected."""
        self._stray = b""
        """The first octets that came where an answer was due."""

    def compose(self, sequence: int) -> bytes:
        self._outstanding.add(sequence)
        return self._heartbeat

    def feed(self, octets: bytes) -> Reading:
        expected = self._expected
        if not expected:
            return Reading(self._outstanding.all())
        unread = self._tail + octets
        answered = unread.rfind(expected)
        if answered >= 0:
            self._stray = b""
            self._keep(unread[answered + len(expected) :])
            return Reading(self._outstanding.all())
        self._keep(unread)
        return Reading([], stray=self._not_expected(octets) if self._outstanding else None)

    def _not_expected(self, octets: bytes) -> Fact:
        self._stray += octets[: SHOWN - len(self._stray)]
        words = f"answers `{shown(self._stray)}`, not `{shown(self._expected)}`"
        return Fact(Cause.BAD_REPLY, words)

    def _keep(self, unread: bytes) -> None:
        length = len(self._expected) - 1
        self._tail = unread[-length:] if length else b""

    def closing(self) -> bytes:
        return b""


class KeepAliveSession:
    """Nothing of ours on the wire: it is the kernel that asks, and is answered by the kernel."""

    __slots__ = ("_outstanding",)

    greeting: Final = b""

    def __init__(self) -> None:
        self._outstanding = Outstanding()

    def adopt(self, settings: PeerSettings) -> None:
        """Leave all of them to the kernel."""

    def opened(self) -> None:
        self._outstanding = Outstanding()

    def compose(self, sequence: int) -> bytes:
        self._outstanding.add(sequence)
        return b""

    def acknowledged(self) -> list[Answer]:
        """The peer's kernel has acknowledged something since the last heartbeat."""
        return self._outstanding.all()

    def feed(self, octets: bytes) -> Reading:  # noqa: ARG002 - whatever it says, it is alive
        return Reading(self._outstanding.all())

    def closing(self) -> bytes:
        return b""


def shown(octets: bytes, limit: int = SHOWN) -> str:
    """Write a stranger's octets as printable ASCII, in short."""
    return repr(octets[:limit])[2:-1]
