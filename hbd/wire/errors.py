"""The one error of strangers' bytes."""

from __future__ import annotations


class WireError(ValueError):
    """A datagram, or a part of it, breaks its format; `reason` is a short word to count by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
