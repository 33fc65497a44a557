"""Authentication of one BFD session by keyed or meticulous keyed SHA1 (RFC 5880 6.7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.bfd_words import AUTH_NAMES
from hbd.core.model import BfdAuth, Cause
from hbd.core.session import Fact
from hbd.wire import bfd
from hbd.wire.bfd import Auth, AuthKind

if TYPE_CHECKING:
    from hbd.core.model import BfdOptions, Dice
    from hbd.wire.bfd import Packet

KINDS: Final = {
    BfdAuth.KEYED_SHA1: AuthKind.KEYED_SHA1,
    BfdAuth.METICULOUS_SHA1: AuthKind.METICULOUS_SHA1,
}


class Authentication:
    """Numbers and signs our packets, and refuses those of others."""

    __slots__ = ("_content", "_key_id", "_kind", "_received", "_secret", "_sequence")

    def __init__(self, options: BfdOptions, secret: bytes | None, dice: Dice) -> None:
        """Take the secret that goes with `options.auth`, 1..20 octets; ValueError without it."""
        self._kind: Final = KINDS.get(options.auth)
        if (self._kind is None) != (secret is None):
            raise ValueError("authentication and its secret go together")
        self._key_id: Final = options.key_id
        self._secret: Final = secret
        self._sequence = dice.getrandbits(32)
        """Of the packet sent last."""
        self._content: Packet | None = None
        """What that packet said."""
        self._received: int | None = None
        """The sequence number of the packet accepted last."""

    def pack(self, content: Packet) -> bytes:
        """Write a packet; each with a new number, or where that is enough each that says more."""
        if self._kind is None:
            return bfd.pack(content)
        if self._kind is AuthKind.METICULOUS_SHA1 or content != self._content:
            self._sequence = (self._sequence + 1) & bfd.MOST
        self._content = content
        auth = Auth(self._kind, self._key_id, self._sequence)
        return bfd.pack(content._replace(auth=auth), self._secret)

    def refusal(self, datagram: bytes, packet: Packet, *, is_long_silent: bool) -> Fact | None:
        """Say why a packet is not authentic; nothing changes.

        After twice the Detection Time without a packet any sequence number will do, as the other
        may have begun anew (6.8.1).
        """
        auth = packet.auth
        if auth is None or self._secret is None:
            return None if auth is None and self._kind is None else self._unlike(auth)
        if auth.kind != self._kind:
            return self._unlike(auth)
        if auth.key_id != self._key_id:
            return _fact(f"packets with key id {auth.key_id}, ours is {self._key_id}")
        if not is_long_silent and not self._is_in_turn(auth, packet.multiplier):
            return _fact(f"packets out of turn: sequence number {auth.sequence}")
        if not bfd.verifies(datagram, self._secret):
            return _fact("packets that fail the SHA1 hash: it does not have our secret")
        return None

    def accepted(self, packet: Packet) -> None:
        """Take note of a packet that was not refused."""
        if packet.auth is not None:
            self._received = packet.auth.sequence

    def restart(self) -> None:
        """Whoever sends next may begin with any number."""
        self._received = None

    def _is_in_turn(self, auth: Auth, multiplier: int) -> bool:
        if self._received is None:
            return True
        ahead = (auth.sequence - self._received) & bfd.MOST
        least = 1 if self._kind is AuthKind.METICULOUS_SHA1 else 0
        return least <= ahead <= 3 * multiplier

    def _unlike(self, auth: Auth | None) -> Fact:
        theirs = _named(None if auth is None else auth.kind)
        return _fact(f"packets with {theirs}, where we have {_named(self._kind)}")


def _named(kind: int | None) -> str:
    if kind is None:
        return "no authentication"
    return AUTH_NAMES.get(kind, f"authentication of type {kind}")


def _fact(words: str) -> Fact:
    return Fact(Cause.AUTH, words)
