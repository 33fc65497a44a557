"""Whose reply it is that came from an address that nobody has."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from hbd.core.model import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.core.clock import Clock
    from hbd.core.path import Path

SEEK_SPACING: Final = 200 * MILLISECOND
"""How often it is looked whom a reply from elsewhere is to: anybody may send us something."""
SEEK_AGAIN: Final = 20 * MILLISECOND
"""How often after one that was to somebody: it may come over and over."""
SEEK_BURST: Final = 200 * MILLISECOND
"""How much of that may be at once: many fall at once, and are asked at once ever after."""
SOUGHT: Final = 100
"""Among so many that miss something it is looked."""


class Seeker:
    """Looks, but no more often than a flood of strangers may make us."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._from = 0

    def whose(self, datagram: bytes, everybody: Iterable[Path]) -> Path | None:
        """Give the path that misses the reply, of these; None too where nobody looks."""
        if self._clock.now < self._from:
            return None
        for path in islice((path for path in everybody if path.is_missing), SOUGHT):
            is_stamp = path.peer.settings.protocol == "stamp"
            if is_stamp and path.target is not None and path.would_be_answered(datagram):
                self._rest(SEEK_AGAIN)
                return path
        self._rest(SEEK_SPACING)
        return None

    def _rest(self, cost: int) -> None:
        self._from = max(self._from, self._clock.now - SEEK_BURST) + cost
