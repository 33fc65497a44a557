"""Who is asked with whom, and when; see `volley`."""

from __future__ import annotations

from collections import Counter
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import JITTER, State
from hbd.core.replies import take
from hbd.core.stamp import NOISE_BITS, TRY_AGAIN_EVERY, WITH_TLV, StampSession
from hbd.core.standing import step_out
from hbd.core.volley import Heading, Volley, earliest
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hbd.core.address import Address
    from hbd.core.arrival import Arrivals
    from hbd.core.asked import Asked
    from hbd.core.clock import Clock
    from hbd.core.egress import Egress
    from hbd.core.model import Dice
    from hbd.core.stamp import Seen, Template
    from hbd.core.station import Station
    from hbd.core.timers import Timers

TOGETHER: Final = 512
"""Paths of a volley at the most: with more, all else would wait too long for it."""
FEW: Final = 64
"""So many may always be one; more only where each interval has some volleys still,"""
SOME: Final = 4
"""that is so many: what leaves at once is to be a small part of what the way can carry."""

DAWDLING: Final = 4
"""Who waits for another, to join it, shortens its interval by that much less."""

STEPS: Final = 20
"""Volleys are found by when they are due, in twentieths of an interval."""

TRY_AGAIN: Final = 10 * TRY_AGAIN_EVERY
"""A path that is not told our words leaves its volley at multiples of this, to be told for once."""

_NOISE: Final = (1 << NOISE_BITS) - 1 & ~WITH_TLV
"""What is added to T1 at random at the most, below a microsecond; its last bit has a meaning of its
own."""
_ALL_NOISE: Final = int.from_bytes(_NOISE.to_bytes(2, "little") * TOGETHER, "little")


class Sent(NamedTuple):
    """Heartbeats to be sent now, of one length."""

    octets: bytearray
    size: int
    places: bytes
    """Where they go, one after the other."""


class Volleys:
    """Who is asked with whom, and what they answer."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        dice: Dice,
        station: Station,
        place_of: Callable[[Address], bytes],
    ) -> None:
        """`place_of`: an address as those who send and receive many datagrams have it."""
        self.clock: Final = clock
        self._timers: Final = timers
        self._dice: Final = dice
        self._station: Final = station
        self._place_of: Final = place_of
        self._at: dict[bytes, Asked] = {}
        """Who takes part, by its place."""
        self._open: dict[tuple[Heading, int], list[Volley]] = {}
        """Volleys that have room, by when they are due."""
        self._together = TOGETHER
        self._numbers: Counter[Heading] = Counter()
        """How many paths could be of one volley."""

    # -- who takes part -----------------------------------------------------------------------

    def take(self, path: Asked) -> bool:
        """Ask a path together with others, if all is well; False: by itself."""
        deadline, target, egress, session = path.deadline, path.target, path.egress, path.session
        if not isinstance(session, StampSession) or session.seen is None or egress is None:
            return False
        if deadline is None or target is None or not is_well(path):
            return False
        place = self._place_of(target)
        if place in self._at:
            return False  # others are asked there, too
        seen, template = session.seen, session.template()
        if template is None or not fits(path, seen, template):
            return False
        settings, timing = path.peer.settings, path.timing
        outlet = (settings.leaving, len(target))
        heading = Heading(
            outlet,
            egress,
            timing.interval,
            timing.timeout,
            seen.length,
            template.mark,
            template.form,
            path.limits.max_rtt,
        )
        volley = self._find(heading, path.due)
        if volley is None:
            volley = Volley(self, heading, deadline)
            self._offer(volley)
            self._timers.schedule(volley)
        volley.take(path, place, session, seen)
        self._at[place] = path
        self._numbers[heading] += 1
        return True

    def _find(self, heading: Heading, due: int) -> Volley | None:
        """Find one that is due when a path is that was due then."""
        first = max(earliest(due, heading.interval), self.clock.now + 1)
        most = self._most(heading)
        between = self._between(heading, first, due + heading.interval)
        return next((volley for volley in between if len(volley.paths) < most), None)

    def have_room(self, replies: int) -> None:
        """Say how many replies may lie unread where they arrive."""
        self._together = min(self._together, max(replies // 2, FEW))

    def _most(self, heading: Heading) -> int:
        return max(FEW, min(self._together, self._numbers[heading] // SOME))

    def _between(self, heading: Heading, first: int, last: int) -> Iterator[Volley]:
        """Give those that rest and are due then."""
        width = _width(heading)
        for step in range(first // width, last // width + 1):
            for volley in self._open.get((heading, step), ()):
                if first <= volley.next <= last:
                    yield volley

    def _offer(self, volley: Volley) -> None:
        if len(volley.paths) < self._together:
            self._open.setdefault(_step(volley), []).append(volley)

    def _withdraw(self, volley: Volley) -> None:
        key = _step(volley)
        others = self._open.get(key, [])
        if volley in others:
            others.remove(volley)
            if not others:
                del self._open[key]

    def leave(self, path: Asked) -> None:
        """From now on a path is asked by itself."""
        volley = path.volley
        if volley is None:
            return
        volley.settle(path)
        at, step_out(path).volley = path.rank, None
        path.last_reply_real, path.last_life = volley.last_reply_real(at), volley.last_life(at)
        volley.paths[at], volley.ways = None, b""
        volley.answered[at] = 1
        del self._at[volley.places[at]]
        self._numbers[volley.heading] -= 1
        if not self._numbers[volley.heading]:
            del self._numbers[volley.heading]
        self._timers.schedule(path)
        if not any(volley.paths):
            self._withdraw(volley)
            volley.deadline = None
        elif volley.is_asked and 0 not in volley.answered:
            # A timeout may be over when the next heartbeat is due, and that comes no sooner then.
            volley.next = max(volley.next, self.clock.now)
            self._rest(volley)

    # -- asking -------------------------------------------------------------------------------

    def due(self, volley: Volley) -> Volley | None:
        """Its moment has come; give that which has all who are to be asked now, if anybody is."""
        self._withdraw(volley)
        volley = self._gather(volley)
        if not volley.heading.mark:
            self._let_try(volley)
        version = self._station.version
        if volley.version != version:
            self._prepare(volley)
            volley.version = version
        volley.deadline = None
        return volley if any(volley.paths) else None

    def _let_try(self, volley: Volley) -> None:
        """Who is no hbd may be one by now: it is asked by itself at times, with our TLV."""
        rows = zip(list(volley.paths), volley.firsts, volley.sessions, strict=True)
        for path, first, session in rows:
            is_due = (first + volley.round) % TRY_AGAIN == 0
            if is_due and path is not None and session.may_tell:
                self.leave(path)

    def _gather(self, volley: Volley) -> Volley:
        """Have those join that may be asked as soon: each volley less is a wake-up less.

        Gives that which they are now: the smaller joins the larger.
        """
        heading, due = volley.heading, volley.next
        room = self._most(heading) - len(volley.paths)
        for other in list(self._between(heading, due, due + int(heading.interval * JITTER))):
            if other.earliest <= due and len(other.paths) <= room:
                room -= len(other.paths)
                self._withdraw(other)
                smaller, volley = sorted((other, volley), key=_size)
                smaller.deadline = None
                volley.next = due
                volley.join(smaller)
        return volley

    def _prepare(self, volley: Volley) -> None:
        """Our station says something else than before."""
        for path, session in zip(volley.paths, volley.sessions, strict=True):
            if path is None:
                continue
            template = session.template()
            if template is not None:
                volley.template = template.octets
                return
            self.leave(path)

    def compose(self, volley: Volley, real: int, wall: int, step: int) -> Sent:
        """Give the heartbeats, and where they go; `step`: how long each takes to leave."""
        if not volley.ways:
            volley.close_ranks()
        clock, heading = self.clock, volley.heading
        count, size = len(volley.paths), heading.size
        if not count:
            return Sent(bytearray(), size, b"")
        first = ntp.ntp_from_unix(wall) - _NOISE // 2 & ~1 | heading.mark
        each = max((step << 32) // ntp.SECOND & ~1, 2)
        bits = self._dice.getrandbits(16 * count) & _ALL_NOISE
        noise = memoryview(bits.to_bytes(2 * count, "little")).cast("H")
        times = range(first, first + count * each, each)
        tokens = list(map(add, times, noise))
        if first < 0 or times.stop + _NOISE > ntp.STAMPS:
            tokens = [token % ntp.STAMPS for token in tokens]  # an era ends
        octets = volley.begin(tokens)
        if volley.is_keyed:
            self._seal(volley, octets)
        volley.sent = clock.now + (real - clock.real)
        volley.lateness = clock.lateness
        # On schedule where we are a little late; but what was left out is not made up for.
        is_far_behind = volley.sent - volley.next > heading.interval
        volley.due = volley.sent if is_far_behind else volley.next
        spread = int(heading.interval * JITTER * self._dice.random())
        if self._is_before_larger(volley):
            spread //= DAWDLING
        volley.next = volley.due + heading.interval - spread
        volley.earliest = earliest(volley.due, heading.interval)
        volley.deadline = volley.sent + heading.timeout
        self._timers.schedule(volley)
        return Sent(octets, size, volley.ways)

    def _is_before_larger(self, volley: Volley) -> bool:
        """Whether one comes soon that it could join: if it dawdles, they meet.

        By chance alone that takes minutes. Only the smaller waits, or all would, each for the next.
        """
        count, due = len(volley.paths), volley.due
        room = self._most(volley.heading) - count
        soon = self._between(volley.heading, due, due + volley.heading.interval // 2)
        return any(count <= len(other.paths) <= room for other in soon)

    def _seal(self, volley: Volley, octets: bytearray) -> None:
        whole, size = memoryview(octets), volley.size
        for at, session in enumerate(volley.sessions):
            session.seal(whole[at * size : (at + 1) * size])

    def time_out(self, volley: Volley) -> int:
        """The first timeout is over: who has not answered waits by itself; give how many do."""
        answers = zip(volley.paths, volley.answered, strict=True)
        overdue = [path for path, answer in answers if path is not None and not answer]
        for path in overdue:
            self.leave(path)
        return len(overdue)

    def _rest(self, volley: Volley) -> None:
        """No reply is awaited any more: others may join until they are asked again."""
        volley.is_asked = False
        volley.deadline = volley.next
        self._timers.schedule(volley)
        self._offer(volley)

    # -- replies ------------------------------------------------------------------------------

    def receive(self, arrivals: Arrivals, since: int, until: int) -> tuple[list[int], set[Egress]]:
        """Take the replies with which all is well; give the indices of the rest.

        `since`, `until`: when all was last read, and was now; a stamp counts from then till then.
        Also gives the egresses of those that something came for, be it taken or not.
        """
        rest, heard = take(arrivals, (since, until), self.clock, self._at)
        for volley in heard:
            self._heard(volley)
        return rest, {volley.heading.egress for volley in heard}

    def _heard(self, volley: Volley) -> None:
        egress = volley.heading.egress
        last = self.clock.at(max(volley.moments))
        egress.last_answer = max(egress.last_answer, last)
        if volley.is_asked and 0 not in volley.answered:
            self._rest(volley)


def is_well(path: Asked) -> bool:
    """Whether nothing of the path needs a look but the next reply."""
    egress = path.egress
    return (
        path.state is State.UP
        and path.judged
        and path.was_up
        and path.asked is None
        and not path.missed
        and path.unanswered.are_all_missed
        and path.fault is None
        and path.goodbye is None
        and not path.rounds.has_failed
        and path.figures.are_calm(path.limits)
        and path.timing.retries > 0
        and path.leads_to == path.target
        and egress is not None
        and egress.fault is None
    )


def fits(path: Asked, seen: Seen, template: Template) -> bool:
    """Whether its next heartbeat and reply are as the last ones were, but for numbers and times."""
    is_of_words = seen.length == len(template.octets) and seen.length % 4 == 0
    return is_of_words and path.figures.window.is_counted is seen.counts


def _size(volley: Volley) -> int:
    return len(volley.paths)


def _step(volley: Volley) -> tuple[Heading, int]:
    return volley.heading, volley.next // _width(volley.heading)


def _width(heading: Heading) -> int:
    return max(heading.interval // STEPS, 1)
