"""From what was missed to a verdict: whose fault it is, and who else is judged with it.

DOWN needs a witness on the same egress; where all are silent, the fault is held against nobody.
What lies behind a peer (`via`) is judged with it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from hbd.core.egress import Egress, EgressKey
from hbd.core.goodbye import RETURN, Goodbye
from hbd.core.model import MILLISECOND, Cause, Dice, State
from hbd.core.news import News, aloud
from hbd.core.peer import REFINEMENTS, TOLD, Peer, Verdict, is_behind_silence, judge
from hbd.core.session import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hbd.core.clock import Clock
    from hbd.core.path import Path
    from hbd.core.roster import Roster
    from hbd.core.timers import Timers

AT_ONCE: Final = 64
"""For so many peers is done in one turn what comes of a fault of ours, or of its end: it may be ten
thousand, and others wait meanwhile."""

ASKED_ANEW: Final = 1_100 * MILLISECOND
"""A neighbour that was asked for in vain is asked for again in a second (arp(7), retrans_time_ms):
until then what we send waits in the kernel, or is thrown away."""


class Verdicts:
    """Gives them, over paths and over peers."""

    def __init__(
        self,
        clock: Clock,
        roster: Roster,
        timers: Timers,
        news: News,
        *,
        dice: Dice,
        start_grace: int,
    ) -> None:
        self.start_grace = start_grace
        self._grace_until = clock.now + start_grace
        self._clock: Final = clock
        self._dice: Final = dice
        self._roster: Final = roster
        self._timers: Final = timers
        self._news: Final = news
        self._egresses: dict[EgressKey, Egress] = {}
        self._telling: deque[Iterator[bool]] = deque()
        """What comes of faults of ours, and of their ends; one peer, or path, a step."""
        self._unreached: dict[Path, Fact] = {}
        """Paths that cannot be judged for such a fault, and are not said to be so yet."""

    # -- beginning ----------------------------------------------------------------------------

    def grant_grace(self) -> None:
        """Give nobody a verdict of silence for a while: what was known before is void."""
        self._grace_until = self._clock.now + self.start_grace

    def begin(self, path: Path) -> None:
        """Watch a path that has not been watched, or from which nothing is known any more."""
        self._begin(path, self.delay(path), max(self._grace_until, path.judge_from))

    def begin_anew(self, path: Path) -> None:
        """Its session begins anew, by a word of ours."""
        path.give(State.UNKNOWN)
        self.start_over(path)

    def start_over(self, path: Path, delay: int = 0) -> None:
        """Watch a path that no silence of until now is held against."""
        now = self._clock.now
        path.forget_why()  # it was known of our own fault, or the parent's
        self._begin(path, delay, max(self._grace_until, now + path.patience))

    def _begin(self, path: Path, delay: int, judge_from: int) -> None:
        path.grace = self._grace_until
        path.begin(self._clock.now + delay, judge_from)
        self._timers.schedule(path)

    def delay(self, path: Path) -> int:
        """Some moment of the interval that starts now: many never begin at once."""
        return int(path.timing.interval * self._dice.random())

    # -- witnesses ----------------------------------------------------------------------------

    def witnessed(self, path: Path, now: int) -> None:
        """Something from beyond our own side has come."""
        egress = path.egress
        if egress is None:
            return
        egress.last_answer = max(egress.last_answer, now)
        if egress.fault is not None:
            self._fault_over(egress, except_for=path)

    def answered(self, egress: Egress) -> None:
        """Some of those behind it, with which all is well, may have answered since its fault."""
        if egress.fault is not None and egress.last_answer > egress.fault_at:
            self._fault_over(egress)

    def examined(
        self,
        path: Path,
        key: EgressKey | None,
        fault: Fact | None,
        next_hop: Callable[[], str | None] | None = None,
    ) -> None:
        """Take how datagrams to the path leave us, or why they cannot; give a due verdict."""
        if _is_tried_elsewhere(path):
            # What is known is of another of its addresses, unless it is of the interface.
            fault = fault if key is None and fault and fault.cause is Cause.OWN_LINK else None
        else:
            if key is not None:
                self._lead(path, key)
            fault = fault or path.send_error
        if not path.is_exhausted:
            return
        if fault is not None:
            self._blame_ourselves(path, fault)
        elif path.egress is not None and path.egress.fault is not None:
            self._behind_fault(path, path.egress, path.egress.fault)
        elif _was_our_fault(path):
            self._sound_again(path)
        elif path.goodbye is not None:
            self._take_leave(path, path.goodbye)
        elif self._clock.now < path.judge_from:
            path.put_off()
            self._timers.schedule(path)
        elif path.state is not State.DOWN:
            self._condemn(path, next_hop)
        else:
            self.refresh(path.peer)  # what is known of it may be more, or less, by now

    def leave(self, path: Path) -> None:
        """How it leads to where it is now is not known: its answer says nothing of its egress."""
        path.leave()
        if path.egress is not None:
            path.egress.drop(path)
            path.egress = None

    def _lead(self, path: Path, key: EgressKey) -> None:
        path.leads_to = path.target
        before = path.egress
        if before is not None and before.key == key:
            return
        self.leave(path)
        path.egress = self._egresses.setdefault(key, Egress(key))
        path.egress.take(path)
        if path.is_missing:  # who was up where it led before says nothing of here
            path.lonely = not path.egress.others_up(path)
            if before is not None and path.state is State.UP and not path.repeated:
                path.ask_again(self._clock.now)  # nor what was missed there
                self._timers.schedule(path)

    def is_doubtful(self, path: Path) -> bool:
        """Whether nobody was heard on its egress since its silence began, though some should be."""
        is_alone = path.egress is None or not path.egress.others_up(path, self._clock.now)
        return not (is_alone or is_witnessed(path))

    def _take_leave(self, path: Path, goodbye: Goodbye) -> None:
        """It is silent, as it said: it has left, unless it comes back at once or never."""
        now = self._clock.now
        if now < goodbye.at + RETURN:
            path.wait_until(goodbye.at + RETURN)
            self._timers.schedule(path)
        elif path.state is not State.DOWN:
            self.give(path, State.DOWN)
        else:
            if now >= goodbye.until:
                path.goodbye = None
            self.refresh(path.peer)

    def _condemn(self, path: Path, next_hop: Callable[[], str | None] | None) -> None:
        """Everything was missed: down, if somebody else's answer shows that we are sound."""
        egress, witnessed = path.egress, is_witnessed(path)
        if path.wants_another_round(witnessed=witnessed):
            path.ask_again(self._clock.now)
            self._timers.schedule(path)
        elif egress is None or witnessed or path.lonely or self._is_behind_silence(path):
            path.lonely = path.lonely and not witnessed
            self.give(path, State.DOWN)
        else:
            silent = f"everything on {egress.key} that was up is silent"
            words = f"{silent}: our own uplink, or all of them"
            heard = None if next_hop is None else next_hop()
            if heard is not None:
                words += f"; {heard}"
            if path.is_alive:
                words += f"; {path.address} answers otherwise: does a firewall of ours drop UDP?"
            self._egress_fault([egress], Fact(Cause.OWN_UPLINK, words))

    def _is_behind_silence(self, path: Path) -> bool:
        """Whether one it lies behind, that we reach by another egress, is silent: that explains it.

        So may be the parent's parent, where both are behind one gateway.
        """
        parent = self._roster.parent(path.peer)
        while parent is not None and is_behind_silence(parent, path.peer, self._clock.now):
            if all(other.egress is not path.egress for other in parent.paths):
                return True
            parent = self._roster.parent(parent)
        return False

    def interfaces(self) -> set[str]:
        """Give those that paths were last known to leave by."""
        return {key.interface for key, egress in self._egresses.items() if egress.paths}

    def heard_beside(self, interface: str, real: int) -> list[Path]:
        """Give the paths of an interface that were heard after a moment and miss nothing."""
        return [
            path
            for key, egress in self._egresses.items()
            for path in egress.paths
            if key.interface == interface
            and not path.is_missing
            and (path.last_reply_real or 0) > real
        ]

    # -- faults of ours -----------------------------------------------------------------------

    def _blame_ourselves(self, path: Path, fault: Fact) -> None:
        if fault.cause is Cause.OWN_LINK and path.egress is not None:
            interface = path.egress.key.interface
            alike = [each for key, each in self._egresses.items() if key.interface == interface]
            self._egress_fault(alike, fault)
        self.give(path, State.UNKNOWN, fault)

    def _egress_fault(self, egresses: list[Egress], fault: Fact) -> None:
        """Nothing behind these egresses can be judged, those already down included."""
        egresses = [egress for egress in egresses if egress.fault != fault and egress.paths]
        behind: dict[Peer, list[Path]] = {}
        for path in sorted((path for egress in egresses for path in egress.paths), key=_due):
            behind.setdefault(path.peer, []).append(path)
            self._unreached[path] = fault
        if not behind:
            return
        self._news.own_fault([egress.key for egress in egresses], fault, len(behind))
        for egress in egresses:
            egress.fault, egress.fault_at = fault, self._clock.now
        self._telling.append(self._tell_fault(behind))
        self.tell_some()

    def _tell_fault(self, behind: dict[Peer, list[Path]]) -> Iterator[bool]:
        """Tell each that it cannot be judged, in their order, then look behind them; one a step."""
        told = 0
        for peer, paths in behind.items():
            for path in paths:
                self._reach(path)
            if self._is_watched(peer):
                told += self._tell(peer, in_storm=not aloud(told))
            yield True
        for peer in filter(self._is_watched, behind):
            self.look_behind(peer)
            yield True

    def _reach(self, path: Path) -> bool:
        """Say of a path that it cannot be judged, if it is still so; tell whether it is."""
        fault, egress = self._unreached.pop(path, None), path.egress
        if fault is None or egress is None or egress.fault != fault:
            return False
        if path.last_life > egress.fault_at:
            return False
        path.give(State.UNKNOWN, fault)
        return True

    def _is_watched(self, peer: Peer) -> bool:
        return self._roster.peers.get(peer.name) is peer

    def tell_some(self) -> None:
        """Go on with what comes of our own faults, for so long as a turn may take."""
        for _ in range(AT_ONCE):
            if not self._telling:
                return
            if not next(self._telling[0], False):
                self._telling.popleft()

    @property
    def is_telling(self) -> bool:
        """Whether there is more to tell."""
        return bool(self._telling)

    def _behind_fault(self, path: Path, egress: Egress, fault: Fact) -> None:
        if fault.cause is Cause.OWN_LINK:
            self._fault_over(egress)  # the interface is up again
        elif self._is_behind_silence(path):
            self.give(path, State.DOWN)
        else:
            self.give(path, State.UNKNOWN, fault)

    def _fault_over(self, egress: Egress, except_for: Path | None = None) -> None:
        for path in [path for path in self._unreached if path.egress is egress]:
            self._reach(path)  # or its silence until now would be held against it
        fault, egress.fault = egress.fault, None
        self._telling.append(self._set_free(egress, fault, except_for))
        self.tell_some()

    def _set_free(
        self, egress: Egress, fault: Fact | None, except_for: Path | None
    ) -> Iterator[bool]:
        """Judge anew what could not be judged for a fault, until the next one; one path a step."""
        for path in list(egress.paths):
            if egress.fault is not None:
                return
            is_held = path in egress.paths and path.fault == fault
            if is_held and path is not except_for:
                self._sound_again(path, self.delay(path))
            yield True

    def _sound_again(self, path: Path, delay: int = 0) -> None:
        """Our side is sound again: the peer gets its verdict one detection time from now.

        The last heartbeat before that leaves when the kernel has asked for the next hop anew.
        """
        if path.is_askable:
            heartbeats = path.timing.retries * path.timing.timeout
            delay += max(0, ASKED_ANEW - heartbeats)
        self.start_over(path, delay)

    # -- peers --------------------------------------------------------------------------------

    def give(self, path: Path, state: State, fault: Fact | None = None) -> None:
        """Set a path's verdict, and judge its peer anew where it is another."""
        if fault is not None and self._unreached.get(path) == fault and self._reach(path):
            return  # it is told in its turn
        while self._telling and path.peer.settings.via is not None:
            self.tell_some()  # its parent may be one of them
        if path.give(state, fault):
            self.refresh(path.peer)

    def refresh(self, peer: Peer) -> None:
        """Judge a peer anew; tell it, and look at those behind it, if the verdict is another."""
        waiting = [peer]
        while waiting:  # of a long chain of `via` each may change the next
            one = waiting.pop()
            if self._tell(one) or one.pause is not None:  # which hides its changes, not theirs
                waiting += reversed(self._behind(one))

    def _tell(self, peer: Peer, *, in_storm: bool | None = None) -> bool:
        """Judge a peer anew, tell it if the verdict is another; tell whether the state is."""
        verdict = judge(peer, self._roster.parent(peer), self._clock.now)
        if not peer.is_news(verdict):
            peer.confirm(verdict)
            return False
        if not self._may_change(peer, verdict):
            return False
        before = peer.state
        self._news.change(peer, verdict, in_storm=in_storm)
        return before is not peer.state

    def _may_change(self, peer: Peer, verdict: Verdict) -> bool:
        """Whether it changes now, or is judged again a little later: too often it may not.

        What an operator does is done, and so is what makes a cause known better, some times.
        """
        states = peer.state, verdict.state
        now, is_refined = self._clock.now, states[0] is states[1]
        if State.PAUSED in states or (is_refined and peer.refinements < REFINEMENTS):
            return True
        if peer.may_be_told(now):
            return True
        again = now + TOLD.cost
        peer.deadline = again if peer.deadline is None else min(peer.deadline, again)
        self._timers.schedule(peer)
        return False

    def look_behind(self, peer: Peer) -> None:
        """Judge those anew that lie behind a peer."""
        for child in self._behind(peer):
            self.refresh(child)

    def _behind(self, peer: Peer) -> list[Peer]:
        """Give those behind a peer that are judged with it; those that it no longer hides, free."""
        hidden = (State.UNREACHABLE, State.UNKNOWN) if peer.is_heard else ()
        for child in peer.children:
            if child.state in hidden or (peer.is_heard and child.pause is not None):
                self._free(child)
        return [child for child in peer.children if child.state not in hidden]

    def _free(self, child: Peer) -> None:
        """The parent answers again: the child gets one detection time to do so too."""
        for path in child.paths:
            if path.state is State.DOWN:
                path.give(State.UNKNOWN)
                self.start_over(path, self.delay(path))


def is_witnessed(path: Path) -> bool:
    """Whether somebody on its egress has answered since its first heartbeat was missed."""
    return path.egress is not None and path.egress.has_answered_since(path.first_missed)


def _is_tried_elsewhere(path: Path) -> bool:
    """Whether it is asked at another of its addresses, after silence where it answered last."""
    leads_to = path.leads_to
    return path.is_missing and path.target != leads_to and leads_to in path.targets


def _due(path: Path) -> tuple[bool, int]:
    """Sort by when silence would be judged, those that are up first."""
    return path.state is not State.UP, path.last_life + path.patience


def _was_our_fault(path: Path) -> bool:
    fault = path.fault
    return fault is not None and fault.cause is not Cause.UNWATCHED and path.judged
