"""HMAC-SHA-256 truncated to 16 octets (RFC 8762 4.4, RFC 8972 4.8)."""

from __future__ import annotations

from typing import Final

MAC_SIZE: Final = 16
_BLOCK: Final = 64
_INNER: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER: Final = bytes(octet ^ 0x5C for octet in range(256))


class Key:
    """A shared secret, hashed into both halves of the HMAC once (RFC 2104 4).

    To copy two half-done hashes takes about half the time of copying an object of the hmac module,
    and a third of making one.
    """

    __slots__ = ("_inner", "_is_equal", "_outer")

    def __init__(self, secret: bytes) -> None:
        # OpenSSL takes four megabytes: only who has keys pays for it.
        from hashlib import sha256  # noqa: PLC0415
        from hmac import compare_digest  # noqa: PLC0415

        self._is_equal = compare_digest
        block = (sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    def sign(self, message: bytes | memoryview) -> bytes:
        """Return the first 16 octets of the message's HMAC."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:MAC_SIZE]

    def verifies(self, message: bytes, mac: bytes) -> bool:
        """Compare in constant time: a near miss takes as long as a far one."""
        return self._is_equal(self.sign(message), mac)

    def verifies_both(self, one: bytes, other: bytes, macs: bytes) -> bool:
        """Check two messages by their HMACs, joined, for less than one after the other."""
        return self._is_equal(self.sign(one) + self.sign(other), macs)
