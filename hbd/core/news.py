"""What is told: changes of state, and the storms and the flapping they are part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.events import Event, FlappingChanged, Restarted, StateChanged, Storm
from hbd.core.flapping import Flapping
from hbd.core.model import State
from hbd.core.peer import REFINEMENTS, Peer, Verdict
from hbd.core.storm import ALOUD, StormWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.clock import Clock
    from hbd.core.egress import EgressKey
    from hbd.core.path import Path
    from hbd.core.session import Fact
    from hbd.core.timers import Timer, Timers

FAILED: Final = (State.DOWN, State.UNREACHABLE, State.UNKNOWN)


class News:
    """Turns new verdicts into events, aloud or quietly."""

    def __init__(self, clock: Clock, timers: Timers, tell: Callable[[Event], None]) -> None:
        self._clock: Final = clock
        self._timers: Final = timers
        self._tell: Final = tell
        self._storms: Final = {state: StormWatch(state) for state in State}
        self._flapping: dict[Peer, Flapping] = {}

    def change(self, peer: Peer, verdict: Verdict, *, in_storm: bool | None) -> None:
        """Give a peer a new verdict and tell it.

        `in_storm`: part of a storm that has been told already (True: quietly); None: not known.
        """
        event = self._event(peer, verdict)
        before = peer.state
        peer.state, peer.cause, peer.evidence = verdict.state, verdict.cause, verdict.evidence
        peer.restored = peer.first_verdict = False
        if event.is_refinement:
            peer.refinements += 1
            if peer.refinements <= REFINEMENTS:
                self._tell(event)
            return
        peer.since, peer.since_real = self._clock.wall, self._clock.real
        peer.refinements = 0
        if in_storm is None:
            is_first_up = event.first and peer.answers
            in_storm = not is_first_up and self._watch_storm(peer)
        # With its first verdict it does not change: it was in no state before.
        flaps = not event.first and self._watch_flapping(peer, before, in_storm=in_storm)
        self._tell(event.quietly() if flaps or in_storm else event)

    def _event(self, peer: Peer, verdict: Verdict) -> StateChanged:
        clock, last_reply = self._clock, peer.last_reply_real
        failed = verdict.state in FAILED and verdict.state is not peer.state
        return StateChanged(
            at=clock.real,
            since=clock.wall,
            peer=peer.name,
            labels=peer.settings.labels,
            previous=peer.state,
            previous_cause=peer.cause,
            state=verdict.state,
            cause=verdict.cause,
            address=verdict.address,
            evidence=verdict.evidence,
            duration=clock.real - peer.since_real,
            detection=clock.real - last_reply if failed and last_reply is not None else None,
            rtt=peer.last_rtt,
            loss=peer.loss(clock.now),
            first=peer.first_verdict,
        )

    def restarted(self, path: Path, incarnation: int) -> None:
        """Tell that a peer was up all along, but is not the one it was."""
        clock, settings = self._clock, path.peer.settings
        self._tell(
            Restarted(
                clock.real,
                clock.wall,
                settings.name,
                settings.labels,
                path.address,
                incarnation,
                returned=incarnation in path.former,
            )
        )

    # -- storms -------------------------------------------------------------------------------

    def own_fault(self, keys: list[EgressKey], fault: Fact, count: int) -> None:
        """Tell that nothing behind some egresses, which share their interface, can be judged."""
        common = f"egress {keys[0] if len(keys) == 1 else keys[0].interface}"
        clock = self._clock
        self._tell(
            Storm(
                clock.real,
                clock.wall,
                State.UNKNOWN,
                fault.cause,
                count,
                common,
                over=False,
                evidence=(fault.text,),
            )
        )

    def _watch_storm(self, peer: Peer) -> bool:
        storm = self._storms[peer.state]
        if storm.change(peer, self._clock.now):
            self._tell_storm(storm, over=False)
        self._timers.schedule(storm)
        return storm.is_storm

    def _tell_storm(self, storm: StormWatch, *, over: bool) -> None:
        clock = self._clock
        self._tell(
            Storm(clock.real, clock.wall, storm.state, None, storm.count, storm.common, over=over)
        )

    # -- flapping -----------------------------------------------------------------------------

    def is_flapping(self, peer: Peer) -> bool:
        """Whether a peer changes too often to tell each change aloud."""
        flapping = self._flapping.get(peer)
        return flapping is not None and flapping.is_flapping

    def forget(self, peer: Peer) -> None:
        """The peer is no longer watched."""
        flapping = self._flapping.pop(peer, None)
        if flapping is not None:
            self._timers.forget(flapping)

    def _watch_flapping(self, peer: Peer, before: State, *, in_storm: bool) -> bool:
        """Note a change; tell whether it is one of many that an entry has told about."""
        now = self._clock.now
        flapping = self._flapping.get(peer)
        if flapping is None:
            flapping = self._flapping[peer] = Flapping(peer, before, now)
        was_flapping = flapping.is_flapping
        if flapping.change(now):
            self._tell_flapping(flapping, quiet=in_storm)
        self._timers.schedule(flapping)
        return was_flapping

    def _tell_flapping(self, flapping: Flapping, *, quiet: bool = False) -> None:
        clock, peer = self._clock, flapping.peer
        self._tell(
            FlappingChanged(
                clock.real,
                clock.wall,
                peer.name,
                peer.settings.labels,
                peer.state,
                flapping.is_flapping,
                flapping.changes,
                quiet,
            )
        )

    def advance(self, timer: Timer) -> None:
        """The deadline of a storm or of flapping has come."""
        match timer:
            case StormWatch():
                self._tell_storm(timer, over=True)
                timer.end()
            case Flapping():
                timer.sample(self._clock.now)
                if timer.judge():
                    self._tell_flapping(timer)


def aloud(count: int) -> bool:
    """Whether the change with this number in a storm, from 0, is told as usual."""
    return count < ALOUD
