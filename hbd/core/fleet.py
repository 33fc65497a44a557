"""All peers: the contract of the detector.

One turn of the loop is: `turn(now, wall)`; `receive(...)`, `heard(...)`, `answered(...)` and
`icmp(...)` for everything that has arrived, with the kernel's stamps; `advance()`; carry out
`outputs()` until there are none; `ended(now)`; wait until `next_deadline()` or a readable socket.
Times that come in and go out are monotonic nanoseconds; wall clock times are named so and serve
people only.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.core import goodbye
from hbd.core.arrival import arrived
from hbd.core.asked import Asked, elsewhere
from hbd.core.clock import STALL, Clock, Lag
from hbd.core.events import Event, Stalled, Woke
from hbd.core.inquiry import Inquiries, Inquiry, Probe
from hbd.core.model import MILLISECOND, SECOND, Cause, Dice, PeerSettings, State
from hbd.core.news import News
from hbd.core.path import Path, Reception, Step
from hbd.core.pauses import Pauses
from hbd.core.peer import Pause, Peer
from hbd.core.roster import Change, Roster
from hbd.core.seeker import Seeker
from hbd.core.session import Fact
from hbd.core.timers import Timer, Timers
from hbd.core.told import ANYWHERE, Told
from hbd.core.unwatched import UNWATCHED
from hbd.core.verdicts import Verdicts, is_witnessed
from hbd.core.volley import Volley
from hbd.core.volleys import Sent, Volleys
from hbd.core.witnesses import Witnesses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from hbd.core.address import Address
    from hbd.core.arrival import Arrivals
    from hbd.core.egress import EgressKey
    from hbd.core.session import Answer
    from hbd.core.stamp import Station
    from hbd.wire.hbd_tlv import HbdTlv

WORK: Final = MILLISECOND // 10
"""What is done for one path in a turn, or told of it, takes so long if nothing is in the way."""
ALIKE: Final = 16
"""For so many of a volley it takes as long."""
DONE: Final = 200
"""Of more that is due the rest waits for the next turn: others are to be heard meanwhile."""
HELD: Final = 3 * MILLISECOND
"""A volley waits for so long where a verdict, or a retransmission, would have to wait for it."""


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


OVERRUN: Final = Fact(
    Cause.OWN_STALL, "more came to this machine than it could read: some was lost, perhaps of it"
)

Output = Ask | AskAll | Examine | Probe | Event


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
        self._lag: Final = Lag(now)
        self.dropped: Counter[str] = Counter()
        """What came to our sender sockets and counted for nothing, by reason."""
        self._dice: Final = dice
        self._timers: Final = Timers()
        self._advanced: Final[list[Timer]] = []
        """Whose deadline came in this turn: most have another one when their heartbeat has left."""
        self._outputs: list[Output] = []
        self._examining: set[Path] = set()
        """Of whom it is asked among them already: a router may say a thousand times a turn that it
        is not up."""
        self._roster: Final = Roster(self.clock, self._timers, session)
        self._news: Final = News(self.clock, self._timers, self._outputs_append)
        self._inquiries: Final = Inquiries(
            self.clock, self._timers, self._outputs_append, self._better_known
        )
        self._verdicts: Final = Verdicts(
            self.clock,
            self._roster,
            self._timers,
            self._news,
            dice=dice,
            start_grace=start_grace,
        )
        self._pauses: Final = Pauses(self.clock, self._timers, self._verdicts)
        self._witnesses: Final = Witnesses(
            self.clock, self._timers, self._roster, lambda path: self._outputs_append(Ask(path))
        )
        self._volleys: Final = Volleys(self.clock, self._timers, dice, station, place_of)
        self._dropped_at = self._unheard_at = -1
        self._seeker: Final = Seeker(self.clock)
        self._done = 0
        """How many things were done in this turn, for a path or by what it was told of,"""
        self._busy_until = 0
        """and until when that may have gone on."""
        self._awaited_until = now

    def _outputs_append(self, output: Output) -> None:
        self._outputs.append(output)

    def _better_known(self, path: Path) -> None:
        self._verdicts.refresh(path.peer)

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
        if known.state is State.UNKNOWN and known.cause is None:
            return
        peer.state, peer.cause, peer.since = known.state, known.cause, known.since
        # What began in the future began when our wall clock was right, or is wrong now.
        peer.since_real = min(clock.real - (clock.wall - known.since), clock.real)
        peer.restored = True
        if peer.pause is not None:
            peer.evidence = (peer.pause.words,)
        for path in peer.paths:
            path.remember(was_up=peer.answers)
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
        self._roster.aim(path, targets)
        if path.target not in targets:
            path.target = targets[0]
            path.ask_anew(self.clock.now)
            self._timers.schedule(path)
        if is_new:
            self._verdicts.begin(path)
            self._examine(path)

    # -- a turn -------------------------------------------------------------------------------

    def turn(self, real: int, wall: int) -> None:
        """Begin a turn of the loop at this moment."""
        late = self.clock.turn(real, wall, self._busy_until)
        self._done = self._busy_until = 0
        lost = self._lag.add(real, late)
        if late >= STALL:
            self._outputs.append(Stalled(real, wall, late))
        if lost:
            self._outputs.append(Stalled(real, wall, lost, in_pieces=True))

    def ended(self, real: int) -> None:
        """Say that all of this turn was done by this moment: what it took is no lateness of ours.

        No more than what was done can have taken, for we may have been stopped meanwhile; and no
        more than it took, for anybody can send us what is done with in no time.
        """
        self._busy_until = min(self.clock.real + self._done * WORK, real)

    def did(self, things: int) -> None:
        """Say that so many other things were done in this turn, each of which takes as long."""
        self._done += things

    def lag_share(self) -> float:
        """Give the share of the last seconds in which we were late, 0 to 1."""
        return self._lag.share(self.clock.real)

    def suspended(self, duration: int) -> None:
        """Say that the machine was suspended: what was asked before is void."""
        self._verdicts.grant_grace()
        for peer in self.peers.values():
            for path in peer.paths:
                if path.deadline is not None:
                    path.annul_waiting(self.clock.now)
                    self._verdicts.begin(path)
        self._outputs.append(Woke(self.clock.real, self.clock.wall, duration))

    def lost_some(self) -> None:
        """Say that datagrams to us were dropped for want of room: the round is asked again."""
        self._dropped_at = self._unheard_at = self.clock.now

    def unheard_some(self) -> None:
        """Say that more has come from those who send by themselves than we could keep or read."""
        self._unheard_at = self.clock.now

    def advance(self) -> None:
        """Do what is due."""
        self._verdicts.tell_some()
        most = self._done + DONE
        while self._done < most:
            timer = self._timers.due(self.clock.now, self.clock.lateness)
            if timer is None:
                return
            self._done += 1
            match timer:
                case Path():
                    self._step(timer)
                case Volley():
                    self._volley(timer)
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
        outputs = self._outputs[:]
        self._outputs.clear()
        self._examining.clear()
        return outputs

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
        return self.clock.now < self._awaited_until

    # -- asking -------------------------------------------------------------------------------

    def _ask(self, path: Path) -> None:
        self._outputs.append(Ask(path))
        if path.state is not State.UP or path.is_missing:
            until = self.clock.now + path.timing.life
            self._awaited_until = max(self._awaited_until, until)

    def _volley(self, volley: Volley) -> None:
        if volley.is_asked:
            self._done += self._volleys.time_out(volley)
        elif self._hold(volley):
            return
        elif self._volleys.due(volley):
            self._done += len(volley.paths) // ALIKE
            self._outputs.append(AskAll(volley))

    def _hold(self, volley: Volley) -> bool:
        """Have a volley wait if something is owed before it has left; tell whether it does."""
        now, last = self.clock.now, volley.next + HELD
        # Twice as long as usual, if something is in the way; none is held for a few.
        takes = 2 * (len(volley.paths) // ALIKE) * WORK
        owed = self._timers.first_owed(self.clock.lateness) if takes and now < last else None
        if owed is None or owed > now + takes:
            return False
        volley.deadline = min(max(owed, now) + 1, last)
        return True

    def _step(self, path: Path) -> None:
        match path.advance(self.clock.now, self.clock.lateness):
            case Step.ASK:
                path.witnessed = is_witnessed(path)
                self._ask(path)
            case Step.BEAT:
                self._outputs.append(Ask(path))
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
            path.icmp = path.icmp or fault
        else:
            path.send_error = fault

    def broken(self, path: Path, fact: Fact, *, witness: bool) -> None:
        """Say that a connection was not to be had, or broke: evidence, until the next heartbeat.

        That is no sooner for it: a server that ends each connection would keep us busy.
        `witness`: whoever broke it is beyond our own side.
        """
        if not path.is_watched:
            return
        path.bad = fact
        if witness:
            self._verdicts.witnessed(path, self.clock.now)
        if path.state is State.DOWN:
            self._verdicts.refresh(path.peer)

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
                path.ask_again(self.clock.now)
                return
            if is_told and lost_at >= self.clock.now - path.patience:
                # It cannot be asked; what it sent may be among what we lost.
                path.send_error = OVERRUN
        if not _is_as_before(path):
            self._examine(path)

    def _examine(self, path: Path) -> None:
        """Ask how datagrams to it leave us, where it is known where it is; or judge without."""
        if path.target is None:
            self._verdicts.examined(path, None, None)
        elif path not in self._examining:
            self._examining.add(path)
            self._outputs.append(Examine(path))

    # -- being answered -----------------------------------------------------------------------

    def receive(self, datagram: bytes, source: Address, real: int, ttl: int | None = None) -> None:
        """Take a datagram that reached a sender socket at this moment (kernel's stamp)."""
        paths = self._roster.at(source)
        if not paths:
            self.dropped["unknown-source"] += 1
            self._from_elsewhere(datagram, source)
            return
        self._done += 1
        if len(paths) > 1:
            paths = tuple(path for path in paths if path.claims(datagram)) or paths
        now = self.clock.at(real)
        for path in paths:
            reception, answer = path.receive(datagram, now, real, ttl)
            if answer is not None:
                break
        if reception is Reception.LIFE and path.target != source and source in path.targets:
            path.target = source
        self._received(path, reception, answer, now)

    def receive_all(self, arrivals: Arrivals, since: int, until: int) -> None:
        """Take what has reached a sender socket between two moments when all had been read.

        The second may be after `now`: what came while it was read is no older than it is.
        """
        wall = self.clock.wall + until - self.clock.real
        rest, egresses = self._volleys.receive(arrivals, since, until)
        for egress in egresses:
            self._verdicts.answered(egress)
        self._done += (len(arrivals.lengths) - len(rest)) // ALIKE
        for at in rest:
            real = arrived(arrivals.stamps[at], since, until, wall)
            source = arrivals.address_of(arrivals.place(at))
            self.receive(arrivals.datagram(at), source, real, arrivals.ttls[at])

    def _from_elsewhere(self, datagram: bytes, source: Address) -> None:
        everybody = (path for peer in self.peers.values() for path in peer.paths)
        path = self._seeker.whose(datagram, everybody)
        if path is not None and path.target is not None:
            path.bad = elsewhere(source, path.target)
            self._received(path, Reception.REFUSED, None, self.clock.now)

    def heard(
        self,
        path: Path,
        octets: bytes,
        real: int,
        ttl: int | None = None,
        source: Address | None = None,
    ) -> None:
        """Take what a peer sent by itself, at this moment; `source`: of one that may be anywhere.

        By that its egress is known, and so whom its silence can be held against.
        """
        if not path.is_watched:
            return
        self._done += 1
        now = self.clock.at(real)
        if source is not None and not path.targets:
            path.target = source
        reception, answer = path.receive(octets, now, real, ttl)
        self._received(path, reception, answer, now)

    def answered(self, path: Asked, answer: Answer, real: int) -> None:
        """Take an answer that came over a connection, at this moment."""
        if not path.is_watched:
            return
        now = self.clock.at(real)
        reception, known = path.take(answer, now, real)
        self._received(path, reception, known, now)

    def goodbye(self, path: Path, said: HbdTlv) -> bool:
        """The peer says that it stops; tell whether that is of whom we know, and so is obeyed.

        One of an earlier incarnation was recorded by somebody.
        """
        if isinstance(path, Asked) and path.incarnation != said.incarnation:
            self.dropped["goodbye"] += 1
            return False
        for each in path.peer.paths:
            each.leave()
            each.goodbye = goodbye.read(said, self.clock.now)
        return True

    def returned(self, path: Path) -> None:
        """The peer is heard after its goodbye: it was but a restart.

        What it missed meanwhile is held against nobody.
        """
        for each in path.peer.paths:
            if each.goodbye is not None:
                each.goodbye = None
                if each.state is not State.DOWN:
                    self._verdicts.start_over(each)

    def _received(self, path: Path, reception: Reception, answer: Answer | None, now: int) -> None:
        match reception:
            case Reception.LIFE:
                self._alive(path, answer, now)
                return
            case Reception.LATE:
                return
            case Reception.THERE:
                self._verdicts.witnessed(path, now)
                self._timers.schedule(path)
                return
            case Reception.SAID:
                self._verdicts.witnessed(path, now)
                self._timers.schedule(path)
                self._examine(path)
            case Reception.SMALL:
                size = path.peer.settings.stamp.size
                words = f"heartbeats without padding are answered, none of {size} octets is"
                self._verdicts.witnessed(path, now)
                self._inquiries.passes_small(path, words)
            case Reception.REFUSED:
                # No life of the peer, but our own side is sound.
                self._verdicts.witnessed(path, now)
                self.dropped[reception.value] += 1
            case _:
                self.dropped[reception.value] += 1
        if path.state is State.DOWN:
            self._verdicts.refresh(path.peer)

    def _alive(self, path: Path, answer: Answer | None, now: int) -> None:
        verdicts = self._verdicts
        moved = path.egress is not None and path.leads_to != path.target
        if moved:
            verdicts.leave(path)
        verdicts.witnessed(path, now)
        incarnation = None if answer is None else answer.incarnation
        if incarnation is not None and path.is_another(incarnation):
            self._restarted(path, incarnation)
        if path.goodbye is not None and not path.goodbye.is_newer(answer):
            self.returned(path)
        if answer is not None and answer.goodbye is not None:
            self.goodbye(path, answer.goodbye)
        was_failing = path.is_failing
        rises = path.state is not State.DOWN or path.has_risen
        changed = rises and path.give(State.UP)
        path.go_on(now, self._dice.random())
        if changed or moved:
            self._examine(path)  # it may leave by another way than before
        if path.weigh(self.clock.now) or changed:
            verdicts.refresh(path.peer)
        if was_failing and path.peer.is_heard:
            verdicts.look_behind(path.peer)
        if type(path) is not Asked or not self._volleys.take(path):
            self._timers.schedule(path)

    def _restarted(self, path: Path, incarnation: int) -> None:
        if path.peer.may_be_told(self.clock.now):
            self._news.restarted(path, incarnation)
        else:
            self.dropped["restarted"] += 1

    def icmp(
        self,
        destination: Address,
        payload: bytes,
        fact: Fact,
        *,
        witness: bool,
        offender: str = "",
    ) -> bool:
        """Take an ICMP error about a heartbeat: evidence, never a verdict; tell if it is one.

        `witness`: it comes from beyond the first hop, so our side is sound.
        """
        for path in self._roster.at(destination):
            if path.is_about(payload):
                hop = path.hop_of(payload) if fact.cause is Cause.ROUTING_LOOP else None
                if hop is None:
                    about = f" about {destination[0]}" if len(path.targets) > 1 else ""
                    path.refused(fact._replace(text=fact.text + about))
                else:
                    self._inquiries.reached(path, hop, offender)
                # What we ask for ourselves comes through a firewall of ours that takes all replies.
                if witness and hop is None:
                    self._verdicts.witnessed(path, self.clock.now)
                if path.state is State.DOWN:
                    self._verdicts.refresh(path.peer)
                return True
        self.dropped["icmp"] += 1
        return False

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
        self, path: Path, key: EgressKey | None, fault: Fact | None, next_hop: str | None = None
    ) -> None:
        """Take how datagrams to the path leave us, or why they cannot; give a due verdict.

        `next_hop`: whether that answers, in words for the evidence, where there is one.
        """
        self._verdicts.examined(path, key, fault, next_hop)

    # -- peers --------------------------------------------------------------------------------

    def pause(self, name: str, pause: Pause) -> None:
        """Keep measuring a peer, give no verdict until the pause ends."""
        peer = self.peers[name]
        self._pauses.begin(peer, pause)
        self._verdicts.refresh(peer)

    def resume(self, name: str) -> bool:
        """End a pause; tell whether there was one."""
        return self._pauses.end(self.peers[name])

    def is_flapping(self, peer: Peer) -> bool:
        """Whether a peer changes too often to tell each change aloud."""
        return self._news.is_flapping(peer)


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
