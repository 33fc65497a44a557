"""Request and reply over a connection: the same rounds, and octets that wait for the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hbd.core.asked import Asked, Heartbeat
from hbd.core.stream import KeepAliveSession

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.session import Answer
    from hbd.core.stream import StreamSession


class Connected(Asked):
    """A path that is asked over a connection that is held."""

    __slots__ = ("is_stale", "needs_another", "stream")

    def __init__(self, address: str, peer: Peer, session: StreamSession) -> None:
        super().__init__(address, peer, session)  # type: ignore[arg-type]  # used by no round
        self.stream = session
        self.is_stale = False
        """Whether settings are new to the connection, where there is one;"""
        self.needs_another = False
        """and whether they wait for the next."""

    @property
    def is_askable(self) -> bool:  # type: ignore[override]
        return not isinstance(self.stream, KeepAliveSession)  # that the kernel asks when it will

    def speaks(self, reach: int, by: int) -> bool:
        return self.is_askable and super().speaks(reach, by)

    def _adopt_session(self, settings: PeerSettings) -> None:
        self.is_stale = True
        self.needs_another |= self.stream.adopt(settings)

    def _write(self, sequence: int, _wall: int) -> tuple[bytes, int]:
        return self.stream.compose(sequence), 0

    def _accepted(self, answer: Answer, heartbeat: Heartbeat) -> None:
        """The connection has kept their order."""

    def left(self, real: int) -> None:
        """What waited for the connection has left at this moment: RTTs count from here."""
        for sequence, heartbeat in self.unanswered.items():
            self.unanswered[sequence] = heartbeat._replace(sent_real=real)

    def claims(self, _datagram: bytes) -> bool:
        return False

    def is_about(self, _payload: bytes) -> bool:
        return False
