"""One path: when it is asked, what a reply means, when it is down.

All times are the fleet's own clock (see clock.Clock), which stands still while we do not run,
except where a name says otherwise. Facts are kept here; verdicts over them are computed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hbd.core.model import WINDOW, Cause, Limits, State, Timing
from hbd.core.timers import Timer
from hbd.core.window import Window

if TYPE_CHECKING:
    from hbd.core.egress import Egress
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer

Address = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as the kernel gives it: host, port and, for IPv6, flow label and scope."""

JITTER: Final = 0.1
"""Each interval is shortened at random by up to a tenth, so that hosts do not fall in step."""

THAW: Final = 1_000
"""A peer that was frozen answers so many heartbeats of ours when it thaws: late, but not wrong."""

RTTS_FOR_SLOW: Final = 20
"""`slow` is judged by the median of so many RTTs."""


class Fact(NamedTuple):
    """A cause and the words that prove it."""

    cause: Cause
    text: str


class Answer(NamedTuple):
    """What a session reads out of a reply."""

    sequence: int
    """Of the heartbeat that is answered, modulo 2**32."""
    token: int | None
    """What the heartbeat carried and the reply must bring back; None where that is not asked."""
    dwell: int
    """How long the reflector held it, nanoseconds; 0 where it does not say."""
    incarnation: int | None = None


class Session(Protocol):
    """A protocol's part of a path: heartbeats and replies as octets."""

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings; they apply from the next heartbeat."""

    def compose(self, sequence: int, wall: int, state: State) -> tuple[bytes, int]:
        """Give the octets of a heartbeat and its token."""

    def read(self, datagram: bytes) -> Answer | Fact:
        """Give what a datagram answers, or why it is no reply."""

    def accepted(self, answer: Answer, token: int) -> None:
        """Take note of a reply that was found to be of the heartbeat with this token."""

    def claims(self, datagram: bytes) -> bool:
        """Whether the datagram may be of this session rather than of another to that address."""

    def recognises(self, payload: bytes, sequence: int, token: int) -> bool:
        """Whether octets that an ICMP error returned are the beginning of that heartbeat."""


class Heartbeat(NamedTuple):
    """One that was sent and has no reply yet."""

    sent: int
    sent_real: int
    """Monotonic, for the RTT."""
    token: int


class Step(Enum):
    """What a path wants when its deadline has come."""

    WAIT = auto()
    """Nothing yet: the deadline of the heartbeat in question has moved by our lateness."""
    ASK = auto()
    """Send a heartbeat."""
    DOUBT = auto()
    """No retransmission will follow the heartbeat in question: ask others before it is missed."""
    MISSED = auto()
    """A heartbeat was missed; send a retransmission."""
    EXHAUSTED = auto()
    """The last retransmission, or a probe, was missed: time for a verdict."""


class Reception(Enum):
    """What became of a datagram from a path's address."""

    LIFE = "life"
    LATE = "late"
    """Too old to count as life."""
    DUPLICATE = "duplicate"
    REFUSED = "bad-reply"


class Path(Timer):
    """One address, or one name, of one peer."""

    __slots__ = (
        "address",
        "asked",
        "bad",
        "doubted",
        "due",
        "duplicate",
        "egress",
        "fault",
        "first_missed",
        "icmp",
        "incarnation",
        "is_put_off",
        "judge_from",
        "judged",
        "last_answered",
        "last_life",
        "last_reply_real",
        "last_rtt",
        "last_sent",
        "late",
        "lateness",
        "limits",
        "lonely",
        "lossy",
        "missed",
        "peer",
        "received",
        "repeated",
        "rising",
        "send_error",
        "sent",
        "sequence",
        "session",
        "slow",
        "state",
        "target",
        "targets",
        "timing",
        "unanswered",
        "unresolved",
        "was_up",
        "window",
        "witnessed",
    )

    def __init__(self, address: str, peer: Peer, session: Session) -> None:
        super().__init__()
        self.address: Final = address
        self.peer: Final = peer
        self.session = session
        self.timing: Timing = peer.settings.timing
        self.limits: Limits = peer.settings.limits
        self.state = State.UNKNOWN
        self.judged = False
        """Whether a verdict was given since the start."""
        self.was_up = False
        """Whether it is up, or was when we last ran and has had no verdict since."""
        self.fault: Fact | None = None
        """Why the state is unknown, where that is known."""
        self.unresolved: str | None = None
        self.targets: tuple[Address, ...] = ()
        self.target: Address | None = None
        self.egress: Egress | None = None
        # The round: the heartbeat in question and what was missed before it.
        self.asked: int | None = None
        self.doubted = False
        """Whether others are asked what its silence means, or need not be."""
        self.last_sent = 0
        self.due = 0
        """When that should have been sent."""
        self.lateness = 0
        """Ours, up to the last deadline."""
        self.missed = 0
        self.first_missed = 0
        """From then on others' answers tell what the silence means."""
        self.witnessed = False
        """Somebody had answered since, when the last heartbeat was sent."""
        self.lonely = False
        """No other path of the egress was up when the first heartbeat was missed."""
        self.repeated = False
        self.rising = 0
        self.judge_from = 0
        self.is_put_off = False
        """A verdict was due before one may be given."""
        self.send_error: Fact | None = None
        # Facts since the last good reply.
        self.icmp: Fact | None = None
        self.bad: Fact | None = None
        self.last_answered = -1
        self.last_life = -1
        self.last_reply_real: int | None = None
        self.last_rtt: int | None = None
        self.incarnation: int | None = None
        # Figures.
        self.sequence = 0
        self.unanswered: dict[int, Heartbeat] = {}
        self.window = Window()
        self.sent = self.received = self.late = self.duplicate = 0
        self.lossy = self.slow = False

    # -- asking -------------------------------------------------------------------------------

    @property
    def is_missing(self) -> bool:
        """Whether a heartbeat was missed and nothing has come since."""
        return self.missed > 0

    @property
    def is_failing(self) -> bool:
        """Whether more was missed than the one datagram that any network may lose."""
        return self.missed >= min(2, self.timing.retries + 1)

    @property
    def is_exhausted(self) -> bool:
        """Whether all retransmissions were missed too."""
        return self.missed > self.timing.retries

    @property
    def is_probing(self) -> bool:
        """Whether it is asked at the spacing for those that give no return traffic."""
        return self.is_exhausted or self.state is State.DOWN

    def begin(self, now: int, judge_from: int) -> None:
        """Start a round of questions at `now`; give no verdict of silence before `judge_from`."""
        self.judged = False
        self.judge_from = judge_from
        self.asked = None
        self.missed = 0
        self.rising = 0
        self.repeated = False
        self.is_put_off = False
        self.deadline = now if self.targets else None

    def advance(self, now: int, lateness: int) -> Step:
        """Its deadline has come; `lateness`: all that our own time has gone on in."""
        late, self.lateness = lateness - self.lateness, lateness
        if self.asked is not None and self.deadline is not None:
            self.deadline += late
            if now < self.deadline:
                return Step.WAIT
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
            (self.missed > 1 or self.is_exhausted)
            and len(self.targets) > 1
            and self.target is not None
        ):
            here = self.targets.index(self.target) if self.target in self.targets else -1
            self.target = self.targets[(here + 1) % len(self.targets)]
        return Step.ASK

    def _await_reply(self, sent: int) -> None:
        timing = self.timing
        self.last_sent = sent
        self.doubted = timing.retries > 0 or self.is_probing
        self.deadline = sent + (timing.timeout if self.doubted else timing.timeout // 2)

    def _doubt(self, now: int) -> Step:
        """Half the timeout is over and no retransmission will follow."""
        self.doubted = True
        self.first_missed = now
        timeout = self.timing.timeout
        self.deadline = max((self.deadline or now) + timeout - timeout // 2, now + 1)
        return Step.DOUBT

    def _miss(self, now: int) -> Step:
        was_probing = self.is_probing
        self.asked = None
        self.rising = 0
        if not self.is_missing and self.first_missed < self.last_sent:  # else in doubt since then
            self.first_missed = now if self.timing.retries else self.last_sent
        self.missed = min(self.missed + 1, self.timing.retries + 1)
        if not was_probing and not self.is_exhausted:
            self._ask(now)
            return Step.MISSED
        self._probe_later(now)
        return Step.EXHAUSTED

    def _probe_later(self, now: int) -> None:
        self.missed = self.timing.retries + 1
        self.is_put_off = False
        self.deadline = max(self.last_sent + self.timing.probe, now + 1)

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings; they apply from the next heartbeat."""
        timing = self.timing = settings.timing
        limits = self.limits = settings.limits
        self.session.adopt(settings)
        self.lossy = self.lossy and limits.max_loss is not None
        self.slow = self.slow and limits.max_rtt is not None
        if self.asked is None and self.deadline is not None:
            spacing = timing.probe if self.is_probing else timing.interval
            self.deadline = min(self.deadline, self.last_sent + spacing)

    def put_off(self) -> None:
        """Ask for the verdict again when one may be given."""
        self.is_put_off = True
        if self.asked is None and self.deadline is not None:
            self.deadline = min(self.deadline, self.judge_from)

    def ask_early(self, now: int) -> None:
        """Bring the next heartbeat forward, where none is in question."""
        if self.asked is None and self.target is not None:
            self.deadline = now

    def ask_again(self, now: int) -> None:
        """Repeat the round, once: a fault of ours spoilt it."""
        self.repeated = True
        self._begin_round(now)

    def ask_anew(self, now: int) -> None:
        """What is in question cannot be answered any more, by a change of ours: ask again."""
        self.annul_waiting(now)
        if self.asked is not None:
            self._begin_round(now)

    def _begin_round(self, now: int) -> None:
        self.is_put_off = False
        self.missed = 0
        self.asked = None
        self.deadline = now

    def compose(self, now: int, real: int, wall: int) -> bytes:
        """Give the octets of the next heartbeat, to be sent at this very moment."""
        sequence = self.sequence
        datagram, token = self.session.compose(sequence, wall, self.state)
        if sequence == self.asked:
            self._await_reply(now)
        self._forget(sequence, now)
        self.unanswered[sequence] = Heartbeat(now, real, token)
        self.window.sent(sequence)
        self.sequence = sequence + 1
        self.sent += 1
        self.send_error = None
        return datagram

    def annul(self, sequence: int) -> None:
        """Hold a heartbeat that has no reply yet against nobody: a fault of ours spoilt it."""
        if self.unanswered.pop(sequence, None) is not None:
            self.window.annulled(sequence)

    def annul_waiting(self, now: int) -> None:
        """Annul what may still be answered in time."""
        for sequence in [s for s, h in self.unanswered.items() if self._is_in_time(h, now)]:
            self.annul(sequence)

    def _forget(self, sequence: int, now: int) -> None:
        # A path that is not up begins its loss window anew when it is: then only life counts.
        unanswered = self.unanswered
        life = self.timing.life
        while unanswered:
            oldest = next(iter(unanswered))
            keep = oldest > sequence - WINDOW
            if keep and (self.state is State.UP or now - unanswered[oldest].sent <= life):
                return
            del unanswered[oldest]

    # -- being answered -----------------------------------------------------------------------

    def receive(self, datagram: bytes, now: int, real: int) -> tuple[Reception, Answer | None]:
        """Take a datagram that came from the path's address at this moment (kernel's stamp)."""
        answer = self.session.read(datagram)
        if isinstance(answer, Fact):
            return self._refuse(answer)
        sequence = self.sequence - 1 - ((self.sequence - 1 - answer.sequence) & 0xFFFFFFFF)
        heartbeat = self.unanswered.get(sequence)
        if heartbeat is None:
            return self._strange(sequence), None
        if answer.token is not None and answer.token != heartbeat.token:
            words = (
                "replies do not bring back our timestamp; `echo_timestamp: off` would accept them"
            )
            return self._refuse(Fact(Cause.BAD_REPLY, words))
        del self.unanswered[sequence]
        self.session.accepted(answer, heartbeat.token)
        rtt = real - heartbeat.sent_real
        if 0 <= answer.dwell <= rtt:
            rtt -= answer.dwell
        self.last_rtt = rtt
        self.window.answered(sequence, rtt)
        self.received += 1
        if now - heartbeat.sent > self.timing.timeout:
            self.late += 1
        if now - heartbeat.sent > self.timing.life:
            return Reception.LATE, answer
        self._live(now, real, sequence)
        return Reception.LIFE, answer

    def _refuse(self, fact: Fact) -> tuple[Reception, None]:
        self.bad = fact
        if self.icmp is not None and self.icmp.cause is Cause.PORT_CLOSED:
            self.icmp = None  # something has come to listen there since
        return Reception.REFUSED, None

    def _strange(self, sequence: int) -> Reception:
        """Take a reply to a heartbeat that is not in question."""
        if self.window.was_answered(sequence):
            self.duplicate += 1
            return Reception.DUPLICATE
        if max(0, self.sequence - THAW) <= sequence:
            self.late += 1
            return Reception.LATE
        return self._refuse(Fact(Cause.BAD_REPLY, "replies to what we never asked"))[0]

    def is_another(self, incarnation: int) -> bool:
        """Note who answers; tell whether a path that is up is answered by another one."""
        before, self.incarnation = self.incarnation, incarnation
        return before not in (None, incarnation) and self.state is State.UP

    def is_about(self, payload: bytes) -> bool:
        """Whether an ICMP error returns a heartbeat newer than the last good reply."""
        return any(
            sequence > self.last_answered
            and self.session.recognises(payload, sequence, heartbeat.token)
            for sequence, heartbeat in self.unanswered.items()
        )

    def _live(self, now: int, real: int, sequence: int) -> None:
        self.last_reply_real = real
        self.last_life = now
        self.last_answered = max(self.last_answered, sequence)
        self.icmp = self.bad = None
        if self.state is not State.DOWN:
            return
        self.rising += 1

    @property
    def has_risen(self) -> bool:
        """Whether a path that is down has answered often enough in a row."""
        return self.rising >= self.timing.rise

    def go_on(self, now: int, dice: float) -> None:
        """A reply ended the round: the next heartbeat follows the last one sent."""
        self.asked = None
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
        """Set the verdict; tell whether it is another."""
        changed = state is not self.state or fault != self.fault or not self.judged
        if state is State.UP and self.state is not State.UP:
            self.rising = 0
            if self.state is State.DOWN:
                self.lossy = self.slow = False
            self.window.restart(self.last_answered)
            self.unanswered = {s: h for s, h in self.unanswered.items() if s > self.last_answered}
        if state is State.DOWN:
            self.incarnation = None  # who answers next was not up all along
        self.state = state
        self.fault = fault
        self.judged = True
        self.remember(was_up=state is State.UP)
        return changed

    def remember(self, *, was_up: bool) -> None:
        """Keep whether it was up, so that its silence would tell something."""
        self.was_up = was_up
        if self.egress is not None:
            self.egress.note(self)

    def failure(self) -> Fact:
        """Why it does not answer: of the facts since the last good reply the most telling."""
        if self.icmp is not None:
            return self.icmp
        if self.bad is not None:
            return self.bad
        return Fact(Cause.SILENT, "no reply, no ICMP error: host off, cut off or a firewall's DROP")

    def loss(self, now: int) -> float | None:
        """The lost of the last 100 heartbeats, a fraction; None before the first is decided."""
        waiting = self._in_time(now)
        decided = len(self.window) - waiting
        return (self.window.unanswered() - waiting) / decided if decided > 0 else None

    def _in_time(self, now: int) -> int:
        """How many unanswered heartbeats may still be answered in time."""
        return sum(1 for heartbeat in self.unanswered.values() if self._is_in_time(heartbeat, now))

    def _is_in_time(self, heartbeat: Heartbeat, now: int) -> bool:
        return now - heartbeat.sent < self.timing.timeout

    def weigh(self, now: int) -> bool:
        """Judge loss and RTT by the limits; tell whether that verdict is another."""
        before = self.lossy, self.slow
        if self.limits.max_loss is not None:
            self.lossy = self._is_lossy(now, self.limits.max_loss)
        if self.limits.max_rtt is not None:
            self.slow = self._is_slow(self.limits.max_rtt)
        return before != (self.lossy, self.slow)

    def _is_lossy(self, now: int, limit: float) -> bool:
        # Against a full window even where it is not full yet: one of the first three is no alarm.
        lost = (self.window.unanswered() - self._in_time(now)) / WINDOW
        if not self.lossy:
            return lost > limit
        return not self.window.is_full or lost >= limit / 2

    def _is_slow(self, limit: int) -> bool:
        median = self.median_rtt
        return self.slow if median is None else median > (limit * 4 // 5 if self.slow else limit)

    @property
    def median_rtt(self) -> int | None:
        """Of the last 20 that were answered; None of fewer."""
        rtts = self.window.rtts(RTTS_FOR_SLOW)
        return sorted(rtts)[RTTS_FOR_SLOW // 2] if len(rtts) == RTTS_FOR_SLOW else None
