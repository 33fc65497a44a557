"""One path: one address, or one name, of one peer, and the verdict over it.

How it is watched is in the modules that make it concrete: `asked` (request and reply), `told` (by
what it sends, with timing of our own or agreed with it) and `unwatched` (we only send). All times
are the fleet's own clock (see clock.Clock), which stands still while we do not run, except where a
name says otherwise. Facts are kept here; verdicts over them are computed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.figures import Figures
from hbd.core.inquiry import hops_away
from hbd.core.model import Cause, Limits, State, Timing
from hbd.core.session import Answer, Fact
from hbd.core.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hbd.core.address import Address
    from hbd.core.directions import Directions
    from hbd.core.egress import Egress
    from hbd.core.goodbye import Goodbye
    from hbd.core.inquiry import Inquiry
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.rounds import Rounds

OF_ALL: Final = (Cause.OWN_LINK, Cause.OWN_UPLINK, Cause.NO_ROUTE)
"""Faults of ours that say nothing of a path: where it was up, its silence after them tells that
they are not over yet."""


class Step(Enum):
    """What a path wants when its deadline has come."""

    WAIT = auto()
    """Nothing."""
    ASK = auto()
    """Send a heartbeat."""
    BEAT = auto()
    """Send a heartbeat that is no question."""
    DOUBT = auto()
    """A verdict may follow without another heartbeat of ours: ask others before it is due."""
    LAST = auto()
    """The last moment to see whether others are heard again, before the verdict."""
    MISSED = auto()
    """A heartbeat was missed; send a retransmission."""
    EXHAUSTED = auto()
    """Nothing more is to come before a verdict, or something is missed that follows one."""
    UNWATCHED = auto()
    """Nothing can be said of it."""


class Reception(Enum):
    """What became of something that came from a path's peer."""

    LIFE = "life"
    LATE = "late"
    """Too old to count as life."""
    DUPLICATE = "duplicate"
    REFUSED = "bad-reply"
    THERE = "there"
    """No life, but no fault either: it is still agreeing with us."""
    SMALL = "small"
    """No life: it answers a heartbeat without the padding that it is asked to bear."""
    SAID = "said"
    """The peer itself says that it is not up."""


class Seen(NamedTuple):
    """What has become of a path's heartbeats, all of one moment."""

    figures: Figures
    rtts: list[int]
    """Of the last 100 heartbeats, in microseconds, the shortest first."""
    lost: int
    loss: float | None
    last_reply_real: int | None
    reply_ttl: int | None
    rounds: Rounds | None
    """None of one that is not asked."""

    @property
    def directions(self) -> Directions | None:
        """Where they were lost."""
        return self.figures.split(self.lost)


class Path(Timer):
    """One address, or one name, of one peer."""

    __slots__ = (
        "address",
        "bad",
        "egress",
        "fault",
        "figures",
        "first_missed",
        "goodbye",
        "grace",
        "icmp",
        "inquiry",
        "is_put_off",
        "judge_from",
        "judged",
        "last_life",
        "last_reply_real",
        "last_rtt",
        "last_up",
        "lateness",
        "leads_to",
        "lonely",
        "missed",
        "peer",
        "repeated",
        "reply_ttl",
        "rising",
        "send_error",
        "state",
        "target",
        "targets",
        "timing",
        "unresolved",
        "was_up",
        "witnessed",
    )

    is_askable = True
    """Whether it answers when it is asked, and so can be a witness for others."""
    can_send_short = False
    """Whether heartbeats for it can be sent with a TTL that lets them die on the way."""
    former: tuple[int, ...] = ()
    """Incarnations of its peer that answered before."""
    is_padded = False
    """Whether its heartbeats are longer than they need be."""

    def __init__(self, address: str, peer: Peer) -> None:
        super().__init__()
        self.address: Final = address
        self.peer: Final = peer
        self.timing: Timing = peer.settings.timing
        self.figures = Figures()
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
        self.leads_to: Address | None = None
        """The target that it was found for: of a name's addresses each may have its own."""
        # What is in question.
        self.lateness = 0
        """Ours, when its deadline was set."""
        self.missed = 0
        self.first_missed = 0
        """From then on others' answers tell what the silence means."""
        self.witnessed = False
        """Somebody had answered since, at the last moment for it."""
        self.lonely = False
        """No other peer of the egress was up when the first heartbeat was missed."""
        self.repeated = False
        self.rising = 0
        self.grace = 0
        """No silence at all is a verdict before: we have just started, or woken."""
        self.judge_from = 0
        self.is_put_off = False
        """A verdict was due before one may be given."""
        self.send_error: Fact | None = None
        # Facts since the last sign of life.
        self.icmp: Fact | None = None
        self.bad: Fact | None = None
        self.inquiry: Inquiry | None = None
        self.goodbye: Goodbye | None = None
        """Its peer said that it stops, and has not been heard since."""
        self.last_life = -1
        self.last_up = -1
        """The same while it was up: what it answers while it rises frees nobody behind it."""
        self.last_reply_real: int | None = None
        self.last_rtt: int | None = None
        self.reply_ttl: int | None = None
        """What was left of the TTL of the last reply."""

    @property
    def limits(self) -> Limits:
        return self.peer.settings.limits

    # -- how it is watched --------------------------------------------------------------------

    @property
    def is_missing(self) -> bool:
        """Whether something was missed and nothing has come since."""
        return self.missed > 0

    @property
    def is_failing(self) -> bool:
        """Whether more was missed than the one datagram that any network may lose."""
        raise NotImplementedError

    @property
    def is_exhausted(self) -> bool:
        """Whether all was missed that comes before a verdict."""
        raise NotImplementedError

    @property
    def is_probing(self) -> bool:
        """Whether it is asked at the spacing for those that give no return traffic."""
        return self.is_exhausted or self.state is State.DOWN

    @property
    def patience(self) -> int:
        """The longest time from the last sign of life to the verdict."""
        raise NotImplementedError

    @property
    def reach(self) -> int:
        """How fast others must answer to be witnesses for or against this one."""
        raise NotImplementedError

    @property
    def judged_by(self) -> int:
        """When others must have been heard to be witnesses."""
        raise NotImplementedError

    def last_word(self, _now: int) -> int:
        """When it was last heard as well as it can be, whatever is agreed with it."""
        return self.last_up if self.state is State.DOWN else self.last_life

    @property
    def has_no_way(self) -> bool:
        """Whether there is no route to it, as far as is known: its silence tells nothing."""
        return self.judged and self.fault is not None and self.fault.cause is Cause.NO_ROUTE

    def speaks(self, reach: int, by: int) -> bool:
        """Whether it would be heard by that moment, or as fast as `reach` when it is asked."""
        raise NotImplementedError

    @property
    def question_began(self) -> int:
        """When that was sent, or expected, which is in question."""
        raise NotImplementedError

    def keys(self) -> tuple[Hashable, ...]:
        """By what that which comes is known to be for this path, beside its targets."""
        return ()

    def begin(self, _now: int, judge_from: int) -> None:
        """Watch it from a moment on; give no verdict of silence before `judge_from`."""
        self.judged = False
        self.judge_from = judge_from
        self.missed = 0
        self.rising = 0
        self.repeated = False
        self.is_put_off = False

    def advance(self, now: int, lateness: int) -> Step:
        """Its deadline has come; `lateness`: all that our own time has gone on in it."""
        raise NotImplementedError

    def adopt(self, settings: PeerSettings, _now: int) -> None:
        """Take over new settings; they apply from the next heartbeat."""
        self.timing = settings.timing
        self.figures.adopt(settings.limits, settings.timing.timeout)

    def is_overdue(self, now: int) -> bool:
        """Whether new settings want a heartbeat of it that should have been sent already."""
        return self.deadline is not None and self.deadline < now

    def leave(self) -> None:
        """Something of it is to change: it is watched by itself."""

    def put_off(self) -> None:
        """Ask for the verdict again when one may be given."""
        self.is_put_off = True

    def wait_until(self, moment: int) -> None:
        """Have what was missed missed once more, no sooner than at this moment."""
        raise NotImplementedError

    def ask_early(self, _now: int) -> bool:
        """Bring the next heartbeat forward; False where one is in question already."""
        return True

    def ask_again(self, now: int) -> None:
        """Repeat what is in question, once: a fault of ours spoilt it."""
        raise NotImplementedError

    def ask_anew(self, now: int) -> None:
        """What is in question cannot be answered any more, by a change of ours: begin it again."""
        raise NotImplementedError

    def annul_waiting(self, now: int) -> None:
        """Hold against nobody what may still be answered in time."""

    def annul_last(self) -> None:
        """The last heartbeat did not leave."""

    def compose(self, now: int, real: int, wall: int) -> bytes:
        """Give the octets of the next heartbeat, to be sent at this very moment."""
        raise NotImplementedError

    def claims(self, _datagram: bytes) -> bool:
        """Whether what came is for this path rather than for another at the same address."""
        return True

    def receive(
        self, datagram: bytes, now: int, real: int, ttl: int | None = None
    ) -> tuple[Reception, Answer | None]:
        """Take what came from the path's peer at this moment (kernel's stamp)."""
        raise NotImplementedError

    def refused(self, fact: Fact) -> None:
        """Take an ICMP error about a heartbeat."""
        self.icmp = fact

    def misbehaved(self, fact: Fact) -> None:
        """Take what it, or somebody in its place, has done instead of what it should."""
        self.bad = fact

    def would_be_answered(self, _datagram: bytes) -> bool:
        """Whether a datagram from elsewhere brings back a heartbeat that has no reply yet."""
        return False

    def is_about(self, payload: bytes) -> bool:
        """Whether an ICMP error returns a heartbeat newer than the last sign of life."""
        raise NotImplementedError

    def hop_of(self, _payload: bytes) -> int | None:
        """Give the TTL of the heartbeat that an ICMP error returns, if it was to die on the way."""
        return None

    def is_another(self, _incarnation: int) -> bool:
        """Note who answers; tell whether a path that is up is answered by another one.

        Of several that answer in turn it is told once.
        """
        return False

    def go_on(self, now: int, dice: float) -> None:
        """A sign of life has come: nothing is in question any more."""
        raise NotImplementedError

    def pause(self, _now: int, *, on: bool) -> bool:  # noqa: ARG002 - most need not know
        """Tell a peer that keeps a session with us that we do not judge it, or do again.

        Tells whether that session begins anew.
        """
        return False

    def forget_peer(self) -> bool:
        """Its address is another machine's now: what was agreed with the one before is void.

        Tells whether it has to begin anew for that.
        """
        return False

    # -- facts --------------------------------------------------------------------------------

    def _refuse(self, fact: Fact) -> tuple[Reception, None]:
        self.misbehaved(fact)
        if self.icmp is not None and self.icmp.cause is Cause.PORT_CLOSED:
            self.icmp = None  # something has come to listen there since
        return Reception.REFUSED, None

    def _live(self, now: int, real: int) -> None:
        self.last_reply_real = real
        self.last_life = now
        self.forget_why()
        if self.state is State.DOWN:
            self.rising += 1

    def forget_why(self) -> None:
        """Its silence, if it lasts, is of another fault than the one that facts are known of."""
        self.icmp = self.bad = self.inquiry = None

    @property
    def has_risen(self) -> bool:
        """Whether a path that is down was heard often enough in a row."""
        return self.rising >= self.timing.rise

    # -- verdicts -----------------------------------------------------------------------------

    def give(self, state: State, fault: Fact | None = None) -> bool:
        """Set the verdict; tell whether it is another."""
        changed = state is not self.state or fault != self.fault or not self.judged
        if state is State.DOWN and self.state is not State.DOWN:
            self.last_up = self.last_life
        if state is State.UP and self.state is not State.UP:
            self.rising = 0
            if self.state is State.DOWN:
                self.figures.lossy = self.figures.slow = self.figures.tight = False
        self.state = state
        self.fault = fault
        self.judged = True
        if fault is None or fault.cause not in OF_ALL:
            self.remember(was_up=state is State.UP)
        return changed

    def remember(self, *, was_up: bool) -> None:
        """Keep whether it was up, so that its silence would tell something."""
        self.was_up = was_up
        if self.egress is not None:
            self.egress.note(self)

    def failure(self) -> Fact:
        """Why it is not heard: of the facts since the last sign of life the most telling."""
        if self.goodbye is not None:
            return self.goodbye.fact
        if self.icmp is not None:
            return self.icmp
        if self.bad is not None:
            return self.bad
        return self._shown() or Fact(Cause.SILENT, self.silence)

    @property
    def is_alive(self) -> bool:
        """Whether its host is known to answer something, though no heartbeat."""
        return self.inquiry is not None and bool(self.inquiry.alive)

    def _shown(self) -> Fact | None:
        """Give what an inquiry has shown."""
        return None if self.inquiry is None else self.inquiry.fact()

    @property
    def is_watched(self) -> bool:
        """Whether no reload has removed it: what comes of it then is of nobody."""
        return self in self.peer.paths

    @property
    def silence(self) -> str:
        """What is said where nothing at all is heard."""
        return "no reply, no ICMP error: host off, cut off or a firewall's DROP"

    def evidence(self, failure: Fact) -> list[str]:
        """Why it is not heard, one fact a line, that which is the failure first."""
        cause, text = failure
        lines = [text] if self.inquiry is None else [text, *self.inquiry.lines(cause)]
        away = hops_away(self.reply_ttl) or 1
        is_on_link = self.egress is not None and self.egress.key.gateway is None
        if cause is Cause.HOST_UNREACHABLE and is_on_link and away > 1:
            lines.append(
                f"when it answered it was {away} hops away, and our route says now that it is on"
                " our link: is that right?"
            )
        return lines

    def wants_another_round(self, *, witnessed: bool) -> bool:
        """Whether our own fault may have ended since all was missed, and taken all of it.

        `witnessed`: somebody has answered by now.
        """
        return witnessed and not self.witnessed and not self.repeated

    def seen(self, _now: int) -> Seen:
        """Give what has become of its heartbeats, for less than it costs fact by fact."""
        return self._seen(0, None)

    def _seen(self, waiting: int, rounds: Rounds | None) -> Seen:
        figures = self.figures
        rtts, unanswered, measured = figures.window.sample()
        lost, decided = unanswered - waiting, measured - waiting
        loss = lost / decided if decided > 0 else None
        return Seen(figures, rtts, lost, loss, self.last_reply_real, self.reply_ttl, rounds)

    def recent(self, _now: int) -> str:
        """What its last 100 heartbeats came to, as Window.recent; empty where none are asked."""
        return ""

    def loss(self, _now: int) -> float | None:
        """The lost of the last 100 heartbeats, a fraction; None where that is not known."""
        return None

    def directions(self, _now: int) -> Directions | None:
        """Where the last 100 heartbeats were lost; None where that is not known."""
        return None

    def weigh(self, _now: int) -> bool:
        """Judge loss and RTT by the limits; tell whether that verdict is another."""
        return False
