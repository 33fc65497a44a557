"""What is told: changes of state, and the storms and the flapping they are part of.

A verdict is noted as it is given, and put into words later: of thousands at once the next one comes
first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.events import Event, FlappingChanged, Restarted, StateChanged, Storm
from hbd.core.flapping import Flapping
from hbd.core.model import Cause, State
from hbd.core.outputs import Tell
from hbd.core.peer import ANSWERING, REFINEMENTS, Peer, Verdict
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

    def __init__(self, clock: Clock, timers: Timers, tell: Callable[[Event | Tell], None]) -> None:
        self._clock: Final = clock
        self._timers: Final = timers
        self._tell: Final = tell
        self._storms: Final = {state: StormWatch(state) for state in State}
        self._flapping: dict[Peer, Flapping] = {}

    def change(self, peer: Peer, verdict: Verdict, *, in_storm: bool | None) -> None:
        """Give a peer a new verdict, that is to be told; `in_storm` as in Tell."""
        clock, is_refinement = self._clock, verdict.state is peer.state
        has_failed = verdict.state in FAILED and not is_refinement
        last_reply = peer.last_reply_real if has_failed else None
        tell = Tell(
            peer,
            verdict,
            clock.now,
            clock.real,
            clock.wall,
            peer.state,
            peer.cause,
            clock.real - peer.since_real,
            None if last_reply is None else clock.real - last_reply,
            peer.first_verdict,
            is_refinement and peer.refinements >= REFINEMENTS,
            in_storm,
        )
        peer.state, peer.cause, peer.evidence = verdict.state, verdict.cause, verdict.evidence
        # Of whose name has never been resolved nothing is known yet.
        is_new = peer.first_verdict and not peer.restored
        peer.first_verdict = is_new and verdict.cause is Cause.UNRESOLVED
        peer.restored = False
        if not is_refinement:
            peer.since, peer.since_real = clock.wall, clock.real
            peer.refinements = 0
        else:
            peer.refinements += 1
        self._tell(tell)

    def told(self, tell: Tell) -> list[Event]:
        """Give what is said of a new verdict, in order; loss and RTT are of now."""
        event, said = self._event(tell), list[Event]()
        if event.is_refinement:
            return [event]
        in_storm = tell.in_storm
        if in_storm is None:
            is_first_up = event.first and event.state in ANSWERING
            in_storm = not is_first_up and self._watch_storm(tell, said)
        # With its first verdict it does not change: it was in no state before.
        flaps = not event.first and self._watch_flapping(tell, said, in_storm=in_storm)
        return [*said, event.quietly() if flaps or in_storm else event]

    def _event(self, tell: Tell) -> StateChanged:
        peer, verdict = tell.peer, tell.verdict
        return StateChanged(
            at=tell.at,
            since=tell.since,
            peer=peer.name,
            labels=peer.settings.labels,
            previous=tell.previous,
            previous_cause=tell.previous_cause,
            state=verdict.state,
            cause=verdict.cause,
            address=verdict.address,
            evidence=verdict.evidence,
            duration=tell.duration,
            detection=tell.detection,
            rtt=peer.last_rtt,
            loss=peer.loss(self._clock.now),
            first=tell.first,
            unsaid=tell.unsaid,
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

    def _watch_storm(self, tell: Tell, said: list[Event]) -> bool:
        """Note a change, and say if a storm has begun by it; tell whether there is one."""
        storm = self._storms[tell.verdict.state]
        if storm.change(tell.peer, tell.now, self._clock.now):
            said.append(self._storm(storm, over=False))
        self._timers.schedule(storm)
        return storm.is_storm

    def _storm(self, storm: StormWatch, *, over: bool) -> Storm:
        clock = self._clock
        return Storm(
            clock.real, clock.wall, storm.state, None, storm.count, storm.common, over=over
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

    def _watch_flapping(self, tell: Tell, said: list[Event], *, in_storm: bool) -> bool:
        """Note a change, and say if flapping began or ended by it.

        Tells whether it is one of many that an entry has told about.
        """
        peer = tell.peer
        flapping = self._flapping.get(peer)
        if flapping is None:
            flapping = self._flapping[peer] = Flapping(peer, tell.previous, tell.now)
        was_flapping = flapping.is_flapping
        if flapping.change(tell.verdict.state, tell.now):
            said.append(self._flapping_changed(flapping, quiet=in_storm))
        self._timers.schedule(flapping)
        return was_flapping

    def _flapping_changed(self, flapping: Flapping, *, quiet: bool = False) -> FlappingChanged:
        clock, peer = self._clock, flapping.peer
        return FlappingChanged(
            clock.real,
            clock.wall,
            peer.name,
            peer.settings.labels,
            flapping.state,
            flapping.is_flapping,
            flapping.changes,
            quiet,
        )

    def advance(self, timer: Timer) -> None:
        """The deadline of a storm or of flapping has come."""
        match timer:
            case StormWatch():
                self._tell(self._storm(timer, over=True))
                timer.end()
            case Flapping():
                timer.sample(self._clock.now)
                if timer.judge():
                    self._tell(self._flapping_changed(timer))


def aloud(count: int) -> bool:
    """Whether the change with this number in a storm, from 0, is told as usual."""
    return count < ALOUD
