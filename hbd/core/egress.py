"""How datagrams leave us, and whether anything comes back that way.

DOWN needs a witness: somebody else on the same egress that has answered since. Where nobody does,
the fault may be ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import State

if TYPE_CHECKING:
    from hbd.core.path import Fact, Path

WITNESSES: Final = 3
"""So many paths are asked when one starts to miss: at 2 % loss all three fail once in 125,000."""


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

    __slots__ = ("_known", "_turn", "fault", "key", "last_answer", "last_asked", "paths")

    def __init__(self, key: EgressKey) -> None:
        self.key: Final = key
        self.paths: dict[Path, None] = {}
        self.last_answer = -1
        self.last_asked: int | None = None
        self.fault: Fact | None = None
        """Set while nothing behind it can be judged."""
        self._turn = 0
        self._known: Path | None = None
        """One that was up: of ten thousand that are down none need be looked at to find it."""

    def has_answered_since(self, moment: int) -> bool:
        return self.last_answer >= moment

    def others_up(self, suspect: Path) -> bool:
        """Whether another path was up, so that its silence would tell something."""
        if not self._can_tell(self._known, suspect):
            able = (path for path in self.paths if self._can_tell(path, suspect))
            self._known = next(able, None)
        return self._known is not None

    def _can_tell(self, path: Path | None, suspect: Path) -> bool:
        return path is not None and path in self.paths and was_up(path) and _is_near(path, suspect)

    def witnesses(self, suspect: Path) -> list[Path]:
        """Up to three paths that are up, others each time."""
        paths = list(self.paths)
        self._turn = (self._turn + WITNESSES) % max(len(paths), 1)
        chosen: list[Path] = []
        for path in paths[self._turn :] + paths[: self._turn]:
            if path.state is State.UP and not path.is_exhausted and _is_near(path, suspect):
                chosen.append(path)
                if len(chosen) == WITNESSES:
                    break
        return chosen


def _is_near(path: Path, suspect: Path) -> bool:
    """Whether a path can answer before the suspect's last retransmission is sent.

    Where none follows the first, others are asked with it or at half the timeout: by the deadline.
    """
    timing = suspect.timing
    reach = (timing.retries - 1) * timing.timeout if timing.retries > 1 else timing.timeout // 2
    return path is not suspect and (path.last_rtt is None or path.last_rtt < reach)


def was_up(path: Path) -> bool:
    """Whether it is up, or was when we last ran and has had no verdict since."""
    if path.state is State.UP:
        return True
    restored = path.peer.restored and path.peer.state in (State.UP, State.DEGRADED)
    return restored and not path.judged
