"""What the fleet wants done, and what it tells: drained in every turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hbd.core.events import Event
from hbd.core.inquiry import Probe

if TYPE_CHECKING:
    from hbd.core.model import Cause, State
    from hbd.core.path import Path
    from hbd.core.peer import Peer, Verdict
    from hbd.core.volley import Volley


class Ask(NamedTuple):
    """Send a heartbeat to the path's target now: `fleet.compose(path, ...)` gives its octets."""

    path: Path


class AskAll(NamedTuple):
    """Send a heartbeat to each of these: `fleet.compose_all(...)` gives their octets."""

    volley: Volley


class Examine(NamedTuple):
    """Say how datagrams to this path leave us now, with `fleet.examined(...)`.

    In this turn if it is exhausted, for then a verdict waits for it; else when there is time.
    """

    path: Path


class Tell(NamedTuple):
    """Tell that a peer has another verdict: `fleet.told(...)` gives what is said of it.

    When there is time: to put it into words costs as much as the verdict.
    """

    peer: Peer
    verdict: Verdict
    now: int
    """The moment on the fleet's own clock,"""
    at: int
    """monotonic,"""
    since: int
    """and on the wall clock."""
    previous: State
    previous_cause: Cause | None
    duration: int
    """How long that had lasted."""
    detection: int | None
    first: bool
    unsaid: bool
    """As in StateChanged."""
    in_storm: bool | None
    """Part of a storm that has been told already (True: quietly); None: not known."""


Output = Ask | AskAll | Examine | Probe | Tell | Event


class Outputs:
    """Those that wait to be drained."""

    __slots__ = ("_examining", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Output] = []
        self._examining: set[Path] = set()
        """Of whom it is asked among them already: a router may say a thousand times a turn that it
        is not up."""

    def put(self, output: Output) -> None:
        self._waiting.append(output)

    def examine(self, path: Path) -> None:
        """Ask, once, how datagrams to a path leave us."""
        if path not in self._examining:
            self._examining.add(path)
            self.put(Examine(path))

    def drain(self) -> list[Output]:
        """Give them, in the order in which they came."""
        outputs, self._waiting = self._waiting, []
        self._examining.clear()
        return outputs
