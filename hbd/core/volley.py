"""Paths with which all is well and that are asked together; the hot path.

Paths that are asked alike, leave by the same egress and miss nothing are asked together, as one
volley, and while that goes on their facts stand here, side by side: what a reply changes is a few
octets that lie close to those of the next one. Whatever is done here has the effect of what
`asked`, `stamp` and `fleet` do path by path, for the one case that nearly all heartbeats are: what
comes next from a path is the reply to its last heartbeat, in time, and says nothing new. For
anything else a path leaves its volley, with all its facts, and is watched by itself until all is
well with it again. Nobody need know of this: who reads a fact of a path that stands here gets it
from here, who changes one makes the path leave (see `standing`).

Who stands together is here, who joins and when they are asked in `volleys`, what they are sent and
what is read of their replies in `form`, and what comes of a reply in `replies`.
"""

from __future__ import annotations

from array import array
from itertools import compress, repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.awaited import NOTHING, Awaited, Heartbeat
from hbd.core.form import KEYED
from hbd.core.model import JITTER, MICROSECOND, WINDOW
from hbd.core.standing import stand, step_out
from hbd.core.timers import Timer
from hbd.core.window import LONGEST, fill

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from hbd.core.asked import Asked
    from hbd.core.egress import Egress
    from hbd.core.form import Form
    from hbd.core.stamp import Seen, StampSession
    from hbd.core.volleys import Volleys


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
    form: Form
    max_rtt: int | None
    """From one answer above it on it is looked at whether they are slow."""

    @property
    def most(self) -> int:
        """The longest RTT that needs no look, in microseconds."""
        return LONGEST if self.max_rtt is None else min(self.max_rtt // MICROSECOND, LONGEST)


NOTED: Final = 20
"""After so many rounds what became of heartbeats is written down in all Windows: each is
elsewhere in memory, and to get there costs more than what is done there."""
_WORD: Final = 0xFFFFFFFF

_LISTS: Final = ("paths", "places", "sessions", "counted", "ttls", "windows")
_FLAGS: Final = ("owing", "answered", "counts")
_NUMBERS: Final = ("firsts", "ssids", "same", "moments")
"""What stands side by side of paths, by what holds it."""
_BY_ROUND: Final = ("firsts", "counted", "owing", "answered")
"""Of these, what tells of the volley's own rounds."""
_ROWS: Final = [name for name in (*_LISTS, *_FLAGS, *_NUMBERS) if name not in _BY_ROUND]


class Volley(Timer):
    """Paths that are asked together.

    Its deadline is when they are to be asked; once they are, the end of the first one's timeout.
    """

    __slots__ = (
        "answered",
        "counted",
        "counts",
        "due",
        "earliest",
        "fates",
        "firsts",
        "form",
        "heading",
        "home",
        "is_asked",
        "is_keyed",
        "lateness",
        "lefts",
        "moments",
        "next",
        "noted",
        "owing",
        "paths",
        "places",
        "real",
        "round",
        "rounds",
        "same",
        "sent",
        "sequences",
        "sessions",
        "size",
        "ssids",
        "template",
        "timeout",
        "tokens",
        "ttls",
        "version",
        "ways",
        "windows",
    )

    def __init__(self, home: Volleys, heading: Heading, due: int) -> None:
        super().__init__()
        self.home: Final = home
        self.heading: Final = heading
        self.size: Final = heading.size
        self.timeout: Final = heading.timeout
        self.form: Final = heading.form
        self.is_keyed: Final = heading.form is KEYED
        self.deadline = self.next = due
        self.earliest = 0
        """Before that nobody's interval is over, shortened as it may be."""
        self.is_asked = False
        self.round = self.noted = 0
        """How often they were asked; and what came of how many of these stands in the Windows."""
        self.template, self.version = b"", -1
        """What each is sent, but for sequence number, T1 and SSID; and which words of our station
        stand there."""
        # The last time that they were asked:
        self.due = self.sent = self.real = self.lateness = 0
        self.sequences, self.tokens = array("I"), array("Q")
        self.lefts = array("q")
        """When each left, and"""
        self.fates = array("I")
        """what became of it, as that will stand in its Window."""
        self.rounds: list[array[int]] = []
        """The same of all rounds of which that does not stand there, this one included."""
        # Of each path, or of one that has left and is None:
        self.paths: list[Asked | None] = []
        self.places: list[bytes] = []
        """where it is asked, and its replies come from;"""
        self.ways = b""
        """all of these, joined; nothing, once somebody has come or left;"""
        self.firsts = array("q")
        """its sequence number in round 0;"""
        self.sessions: list[StampSession] = []
        self.ssids = array("H")
        """its SSID as it is sent;"""
        self.same = array("q")
        """what is the same in all its replies (see Form.hash);"""
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
        """the slots of its Window."""

    @property
    def owed_from(self) -> int | None:
        return self.lateness if self.is_asked else None

    def take(self, path: Asked, place: bytes, session: StampSession, seen: Seen) -> None:
        """From now on it is asked with the others."""
        path.deadline = self.next
        path.unanswered = path.unanswered or NOTHING
        self.earliest = max(self.earliest, earliest(path.due, self.heading.interval))
        self.ways = b""
        self.paths.append(path)
        self.places.append(place)
        self.firsts.append(path.sequence - self.round)
        self._enter(path.sequence - self.round, path.figures.window.slots)
        self.sessions.append(session)
        self.same.append(seen.same)
        self.counts.append(seen.counts)
        self.counted.append(self.round)
        self.owing.append(0)
        self.answered.append(1)
        self.moments.append(path.last_reply_real or 0)
        path.last_reply_real, path.last_life = None, -1  # from here on that stands here alone
        self.ttls.append(path.reply_ttl)
        self.windows.append(path.figures.window.slots)
        self.ssids.frombytes(session.ssid.to_bytes(2, "big"))
        session.seen = None  # the next reply outside shows it anew
        stand(path, self, len(self.paths) - 1)

    def last_reply_real(self, rank: int) -> int:
        """When one of them was heard last, monotonic."""
        return self.moments[rank]

    def last_life(self, rank: int) -> int:
        """When that was on our own clock."""
        return self.home.clock.at(self.moments[rank])

    def join(self, other: Volley) -> None:
        """Ask those of another one too, that rest as these do, and as soon."""
        for path in filter(None, other.paths):
            other.settle(path)
        other.close_ranks()
        self.ways = b""
        before, more = self.round - other.round, len(other.paths)
        for first, slots in zip(other.firsts, other.windows, strict=True):
            self.firsts.append(first - before)
            self._enter(first - before, slots)
        self.counted += [self.round] * more
        self.owing += bytes(more)
        self.answered += b"\1" * more
        for path in filter(None, other.paths):
            step_out(path).deadline = self.next
            stand(path, self, len(self.paths) + path.rank)
        for name in _ROWS:
            getattr(self, name).extend(getattr(other, name))
        other.paths = []

    def _enter(self, first: int, slots: array[int]) -> None:
        """Of rounds before it came, what stands in its Window is what is written down there."""
        for sequence, fates in enumerate(self.rounds, first + self.noted):
            fates.append(slots[sequence % WINDOW])

    def left(self, began: int, gone: Iterable[tuple[int, int]]) -> None:
        """They were sent from a moment on; so many of them had left at each of these, monotonic."""
        self.real = moment = began
        self.lefts = array("q")
        for count, ended in gone:
            more = count - len(self.lefts)
            step = (ended - moment) // max(more, 1)
            each = range(moment, moment + more * step, step) if step else repeat(moment, more)
            self.lefts.extend(each)
            moment = ended

    def close_ranks(self) -> None:
        """Forget those that have left, and see where the others are asked."""
        stay = [path is not None for path in self.paths]
        if not all(stay):
            for name in _LISTS:
                setattr(self, name, list(compress(getattr(self, name), stay)))
            for name in _FLAGS:
                setattr(self, name, bytearray(compress(getattr(self, name), stay)))
            for name in _NUMBERS:
                row = getattr(self, name)
                setattr(self, name, array(row.typecode, compress(row, stay)))
            self.rounds = [array("I", compress(fates, stay)) for fates in self.rounds]
            for rank, path in enumerate(self.paths):
                if path is not None:
                    path.rank = rank
        self.ways = b"".join(self.places)

    def begin(self, tokens: list[int]) -> bytearray:
        """Begin a round; give the heartbeats with these T1, but for their HMACs."""
        if len(self.rounds) == NOTED:
            self.note()
        self.tokens = array("Q", tokens)
        self.sequences = array("I", [first + self.round & _WORD for first in self.firsts])
        octets = self.form.write(self.template, self.sequences, self.tokens, self.ssids)
        self.answered = bytearray(len(tokens))
        self.fates = array("I", bytes(4 * len(tokens)))
        self.rounds.append(self.fates)
        self.round += 1
        self.is_asked = True
        return octets

    def note(self) -> None:
        """Write down in all Windows what became of heartbeats."""
        fates_of = zip(*self.rounds, strict=True)
        rows = zip(self.paths, self.windows, self.firsts, fates_of, strict=False)
        for path, slots, first, fates in rows:
            if path is not None:
                fill(slots, first + self.noted, fates)
        self.rounds.clear()
        self.noted = self.round

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
        step_out(path)
        path.sequence = sequence
        path.last_sent, path.due, path.lateness = self.sent, self.due, self.lateness
        figures = path.figures
        figures.sent += rounds
        figures.received += answers
        fates = [fates[at] for fates in self.rounds]
        fill(figures.window.slots, self.firsts[at] + self.noted, fates)
        figures.window.go_on(sequence)
        unanswered = path.unanswered or Awaited()
        if path.asked is not None:
            unanswered.pop(path.asked, None)
        unanswered.forget(sequence - 1, None)
        if answers:
            if path.is_measured:
                path.rounds.clean += answers
            last = path.last_answered = sequence - 1 - awaits
            path.last_rtt = figures.window.rtt(last)
            path.reply_ttl = self.ttls[at]
            path.repeated = path.is_put_off = False
        if awaits:
            last = sequence - 1
            path.asked, path.doubted = last, True
            later = self.lefts[at] - self.real
            path.last_sent = self.sent + later
            path.deadline = path.last_sent + self.timeout
            unanswered[last] = Heartbeat(path.last_sent, self.lefts[at], self.tokens[at])
            self.sessions[at].silent = 1
        else:
            path.asked = None
            path.deadline = self.next
            self.sessions[at].silent = 0
        path.unanswered = unanswered or NOTHING
        stand(path, self, at)


def earliest(due: int, interval: int) -> int:
    """Give the end of the shortest interval from then on."""
    return due + interval - int(interval * JITTER)
