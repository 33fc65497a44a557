"""Heartbeats of paths with which all is well, many at a time: the hot path.

Whatever is done here has the effect of what `asked`, `stamp` and `fleet` do path by path, for the
one case that nearly all heartbeats are: a path that is up and misses nothing is asked, and the very
next thing that comes from it is the reply, with nothing new in it. Anything else is left to them:
facts stand where they always stand, so a path can leave at any moment and need not be told so.

What is due at one moment stands in one slot, what was sent together in one volley; each is one
timer. A path that is found in a slot or a volley is taken only if its deadline is still that of the
slot or the volley: whoever has moved it has it in the timers as well.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import TYPE_CHECKING, Final

from hbd.core.awaited import Heartbeat
from hbd.core.model import JITTER, MILLISECOND, SECOND, State
from hbd.core.stamp import TRY_AGAIN_EVERY, StampSession
from hbd.core.timers import Timer
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.core.address import Address
    from hbd.core.asked import Asked
    from hbd.core.clock import Clock
    from hbd.core.model import Dice
    from hbd.core.path import Path
    from hbd.core.roster import Roster
    from hbd.core.stamp import Station
    from hbd.core.timers import Timers

TOGETHER: Final = 64
"""So many heartbeats are to leave at a time: more gain nothing."""
CLOSEST: Final = 10 * MILLISECOND
FARTHEST: Final = 100 * MILLISECOND
"""How far slots may be apart;"""
SLOTS: Final = 20
"""and so many at least in an interval, of which jitter takes up to a tenth."""

Received = tuple[bytes, "Address", int | None, int | None]
"""A datagram, where it came from, the kernel's stamp (wall clock), and its TTL."""

GOLDEN: Final = 0x9E3779B97F4A7C15
"""Spreads what differs little, or in the highest bits only."""

_HEAD: Final = Struct(">IQ")
"""Sequence number and T1 of a request,"""
_ECHO: Final = slice(24, 36)
"""and where a reply brings them back."""
_REPLY: Final = Struct(">IQHHQI")
"""Sequence number, T3, Error Estimate, SSID, T2 and the sequence number of the request."""

_NOISE: Final = 0xFFE
"""Of 32 random bits: those of T1, where the last one has a meaning of its own;"""
_DICE: Final = 12
_DICE_BITS: Final = 20
"""and those that jitter is made of."""

_new: Final = tuple.__new__


class Pace:
    """Paths that are asked alike, and leave by the same socket."""

    __slots__ = ("grid", "interval", "slots", "timeout")

    def __init__(self, interval: int, timeout: int) -> None:
        self.interval: Final = interval
        self.timeout: Final = timeout
        self.grid = FARTHEST
        self.slots: dict[int, Slot] = {}
        """Those to come, by their moment."""


class Slot(Timer):
    """Paths that are to be asked at one moment."""

    __slots__ = ("at", "pace", "paths")

    def __init__(self, pace: Pace, at: int) -> None:
        super().__init__()
        self.pace: Final = pace
        self.at: Final = at
        self.deadline = at
        self.paths: list[Asked] = []


class Volley(Timer):
    """Paths that were asked at one moment; its deadline is the end of their timeout."""

    __slots__ = ("at", "lateness", "paths")

    def __init__(self, paths: list[Asked], at: int, lateness: int) -> None:
        super().__init__()
        self.paths: Final = paths
        self.at: Final = at
        self.deadline = at
        self.lateness: Final = lateness

    @property
    def owed_from(self) -> int | None:
        return self.lateness


class Volleys:
    """Keeps slots and volleys, writes heartbeats and reads replies."""

    def __init__(
        self, clock: Clock, timers: Timers, roster: Roster, dice: Dice, station: Station
    ) -> None:
        self._clock: Final = clock
        self._timers: Final = timers
        self._roster: Final = roster
        self._dice: Final = dice
        self._station: Final = station
        self._grid = CLOSEST
        self._phase: Final = station.incarnation * GOLDEN % SECOND
        """Other hosts have other slots."""
        self._paces: dict[tuple[object, ...], Pace] = {}

    def spread(self, paths: Iterable[Path]) -> None:
        """These are watched now: see how far slots are to be apart."""
        rate = sum(1 / path.timing.interval for path in paths)
        wanted = int(TOGETHER / rate) if rate else FARTHEST
        self._grid = min(max(wanted, CLOSEST), FARTHEST)
        for pace in self._paces.values():
            self._align(pace)

    def _align(self, pace: Pace) -> None:
        slots = max(-(-pace.interval // self._grid), SLOTS)
        pace.grid = max(pace.interval // slots, 1)

    # -- slots --------------------------------------------------------------------------------

    def take(self, path: Asked) -> bool:
        """Ask a path by its next slot, if all is well with it; False: it is the timers' then."""
        deadline, now = path.deadline, self._clock.now
        if deadline is None or not _is_well(path):
            return False
        pace = path.pace
        if pace is None or (pace.interval, pace.timeout) != (
            path.timing.interval,
            path.timing.timeout,
        ):
            pace = path.pace = self._pace(path)
            path.slot = None
        at = deadline - (deadline - self._phase) % pace.grid
        if at < path.due + int(pace.interval * (1 - JITTER)):
            at += pace.grid
        if at <= now:
            return False
        path.deadline = at
        if path.slot != at:  # else it stands there already
            path.slot = at
            self._slot(pace, at).paths.append(path)
        return True

    def _pace(self, path: Asked) -> Pace:
        settings, timing = path.peer.settings, path.timing
        family = len(path.target or ())
        key = (
            settings.interface,
            settings.source,
            settings.dscp,
            family,
            timing.interval,
            timing.timeout,
        )
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace(timing.interval, timing.timeout)
            self._align(pace)
        return pace

    def _slot(self, pace: Pace, at: int) -> Slot:
        slot = pace.slots.get(at)
        if slot is None:
            slot = pace.slots[at] = Slot(pace, at)
            self._timers.schedule(slot)
        return slot

    def due(self, slot: Slot) -> list[Asked]:
        """Give the paths of a slot that has come which are to be asked."""
        slot.deadline = None
        at, pace = slot.at, slot.pace
        pace.slots.pop(at, None)
        asked, version = [], self._station.version
        soon = self._clock.now + pace.timeout
        for path in slot.paths:
            session = path.session
            if (
                path.deadline == at
                and path.pace is pace
                and path.asked is None
                and not path.unanswered
                and path.state is State.UP
                and not path.missed
                and (session.prepared == version or session.prepare())
                and (session.mark or path.sequence % TRY_AGAIN_EVERY)
            ):
                path.asked = path.sequence
                path.deadline = soon
                asked.append(path)
            elif path.slot == at:
                path.slot = None
                self._timers.schedule(path)
        return asked

    # -- volleys ------------------------------------------------------------------------------

    def compose(
        self, slot: Slot, paths: list[Asked], real: int, wall: int, step: int
    ) -> tuple[list[bytes], list[Address]]:
        """Give the heartbeats for these paths, and where they go; `step`: how long each takes."""
        clock, pace = self._clock, slot.pace
        now = clock.now + (real - clock.real)
        lateness, timeout = clock.lateness, pace.timeout
        deadline = now + timeout
        due, latest = slot.at, slot.at + pace.interval
        grid, slots = pace.grid, pace.slots
        choices = int(pace.interval * JITTER) // grid + 1
        count = len(paths)
        bits = array("I")
        bits.frombytes(self._dice.getrandbits(32 * count).to_bytes(4 * count, "little"))
        timestamp = ntp.ntp_from_unix(wall) & ~0xFFF
        step_ntp = (step << 32) // ntp.SECOND
        pack, noise = _HEAD.pack, _NOISE
        datagrams, targets = [], []
        for path, random in zip(paths, bits, strict=True):
            session = path.session
            sequence = path.sequence
            token = (timestamp & ~0xFFF) | (random & noise) | session.mark
            head = path.head = pack(sequence & 0xFFFFFFFF, token)
            datagrams.append(head + session.tail)
            targets.append(path.target)
            path.unanswered[sequence] = _new(Heartbeat, (now, real, token, None, False))
            path.sequence = sequence + 1
            path.last_sent = now
            path.due = due
            path.doubted = True
            path.lateness = lateness
            path.deadline = deadline
            figures = path.figures
            figures.sent += 1
            figures.window.sent(sequence)
            path.slot = following = latest - grid * (choices * (random >> _DICE) >> _DICE_BITS)
            after = slots.get(following)
            if after is None:
                after = self._slot(pace, following)
            after.paths.append(path)
            timestamp += step_ntp
            real += step
            now += step
        self._timers.schedule(Volley(paths, deadline, lateness))
        return datagrams, targets

    def missed(self, volley: Volley) -> list[Asked]:
        """Give the paths of a volley whose timeout is over that have not answered."""
        volley.deadline = None
        at = volley.at
        return [path for path in volley.paths if path.asked is not None and path.deadline == at]

    # -- replies ------------------------------------------------------------------------------

    def receive(self, received: list[Received], since: int) -> list[Received]:
        """Take the replies with which all is well; give the rest.

        `since`: when all was last read; a stamp counts from then till now.
        """
        clock = self._clock
        real = clock.real
        alone, unpack, second = self._roster.alone_at, _REPLY.unpack_from, ntp.SECOND
        lag = clock.lag_after(since)
        if lag is None:
            return received
        offset = real - clock.wall
        rest = []
        for one in received:
            datagram, source, stamp, ttl = one
            path = alone.get(source)
            if path is None or len(datagram) < 44 or datagram[_ECHO] != path.head:
                rest.append(one)
                continue
            sequence = path.asked
            session = path.session
            counted, t3, estimate, ssid, t2, echoed = unpack(datagram)
            dwell = (t3 - t2) * second >> 32
            egress = path.egress
            at = real if stamp is None else stamp + offset
            at = since if at < since else min(at, real)
            if (
                sequence is None
                or echoed != sequence & 0xFFFFFFFF
                or path.state is not State.UP
                or path.missed
                or path.goodbye is not None
                or egress is None
                or egress.fault is not None
                or path.leads_to is not path.target
                or ssid != session.ssid
                or estimate & ntp.PTP
                or datagram[40:80] != session.signature
                or len(datagram) != session.length
            ):
                rest.append(one)
                continue
            now = at - lag
            heartbeat = path.unanswered[sequence]
            rtt = at - heartbeat[1]
            if (
                not 0 <= dwell <= rtt
                or rtt > path.timing.timeout
                or path.slot is None
                or path.slot <= clock.now
            ):
                rest.append(one)
                continue
            del path.unanswered[sequence]
            rtt -= dwell
            path.head = b""
            path.asked = None
            path.deadline = path.slot
            path.last_answered = sequence
            path.last_rtt = rtt
            path.last_reply_real = at
            path.last_life = now
            path.reply_ttl = ttl
            path.icmp = path.bad = path.inquiry = None
            path.repeated = path.is_put_off = False
            figures = path.figures
            figures.received += 1
            uncounted = (sequence - counted) & 0xFFFFFFFF
            figures.window.answered(
                sequence, rtt, uncounted if session.counts or uncounted else None
            )
            if path.peer.pause is None:
                path.rounds.ended[0] += 1
            egress.last_answer = max(egress.last_answer, now)
        return rest


def _is_well(path: Asked) -> bool:
    """Whether the next heartbeat may be one of many: nothing of the path needs a look."""
    timing, limits, session = path.timing, path.limits, path.session
    return (
        path.state is State.UP
        and not path.missed
        and path.asked is None
        and not path.unanswered
        and path.judged
        and path.was_up
        and path.fault is None
        and path.goodbye is None
        and not path.rounds.has_failed
        and not path.figures.tight
        and limits.max_loss is None
        and limits.max_rtt is None
        and timing.retries > 0
        and isinstance(session, StampSession)
        and session.signature is not None
    )
