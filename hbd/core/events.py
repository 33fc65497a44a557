"""What the detector says happened. `at` is monotonic, `since` the wall clock, both nanoseconds.

What is said of one peer may be said of thousands in a moment, and so is cheap to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hbd.core.model import Cause, State


class StateChanged(NamedTuple):
    """A peer's state, or within one state its cause, is another now."""

    at: int
    since: int
    """Wall clock, nanoseconds since 1970: when the new state began."""
    peer: str
    labels: tuple[tuple[str, str], ...]
    previous: State
    previous_cause: Cause | None
    state: State
    cause: Cause | None
    address: str | None
    """The address in question, where there is one."""
    evidence: tuple[str, ...]
    duration: int
    """How long the previous state lasted."""
    detection: int | None
    """From the last good reply to this verdict; None without one, or when it is not a failure."""
    rtt: int | None
    loss: float | None
    """A fraction, of the last heartbeats; this and the RTT are of when it is put into words."""
    first: bool = False
    """The first verdict since the start: being up is no news then."""
    unsaid: bool = False
    """Its cause becomes known better once more: that is shown, but no entry any more."""
    quiet: bool = False
    """Part of a storm or of flapping that an entry of its own tells about."""

    @property
    def is_refinement(self) -> bool:
        """The state is the same, its cause is known better."""
        return self.state is self.previous

    def quietly(self) -> StateChanged:
        """Give it as part of what an entry of its own tells about."""
        return StateChanged(*self[:-1], quiet=True)  # half of what _replace takes


class FlappingChanged(NamedTuple):
    """A peer began or ceased to change too often to tell each change aloud."""

    at: int
    since: int
    peer: str
    labels: tuple[tuple[str, str], ...]
    state: State
    flapping: bool
    changes: int
    """Changes of state since the flapping began."""
    quiet: bool = False
    """Part of a storm that an entry of its own tells about."""


@dataclass(frozen=True, slots=True)
class Storm:
    """Many peers changed together, or everything behind one egress fell silent."""

    at: int
    since: int
    state: State
    """What they changed to."""
    cause: Cause | None
    """Set where the storm is a fault of our own side."""
    count: int
    common: str
    """What they have in common: `egress eth0`, `via gw`, `subnet 10.0.0.0/24`, `label site=ams`."""
    over: bool
    """The last entry of a storm, with the total."""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stalled:
    """We did not run for so long; no peer is judged by it."""

    at: int
    since: int
    duration: int
    in_pieces: bool = False
    """The sum of many turns that were a little late: we were overloaded."""


@dataclass(frozen=True, slots=True)
class Woke:
    """The machine was suspended for so long."""

    at: int
    since: int
    duration: int


class Restarted(NamedTuple):
    """A peer was up all along, but its incarnation changed."""

    at: int
    since: int
    peer: str
    labels: tuple[tuple[str, str], ...]
    address: str
    incarnation: int
    returned: bool = False
    """It answered before: no restart, but several machines that answer in turn."""


Event = StateChanged | FlappingChanged | Storm | Stalled | Woke | Restarted
