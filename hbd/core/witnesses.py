"""Who else is asked when a path misses something: others on its egress, and its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.asked import Asked
from hbd.core.egress import WITNESS_SPACING
from hbd.core.model import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.clock import Clock
    from hbd.core.path import Path
    from hbd.core.peer import Peer
    from hbd.core.roster import Roster
    from hbd.core.timers import Timers


class Witnesses:
    """Asks them, so that it is known by the deadline what the silence means."""

    def __init__(
        self, clock: Clock, timers: Timers, roster: Roster, ask: Callable[[Path], None]
    ) -> None:
        """`ask`: send a heartbeat to this one now, whatever it is asked itself."""
        self._clock: Final = clock
        self._timers: Final = timers
        self._roster: Final = roster
        self._ask: Final = ask

    def ask_about(self, path: Path) -> None:
        """Something of it was missed, or is in doubt."""
        if path.state is not State.DOWN:
            if path.missed <= 1:
                path.lonely = path.egress is None or not path.egress.others_up(path)
            self._ask_witnesses(path)
        parent = self._roster.parent(path.peer)
        if parent is not None:
            self._ask_parent(parent)

    def _ask_parent(self, parent: Peer) -> None:
        now = self._clock.now
        for path in parent.paths:
            if (
                isinstance(path, Asked)
                and not path.is_probing
                and now - path.last_sent >= WITNESS_SPACING
            ):
                path.ask_early(now)
                self._timers.schedule(path)

    def _ask_witnesses(self, suspect: Path) -> None:
        egress, now = suspect.egress, self._clock.now
        if egress is None or egress.has_answered_since(suspect.first_missed):
            return
        if egress.last_asked is not None and now - egress.last_asked < WITNESS_SPACING:
            return
        egress.last_asked = now
        for witness in egress.witnesses(suspect):
            if witness.ask_early(now):
                self._timers.schedule(witness)
            else:
                # With the suspect's timing: its own reply it may await for longer.
                self._ask(witness)
