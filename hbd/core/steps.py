"""What is done for a path, or a volley, whose deadline has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.asked import Asked
from hbd.core.clock import ALIKE, WORK
from hbd.core.model import MILLISECOND, Cause, State
from hbd.core.outputs import Ask, AskAll
from hbd.core.path import Step
from hbd.core.session import Fact
from hbd.core.told import Told
from hbd.core.unwatched import UNWATCHED
from hbd.core.verdicts import is_witnessed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.clock import Clock, Work
    from hbd.core.inquiry import Inquiries
    from hbd.core.outputs import Outputs
    from hbd.core.path import Path
    from hbd.core.timers import Timers
    from hbd.core.verdicts import Verdicts
    from hbd.core.volley import Volley
    from hbd.core.volleys import Volleys
    from hbd.core.witnesses import Witnesses

HELD: Final = 3 * MILLISECOND
"""A volley waits for so long where a verdict, or a retransmission, would have to wait for it."""

OVERRUN: Final = Fact(
    Cause.OWN_STALL, "more came to this machine than it could read: some was lost, perhaps of it"
)


class Steps:
    """Asks, or asks what a missed heartbeat means; verdicts follow where nothing more can come."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        outputs: Outputs,
        work: Work,
        *,
        verdicts: Verdicts,
        witnesses: Witnesses,
        inquiries: Inquiries,
        volleys: Volleys,
        examine: Callable[[Path], None],
    ) -> None:
        """`examine`: have it looked up how datagrams to this path leave us."""
        self._clock: Final = clock
        self._timers: Final = timers
        self._outputs: Final = outputs
        self._work: Final = work
        self._verdicts: Final = verdicts
        self._witnesses: Final = witnesses
        self._inquiries: Final = inquiries
        self._volleys: Final = volleys
        self._examine: Final = examine
        self.awaited_until = clock.now
        """Until when a reply may come that changes a verdict or ends a doubt."""
        self._dropped_at = self._unheard_at = -1

    def lost_some(self) -> None:
        """Datagrams to us were dropped for want of room: the round is asked again."""
        self._dropped_at = self._unheard_at = self._clock.now

    def unheard_some(self) -> None:
        """More has come from those who send by themselves than we could keep or read."""
        self._unheard_at = self._clock.now

    def step(self, path: Path) -> None:
        """Do what a path wants."""
        match path.advance(self._clock.now, self._clock.lateness):
            case Step.ASK:
                path.witnessed = is_witnessed(path)
                self._ask(path)
            case Step.BEAT:
                self._outputs.put(Ask(path))
            case Step.DOUBT:
                self._missed(path)
                if path.is_missing:
                    self._examine(path)
            case Step.LAST:
                path.witnessed = not self._verdicts.is_doubtful(path)
                self._missed(path)
            case Step.MISSED:
                self._ask(path)
                path.witnessed = is_witnessed(path)
                self._missed(path)
                if path.missed == 1:
                    self._examine(path)
            case Step.EXHAUSTED:
                self._missed(path)
                self._exhausted(path)
            case Step.UNWATCHED:
                self._verdicts.give(path, State.UNKNOWN, UNWATCHED)

    def _ask(self, path: Path) -> None:
        self._outputs.put(Ask(path))
        if path.state is not State.UP or path.is_missing:
            until = self._clock.now + path.timing.life
            self.awaited_until = max(self.awaited_until, until)

    def volley(self, volley: Volley) -> None:
        """Ask those of a volley, or let those go that have not answered."""
        if volley.is_asked:
            self._work.done += self._volleys.time_out(volley)
        elif not self._hold(volley):
            whole = self._volleys.due(volley)
            if whole is not None:
                self._work.done += len(whole.paths) // ALIKE
                self._outputs.put(AskAll(whole))

    def _hold(self, volley: Volley) -> bool:
        """Have a volley wait if something is owed before it has left; tell whether it does."""
        now, last = self._clock.now, volley.next + HELD
        # Twice as long as usual, if something is in the way; none is held for a few.
        takes = 2 * (len(volley.paths) // ALIKE) * WORK
        owed = self._timers.first_owed(self._clock.lateness) if takes and now < last else None
        if owed is None or owed > now + takes:
            return False
        volley.deadline = min(max(owed, now) + 1, last)
        return True

    def _missed(self, path: Path) -> None:
        """Ask what a missed heartbeat means."""
        self._witnesses.ask_about(path)
        if path.is_failing:
            self._inquiries.want(path)

    def _exhausted(self, path: Path) -> None:
        is_told = isinstance(path, Told)
        lost_at = self._unheard_at if is_told else self._dropped_at
        if path.state is not State.DOWN and lost_at >= path.question_began:
            if not path.repeated:
                path.ask_again(self._clock.now)
                return
            if is_told and lost_at >= self._clock.now - path.patience:
                # It cannot be asked; what it sent may be among what we lost.
                path.send_error = OVERRUN
        if not _is_as_before(path):
            self._examine(path)


def _is_as_before(path: Path) -> bool:
    """Whether a path long silent need not be looked at: after two probes of three.

    Its peer is down for the same cause as it would be now, or behind our uplink that is silent yet.
    """
    is_settled = path.goodbye is None and path.send_error is None
    if not isinstance(path, Asked) or not is_settled or not path.unlooked:
        return False
    if path.state is State.DOWN:
        cause = path.failure().cause
    elif path.egress is not None and path.fault is not None and path.egress.fault == path.fault:
        cause = Cause.OWN_UPLINK  # only a look shows that any other fault of ours is over
    else:
        return False
    return path.peer.cause is cause
