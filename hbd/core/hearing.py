"""What comes from peers or about them, and what that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core import goodbye
from hbd.core.address import host_of
from hbd.core.arrival import arrived
from hbd.core.asked import Asked, elsewhere
from hbd.core.clock import ALIKE
from hbd.core.model import Cause, State
from hbd.core.path import Reception
from hbd.core.seeker import Seeker

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from hbd.core.address import Address
    from hbd.core.arrival import Arrivals
    from hbd.core.clock import Clock, Work
    from hbd.core.inquiry import Inquiries
    from hbd.core.model import Dice
    from hbd.core.news import News
    from hbd.core.path import Path
    from hbd.core.roster import Roster
    from hbd.core.session import Answer, Fact
    from hbd.core.timers import Timers
    from hbd.core.verdicts import Verdicts
    from hbd.core.volleys import Volleys
    from hbd.wire.hbd_tlv import HbdTlv


class Hearing:
    """Takes it, and has verdicts follow."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        roster: Roster,
        work: Work,
        dropped: Counter[str],
        *,
        dice: Dice,
        verdicts: Verdicts,
        inquiries: Inquiries,
        news: News,
        volleys: Volleys,
        examine: Callable[[Path], None],
    ) -> None:
        """`examine`: have it looked up how datagrams to this path leave us."""
        self._clock: Final = clock
        self._timers: Final = timers
        self._roster: Final = roster
        self._work: Final = work
        self._dropped: Final = dropped
        self._dice: Final = dice
        self._verdicts: Final = verdicts
        self._inquiries: Final = inquiries
        self._news: Final = news
        self._volleys: Final = volleys
        self._examine: Final = examine
        self._seeker: Final = Seeker(clock)

    def receive(self, datagram: bytes, source: Address, real: int, ttl: int | None = None) -> None:
        """Take a datagram that reached a sender socket at this moment (kernel's stamp)."""
        paths = self._roster.at(source)
        if not paths:
            self._dropped["unknown-source"] += 1
            self._from_elsewhere(datagram, source)
            return
        self._work.done += 1
        if len(paths) > 1:
            paths = tuple(path for path in paths if path.claims(datagram)) or paths
        now = self._clock.at(real)
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
        wall = self._clock.wall + until - self._clock.real
        rest, egresses = self._volleys.receive(arrivals, since, until)
        for egress in egresses:
            self._verdicts.answered(egress)
        self._work.done += (len(arrivals.lengths) - len(rest)) // ALIKE
        for at in rest:
            real = arrived(arrivals.stamps[at], since, until, wall)
            source = arrivals.address_of(arrivals.place(at))
            self.receive(arrivals.datagram(at), source, real, arrivals.ttls[at])

    def _from_elsewhere(self, datagram: bytes, source: Address) -> None:
        everybody = (path for peer in self._roster.peers.values() for path in peer.paths)
        path = self._seeker.whose(datagram, everybody)
        if path is not None and path.target is not None:
            path.misbehaved(elsewhere(source, path.target))
            self._received(path, Reception.REFUSED, None, self._clock.now)

    def heard(
        self,
        path: Path,
        octets: bytes,
        real: int,
        ttl: int | None = None,
        source: Address | None = None,
    ) -> None:
        """Take what a peer sent by itself, at this moment; `source`: where from, if that is known.

        By that the egress is known of one that may be anywhere, and so whom its silence can be held
        against; and of the addresses of a name the one that is alive.
        """
        if not path.is_watched:
            return
        self._work.done += 1
        now = self._clock.at(real)
        if source is not None and (not path.targets or path.state is not State.UP):
            path.target = _at(source, path.targets) or path.target
        reception, answer = path.receive(octets, now, real, ttl)
        self._received(path, reception, answer, now)

    def answered(self, path: Asked, answer: Answer, real: int) -> None:
        """Take an answer that came over a connection, at this moment."""
        if not path.is_watched:
            return
        now = self._clock.at(real)
        reception, known = path.take(answer, now, real)
        self._received(path, reception, known, now)

    def goodbye(self, path: Path, said: HbdTlv) -> bool:
        """The peer says that it stops; tell whether that is of whom we know, and so is obeyed.

        One of an earlier incarnation was recorded by somebody.
        """
        if isinstance(path, Asked) and path.incarnation != said.incarnation:
            self._dropped["goodbye"] += 1
            return False
        for each in path.peer.paths:
            each.leave()
            each.goodbye = goodbye.read(said, self._clock.now)
        return True

    def returned(self, path: Path) -> None:
        """The peer is heard after its goodbye: it was but a restart.

        What it missed meanwhile is held against nobody.
        """
        for each in path.peer.paths:
            if each.goodbye is not None:
                each.goodbye = None
                if each.state is State.DOWN:
                    each.give(State.UNKNOWN)
                self._verdicts.start_over(each)
        if path.peer.is_heard:
            self._verdicts.look_behind(path.peer)

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
                self._dropped[reception.value] += 1
            case _:
                self._dropped[reception.value] += 1
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
        if path.weigh(self._clock.now) or changed:
            verdicts.refresh(path.peer)
        if was_failing and path.peer.is_heard:
            verdicts.look_behind(path.peer)
        if type(path) is not Asked or not self._volleys.take(path):
            self._timers.schedule(path)

    def _restarted(self, path: Path, incarnation: int) -> None:
        if path.peer.may_be_told(self._clock.now):
            self._news.restarted(path, incarnation)
        else:
            self._dropped["restarted"] += 1

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
                    self._verdicts.witnessed(path, self._clock.now)
                if path.state is State.DOWN:
                    self._verdicts.refresh(path.peer)
                return True
        self._dropped["icmp"] += 1
        return False

    def broken(self, path: Path, fact: Fact, *, witness: bool) -> None:
        """Say that a connection was not to be had, or broke: evidence, until the next heartbeat.

        That is no sooner for it: a server that ends each connection would keep us busy.
        `witness`: whoever broke it is beyond our own side.
        """
        if not path.is_watched:
            return
        path.misbehaved(fact)
        if witness:
            self._verdicts.witnessed(path, self._clock.now)
        if path.state is State.DOWN:
            self._verdicts.refresh(path.peer)


def _at(source: Address, targets: tuple[Address, ...]) -> Address | None:
    """Give the target on the host that something came from; where there is none at all, that."""
    if not targets:
        return source
    host = host_of(source)
    return next((target for target in targets if host_of(target) == host), None)
