"""Being told: the peer beats by itself, we wait; and where that is so, we beat too.

The timing is ours (`expect:`), or agreed with the peer and changing with every word of it (BFD):
the session says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.address import host_of
from hbd.core.egress import WITNESS_SPACING
from hbd.core.model import PROBE_SPACING, SECOND, Cause, State
from hbd.core.path import Path, Reception, Step
from hbd.core.session import Fact

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hbd.core.model import PeerSettings
    from hbd.core.peer import Peer
    from hbd.core.session import Answer, Beats

ANYWHERE: Final = "anywhere"
"""Stands for the address of a peer that is known by its key, wherever it comes from."""

DOUBTED, LAST, EXHAUSTED = 1, 2, 3
"""How far a silence has gone: others are asked, have had their time, nothing more is awaited."""


NEVER: Final = -(1 << 62)

OURS: Final = (Cause.OWN_STALL, Cause.OWN_UPLINK)
"""Why a peer may have lost us; which stands until it has had its time to hear us again."""


class Told(Path):
    """A path that is heard every so often, or silent."""

    __slots__ = ("beat_at", "deaf_at", "heard", "look_at", "session", "spoke", "spoke_real")

    is_askable = False

    def __init__(self, address: str, peer: Peer, session: Beats) -> None:
        super().__init__(address, peer)
        self.session = session
        self.heard = 0
        """The last sign of life, or since when one is waited for."""
        self.spoke = 0
        """When anything came last that was no nonsense."""
        self.spoke_real = NEVER
        """The same, monotonic: for the peer time goes on while we do not run."""
        self.look_at = 0
        """When to look again at a silence that has had its verdict."""
        self.beat_at: int | None = None
        """When our next heartbeat is due; None: we send none."""
        self.deaf_at: int | None = None
        """When it was heard again after a silence of everybody; None: never."""

    # -- waiting ------------------------------------------------------------------------------

    @property
    def is_failing(self) -> bool:
        return self.repeated or self.missed >= DOUBTED

    @property
    def is_exhausted(self) -> bool:
        return self.missed >= EXHAUSTED

    @property
    def patience(self) -> int:
        return self.session.patience

    @property
    def reach(self) -> int:
        doubt, last, _ = self._waits()
        return last - doubt

    @property
    def judged_by(self) -> int:
        return self.heard + self.session.patience

    def speaks(self, _reach: int, by: int) -> bool:
        return self.goodbye is None and self.heard + self._waits()[0] <= by

    @property
    def question_began(self) -> int:
        return self.heard

    def keys(self) -> tuple[Hashable, ...]:
        settings = self.peer.settings
        if self.address == ANYWHERE:
            return ((ANYWHERE, settings.key, settings.stamp.ssid),)
        return self.session.keys([host_of(target) for target in self.targets])

    def begin(self, now: int, judge_from: int) -> None:
        super().begin(now, max(judge_from, now + self.session.greeting))
        self.heard = now
        if not self.targets and self.address != ANYWHERE:
            self.deadline = self.beat_at = None
            return
        self.beat_at = now if self.session.spacing() is not None else None
        self._schedule()

    def _waits(self) -> tuple[int, int, int]:
        """How long a silence is when others are asked, must have answered, and it is judged.

        A peer may be late by a margin before anybody is asked. If others are heard again a whole
        interval and such a margin before the verdict, it had its chance to be heard too.
        """
        expected, patience = self.session.expected, self.session.patience
        margin = min(patience - expected, expected) // 4
        last = max(expected + 3 * margin, patience - expected - margin)
        return expected + margin, last, patience

    def _schedule(self) -> None:
        is_over = self.is_exhausted
        quiet = self.look_at if is_over else self.heard + self._waits()[self.missed]
        self.deadline = quiet if self.beat_at is None else min(quiet, self.beat_at)

    def advance(self, now: int, _lateness: int) -> Step:
        # Our own lateness owes nothing here: what came meanwhile was stamped and read before.
        if self.beat_at is not None and now >= self.beat_at:
            self._plan_beat(now)
            step = Step.BEAT
        else:
            step = self._silent(now)
        self._schedule()
        return step

    def _plan_beat(self, now: int) -> None:
        spacing = self.session.spacing()
        if spacing is None:
            self.beat_at = None
            return
        due = (self.beat_at or now) + spacing
        self.beat_at = max(due - due % self.session.grain, now + 1)

    def _silent(self, now: int) -> Step:
        if self.missed < LAST:
            self.missed += 1
            if self.missed > DOUBTED:
                return Step.LAST
            # Who was asked for another's sake just before is not asked again, but counts.
            self.first_missed = max(self.heard + self.session.expected, now - WITNESS_SPACING)
            return Step.DOUBT
        if self.is_exhausted and self.send_error is not None:
            self.send_error = None  # it had its time
        if now - self.spoke >= self.session.patience and self.session.expire():
            self.beat_at = now
        self.missed = EXHAUSTED
        self.is_put_off = False
        self.rising = 0
        self.look_at = now + max(self.session.patience, PROBE_SPACING)
        return Step.EXHAUSTED

    def adopt(self, settings: PeerSettings, now: int) -> None:
        before = self.session.patience
        super().adopt(settings, now)
        self.session.adopt(settings)
        if self.deadline is None:
            return
        if self.session.patience != before and not self.is_exhausted:
            self.ask_anew(now)
        spacing = self.session.spacing()
        self.beat_at = None if spacing is None else min(self.beat_at or now, now + spacing)
        self._schedule()

    def is_overdue(self, _now: int) -> bool:
        return False

    def put_off(self) -> None:
        super().put_off()
        self.look_at = min(self.look_at, self.judge_from)
        self._schedule()

    def wait_until(self, moment: int) -> None:
        self.look_at = min(self.look_at, moment)
        self._schedule()

    def ask_again(self, now: int) -> None:
        """Be as patient once more: a fault of ours may have kept it from being heard."""
        self.repeated = True
        self.is_put_off = False
        self.judge_from = max(self.judge_from, now + self.session.greeting)
        self.ask_anew(now)

    def ask_anew(self, now: int) -> None:
        self.missed = 0
        self.heard = now
        if self.deadline is not None:
            self._schedule()

    def compose(self, _now: int, real: int, _wall: int) -> bytes:
        self.figures.sent += 1
        self.send_error = None
        return self.session.compose(real)

    # -- being told ---------------------------------------------------------------------------

    def receive(
        self, datagram: bytes, now: int, real: int, ttl: int | None = None
    ) -> tuple[Reception, Answer | None]:
        heard = self.session.read(datagram, real, ttl, real - self.spoke_real)
        if isinstance(heard, Fact):
            return self._refuse(heard)
        self.spoke, self.spoke_real = now, real
        self.figures.received += 1
        if heard.reply:
            self.beat_at = now
        elif self.beat_at is None and (spacing := self.session.spacing()) is not None:
            self.beat_at = now + spacing
        reception = Reception.THERE
        if heard.fault is not None:
            reception = self._say(heard.fault, now)
        elif heard.is_up:
            if self._is_deaf:
                self.deaf_at = now
            self.heard = max(self.heard, now)
            self._live(now, real)
            reception = Reception.LIFE
        if self.deadline is not None:
            self._schedule()
        return reception, None

    def _say(self, fault: Fact, now: int) -> Reception:
        """The peer says that it is not up: the end of what was, or how most sessions begin."""
        if fault.cause is Cause.BFD_SIGNALED_DOWN:  # as we said before: it only begins anew
            if self.state is State.UP:
                self.bad = fault
            return Reception.THERE
        if fault.cause is Cause.BFD_EXPIRED and self._was_deaf(now):
            fault = Fact(Cause.OWN_UPLINK, f"{fault.text}; we heard nobody either")
        if fault.cause in OURS:
            self.send_error = fault
        else:
            if self.bad is not None and self.bad.cause is Cause.BFD_ADMIN_DOWN:
                # Down on purpose until now: no failure before it had its greeting.
                self.look_at = now + self.session.greeting
            self.bad = fault
        if self.state is not State.UP and fault.cause is not Cause.BFD_ADMIN_DOWN:
            return Reception.THERE
        if not self.is_exhausted:
            self.missed = EXHAUSTED
            self.first_missed = now
            self.look_at = now + max(self.session.patience, PROBE_SPACING)
        self.witnessed = True  # by its own word
        return Reception.SAID

    @property
    def _is_deaf(self) -> bool:
        """Whether others are silent with it, though some should be heard."""
        if self.fault is not None:
            return True
        if self.missed == LAST:
            return not self.witnessed
        is_doubted = self.missed == DOUBTED and not self.lonely
        egress = self.egress
        return (
            is_doubted and egress is not None and not egress.has_answered_since(self.first_missed)
        )

    def _was_deaf(self, now: int) -> bool:
        """Whether our own side kept us from hearing, and it from hearing us, just now."""
        is_over = self.deaf_at is None or now - self.deaf_at >= self.session.patience
        return self._is_deaf or not is_over

    def annul_waiting(self, _now: int) -> None:
        self.spoke_real = NEVER  # the machine slept: it may have said anything meanwhile

    def forget_peer(self) -> bool:
        return self.session.restart()

    def last_word(self, now: int) -> int:
        """Who is paused, or down by its operator's will, says so, as often as it says anything.

        That is as good as life until it is due to speak again.
        """
        is_by_will = self.peer.pause is not None or (
            self.bad is not None and self.bad.cause is Cause.BFD_ADMIN_DOWN
        )
        if not is_by_will or self.spoke <= self.last_life:
            return super().last_word(now)
        due = self.spoke + self.session.expected
        return due if now < due else self.spoke  # it may have died right after that

    def is_about(self, payload: bytes) -> bool:
        return self.session.recognises(payload, 0, 0)

    def go_on(self, _now: int, _dice: float) -> None:
        self.missed = 0
        self.repeated = False
        self.is_put_off = False
        self.send_error = None
        self.judge_from = self.grace  # its greeting is over
        self._schedule()

    def pause(self, now: int, *, on: bool) -> bool:
        begins_anew = self.session.pause(on=on)
        if begins_anew and self.deadline is not None:
            self.beat_at = self.deadline = now
        return begins_anew

    # -- verdicts -----------------------------------------------------------------------------

    def failure(self) -> Fact:
        if self.goodbye is None and self.bad is not None and self.bad.cause is not Cause.BAD_REPLY:
            return self.bad
        return super().failure()

    @property
    def silence(self) -> str:
        return f"nothing came for {self.session.patience / SECOND:g} s"
