"""Only sending: nothing comes back by which the peer could be judged, but that it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import Cause, State
from hbd.core.path import Path, Reception, Step
from hbd.core.session import Fact

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.session import Answer, Beats

UNWATCHED: Final = Fact(
    Cause.UNWATCHED,
    "its protocol has no replies: we only send; `expect:` would watch what it sends",
)


QUIET: Final = 3
"""So many heartbeats in a row that nobody refuses end an outage: a host says so but once a second
to each of those that ask it, whoever of them had the last refusal (icmp(7), icmp_ratelimit)."""


class Unwatched(Path):
    """A path to which heartbeats go, and from which nothing is expected."""

    __slots__ = ("is_refused", "is_weighed", "sent_at", "session")

    is_askable = False

    def __init__(self, address: str, peer: Peer, session: Beats) -> None:
        super().__init__(address, peer)
        self.session = session
        self.is_refused = False
        """Whether an ICMP error about the last heartbeat has come."""
        self.is_weighed = True
        """Whether what became of it has been looked at."""
        self.sent_at = 0

    @property
    def is_failing(self) -> bool:
        return self.missed >= min(2, self.timing.retries + 1)

    @property
    def is_exhausted(self) -> bool:
        return self.missed > self.timing.retries

    @property
    def patience(self) -> int:
        return (self.timing.retries + 1) * self.timing.interval

    @property
    def reach(self) -> int:
        return self.timing.interval

    @property
    def judged_by(self) -> int:
        return self.first_missed + self.timing.interval

    def speaks(self, _reach: int, _by: int) -> bool:
        return False

    @property
    def question_began(self) -> int:
        return self.first_missed

    def begin(self, now: int, judge_from: int) -> None:
        super().begin(now, judge_from)
        self.is_refused = False
        self.is_weighed = True
        self.deadline = now if self.targets else None

    def advance(self, now: int, _lateness: int) -> Step:
        if not self.is_weighed:
            self.is_weighed = True
            if self.is_refused or self.send_error is not None:
                if not self.is_missing:
                    self.first_missed = self.sent_at
                self.missed = min(self.missed + 1, self.timing.retries + 1)
                self.rising = 0
                return Step.EXHAUSTED if self.is_exhausted else Step.DOUBT
            self.rising += 1
            if self.state is State.DOWN and self.rising < QUIET:
                return Step.WAIT
            self.missed = 0
            self.repeated = False
            return Step.WAIT if self.fault == UNWATCHED else Step.UNWATCHED
        spacing = self.session.spacing() or 0
        if self.state is State.DOWN:
            spacing = max(spacing, self.timing.probe)
        self.deadline = max((self.deadline or now) + spacing, now + 1)
        return Step.BEAT

    def adopt(self, settings: PeerSettings, now: int) -> None:
        super().adopt(settings, now)
        self.session.adopt(settings)
        if self.deadline is not None:
            self.deadline = min(self.deadline, now + settings.timing.interval)

    def wait_until(self, moment: int) -> None:
        """It says no goodbye."""

    def ask_again(self, _now: int) -> None:
        self.repeated = True

    def ask_anew(self, _now: int) -> None:
        self.missed = 0

    def compose(self, now: int, real: int, _wall: int) -> bytes:
        self.figures.sent += 1
        self.sent_at = now
        self.is_refused = self.is_weighed = False
        self.send_error = None
        return self.session.compose(real)

    def receive(
        self, _datagram: bytes, _now: int, _real: int, _ttl: int | None = None
    ) -> tuple[Reception, Answer | None]:
        return Reception.THERE, None

    def refused(self, fact: Fact) -> None:
        super().refused(fact)
        self.is_refused = True

    def is_about(self, payload: bytes) -> bool:
        return self.session.recognises(payload, 0, 0)

    def wants_another_round(self, *, witnessed: bool) -> bool:  # noqa: ARG002
        return False  # who refuses is there

    def go_on(self, _now: int, _dice: float) -> None:
        self.missed = 0
