"""Request and reply over a connection: the same rounds, and octets that wait for the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.asked import Asked
from hbd.core.model import SECOND
from hbd.core.stream import KeepAliveSession

if TYPE_CHECKING:
    from hbd.core.awaited import Heartbeat
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.session import Answer
    from hbd.core.stream import StreamSession


KERNEL_SPACING: Final = 1 * SECOND
"""A kernel asks only on a connection on which nothing has come for so long."""


class Connected(Asked):
    """A path that is asked over a connection that is held."""

    __slots__ = ("stream",)

    can_send_short = is_padded = False

    def __init__(self, address: str, peer: Peer, session: StreamSession) -> None:
        super().__init__(address, peer, session)  # type: ignore[arg-type]  # used by no round
        self.stream = session

    @property
    def is_askable(self) -> bool:  # type: ignore[override]
        return not isinstance(self.stream, KeepAliveSession)  # the kernel may have to wait first

    def speaks(self, reach: int, by: int) -> bool:
        return self.is_askable and super().speaks(reach, by)

    def ask_early(self, now: int) -> bool:
        if not self.is_askable and now - self.last_life < KERNEL_SPACING:
            return True
        return super().ask_early(now)

    def go_on(self, now: int, dice: float) -> None:
        super().go_on(now, dice)
        if not self.is_askable and self.deadline is not None:
            self.deadline = max(self.deadline, now + KERNEL_SPACING)

    def _adopt_session(self, settings: PeerSettings) -> None:
        self.stream.adopt(settings)

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
