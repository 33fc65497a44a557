"""Maintenance: peers that are measured and not judged, until an operator or the clock ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND

if TYPE_CHECKING:
    from hbd.core.clock import Clock
    from hbd.core.peer import Pause, Peer
    from hbd.core.timers import Timers
    from hbd.core.verdicts import Verdicts

LOOK: Final = 60 * SECOND
"""How often a pause is held against the wall clock: that may be wrong at the start, and step."""


class Pauses:
    """Begins and ends them; a peer's deadline is when its pause is looked at again."""

    def __init__(self, clock: Clock, timers: Timers, verdicts: Verdicts) -> None:
        self._clock: Final = clock
        self._timers: Final = timers
        self._verdicts: Final = verdicts

    def begin(self, peer: Peer, pause: Pause) -> None:
        """Judge a peer no more until then."""
        if peer.pause is None:
            self._tell(peer, on=True)
        for path in peer.paths:
            path.leave()
        peer.pause = pause
        self.look(peer)

    def look(self, peer: Peer) -> None:
        """End a pause whose time has come, by the wall clock: the one that people agreed on."""
        left = peer.pause.until - self._clock.wall if peer.pause is not None else 0
        if left > 0:
            peer.deadline = self._clock.now + min(left, LOOK)
            self._timers.schedule(peer)
        else:
            peer.deadline = None
            self.end(peer)

    def end(self, peer: Peer) -> bool:
        """Judge it again; tell whether there was a pause."""
        was_paused = peer.pause is not None
        if was_paused:
            for path in peer.paths:
                path.leave()
            peer.pause = None
            peer.deadline = None
            self._tell(peer, on=False)
            self._verdicts.refresh(peer)
        return was_paused

    def _tell(self, peer: Peer, *, on: bool) -> None:
        """Some peers keep a session with us, and are to know."""
        for path in peer.paths:
            if path.pause(self._clock.now, on=on) and not on:
                self._verdicts.begin_anew(path)
            self._timers.schedule(path)
