"""Flapping: a state that changes too often to tell each change aloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import PROBE_SPACING
from hbd.core.timers import Timer

if TYPE_CHECKING:
    from hbd.core.model import State
    from hbd.core.peer import Peer

SAMPLES: Final = 21
BEGINS: Final = 0.30
ENDS: Final = 0.15
_MASK: Final = (1 << (SAMPLES - 1)) - 1


class Flapping(Timer):
    """The state sampled once per detection time, 3 s at least, 21 samples: flapping from 30 %.

    Between two changes all samples are equal, so they are taken when the state changes; only
    while it flaps is there a deadline, to see the end of it.
    """

    __slots__ = (
        "_differs",
        "_last",
        "_sampled",
        "changes",
        "is_flapping",
        "peer",
        "state",
    )

    def __init__(self, peer: Peer, before: State, now: int) -> None:
        super().__init__()
        self.peer: Final = peer
        self._last = before
        """At the last sample."""
        self.state = before
        """That was told last."""
        self._sampled = now
        self._differs = 0
        """One bit a sample: whether it differed from the one before."""
        self.is_flapping = False
        self.changes = 0

    @property
    def _spacing(self) -> int:
        # Who is down is asked no more often than that: it cannot change faster.
        return max(self.peer.settings.timing.detection, PROBE_SPACING)

    def change(self, state: State, now: int) -> bool:
        """The peer's state is another now; tell whether flapping has begun or ended by that."""
        self.sample(now)
        self.state = state
        self.changes = self.changes + 1 if self.is_flapping else 0
        return self.judge()

    def sample(self, now: int) -> None:
        """Take the samples that are due."""
        spacing = self._spacing
        due = (now - self._sampled) // spacing
        if due <= 0:
            return
        first = 1 if self.state is not self._last else 0
        shift = min(due, SAMPLES)
        self._differs = ((self._differs << shift) | (first << (shift - 1))) & _MASK
        self._last = self.state
        self._sampled += due * spacing

    def judge(self) -> bool:
        """Tell whether flapping has begun or ended."""
        share = self._differs.bit_count() / (SAMPLES - 1)
        before = self.is_flapping
        self.is_flapping = share >= (ENDS if before else BEGINS)
        self.deadline = self._sampled + self._spacing if self.is_flapping else None
        return self.is_flapping is not before
