"""Request and reply: when a path is asked, what a reply means, when all is missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.address import host_of
from hbd.core.awaited import NOTHING, Awaited, Heartbeat
from hbd.core.egress import WITNESS_SPACING
from hbd.core.inquiry import Method
from hbd.core.model import JITTER, MOMENT, Cause, State
from hbd.core.path import Path, Reception, Seen, Step
from hbd.core.rounds import Rounds
from hbd.core.session import Answer, Fact
from hbd.core.spans import shown, timeout_for

if TYPE_CHECKING:
    from hbd.core.address import Address
    from hbd.core.directions import Directions
    from hbd.core.inquiry import Probe
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.session import Session
    from hbd.core.volley import Volley

THAW: Final = 1_000
"""A peer that was frozen answers so many heartbeats of ours when it thaws: late, but not wrong."""

KNOWN: Final = 8
"""So many incarnations of a peer are remembered, to know one that returns."""

FRESH: Final = 3
"""What a peer that is down was heard to do holds for so many probes."""

STALE: Final = 20
"""What was said of a peer that is down, and for so many probes not again, need not be so any more:
a host whose daemon was stopped may have been switched off since."""

UNANSWERED: Final = (Cause.HUNG, Cause.FILTERED, Cause.SILENT)
"""Where a peer answers late, or asks us, that says more than these."""

ONE_WAY: Final = Fact(
    Cause.ONE_WAY,
    "its own heartbeats reach us, ours are not answered: its firewall, or it does not list us",
)


def elsewhere(source: Address, target: Address) -> Fact:
    """Say that a reply to what went to `target` came from `source`: that is nobody's reply."""
    if host_of(source) == host_of(target):
        words = f"port {source[1]}, not {target[1]}: a NAT on the way, or the reflector itself?"
    else:
        words = f"{host_of(source)} instead; `address: {host_of(source)}` would accept them"
    return Fact(Cause.BAD_REPLY, f"replies come from {words}")


class Late(NamedTuple):
    """A reply that was too late to keep the path up, or to get it up again."""

    sequence: int
    """Of the heartbeat,"""
    age: int
    """and how old that was, nanoseconds."""
    at: int


class Asked(Path):
    """A path that is asked every interval, in rounds: a heartbeat and its retransmissions."""

    __slots__ = (
        "asked",
        "asked_us",
        "begun_again",
        "doubted",
        "due",
        "former",
        "incarnation",
        "is_shared",
        "last_answered",
        "last_sent",
        "late",
        "rank",
        "rounds",
        "said_at",
        "sequence",
        "session",
        "unanswered",
        "unlooked",
        "volley",
    )

    def __init__(self, address: str, peer: Peer, session: Session) -> None:
        super().__init__(address, peer)
        self.volley: Volley | None = None
        """Where it is asked together with others (see `standing`);"""
        self.rank = 0
        """and as which of them."""
        self.session = session
        # The round: the heartbeat in question and what was missed before it.
        self.asked: int | None = None
        self.begun_again = False
        """Whether it was failing when its round was begun again, and is silent since."""
        self.doubted = False
        """Whether others are asked what its silence means, or need not be."""
        self.last_sent = 0
        self.due = 0
        """When that should have been sent."""
        self.sequence = 0
        self.unanswered = NOTHING
        self.unlooked = 0
        """Probes that were missed since it was looked at, of one that is down."""
        self.said_at = 0
        """Which heartbeat was the next when something was said of it last."""
        self.last_answered = -1
        self.incarnation: int | None = None
        self.former: tuple[int, ...] = ()
        """Incarnations that answered before;"""
        self.is_shared = False
        """one of them has returned: no start of a daemon gives a number again."""
        # Signs that the peer is there, though it does not answer or not in time.
        self.late: Late | None = None
        self.asked_us: int | None = None
        """When its own heartbeats last reached our reflector."""
        self.rounds = Rounds()

    can_send_short = True

    @property
    def is_padded(self) -> bool:  # type: ignore[override]
        return self.peer.settings.stamp.size is not None

    @property
    def silence(self) -> str:
        return f"{super().silence}, or it does not list us"

    # -- asking -------------------------------------------------------------------------------

    @property
    def owed_from(self) -> int | None:
        return None if self.asked is None else self.lateness

    @property
    def is_failing(self) -> bool:
        return self.begun_again or self.missed >= min(2, self.timing.retries + 1)

    @property
    def is_exhausted(self) -> bool:
        """Whether all retransmissions were missed too."""
        return self.missed > self.timing.retries

    @property
    def patience(self) -> int:
        return self.timing.detection

    @property
    def reach(self) -> int:
        """Others must answer before the last retransmission is sent.

        Where none follows the first, they are asked with it or at half the timeout: by the
        deadline.
        """
        timing = self.timing
        return (timing.retries - 1) * timing.timeout if timing.retries > 1 else timing.timeout // 2

    @property
    def judged_by(self) -> int:
        return self.first_missed + self.reach

    def speaks(self, reach: int, _by: int) -> bool:
        is_quick = self.last_rtt is None or self.last_rtt < reach
        return is_quick and self.goodbye is None

    @property
    def question_began(self) -> int:
        return self.first_missed - self.timing.timeout

    def begin(self, now: int, judge_from: int) -> None:
        """Start a round of questions at `now`; give no verdict of silence before `judge_from`."""
        super().begin(now, judge_from)
        self.begun_again = False
        self.asked = None
        self.deadline = now if self.targets else None

    def advance(self, now: int, lateness: int) -> Step:
        late, self.lateness = lateness - self.lateness, lateness
        if self.asked is not None and self.deadline is not None:
            self.deadline += late
            return self._miss(now) if self.doubted else self._doubt(now)
        if self.is_put_off and now >= self.judge_from:
            self._probe_later(now)
            return Step.EXHAUSTED
        return self._ask(now)

    def _ask(self, now: int) -> Step:
        # On schedule where we are a little late, or the more we had to do the less we would ask.
        self.due = self.deadline or now
        self.asked = self.sequence
        self._await_reply(now)
        if (
            (self.missed > 1 or self.missed >= self.timing.retries > 0 or self.is_exhausted)
            and len(self.targets) > 1
            and self.target is not None
        ):
            here = self.targets.index(self.target) if self.target in self.targets else -1
            self.target = self.targets[(here + 1) % len(self.targets)]
        return Step.ASK

    def _await_reply(self, sent: int) -> None:
        timing = self.timing
        self.last_sent = sent
        if self.is_probing:
            self.doubted = True
            self.deadline = timing.together(sent + timing.timeout)
            return
        self.doubted = timing.retries > 0
        self.deadline = sent + (timing.timeout if self.doubted else timing.timeout // 2)

    def _doubt(self, now: int) -> Step:
        """Half the timeout is over and no retransmission will follow."""
        self.doubted = True
        self.first_missed = self._others_count_from(now)
        timeout = self.timing.timeout
        self.deadline = max((self.deadline or now) + timeout - timeout // 2, now + 1)
        return Step.DOUBT

    def _miss(self, now: int) -> Step:
        was_probing = self.is_probing
        if was_probing:
            self.rounds.has_failed = False  # it lasts: an outage, and no loss
            self.unlooked = (self.unlooked + 1) % FRESH
            self._forget_old()
        self.unanswered.miss(self.asked)
        self.asked = None
        self.rising = 0
        if not self.is_missing and self.first_missed < self.last_sent:  # else in doubt since then
            self.first_missed = (
                self._others_count_from(now) if self.timing.retries else self.last_sent
            )
        self.missed = min(self.missed + 1, self.timing.retries + 1)
        if not was_probing and not self.is_exhausted:
            self._ask(now)
            return Step.MISSED
        self._probe_later(now)
        return Step.EXHAUSTED

    def refused(self, fact: Fact) -> None:
        super().refused(fact)
        self.said_at = self.sequence

    def misbehaved(self, fact: Fact) -> None:
        super().misbehaved(fact)
        self.said_at = self.sequence

    def _forget_old(self) -> None:
        if self.sequence - self.said_at >= STALE:
            self.icmp = self.bad = None

    def _others_count_from(self, missed: int) -> int:
        """From when on who answers is a witness, where something was missed at this moment.

        Where the verdict may come before others are asked again, those count who were just asked
        for somebody else's sake, and have answered since its own reply was to come.
        """
        if self.timing.retries > 1 and self.reach >= WITNESS_SPACING:
            return missed
        to_come = self.last_sent + (self.last_rtt or 0)
        return max(min(to_come, missed), missed - WITNESS_SPACING)

    def _probe_later(self, now: int) -> None:
        timing, probe = self.timing, self.timing.probe
        self.missed = timing.retries + 1
        self.is_put_off = False
        # On schedule where we were a little late, or each would be asked later and later.
        due = max(self.due, self.last_sent - MOMENT) + probe
        self.deadline = max(timing.together(due), now + 1)

    def adopt(self, settings: PeerSettings, now: int) -> None:
        self.leave()
        before = self.timing
        super().adopt(settings, now)
        if (before.timeout, before.retries) != (self.timing.timeout, self.timing.retries):
            self.rounds = Rounds()
        self._adopt_session(settings)
        if self.asked is None and self.deadline is not None:
            spacing = self.timing.probe if self.is_probing else self.timing.interval
            self.deadline = min(self.deadline, self.last_sent + spacing)

    def _adopt_session(self, settings: PeerSettings) -> None:
        self.session.adopt(settings)

    def is_overdue(self, now: int) -> bool:
        return self.asked is None and super().is_overdue(now)

    def put_off(self) -> None:
        super().put_off()
        if self.asked is None and self.deadline is not None:
            self.deadline = min(self.deadline, self.judge_from)

    def wait_until(self, moment: int) -> None:
        self._begin_round(moment - (self.timing.retries + 1) * self.timing.timeout)

    def ask_early(self, now: int) -> bool:
        if self.asked is not None:
            return False
        if self.target is not None:
            self.deadline = now
        return True

    def ask_again(self, now: int) -> None:
        """Repeat the round, once: a fault of ours spoilt it."""
        self.repeated = True
        self._begin_round(now)

    def ask_anew(self, now: int) -> None:
        self.annul_waiting(now)
        if self.asked is not None:
            self._begin_round(now)

    def _begin_round(self, now: int) -> None:
        self.is_put_off = False
        self.begun_again = self.is_failing
        self.missed = 0
        self.asked = None
        self.deadline = now

    def compose(self, now: int, real: int, wall: int) -> bytes:
        sequence = self.sequence
        datagram, token = self._write(sequence, wall)
        if sequence == self.asked:
            self._await_reply(now)
        self._await(Heartbeat(now, real, token))
        self.figures.sent += 1
        self.send_error = None
        return datagram

    def compose_probe(self, probe: Probe, now: int, real: int, wall: int) -> bytes:
        """Give the octets of a heartbeat, without padding, that is sent for evidence alone."""
        sequence = self.sequence
        datagram, token = self.session.compose(sequence, wall, self.state, padded=False)
        if sequence == self.asked:
            self.asked = sequence + 1  # which is to be sent in this turn, too
        self._await(Heartbeat(now, real, token, probe))
        self.figures.window.annulled(sequence)
        return datagram

    def _await(self, heartbeat: Heartbeat) -> None:
        unanswered = self.unanswered
        if unanswered is NOTHING:
            unanswered = self.unanswered = Awaited()
        unanswered.forget(self.sequence, self._oldest(heartbeat.sent))
        unanswered[self.sequence] = heartbeat
        self.figures.window.sent(self.sequence)
        self.sequence += 1

    def _write(self, sequence: int, wall: int) -> tuple[bytes, int]:
        return self.session.compose(sequence, wall, self.state)

    def annul_last(self) -> None:
        if self._annul(self.sequence - 1):
            self.figures.sent -= 1

    def _annul(self, sequence: int) -> bool:
        """Hold a heartbeat that has no reply yet against nobody: a fault of ours spoilt it."""
        if self.unanswered.pop(sequence, None) is None:
            return False
        self.figures.window.annulled(sequence)
        return True

    def annul_waiting(self, now: int) -> None:
        for sequence in self.unanswered.in_time(now, self.timing.timeout):
            self._annul(sequence)

    def _oldest(self, now: int) -> int | None:
        # A path that is not up begins its loss window anew when it is: then only life counts. Of
        # what comes later than that it is only told how late.
        if self.state is State.UP:
            return None
        return now - max(self.timing.life, FRESH * self.timing.probe)

    # -- being answered -----------------------------------------------------------------------

    def claims(self, datagram: bytes) -> bool:
        return self.session.claims(datagram)

    def receive(
        self, datagram: bytes, now: int, real: int, ttl: int | None = None
    ) -> tuple[Reception, Answer | None]:
        self.leave()
        answer = self.session.read(datagram)
        if isinstance(answer, Fact):
            return self._refuse(answer)
        taken = self.take(answer, now, real)
        if taken[0] is Reception.LIFE:
            self.reply_ttl = ttl
        return taken

    def take(self, answer: Answer, now: int, real: int) -> tuple[Reception, Answer | None]:
        """Take an answer that came at this moment."""
        sequence = self.sequence - 1 - ((self.sequence - 1 - answer.sequence) & 0xFFFFFFFF)
        heartbeat = self.unanswered.get(sequence)
        if heartbeat is None:
            return self._strange(sequence), None
        if answer.token is not None and answer.token != heartbeat.token:
            words = (
                "replies do not bring back our timestamp; `echo_timestamp: off` would accept them"
            )
            return self._refuse(Fact(Cause.BAD_REPLY, words))
        self.unanswered.answered(sequence)
        self._accepted(answer, heartbeat)
        answer = self._dated(answer, heartbeat)
        if heartbeat.probe is not None:
            return self._take_probe(heartbeat, sequence, now, real), answer
        rtt = real - heartbeat.sent_real
        if 0 <= answer.dwell <= rtt:
            rtt -= answer.dwell
        if answer.rtt is not None:
            rtt = answer.rtt
        self.last_rtt = rtt
        figures = self.figures
        figures.window.answered(sequence, rtt, answer.uncounted)
        figures.received += 1
        age = now - heartbeat.sent
        if age > self.timing.timeout:
            self._note_late(Late(sequence, age, now))
        if heartbeat.missed and self.is_measured:
            self.rounds.overdue += 1
        if age > self.timing.life:
            return Reception.LATE, answer
        if (self.asked is not None or self.rounds.has_failed) and self.is_measured:
            self.rounds.end(self.missed)
        self.last_answered = max(self.last_answered, sequence)
        self._live(now, real)
        return Reception.LIFE, answer

    def _take_probe(self, heartbeat: Heartbeat, sequence: int, now: int, real: int) -> Reception:
        """Take a reply to a heartbeat that was sent for evidence: it may show more than asked."""
        probe = heartbeat.probe
        if probe is not None and probe.method is Method.SMALL:
            return Reception.LATE if probe.inquiry.is_void else Reception.SMALL
        if now - heartbeat.sent > self.timing.life:
            return Reception.LATE
        self.last_answered = max(self.last_answered, sequence)
        self._live(now, real)
        return Reception.LIFE

    def _accepted(self, answer: Answer, heartbeat: Heartbeat) -> None:
        self.session.accepted(answer, heartbeat.token)

    def _dated(self, answer: Answer, heartbeat: Heartbeat) -> Answer:
        # Only whoever wonders whether a peer has returned wants to know.
        return answer if self.goodbye is None else answer._replace(asked=heartbeat.sent)

    def _note_late(self, late: Late) -> None:
        self.figures.late += 1
        if self.state is not State.UP or late.age > self.timing.life:
            self.late = late

    def _strange(self, sequence: int) -> Reception:
        """Take a reply to a heartbeat that is not in question."""
        if self.figures.window.was_answered(sequence):
            self.figures.duplicate += 1
            return Reception.DUPLICATE
        if max(0, self.sequence - THAW) <= sequence:
            self.figures.late += 1
            return Reception.LATE
        return self._refuse(Fact(Cause.BAD_REPLY, "replies to what we never asked"))[0]

    @property
    def is_measured(self) -> bool:
        """Whether what is missed now is loss, as far as can be told."""
        return self.peer.pause is None and (self.rounds.has_failed or self.state is State.UP)

    def is_another(self, incarnation: int) -> bool:
        before, self.incarnation = self.incarnation, incarnation
        if before is None or before == incarnation:
            return False
        if before not in self.former:
            self.former = (*self.former, before)[-KNOWN:]
        if incarnation not in self.former:
            return self.state is State.UP
        was_shared, self.is_shared = self.is_shared, True
        return not was_shared

    def would_be_answered(self, datagram: bytes) -> bool:
        answer = self.session.read(datagram)
        if isinstance(answer, Fact) or answer.token is None:
            return False
        heartbeat = self.unanswered.get(answer.sequence)
        return heartbeat is not None and heartbeat.token == answer.token

    def is_about(self, payload: bytes) -> bool:
        returned = self.unanswered.returned(payload, self.session)
        return any(sequence > self.last_answered for sequence, _ in returned)

    def hop_of(self, payload: bytes) -> int | None:
        for _, heartbeat in self.unanswered.returned(payload, self.session):
            if heartbeat.probe is not None:
                ttl: int | None = heartbeat.probe.ttl
                return ttl
        return None

    def go_on(self, now: int, dice: float) -> None:
        """A reply ended the round: the next heartbeat follows the last one sent."""
        self.asked = None
        self.begun_again = False
        self.missed = 0
        self.repeated = False
        self.is_put_off = False
        if self.state is State.DOWN:
            self.deadline = max(self.last_sent + self.timing.timeout, now + 1)
        else:
            spacing = int(self.timing.interval * (1.0 - JITTER * dice))
            self.deadline = max(self.due + spacing, now + 1)

    # -- verdicts -----------------------------------------------------------------------------

    def give(self, state: State, fault: Fact | None = None) -> bool:
        self.leave()
        if state is State.UP and self.state is not State.UP:
            self.figures.window.restart(self.last_answered)
            self.unanswered.forget_up_to(self.last_answered)
        if state is State.DOWN:
            self.incarnation = None  # who answers next was not up all along
        was_fit = self.rounds.has_failed or self.state is State.UP
        self.rounds.has_failed = state is State.DOWN and was_fit
        return super().give(state, fault)

    def wants_another_round(self, *, witnessed: bool) -> bool:
        return self.timing.retries > 1 and super().wants_another_round(witnessed=witnessed)

    def loss(self, now: int) -> float | None:
        return self.figures.loss(self._in_time(now))

    def seen(self, now: int) -> Seen:
        return self._seen(self._in_time(now), self.rounds)

    def recent(self, now: int) -> str:
        max_rtt = self.limits.max_rtt
        slow = self.timing.timeout // 2 if max_rtt is None else max_rtt
        return self.figures.window.recent(slow, self._in_time(now))

    def directions(self, now: int) -> Directions | None:
        return self.figures.directions(self._in_time(now))

    def failure(self) -> Fact:
        fact = super().failure()
        if fact.cause not in UNANSWERED:
            return fact
        return self._too_tight() or self._one_way() or fact

    def _too_tight(self) -> Fact | None:
        late = self.late
        if late is None or late.sequence < self.last_answered or not self._is_fresh(late.at):
            return None
        timing = self.timing
        came = f"replies come after {shown(late.age)}, later than timeout {shown(timing.timeout)}"
        return Fact(Cause.TOO_TIGHT, f"{came}; {timeout_for(late.age, timing.interval)}")

    def _one_way(self) -> Fact | None:
        asked = self.asked_us
        silent_since = max(self.first_missed, self.last_life)
        if asked is None or asked <= silent_since or not self._is_fresh(asked):
            return None
        return ONE_WAY

    def _is_fresh(self, moment: int) -> bool:
        return self.last_sent - moment <= FRESH * self.timing.probe

    def weigh(self, now: int) -> bool:
        figures, timeout = self.figures, self.timing.timeout
        changed: bool = False
        if figures.tight or (self.last_rtt or 0) > timeout:
            changed = figures.weigh_timeout(timeout)
        if self.limits.max_loss is None and self.limits.max_rtt is None:
            return changed
        return figures.weigh(self.limits, self._in_time(now)) or changed

    def _in_time(self, now: int) -> int:
        """How many unanswered heartbeats may still be answered in time."""
        return len(self.unanswered.in_time(now, self.timing.timeout))
