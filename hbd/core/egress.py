"""How datagrams leave us, and whether anything comes back that way.

DOWN needs a witness: somebody else on the same egress that has answered since. Where nobody does,
the fault may be ours.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import MILLISECOND

if TYPE_CHECKING:
    from hbd.core.path import Path
    from hbd.core.session import Fact

WITNESSES: Final = 3
"""So many paths are asked when one starts to miss: at 2 % loss all three fail once in 125,000."""

WITNESS_SPACING: Final = 20 * MILLISECOND
"""Witnesses of one egress, and a parent, are asked no more often, however many paths miss."""

LOOKED_AT: Final = 100
"""So many are looked at for them: of those that were up some may be silent or too far away."""


class EgressKey(NamedTuple):
    """An interface, and the next hop where there is one.

    What answers on the LAN says nothing of the router, so they are two.
    """

    interface: str
    gateway: str | None = None

    def __str__(self) -> str:
        return f"{self.interface} via {self.gateway}" if self.gateway else self.interface


class Egress:
    """The paths behind one egress and when last one of them answered."""

    __slots__ = ("_up", "fault", "fault_at", "key", "last_answer", "last_asked", "paths")

    def __init__(self, key: EgressKey) -> None:
        self.key: Final = key
        self.paths: dict[Path, None] = {}
        self.last_answer = -1
        self.last_asked: int | None = None
        self.fault: Fact | None = None
        """Set while nothing behind it can be judged,"""
        self.fault_at = 0
        """and since when."""
        self._up: dict[Path, None] = {}
        """Those that were up: of ten thousand that are down none need be looked at."""

    def take(self, path: Path) -> None:
        """The path leads this way from now on."""
        self.paths[path] = None
        self.note(path)

    def drop(self, path: Path) -> None:
        """The path leads this way no more."""
        self.paths.pop(path, None)
        self._up.pop(path, None)

    def note(self, path: Path) -> None:
        """Take note of the path's verdict."""
        if path.was_up:
            self._up.setdefault(path)
        else:
            self._up.pop(path, None)

    def has_answered_since(self, moment: int) -> bool:
        return self.last_answer >= moment

    def others_up(self, suspect: Path, by: int | None = None) -> bool:
        """Whether another peer was up, so that its silence would tell something by then.

        That of another path of the same one would not: a machine that is off takes all with it.
        `by`: None is the moment from which it would come too late for the verdict.
        """
        reach, by = suspect.reach, suspect.judged_by if by is None else by
        return any(
            path.peer is not suspect.peer and path.speaks(reach, by) and not path.has_no_way
            for path in self._up
        )

    def witnesses(self, suspect: Path) -> list[Path]:
        """Up to three paths that were up and can be asked, others each time.

        Who was heard since the suspect is in question comes first; who is silent too, or is likely
        to be with it, only for want of better ones.
        """
        looked_at = list(islice(self._up, LOOKED_AT))
        fit = [path for path in looked_at if _can_witness(path, suspect)]
        doubtful = [path for path in fit if _may_be_silent(path, suspect)]
        good = [path for path in fit if not _may_be_silent(path, suspect)]
        began = suspect.question_began
        good.sort(key=lambda path: max(path.last_life, began), reverse=True)
        chosen, kept = (good + doubtful)[:WITNESSES], set(good[WITNESSES:])
        for path in looked_at:
            if path not in kept:
                self._up[path] = self._up.pop(path)
        return chosen


def _can_witness(path: Path, suspect: Path) -> bool:
    is_free = path.is_askable and not path.is_exhausted and path is not suspect
    return is_free and path.speaks(suspect.reach, suspect.judged_by)


def _may_be_silent(path: Path, suspect: Path) -> bool:
    """Whether it misses something itself, is of the same peer, or lies behind that."""
    peer = path.peer
    return path.is_missing or peer is suspect.peer or peer.settings.via == suspect.peer.name
