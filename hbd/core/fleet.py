"""All peers: the contract of the detector.

One turn of the loop is: `turn(now, wall)`; `receive(...)` and `icmp(...)` for everything that has
arrived, with the kernel's stamps; `advance()`; carry out `outputs()` until there are none; wait
until `next_deadline()` or a readable socket. Times that come in and go out are monotonic
nanoseconds; wall clock times are named so and serve people only.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.clock import STALL, Clock, Lag
from hbd.core.egress import Egress, EgressKey
from hbd.core.events import Event, Stalled, Woke
from hbd.core.model import MILLISECOND, SECOND, Cause, Dice, PeerSettings, State
from hbd.core.news import News, aloud
from hbd.core.path import Address, Answer, Fact, Path, Reception, Session, Step
from hbd.core.peer import Pause, Peer, is_behind_silence, judge
from hbd.core.roster import Change, Roster
from hbd.core.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

WITNESS_SPACING: Final = 20 * MILLISECOND
"""Witnesses of one egress, and a parent, are asked no more often, however many paths miss."""


TOLD_AT_ONCE: Final = 200
"""Peers told in one turn of a fault of ours: it may be ten thousand, and others wait meanwhile."""

PAUSE_LOOK: Final = 60 * SECOND
"""How often a pause is held against the wall clock: that may be wrong at the start, and step."""


class Ask(NamedTuple):
    """Send a heartbeat to the path's target now: `fleet.compose(path, ...)` gives its octets."""

    path: Path


class Examine(NamedTuple):
    """Say how datagrams to this path leave us now, with `fleet.examined(...)`, in this turn."""

    path: Path


Output = Ask | Examine | Event


class Restored(NamedTuple):
    """What is known of a peer from before the start."""

    state: State
    cause: Cause | None
    since: int
    """Wall clock."""
    pause: Pause | None = None


class Fleet:
    """The detector: every peer, every path, and what they say about each other."""

    def __init__(
        self,
        *,
        now: int,
        wall: int,
        dice: Dice,
        session: Callable[[PeerSettings], Session],
        start_grace: int = 10 * SECOND,
        tick: int = 0,
    ) -> None:
        self.clock: Final = Clock(now, wall, tick)
        self._lag: Final = Lag(now)
        self.start_grace = start_grace
        self.dropped: Counter[str] = Counter()
        """Datagrams to our sender sockets that counted for nothing, by reason."""
        self._dice: Final = dice
        self._grace_until = self.clock.now + start_grace
        self._timers: Final = Timers()
        self._outputs: list[Output] = []
        self._roster: Final = Roster(self.clock, session)
        self._news: Final = News(self.clock, self._timers, self._outputs_append)
        self._egresses: dict[EgressKey, Egress] = {}
        self._dropped_at = -1
        self._telling: deque[Iterator[bool]] = deque()
        """Faults of ours of which not all peers have been told yet, one a step."""

    def _outputs_append(self, event: Event) -> None:
        self._outputs.append(event)

    @property
    def peers(self) -> dict[str, Peer]:
        """The peers by name, in the order of the configuration."""
        return self._roster.peers

    def paths_at(self, address: Address) -> list[Path]:
        """Give the paths whose heartbeats go to this address."""
        return self._roster.at(address)

    # -- settings -----------------------------------------------------------------------------

    def apply(self, settings: Iterable[PeerSettings], renewed: Collection[str] = ()) -> Change:
        """Take over new settings; new paths wait for `resolved`.

        `renewed`: names of keys whose octets are others now.
        """
        before, now = set(self.peers.values()), self.clock.now
        change = self._roster.apply(settings, renewed)
        for peer in before.difference(self.peers.values()):
            self._news.forget(peer)
        for name in change.changed:
            peer = self.peers[name]
            for path in peer.paths:
                if path.asked is None and path.deadline is not None and path.deadline < now:
                    path.deadline = now + self._delay(path)  # many never begin at once
                self._timers.schedule(path)
            self._refresh(peer)
        return change

    def restore(self, name: str, known: Restored) -> None:
        """Give a peer the state it had before the start, until its first verdict."""
        peer, clock = self.peers[name], self.clock
        if known.pause is not None and known.pause.until > clock.wall:
            self._set_pause(peer, known.pause)
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
            path.lossy = known.cause is Cause.LOSSY and path.limits.max_loss is not None
            path.slow = known.cause is Cause.SLOW and path.limits.max_rtt is not None

    def resolved(self, path: Path, targets: tuple[Address, ...], error: str | None = None) -> None:
        """Say what a path's address stands for now; without any target, the resolver's words."""
        if not targets:
            # The last good address is kept: a resolver that fails says nothing of the peer.
            path.unresolved = error if not path.targets else None
            self._refresh(path.peer)
            return
        path.unresolved = None
        is_new = not path.targets
        self._roster.aim(path, targets)
        if path.target not in targets:
            path.target = targets[0]
            path.ask_anew(self.clock.now)
            self._timers.schedule(path)
        if is_new:
            self._spread(path, max(self._grace_until, path.judge_from))
            self._outputs.append(Examine(path))

    def _spread(self, path: Path, judge_from: int) -> None:
        """Begin at some moment of the interval that starts now: many never begin at once."""
        path.begin(self.clock.now + self._delay(path), judge_from)
        self._timers.schedule(path)

    def _delay(self, path: Path) -> int:
        return int(path.timing.interval * self._dice.random())

    # -- a turn -------------------------------------------------------------------------------

    def turn(self, real: int, wall: int) -> None:
        """Begin a turn of the loop at this moment."""
        late = self.clock.turn(real, wall)
        lost = self._lag.add(real, late)
        if late >= STALL:
            self._outputs.append(Stalled(real, wall, late))
        if lost:
            self._outputs.append(Stalled(real, wall, lost))

    def lag_share(self) -> float:
        """Give the share of the last seconds in which we were late, 0 to 1."""
        return self._lag.share(self.clock.real)

    def suspended(self, duration: int) -> None:
        """Say that the machine was suspended: what was asked before is void."""
        self._grace_until = self.clock.now + self.start_grace
        for peer in self.peers.values():
            for path in peer.paths:
                if path.targets:
                    path.annul_waiting(self.clock.now)
                    self._spread(path, self._grace_until)
        self._outputs.append(Woke(self.clock.real, self.clock.wall, duration))

    def lost_some(self) -> None:
        """Say that datagrams to us were dropped for want of room: the round is asked again."""
        self._dropped_at = self.clock.now

    def advance(self) -> None:
        """Do what is due."""
        self._tell_some()
        while (timer := self._timers.due(self.clock.now)) is not None:
            match timer:
                case Path():
                    self._step(timer)
                case Peer():
                    self._look_at_pause(timer)
                case _:
                    self._news.advance(timer)
            self._timers.schedule(timer)

    def outputs(self) -> list[Output]:
        """Drain what is to be done and told."""
        outputs = self._outputs[:]
        self._outputs.clear()
        return outputs

    def next_deadline(self) -> int | None:
        """When to take the next turn at the latest; later than the `now` of this one."""
        return self.clock.promise(self.clock.now if self._telling else self._timers.first())

    # -- asking -------------------------------------------------------------------------------

    def _step(self, path: Path) -> None:
        match path.advance(self.clock.now, self.clock.lateness):
            case Step.ASK:
                path.witnessed = _is_witnessed(path)
                self._outputs.append(Ask(path))
            case Step.DOUBT:
                self._missed(path)
            case Step.MISSED:
                self._outputs.append(Ask(path))
                path.witnessed = _is_witnessed(path)
                self._missed(path)
                if path.missed == 1:
                    self._outputs.append(Examine(path))
            case Step.EXHAUSTED:
                self._missed(path)
                self._exhausted(path)

    def compose(self, path: Path, real: int, wall: int) -> bytes:
        """Give the octets of a heartbeat that is sent at this very moment."""
        now = self.clock.now + (real - self.clock.real)
        datagram = path.compose(now, real, wall)
        self._timers.schedule(path)
        return datagram

    def send_failed(self, path: Path, fault: Fact) -> None:
        """Say that the last heartbeat did not leave, and why."""
        path.annul(path.sequence - 1)
        if fault.cause is Cause.MTU:
            path.icmp = fault  # the way is to blame, and it begins with us
        else:
            path.send_error = fault

    def _missed(self, path: Path) -> None:
        """Ask those whose answers tell what a missed heartbeat means."""
        if path.state is not State.DOWN:
            if path.missed <= 1:
                path.lonely = path.egress is None or not path.egress.others_up(path)
            self._ask_witnesses(path)
        parent = self._roster.parent(path.peer)
        if parent is not None:
            self._ask_parent(parent)

    def _ask_parent(self, parent: Peer) -> None:
        now = self.clock.now
        for path in parent.paths:
            if not path.is_probing and now - path.last_sent >= WITNESS_SPACING:
                path.ask_early(now)
                self._timers.schedule(path)

    def _ask_witnesses(self, suspect: Path) -> None:
        egress, now = suspect.egress, self.clock.now
        if egress is None or egress.has_answered_since(suspect.first_missed):
            return
        if egress.last_asked is not None and now - egress.last_asked < WITNESS_SPACING:
            return
        egress.last_asked = now
        for witness in egress.witnesses(suspect):
            if witness.asked is None:
                witness.ask_early(now)
                self._timers.schedule(witness)
            else:
                # With the suspect's timing: its own reply it may await for longer.
                self._outputs.append(Ask(witness))

    def _exhausted(self, path: Path) -> None:
        began = path.first_missed - path.timing.timeout
        if path.state is not State.DOWN and not path.repeated and self._dropped_at >= began:
            path.ask_again(self.clock.now)
        else:
            self._outputs.append(Examine(path))

    # -- being answered -----------------------------------------------------------------------

    def receive(self, datagram: bytes, source: Address, real: int) -> None:
        """Take a datagram that reached a sender socket at this moment (kernel's stamp)."""
        paths = self._roster.at(source)
        if not paths:
            self.dropped["unknown-source"] += 1
            return
        if len(paths) > 1:
            paths = [path for path in paths if path.session.claims(datagram)] or paths
        now = self.clock.at(real)
        for path in paths:
            reception, answer = path.receive(datagram, now, real)
            if answer is not None:
                break
        if reception is Reception.LIFE and answer is not None:
            self._alive(path, answer, source, now)
        elif reception is not Reception.LATE:
            self.dropped[reception.value] += 1
            if reception is Reception.REFUSED:
                self._witnessed(path, now)  # no life of the peer, but our own side is sound
            if path.state is State.DOWN:
                self._refresh(path.peer)

    def _alive(self, path: Path, answer: Answer, source: Address, now: int) -> None:
        path.target = source
        self._witnessed(path, now)
        if answer.incarnation is not None and path.is_another(answer.incarnation):
            self._news.restarted(path, answer.incarnation)
        was_failing = path.is_failing
        rises = path.state is not State.DOWN or path.has_risen
        changed = rises and path.give(State.UP)
        path.go_on(now, self._dice.random())
        self._timers.schedule(path)
        if changed:
            self._outputs.append(Examine(path))  # it may leave by another way than before
        if path.weigh(self.clock.now) or changed:
            self._refresh(path.peer)
        if was_failing and path.peer.answers:
            self._look_behind(path.peer)

    def _witnessed(self, path: Path, now: int) -> None:
        """Something from beyond our own side has come."""
        egress = path.egress
        if egress is None:
            return
        egress.last_answer = max(egress.last_answer, now)
        if egress.fault is not None:
            self._fault_over(egress, except_for=path)

    def icmp(self, destination: Address, payload: bytes, fact: Fact, *, witness: bool) -> bool:
        """Take an ICMP error about a heartbeat: evidence, never a verdict; tell if it is one.

        `witness`: it comes from beyond the first hop, so our side is sound.
        """
        for path in self._roster.at(destination):
            if path.is_about(payload):
                path.icmp = fact
                if witness:
                    self._witnessed(path, self.clock.now)
                if path.state is State.DOWN:
                    self._refresh(path.peer)
                return True
        self.dropped["icmp"] += 1
        return False

    # -- verdicts -----------------------------------------------------------------------------

    def examined(
        self,
        path: Path,
        key: EgressKey | None,
        fault: Fact | None,
        next_hop: str | None = None,
    ) -> None:
        """Take how datagrams to the path leave us, or why they cannot; give a due verdict.

        `next_hop`: whether that answers, in words for the evidence, where there is one.
        """
        if key is not None:
            self._lead(path, key)
        fault = fault or path.send_error
        if not path.is_exhausted:
            return
        if fault is not None:
            self._blame_ourselves(path, fault)
        elif path.egress is not None and path.egress.fault is not None:
            self._behind_fault(path, path.egress, path.egress.fault)
        elif path.fault is not None and path.judged:
            # Our side is sound again: the peer gets its verdict one detection time from now.
            self._begin_anew(path, 0)
        elif self.clock.now < path.judge_from:
            path.put_off()
            self._timers.schedule(path)
        elif path.state is not State.DOWN:
            self._condemn(path, next_hop)

    def _lead(self, path: Path, key: EgressKey) -> None:
        if path.egress is not None:
            if path.egress.key == key:
                return
            path.egress.drop(path)
        path.egress = self._egresses.setdefault(key, Egress(key))
        path.egress.take(path)

    def _condemn(self, path: Path, next_hop: str | None) -> None:
        """Everything was missed: down, if somebody else's answer shows that we are sound."""
        egress, witnessed = path.egress, _is_witnessed(path)
        if witnessed and not path.witnessed and path.timing.retries > 1 and not path.repeated:
            # Nobody had answered when the last retransmission was sent: our own fault may have
            # ended since, and taken all of them.
            path.ask_again(self.clock.now)
            self._timers.schedule(path)
        elif egress is None or witnessed or path.lonely or self._is_behind_silence(path):
            path.lonely = not witnessed
            self._give(path, State.DOWN)
        else:
            silent = f"everything on {egress.key} that was up is silent"
            words = f"{silent}: our own uplink, or all of them"
            if next_hop is not None:
                words += f"; {next_hop}"
            self._egress_fault([egress], Fact(Cause.OWN_UPLINK, words))

    def _is_behind_silence(self, path: Path) -> bool:
        """Whether a parent that we reach by another egress is silent too: that explains it."""
        parent = self._roster.parent(path.peer)
        if parent is None or any(other.egress is path.egress for other in parent.paths):
            return False
        return is_behind_silence(parent, path.peer)

    def _blame_ourselves(self, path: Path, fault: Fact) -> None:
        if fault.cause is Cause.OWN_LINK and path.egress is not None:
            interface = path.egress.key.interface
            alike = [each for key, each in self._egresses.items() if key.interface == interface]
            self._egress_fault(alike, fault)
        self._give(path, State.UNKNOWN, fault)

    def _egress_fault(self, egresses: list[Egress], fault: Fact) -> None:
        """Nothing behind these egresses can be judged, those already down included."""
        egresses = [egress for egress in egresses if egress.fault != fault and egress.paths]
        paths = [path for egress in egresses for path in egress.paths]
        if not paths:
            return
        peers = {path.peer: None for path in paths}
        self._news.own_fault([egress.key for egress in egresses], fault, len(peers))
        for egress in egresses:
            egress.fault = fault
        for path in paths:
            path.give(State.UNKNOWN, fault)
        self._telling.append(self._tell_fault(list(peers)))
        self._tell_some()

    def _tell_fault(self, peers: list[Peer]) -> Iterator[bool]:
        """Tell each that it cannot be judged, then look behind them; one a step."""
        told = 0
        for peer in filter(self._is_watched, peers):
            told += self._tell(peer, in_storm=not aloud(told))
            yield True
        for peer in filter(self._is_watched, peers):
            self._look_behind(peer)
            yield True

    def _is_watched(self, peer: Peer) -> bool:
        return self.peers.get(peer.name) is peer

    def _tell_some(self) -> None:
        """Go on telling what our own faults make of peers, for so long as a turn may take."""
        for _ in range(TOLD_AT_ONCE):
            if self._telling and not next(self._telling[0], False):
                self._telling.popleft()

    def _behind_fault(self, path: Path, egress: Egress, fault: Fact) -> None:
        if fault.cause is Cause.OWN_LINK:
            self._fault_over(egress)  # the interface is up again
        else:
            self._give(path, State.UNKNOWN, fault)

    def _fault_over(self, egress: Egress, except_for: Path | None = None) -> None:
        fault, egress.fault = egress.fault, None
        for path in egress.paths:
            if path is not except_for and path.fault == fault:
                self._begin_anew(path, self._delay(path))

    def _begin_anew(self, path: Path, delay: int) -> None:
        now = self.clock.now
        path.begin(now + delay, max(self._grace_until, now + path.timing.detection))
        self._timers.schedule(path)

    def _give(self, path: Path, state: State, fault: Fact | None = None) -> None:
        while self._telling and path.peer.settings.via is not None:
            self._tell_some()  # its parent may be one of them
        if path.give(state, fault):
            self._refresh(path.peer)

    # -- peers --------------------------------------------------------------------------------

    def pause(self, name: str, pause: Pause) -> None:
        """Keep measuring a peer, give no verdict until the pause ends."""
        peer = self.peers[name]
        self._set_pause(peer, pause)
        self._refresh(peer)

    def _set_pause(self, peer: Peer, pause: Pause) -> None:
        peer.pause = pause
        self._look_at_pause(peer)

    def _look_at_pause(self, peer: Peer) -> None:
        """End a pause whose time has come, by the wall clock: the one that people agreed on."""
        left = peer.pause.until - self.clock.wall if peer.pause is not None else 0
        if left > 0:
            peer.deadline = self.clock.now + min(left, PAUSE_LOOK)
            self._timers.schedule(peer)
        else:
            self.resume(peer.name)

    def resume(self, name: str) -> bool:
        """End a pause; tell whether there was one."""
        peer = self.peers[name]
        was_paused, peer.pause, peer.deadline = peer.pause is not None, None, None
        if was_paused:
            self._refresh(peer)
        return was_paused

    def is_flapping(self, peer: Peer) -> bool:
        """Whether a peer changes too often to tell each change aloud."""
        return self._news.is_flapping(peer)

    def _refresh(self, peer: Peer) -> None:
        """Judge a peer anew; tell it, and look at those behind it, if the verdict is another."""
        waiting = [peer]
        while waiting:  # of a long chain of `via` each may change the next
            one = waiting.pop()
            if self._tell(one):
                waiting += reversed(self._behind(one))

    def _tell(self, peer: Peer, *, in_storm: bool | None = None) -> bool:
        """Judge a peer anew, tell it if the verdict is another; tell whether the state is."""
        verdict = judge(peer, self._roster.parent(peer), self.clock.now)
        if not peer.is_news(verdict):
            peer.confirm(verdict)
            return False
        before = peer.state
        self._news.change(peer, verdict, in_storm=in_storm)
        return before is not peer.state

    def _look_behind(self, peer: Peer) -> None:
        for child in self._behind(peer):
            self._refresh(child)

    def _behind(self, peer: Peer) -> list[Peer]:
        """Give those behind a peer that are judged with it; those that it no longer hides, free."""
        hidden = (State.UNREACHABLE, State.UNKNOWN) if peer.answers else ()
        for child in peer.children:
            if child.state in hidden:
                self._free(child)
        return [child for child in peer.children if child.state not in hidden]

    def _free(self, child: Peer) -> None:
        """The parent answers again: the child gets one detection time to do so too."""
        for path in child.paths:
            if path.state is State.DOWN:
                path.give(State.UNKNOWN)
                self._begin_anew(path, self._delay(path))


def _is_witnessed(path: Path) -> bool:
    """Whether somebody on its egress has answered since its first heartbeat was missed."""
    return path.egress is not None and path.egress.has_answered_since(path.first_missed)
