"""Heartbeats of paths with which all is well, 64 at a time: the hot path.

Paths that are asked alike, leave by the same egress and miss nothing are asked together, as one
volley, and while that goes on their facts stand here, side by side: what a reply changes is a few
octets that lie close to those of the next one. Whatever is done here has the effect of what
`asked`, `stamp` and `fleet` do path by path, for the one case that nearly all heartbeats are: what
comes next from a path is the reply to its last heartbeat, in time, and says nothing new. For
anything else a path leaves its volley, with all its facts, and is watched by itself until all is
well with it again. Nobody need know of this: who reads a fact of a path that stands here gets it
from here, who changes one makes the path leave (see `asked.managed`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from functools import lru_cache
from struct import Struct, pack
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.awaited import NOTHING, Awaited, Heartbeat
from hbd.core.model import JITTER, MICROSECOND, WINDOW, State
from hbd.core.stamp import StampSession
from hbd.core.timers import Timer
from hbd.core.window import LONGEST
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from hbd.core.address import Address
    from hbd.core.arrival import Arrivals
    from hbd.core.asked import Asked
    from hbd.core.clock import Clock
    from hbd.core.egress import Egress
    from hbd.core.model import Dice
    from hbd.core.stamp import Seen, Station, Template
    from hbd.core.timers import Timers

TOGETHER: Final = 256
"""Paths of a volley at the most: more would gain nothing, and the last would leave late."""
FEW: Final = 64
"""So many may always be one; more only where each interval has some volleys still,"""
SOME: Final = 4
"""that is so many: what leaves at once is to be a small part of what the way can carry."""

STEPS: Final = 20
"""Volleys are found by when they are due, in twentieths of an interval."""

SSID: Final = 7
KEYED_SSID: Final = 13
"""Pairs of octets before it, without keys and with them."""
_NOISE: Final = 0xFFE
"""The random bits of T1; its last one has a meaning of its own."""
_TIME: Final = 0xFFFFFFFFFFFFF000
"""The others: as many as there are, for what leaves when an era ends too."""
_WORD: Final = 0xFFFFFFFF


class Heading(NamedTuple):
    """What the paths of a volley have in common."""

    outlet: Hashable
    egress: Egress
    interval: int
    timeout: int
    size: int
    """Octets of a heartbeat, and of its reply,"""
    mark: int
    """and the last bit of its T1."""
    is_keyed: bool


class Sent(NamedTuple):
    """Heartbeats to be sent now, of one length."""

    octets: bytearray
    size: int
    places: bytes
    """Where they go, one after the other."""


_ROWS: Final = (
    "paths",
    "places",
    "sessions",
    "ssids",
    "numbers",
    "same",
    "counts",
    "moments",
    "ttls",
    "windows",
)
"""What volleys that join have side by side."""
_LISTS: Final = ("paths", "places", "sessions", "same", "counted", "ttls", "windows")
_FLAGS: Final = ("owing", "answered", "counts")
_NUMBERS: Final = ("firsts", "ssids", "numbers", "moments")


class Volley(Timer):
    """Paths that are asked together.

    Its deadline is when they are to be asked; once they are, the end of their timeout.
    """

    __slots__ = (
        "answered",
        "counted",
        "counts",
        "due",
        "earliest",
        "firsts",
        "heading",
        "home",
        "is_asked",
        "is_keyed",
        "lateness",
        "moments",
        "next",
        "numbers",
        "owing",
        "paths",
        "places",
        "real",
        "round",
        "same",
        "sent",
        "sessions",
        "size",
        "ssids",
        "step",
        "template",
        "timeout",
        "tokens",
        "ttls",
        "version",
        "windows",
    )

    def __init__(self, home: Volleys, heading: Heading, due: int) -> None:
        super().__init__()
        self.home: Final = home
        self.heading: Final = heading
        self.size: Final = heading.size
        self.timeout: Final = heading.timeout
        self.is_keyed: Final = heading.is_keyed
        self.deadline = self.next = due
        self.earliest = 0
        """Before that nobody's interval is over, shortened as it may be."""
        self.is_asked = False
        self.round = 0
        """How often they were asked."""
        self.template = b""
        """What each is sent, but for sequence number, T1 and SSID;"""
        self.version = -1
        """and which words of our station stand there."""
        # The last time that they were asked:
        self.due = self.sent = self.real = self.step = self.lateness = 0
        self.tokens = array("Q")
        # Of each path, or of one that has left and is None:
        self.paths: list[Asked | None] = []
        self.places: list[bytes] = []
        """where it is asked, and its replies come from;"""
        self.firsts = array("q")
        """its sequence number in round 0;"""
        self.sessions: list[StampSession] = []
        self.ssids = array("H")
        """its SSID as it is sent;"""
        self.numbers = array("I")
        """Error Estimate and SSID of all its replies,"""
        self.same: list[bytes] = []
        """and what else is the same in all of them;"""
        self.counts = bytearray()
        """whether its reflector is known to count;"""
        self.counted: list[int] = []
        """the round up to which its own counters go,"""
        self.owing = bytearray()
        """whether an answer was still to come then;"""
        self.answered = bytearray()
        """whether its last heartbeat was answered,"""
        self.moments = array("q")
        """when an answer came last, monotonic,"""
        self.ttls: list[int | None] = []
        """what was left of its TTL;"""
        self.windows: list[array[int]] = []
        """its last heartbeats, as they stand in its Window."""

    @property
    def owed_from(self) -> int | None:
        return self.lateness if self.is_asked else None

    def take(self, path: Asked, place: bytes, session: StampSession, seen: Seen) -> None:
        """From now on it is asked with the others."""
        path.deadline = self.next
        path.unanswered = path.unanswered or NOTHING
        self.earliest = max(self.earliest, _earliest(path.due, self.heading.interval))
        self.paths.append(path)
        self.places.append(place)
        self.firsts.append(path.sequence - self.round)
        self.sessions.append(session)
        self.numbers.append(seen.numbers)
        self.same.append(seen.same)
        self.counts.append(seen.counts)
        self.counted.append(self.round)
        self.owing.append(0)
        self.answered.append(1)
        self.moments.append(path.last_reply_real or 0)
        self.ttls.append(path.reply_ttl)
        self.windows.append(path.figures.window.slots)
        self.ssids.frombytes(session.ssid.to_bytes(2, "big"))
        session.seen = None  # the next reply outside shows it anew
        path.rank = len(self.paths) - 1
        path.volley = self

    def join(self, other: Volley) -> None:
        """Ask those of another one too, that rest as these do, and as soon."""
        for path in filter(None, other.paths):
            other.settle(path)
        other.close_ranks()
        before, more = self.round - other.round, len(other.paths)
        self.firsts.extend(first - before for first in other.firsts)
        self.counted += [self.round] * more
        self.owing += bytes(more)
        self.answered += b"\1" * more
        for path in filter(None, other.paths):
            path.volley = None  # or it would leave
            path.deadline = self.next
            path.rank += len(self.paths)
            path.volley = self
        for name in _ROWS:
            getattr(self, name).extend(getattr(other, name))
        other.paths = []

    def left(self, began: int, ended: int) -> None:
        """They were sent from one moment to another, monotonic."""
        self.real, self.step = began, (ended - began) // max(len(self.paths), 1)

    def close_ranks(self) -> None:
        """Forget those that have left."""
        kept = [at for at, path in enumerate(self.paths) if path is not None]
        for name in _LISTS:
            row = getattr(self, name)
            setattr(self, name, [row[at] for at in kept])
        for name in _FLAGS:
            row = getattr(self, name)
            setattr(self, name, bytearray(row[at] for at in kept))
        for name in _NUMBERS:
            row = getattr(self, name)
            setattr(self, name, array(row.typecode, [row[at] for at in kept]))
        for rank, path in enumerate(self.paths):
            if path is not None:
                path.rank = rank

    def leave(self, path: Asked) -> None:
        """From now on it is asked by itself."""
        self.home.leave(path)

    def settle(self, path: Asked) -> None:
        """Write down in the path itself what has become of it here."""
        at = path.rank
        rounds = self.round - self.counted[at]
        awaits = self.is_asked and not self.answered[at]
        answers = rounds + self.owing[at] - awaits
        if not rounds and not answers:
            return
        self.counted[at], self.owing[at] = self.round, awaits
        sequence = self.firsts[at] + self.round
        path.volley = None  # or it would ask us
        path.sequence = sequence
        path.last_sent, path.due, path.lateness = self.sent, self.due, self.lateness
        figures = path.figures
        figures.sent += rounds
        figures.received += answers
        if awaits:
            figures.window.slots[(sequence - 1) % WINDOW] = 0
        figures.window.go_on(sequence)
        unanswered = path.unanswered or Awaited()
        if path.asked is not None:
            unanswered.pop(path.asked, None)
        unanswered.forget(sequence - 1, None)
        if answers:
            path.rounds.clean += answers
            last = path.last_answered = sequence - 1 - awaits
            path.last_reply_real = self.moments[at]
            path.last_life = self.home.clock.at(self.moments[at])
            path.last_rtt = figures.window.rtt(last)
            path.reply_ttl = self.ttls[at]
            path.repeated = path.is_put_off = False
        if awaits:
            last = sequence - 1
            path.asked, path.doubted = last, True
            path.deadline = self.deadline
            real = self.real + at * self.step
            unanswered[last] = Heartbeat(self.sent, real, self.tokens[at])
            self.sessions[at].silent = 1
        else:
            path.asked = None
            path.deadline = self.next
            self.sessions[at].silent = 0
        path.unanswered = unanswered or NOTHING
        path.volley = self


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
        outlet = (settings.interface, settings.source, settings.dscp, len(target))
        heading = Heading(
            outlet,
            egress,
            timing.interval,
            timing.timeout,
            seen.length,
            template.mark,
            session.is_keyed,
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
        earliest = max(_earliest(due, heading.interval), self.clock.now + 1)
        most = self._most(heading)
        between = self._between(heading, earliest, due + heading.interval)
        return next((volley for volley in between if len(volley.paths) < most), None)

    def _most(self, heading: Heading) -> int:
        return max(FEW, min(TOGETHER, self._numbers[heading] // SOME))

    def _between(self, heading: Heading, earliest: int, latest: int) -> Iterator[Volley]:
        """Give those that rest and are due then."""
        width = _width(heading)
        for step in range(earliest // width, latest // width + 1):
            for volley in self._open.get((heading, step), ()):
                if earliest <= volley.next <= latest:
                    yield volley

    def _offer(self, volley: Volley) -> None:
        if len(volley.paths) < TOGETHER:
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
        at, path.volley = path.rank, None
        path.unanswered = path.unanswered or Awaited()
        volley.paths[at] = None
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

    def due(self, volley: Volley) -> bool:
        """Its moment has come; tell whether there is anybody to ask."""
        self._withdraw(volley)
        self._gather(volley)
        version = self._station.version
        if volley.version != version:
            self._prepare(volley)
            volley.version = version
        volley.deadline = None
        return any(volley.paths)

    def _gather(self, volley: Volley) -> None:
        """Have those join that may be asked as soon: each volley less is a wake-up less."""
        heading, due = volley.heading, volley.next
        room = self._most(heading) - len(volley.paths)
        for other in list(self._between(heading, due, due + int(heading.interval * JITTER))):
            if other.earliest <= due and len(other.paths) <= room:
                room -= len(other.paths)
                self._withdraw(other)
                other.deadline = None
                volley.join(other)

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
        if None in volley.paths:
            volley.close_ranks()
        clock, heading = self.clock, volley.heading
        count, size = len(volley.paths), heading.size
        if not count:
            return Sent(bytearray(), size, b"")
        first, each = ntp.ntp_from_unix(wall), (step << 32) // ntp.SECOND
        bits = self._dice.getrandbits(16 * count)
        noise = memoryview(bits.to_bytes(2 * count, "little")).cast("H")
        mark = heading.mark
        times = range(first, first + count * max(each, 1), max(each, 1))
        tokens = [
            time & _TIME | random & _NOISE | mark
            for time, random in zip(times, noise, strict=False)
        ]
        volley.tokens = array("Q", tokens)
        octets = _write(volley, tokens)
        volley.sent = clock.now + (real - clock.real)
        volley.real, volley.step = real, step
        volley.lateness = clock.lateness
        # On schedule where we are a little late; but what was left out is not made up for.
        is_far_behind = volley.sent - volley.next > heading.interval
        volley.due = volley.sent if is_far_behind else volley.next
        spread = int(heading.interval * JITTER * self._dice.random())
        volley.next = volley.due + heading.interval - spread
        volley.earliest = _earliest(volley.due, heading.interval)
        volley.round += 1
        volley.is_asked = True
        volley.answered = bytearray(count)
        volley.deadline = volley.sent + heading.timeout
        self._timers.schedule(volley)
        return Sent(octets, size, b"".join(volley.places))

    def time_out(self, volley: Volley) -> None:
        """Its timeout is over: who has not answered is overdue, by itself."""
        for path, answer in zip(list(volley.paths), list(volley.answered), strict=True):
            if path is not None and not answer:
                self.leave(path)

    def _rest(self, volley: Volley) -> None:
        """No reply is awaited any more: others may join until they are asked again."""
        volley.is_asked = False
        volley.deadline = volley.next
        self._timers.schedule(volley)
        self._offer(volley)

    # -- replies ------------------------------------------------------------------------------

    def receive(self, arrivals: Arrivals, since: int) -> list[int]:
        """Take the replies with which all is well; give the indices of the rest.

        `since`: when all was last read; a stamp counts from then till now.
        """
        clock, at_place = self.clock, self._at
        offset, second = clock.real - clock.wall, ntp.SECOND
        real = clock.real
        rest: list[int] = []
        heard: dict[Volley, None] = {}
        fields = _layout(arrivals.stride).iter_unpack(arrivals.octets)
        columns = (arrivals.places, arrivals.lengths, arrivals.stamps, arrivals.ttls)
        for index, (one, place, length, stamp, ttl) in enumerate(
            zip(fields, *columns, strict=True)
        ):
            path = at_place.get(place)
            if path is None or (volley := path.volley) is None:
                rest.append(index)
                continue
            rank = path.rank
            sequence = volley.firsts[rank] + volley.round - 1
            counted, t3, numbers, t2, echoed, token, same = (
                _keyed(arrivals.octets, index * arrivals.stride) if volley.is_keyed else one
            )
            moment = real if stamp is None else stamp + offset
            if moment < since or moment > real:
                moment = since if moment < since else real
            since_first = moment - volley.real
            rtt = since_first - rank * volley.step
            dwell = (t3 - t2) * second >> 32
            uncounted = echoed - counted
            if (
                volley.answered[rank]
                or length != volley.size
                or token != volley.tokens[rank]
                or echoed != sequence & _WORD
                or same != volley.same[rank]
                or numbers != volley.numbers[rank]
                or ttl != volley.ttls[rank]
                or not 0 <= dwell <= since_first  # it left then or later: steps are not even
                or rtt > volley.timeout
                or (uncounted and not volley.counts[rank])
                or (volley.is_keyed and not volley.sessions[rank].vouches(arrivals.datagram(index)))
            ):
                rest.append(index)
                continue
            short = (rtt - dwell) // MICROSECOND
            if short > LONGEST or short < 1:
                short = LONGEST if short > LONGEST else 1
            volley.windows[rank][sequence % WINDOW] = (uncounted & 0xFF) << 24 | short
            volley.answered[rank] = 1
            volley.moments[rank] = moment
            heard[volley] = None
        for volley in heard:
            self._heard(volley)
        return rest

    def _heard(self, volley: Volley) -> None:
        egress = volley.heading.egress
        last = self.clock.at(max(volley.moments))
        egress.last_answer = max(egress.last_answer, last)
        if 0 not in volley.answered:
            self._rest(volley)


def is_well(path: Asked) -> bool:
    """Whether nothing of the path needs a look but the next reply."""
    limits, egress = path.limits, path.egress
    return (
        path.state is State.UP
        and path.judged
        and path.was_up
        and path.asked is None
        and not path.missed
        and path.unanswered.are_all_missed
        and path.peer.pause is None
        and path.fault is None
        and path.goodbye is None
        and not path.rounds.has_failed
        and not path.figures.tight
        and limits.max_loss is None
        and limits.max_rtt is None
        and path.timing.retries > 0
        and path.targets == (path.target,)
        and path.leads_to == path.target
        and egress is not None
        and egress.fault is None
    )


def fits(path: Asked, seen: Seen, template: Template) -> bool:
    """Whether its next heartbeat and reply are as the last ones were, but for numbers and times."""
    is_of_words = seen.length == len(template.octets) and seen.length % 4 == 0
    return is_of_words and path.figures.window.is_counted is seen.counts


def _step(volley: Volley) -> tuple[Heading, int]:
    return volley.heading, volley.next // _width(volley.heading)


def _width(heading: Heading) -> int:
    return max(heading.interval // STEPS, 1)


def _earliest(due: int, interval: int) -> int:
    """Give the end of the shortest interval from then on."""
    return due + interval - int(interval * JITTER)


def _write(volley: Volley, tokens: list[int]) -> bytearray:
    """Give what is sent in this round with these T1."""
    count, size, is_keyed = len(tokens), volley.size, volley.is_keyed
    octets = bytearray(volley.template * count)
    whole, every = memoryview(octets), size // 4
    pairs, words = whole.cast("H"), whole.cast("I")
    sequences = [first + volley.round & _WORD for first in volley.firsts]
    words[0::every] = _words(f">{count}I", sequences)
    moment = 4 if is_keyed else 1
    halves = _words(f">{count}Q", tokens)
    words[moment::every], words[moment + 1 :: every] = halves[0::2], halves[1::2]
    pairs[KEYED_SSID if is_keyed else SSID :: size // 2] = memoryview(volley.ssids)
    if is_keyed:
        for at, session in enumerate(volley.sessions):
            session.seal(whole[at * size : (at + 1) * size])
    return octets


def _words(layout: str, numbers: list[int]) -> memoryview:
    """Write numbers; give them as words of 32 bits."""
    return memoryview(pack(layout, *numbers)).cast("I")


@lru_cache(maxsize=8)
def _layout(stride: int) -> Struct:
    """Give what of replies is read, each a stride after the one before.

    Its number, T3, estimate and SSID, T2, the number and T1 that it brings back; then what is the
    same in all as a rule: the TTL that we arrive with, and hbd's TLV up to the number of those
    accepted (see stamp.Seen).
    """
    return Struct(f">IQIQIQ4x40s{stride - 80}x")


_KEYED: Final = Struct(">I12xQI4xQ8xI12xQ8x16s16x36s")


def _keyed(octets: memoryview, at: int) -> tuple[int, int, int, int, int, int, bytes]:
    """Give the same of a reply in authenticated mode."""
    *numbers, ttl, words = _KEYED.unpack_from(octets, at)
    return (*numbers, ttl + words)
