"""Heartbeats without a form: a text to send, a text to wait for, or anything at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import JITTER, Cause
from hbd.core.session import Fact, Heard

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from hbd.core.model import Dice, PeerSettings

PAYLOAD: Final = b"heartbeat"
"""What is sent where nothing else is said."""

ENDS: Final = b"\r\n\0"
"""What may follow a text: it is a line to some programs, a string of C to others."""

SHOWN: Final = 40
"""Octets of what is expected that become evidence."""


class PlainSession:
    """One path of a peer that is told about without any protocol, or with one that others read."""

    __slots__ = ("_dice", "_settings")

    def __init__(self, settings: PeerSettings, dice: Dice) -> None:
        self._dice: Final = dice
        self.adopt(settings)

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings."""
        self._settings = settings

    @property
    def expected(self) -> int:
        """How often the peer is to be heard."""
        expect = self._settings.expect
        return self._settings.timing.interval if expect is None else expect.interval

    @property
    def patience(self) -> int:
        """After so long a silence it is down."""
        expect = self._settings.expect
        return self._settings.timing.detection if expect is None else expect.patience

    @property
    def greeting(self) -> int:
        """Nothing has to be agreed upon."""
        return 0

    def spacing(self) -> int | None:
        """How long until our next heartbeat; None where only the peer sends."""
        if self._text is None:
            return None
        return int(self._settings.timing.interval * (1.0 - JITTER * self._dice.random()))

    @property
    def grain(self) -> int:
        """Each comes when it is due."""
        return 1

    @property
    def _text(self) -> bytes | None:
        settings = self._settings
        if settings.send is None and settings.expect is None:
            return PAYLOAD
        return settings.send

    def compose(self, _real: int) -> bytes:
        """Give the text."""
        return self._text or b""

    def read(self, datagram: bytes, _real: int, _ttl: int | None, _silent_for: int) -> Heard | Fact:
        """Compare with what is expected; anything is life where nothing certain is."""
        expect = self._settings.expect
        wanted = None if expect is None else expect.payload
        if wanted is None or datagram.rstrip(ENDS) == wanted.rstrip(ENDS):
            return Heard()
        shown = repr(wanted[:SHOWN])[2:-1]
        words = f"sends {len(datagram)} octets, not the payload `{shown}`"
        return Fact(Cause.BAD_REPLY, words)

    def keys(self, hosts: Collection[str]) -> tuple[Hashable, ...]:
        """By the protocol, the port of ours where one is told from another, and the host."""
        settings = self._settings
        port = settings.port if settings.protocol == "plain" else None
        return tuple((settings.protocol, port, host) for host in hosts)

    def expire(self) -> bool:
        """Nothing is kept that could."""
        return False

    def pause(self, *, on: bool) -> bool:  # noqa: ARG002 - either way
        """Nobody needs to know."""
        return False

    def restart(self) -> bool:
        """Nothing was agreed upon."""
        return False

    def recognises(self, payload: bytes, _sequence: int, _token: int) -> bool:
        """Whether an ICMP error returned the beginning of our text."""
        return self._text is not None and self._text.startswith(payload[: len(self._text)])
