"""A client that connects to us, and of which nothing is known but what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hbd.core.plain import ENDS, PlainSession
from hbd.core.session import Heard

if TYPE_CHECKING:
    from hbd.core.model import Dice, PeerSettings
    from hbd.core.session import Fact


class ClientSession(PlainSession):
    """Its text may come in pieces, or several at once."""

    __slots__ = ("_tail",)

    def __init__(self, settings: PeerSettings, dice: Dice) -> None:
        super().__init__(settings, dice)
        self._tail = b""
        """The last octets, as many as may begin what is expected."""

    def read(self, datagram: bytes, real: int, ttl: int | None, silent_for: int) -> Heard | Fact:
        """Look for what is expected; anything is life where nothing certain is."""
        expect = self._settings.expect
        wanted = b"" if expect is None else (expect.payload or b"").rstrip(ENDS)
        unread = self._tail + datagram
        found = unread.rfind(wanted)
        if found >= 0:
            unread = unread[found + len(wanted) :]
        self._tail = unread[1 - len(wanted) :] if len(wanted) > 1 else b""
        if found >= 0:
            return Heard()
        return super().read(datagram, real, ttl, silent_for)
