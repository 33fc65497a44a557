"""All peers: the contract of the detector.

One turn of the loop is: `turn(real, wall)`; `receive_all(...)`, `heard(...)`, `answered(...)`,
`broken(...)` and `icmp(...)` for everything that has arrived, with the kernel's stamps (see
`hearing`); `advance()`; carry out `outputs()`, and answer Examine with `examined(...)`, until there
are none; `ended(real)`; wait until `next_deadline()` or a readable socket. Times that come in and
go out are monotonic nanoseconds; wall clock times are named so and serve people only.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.core import goodbye
from hbd.core.asked import Asked
from hbd.core.clock import STALL, Clock, Lag, Work
from hbd.core.events import Stalled, Woke
from hbd.core.hearing import Hearing
from hbd.core.inquiry import Inquiries, Inquiry
from hbd.core.model import SECOND, Cause, State, Way
from hbd.core.news import News
from hbd.core.outputs import Ask, Outputs
from hbd.core.path import OF_ALL, Path
from hbd.core.pauses import Pauses
from hbd.core.peer import Peer
from hbd.core.roster import Roster
from hbd.core.steps import Steps
from hbd.core.timers import Timer, Timers
from hbd.core.told import ANYWHERE
from hbd.core.verdicts import Verdicts
from hbd.core.volley import Volley
from hbd.core.volleys import Volleys
from hbd.core.witnesses import Witnesses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from hbd.core.address import Address
    from hbd.core.egress import EgressKey
    from hbd.core.events import Event
    from hbd.core.inquiry import Probe
    from hbd.core.model import Dice, PeerSettings
    from hbd.core.outputs import AskAll, Output, Tell
    from hbd.core.peer import Pause
    from hbd.core.roster import Change
    from hbd.core.session import Fact
    from hbd.core.station import Station
    from hbd.core.volleys import Sent

DONE: Final = 200
"""Of more that is due the rest waits for the next turn: others are to be heard meanwhile."""


class Restored(NamedTuple):
    """What is known of a peer from before the start."""

    state: State
    cause: Cause | None
    since: int
    """Wall clock."""
    pause: Pause | None = None


class Fleet:
    """The detector: every peer, every path, and what they say about each other.

    `session` gives the session of a path: of the kind that its `settings.way` asks for; `place_of`
    an address in the form that many datagrams are received in.
    """

    def __init__(
        self,
        *,
        now: int,
        wall: int,
        dice: Dice,
        session: Callable[[PeerSettings, str], Any],
        start_grace: int = 10 * SECOND,
        tick: int = 0,
        station: Station,
        place_of: Callable[[Address], bytes],
    ) -> None:
        self.clock: Final = Clock(now, wall, tick)
        self.dropped: Final[Counter[str]] = Counter()
        """What came to our sender sockets and counted for nothing, by reason."""
        self._lag: Final = Lag(now)
        self._work: Final = Work()
        self._timers: Final = Timers()
        self._advanced: Final[list[Timer]] = []
        """Whose deadline came in this turn: most have another one when their heartbeat has left."""
        self._outputs: Final = Outputs()
        clock, timers, outputs = self.clock, self._timers, self._outputs
        self._roster: Final = Roster(clock, timers, session)
        self._news: Final = News(clock, timers, outputs.put)
        self._inquiries: Final = Inquiries(
            clock, timers, outputs.put, lambda path: self._verdicts.refresh(path.peer)
        )
        self._verdicts: Final = Verdicts(
            clock, self._roster, timers, self._news, dice=dice, start_grace=start_grace
        )
        self._pauses: Final = Pauses(clock, timers, self._verdicts)
        self._volleys: Final = Volleys(clock, timers, dice, station, place_of)
        self._steps: Final = Steps(
            clock,
            timers,
            outputs,
            self._work,
            verdicts=self._verdicts,
            witnesses=Witnesses(clock, timers, self._roster, lambda path: outputs.put(Ask(path))),
            inquiries=self._inquiries,
            volleys=self._volleys,
            examine=self._examine,
        )
        hearing = self._hearing = Hearing(
            clock,
            timers,
            self._roster,
            self._work,
            self.dropped,
            dice=dice,
            verdicts=self._verdicts,
            inquiries=self._inquiries,
            news=self._news,
            volleys=self._volleys,
            examine=self._examine,
        )
        self.receive: Final = hearing.receive
        self.receive_all: Final = hearing.receive_all
        self.heard: Final = hearing.heard
        self.answered: Final = hearing.answered
        self.broken: Final = hearing.broken
        self.goodbye: Final = hearing.goodbye
        self.returned: Final = hearing.returned
        self.icmp: Final = hearing.icmp
        self.lost_some: Final = self._steps.lost_some
        self.unheard_some: Final = self._steps.unheard_some

    @property
    def peers(self) -> dict[str, Peer]:
        """The peers by name, in the order of the configuration."""
        return self._roster.peers

    @property
    def start_grace(self) -> int:
        """For so long after the start no silence is a verdict."""
        return self._verdicts.start_grace

    @start_grace.setter
    def start_grace(self, span: int) -> None:
        self._verdicts.start_grace = span

    def known_by(self, key: Hashable) -> tuple[Path, ...]:
        """Give the paths whose heartbeats go to a socket address, or that are known by a key."""
        return self._roster.at(key)

    # -- settings -----------------------------------------------------------------------------

    def apply(
        self,
        settings: Iterable[PeerSettings],
        renewed: Collection[str] = (),
        replaced: Collection[str] = (),
    ) -> Change:
        """Take over new settings; new paths wait for `resolved`.

        `renewed`: names of keys whose octets are others now. `replaced`: names of peers whose
        sessions cannot go on, and so begin anew.
        """
        before, now = self.peers, self.clock.now
        change = self._roster.apply(settings, renewed, replaced)
        for name in change.removed:
            self._news.forget(before[name])
        for name in change.changed:
            peer = self.peers[name]
            for path in peer.paths:
                if path.is_overdue(now):
                    path.deadline = now + self._verdicts.delay(path)  # many never begin at once
                self._timers.schedule(path)
            self._verdicts.refresh(peer)
        for name in [*change.added, *change.changed]:
            for path in self.peers[name].paths:
                if path.address == ANYWHERE and path.deadline is None:
                    self._roster.aim(path, ())
                    self._verdicts.begin(path)
        return change

    def going(self, settings: Iterable[PeerSettings], replaced: Collection[str] = ()) -> list[Path]:
        """Give the paths that `apply` would end."""
        return self._roster.going({one.name: one for one in settings}, replaced)

    def restore(self, name: str, known: Restored) -> None:
        """Give a peer the state it had before the start, until its first verdict."""
        peer, clock = self.peers[name], self.clock
        if known.pause is not None and known.pause.until > clock.wall:
            self._pauses.begin(peer, known.pause)
        is_over = known.state is State.PAUSED and peer.pause is None
        if is_over or (known.state is State.UNKNOWN and known.cause is None):
            return
        peer.state, peer.cause, peer.since = known.state, known.cause, known.since
        # What began in the future began when our wall clock was right, or is wrong now.
        peer.since_real = min(clock.real - (clock.wall - known.since), clock.real)
        peer.restored = True
        if peer.pause is not None:
            peer.evidence = (peer.pause.words,)
        for path in peer.paths:
            if known.cause is Cause.GOODBYE:
                path.goodbye = goodbye.recalled(clock.at(peer.since_real), clock.now)
            path.remember(was_up=peer.answers or known.cause in OF_ALL)
            figures, limits = path.figures, path.limits
            figures.lossy = known.cause is Cause.LOSSY and limits.max_loss is not None
            figures.slow = known.cause is Cause.SLOW and limits.max_rtt is not None
            figures.tight = (known.state, known.cause) == (State.DEGRADED, Cause.TOO_TIGHT)

    def resolved(self, path: Path, targets: tuple[Address, ...], error: str | None = None) -> None:
        """Say what a path's address stands for now; without any target, the resolver's words."""
        if not path.is_watched:
            return
        if not targets:
            # The last good address is kept: a resolver that fails says nothing of the peer.
            path.unresolved = error if not path.targets else None
            self._verdicts.refresh(path.peer)
            return
        path.unresolved = None
        is_new = not path.targets
        if targets != path.targets:
            self._roster.aim(path, targets)
        if path.target not in targets:
            path.target = targets[0]
            path.ask_anew(self.clock.now)
            self._timers.schedule(path)
            if not is_new and path.forget_peer():
                self._verdicts.begin_anew(path)
        if is_new:
            self._verdicts.begin(path)
            self._examine(path)

    # -- a turn -------------------------------------------------------------------------------

    def turn(self, real: int, wall: int) -> None:
        """Begin a turn of the loop at this moment."""
        late = self.clock.turn(real, wall, self._work.busy_until)
        self._work.begin()
        lost = self._lag.add(real, late)
        if late >= STALL:
            self._outputs.put(Stalled(real, wall, late))
        if lost:
            self._outputs.put(Stalled(real, wall, lost, in_pieces=True))

    def ended(self, real: int) -> None:
        """Say that all of this turn was done by this moment."""
        self._work.end(self.clock.real, real)

    def did(self, things: int) -> None:
        """Say that so many other things were done in this turn, each of which takes as long."""
        self._work.done += things

    def lag_share(self) -> float:
        """Give the share of the last seconds in which we were late, 0 to 1."""
        return self._lag.share(self.clock.real)

    def suspended(self, duration: int) -> None:
        """Say that the machine was suspended: what was asked before is void."""
        self._verdicts.grant_grace()
        for path in [path for peer in self.peers.values() for path in peer.paths]:
            if path.deadline is None:
                continue
            path.annul_waiting(self.clock.now)
            if path.peer.pause is not None and path.state is State.DOWN:
                path.give(State.UNKNOWN)  # or it would be told as the pause ends
            self._verdicts.begin(path)
        self._outputs.put(Woke(self.clock.real, self.clock.wall, duration))

    def advance(self) -> None:
        """Do what is due."""
        self._verdicts.tell_some()
        most = self._work.done + DONE
        while self._work.done < most:
            timer = self._timers.due(self.clock.now, self.clock.lateness)
            if timer is None:
                return
            self._work.done += 1
            match timer:
                case Path():
                    self._steps.step(timer)
                case Volley():
                    self._steps.volley(timer)
                case Peer():
                    self._pauses.look(timer)
                    self._verdicts.refresh(timer)  # it may have been told of too much before
                case Inquiries():
                    timer.advance()
                case Inquiry():
                    self._inquiries.close(timer)
                case _:
                    self._news.advance(timer)
            if timer.deadline is not None and timer.deadline <= self.clock.now:
                self._timers.schedule(timer)  # it has more to do in this turn
            else:
                self._advanced.append(timer)

    def outputs(self) -> list[Output]:
        """Drain what is to be done and told."""
        return self._outputs.drain()

    def next_deadline(self) -> int | None:
        """When to take the next turn at the latest; later than the `now` of this one."""
        return self.clock.promise(self._first())

    def free_until(self) -> int | None:
        """Until when this turn can do other things: then something is due."""
        return self.clock.moment(self._first())

    def _first(self) -> int | None:
        for timer in self._advanced:
            self._timers.schedule(timer)
        self._advanced.clear()
        clock = self.clock
        return clock.now if self._verdicts.is_telling else self._timers.first(clock.lateness)

    @property
    def waits_for_replies(self) -> bool:
        """Whether a reply may be on its way that changes a verdict or ends a doubt."""
        return self.clock.now < self._steps.awaited_until

    # -- asking -------------------------------------------------------------------------------

    def compose(self, path: Path, real: int, wall: int) -> bytes:
        """Give the octets of a heartbeat that is sent at this very moment."""
        now = self.clock.now + (real - self.clock.real)
        datagram = path.compose(now, real, wall)
        self._timers.schedule(path)
        return datagram

    def compose_all(self, ask: AskAll, real: int, wall: int, step: int = 0) -> Sent:
        """Give the octets of heartbeats and where they go, the first of them at this very moment.

        `step`: how long after each the next one leaves, as far as is known: `ask.volley.left` is
        to be told when they did.
        """
        return self._volleys.compose(ask.volley, real, wall, step)

    def have_room(self, replies: int) -> None:
        """Say how many replies may lie unread where they arrive: no more are asked for at once."""
        self._volleys.have_room(replies)

    def compose_probe(self, probe: Probe, real: int, wall: int) -> bytes:
        """Give the octets of a heartbeat that is sent for evidence, at this very moment."""
        path = probe.path
        if not isinstance(path, Asked):
            raise TypeError(probe)
        now = self.clock.now + (real - self.clock.real)
        return path.compose_probe(probe, now, real, wall)

    def send_failed(self, path: Path, fault: Fact) -> None:
        """Say that the last heartbeat did not leave, and why."""
        path.annul_last()
        if fault.cause is Cause.MTU:
            # The way is to blame, and it begins with us; a router that said so is known by name.
            path.refused(path.icmp or fault)
        elif path.peer.settings.way is not Way.TOLD:  # to hear it we need not send
            path.send_error = fault

    # -- evidence -----------------------------------------------------------------------------

    def _examine(self, path: Path) -> None:
        """Ask how datagrams to it leave us, where it is known where it is; or judge without."""
        if path.target is None:
            self._verdicts.examined(path, None, None)
        else:
            self._outputs.examine(path)

    def found(self, probe: Probe, words: str, *, alive: bool) -> None:
        """Take what became of a probe, in words; `alive`: the host itself has answered.

        No witness: a firewall of ours may let echoes in, and drop the replies of all peers.
        """
        self._inquiries.found(probe, words, alive=alive)

    def inquire(self, peer: Peer) -> None:
        """Gather fresh evidence on what a peer's paths miss, before all others."""
        for path in peer.paths:
            self._inquiries.want_now(path)

    def interfaces(self) -> set[str]:
        """Give those that paths were last known to leave by."""
        return self._verdicts.interfaces()

    def failed_before(self, interface: str, real: int) -> None:
        """Say that an interface failed before this moment: who was heard since leaves by another.

        How they do is to be looked up, as long as they are heard: of who falls silent nobody could
        tell any more whether that interface is to blame.
        """
        for path in self._verdicts.heard_beside(interface, real):
            self._examine(path)

    def is_inquiring(self, peer: Peer) -> bool:
        """Whether more may become known of a peer soon."""
        return any(self._inquiries.is_open(path) for path in peer.paths)

    def asked_us(self, path: Asked, real: int) -> None:
        """Say when the peer last sent a heartbeat of its own that we answered: monotonic."""
        path.asked_us = self.clock.at(real)

    def examined(
        self,
        path: Path,
        key: EgressKey | None,
        fault: Fact | None,
        next_hop: Callable[[], str | None] | None = None,
    ) -> None:
        """Take how datagrams to the path leave us, or why they cannot; give a due verdict.

        `next_hop` says whether that answers, in words for the evidence, where there is one.
        """
        was_unknown = path.egress is None
        self._verdicts.examined(path, key, fault, next_hop)
        if was_unknown and type(path) is Asked and not path.repeated:
            self._volleys.take(path)  # only now it is known who else leaves as it does

    # -- peers --------------------------------------------------------------------------------

    def pause(self, name: str, pause: Pause) -> None:
        """Keep measuring a peer, give no verdict until the pause ends."""
        peer = self.peers[name]
        self._pauses.begin(peer, pause)
        self._verdicts.refresh(peer)

    def resume(self, name: str) -> bool:
        """End a pause; tell whether there was one."""
        return self._pauses.end(self.peers[name])

    def told(self, tell: Tell) -> list[Event]:
        """Give what is said of a new verdict; nothing of a peer that is gone by now."""
        is_watched = self.peers.get(tell.peer.name) is tell.peer
        return self._news.told(tell) if is_watched else []

    def is_flapping(self, peer: Peer) -> bool:
        """Whether a peer changes too often to tell each change aloud."""
        return self._news.is_flapping(peer)
