"""From entries to a timeline for each peer: what it was, moment by moment, and who watched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import State
from hbd.report.history.clocks import straightened
from hbd.report.history.told import (
    Absent,
    Changed,
    Flapped,
    Happened,
    Snapshot,
    Started,
    Stopped,
)
from hbd.report.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hbd.report.history.told import Row, Told

BEGINNING: Final = -(1 << 63)
"""Before all that is told."""


class Why(StrEnum):
    """Why nobody watched, or why it is not known whether anybody did."""

    NOT_TOLD = "not-told"
    """The journal has nothing of then."""
    NOT_RUNNING = "not-running"
    NOT_LISTED = "not-listed"
    SUSPENDED = "suspended"
    STALLED = "stalled"
    """hbd ran, but not for so long that the peer could not be judged."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a peer was in [begin, end)."""

    begin: int
    end: int
    state: State | None
    """None: nobody watched it."""
    cause: str = ""
    """Or why nobody did: a word of `Why`."""
    told: Changed | None = None
    """The entry that told of its beginning, where there is one; with the best known cause."""
    since: int = BEGINNING
    """When the state began, though that was before all that is told here."""

    @property
    def lasted(self) -> int:
        return self.end - self.begin


class Storm(NamedTuple):
    """Many peers changed together."""

    at: int
    peers: int
    common: str


@dataclass(frozen=True, slots=True)
class Track:
    """One peer: spans that follow each other without a gap."""

    spans: tuple[Span, ...]
    flapping: tuple[tuple[int, int], ...] = ()
    """When it did, from and to."""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """All that was told, up to a moment."""

    peers: dict[str, Track]
    watch: Track
    """Of hbd itself: up while it watched."""
    node: str = ""
    starts: tuple[int, ...] = ()
    stalls: tuple[int, ...] = ()
    """When each was over."""
    lost: int = 0
    """Entries that the journal never got."""
    unreadable: int = 0
    """Entries that are not as ours are."""
    storms: tuple[Storm, ...] = ()


class Hole(NamedTuple):
    """Time that an entry takes out of others."""

    begin: int
    end: int
    state: State | None
    cause: Why
    beyond: int
    """Only of peers whose silence would have been noticed in less."""


@dataclass(slots=True)
class _Mark:
    """From here on it is so, until the next."""

    at: int
    state: State | None
    cause: str
    since: int
    """As it was told: by the wall clock of then."""
    told: Changed | None = None


@dataclass(slots=True)
class _Marks:
    """The marks of a peer, in order; there is always one."""

    marks: list[_Mark]
    labels: tuple[tuple[str, str], ...] = ()
    detection: int | None = None
    flapping: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def last(self) -> _Mark:
        return self.marks[-1]

    def put(
        self, at: int, state: State | None, cause: str, since: int, told: Changed | None = None
    ) -> None:
        at = max(at, self.last.at)
        self.marks.append(_Mark(at, state, cause, since, told))

    def leave(self, at: int, why: Why) -> None:
        """Nobody watches it any more."""
        if self.last.state is not None or self.last.cause != why:
            self.put(at, None, why, at)
        if self.flapping and self.flapping[-1][1]:
            self.flapping.append((at, False))


def history(entries: Iterable[Told], until: int, *, is_watched: bool) -> History:
    """Put what was told into timelines that end at `until`.

    `is_watched`: hbd is known to run until then; else it is, up to the last entry.
    """
    straight, gaps = straightened(entries)
    teller = _Past()
    for entry in straight:
        teller.take(entry)
    holes = [Hole(gap.begin, gap.end, None, Why.NOT_TOLD, 0) for gap in gaps]
    return teller.history(until, [*teller.holes, *holes], is_watched=is_watched)


class _Past:
    """Takes entries in the order in which they happened."""

    def __init__(self) -> None:
        self.holes: list[Hole] = []
        self._peers: dict[str, _Marks] = {}
        self._watch = _new(Why.NOT_TOLD)
        self._listing: tuple[object, set[str]] = (None, set())
        """The snapshot that is being read, and whom it has named so far."""
        self._is_listed = False
        """Whether all peers are known: who is named later was added."""
        self._process: tuple[str, int] | None = None
        self._seen = self._seen_before = BEGINNING
        """When this process told something last, and the one before it."""
        self._node = ""
        self._starts: list[int] = []
        self._stalls: list[int] = []
        self._lost = self._unreadable = 0
        self._storms: list[Storm] = []

    def take(self, entry: Told) -> None:
        process = entry.receipt.boot, entry.receipt.process
        if process != self._process:
            self._process, self._seen_before = process, self._seen
        at = self._seen = entry.since
        match entry.news:
            case Started() as started:
                self._start(at, started)
            case Stopped():
                self._stop(at)
            case Snapshot() as snapshot:
                self._snapshot(at, snapshot)
            case Changed() as changed:
                self._change(at, changed)
            case Flapped() as flapped:
                self._peer(flapped.peer).flapping.append((at, flapped.is_flapping))
            case Absent() as absent:
                self._absence(at, absent)
            case Happened() as happened:
                self._other(at, happened)

    # -- hbd itself ---------------------------------------------------------------------------

    @property
    def _is_running(self) -> bool:
        return self._watch.last.state is not None

    def _start(self, at: int, started: Started) -> None:
        if self._is_running:  # it did not say that it stopped
            began = self._seen_before
            if started.unwatched is not None:
                began = max(began, at - started.unwatched)
            self._stop(min(began, at))
        self._watch.put(at, State.UP, "", at)
        self._node = started.node or self._node
        self._starts.append(at)

    def _stop(self, at: int) -> None:
        self._watch.leave(at, Why.NOT_RUNNING)
        for marks in self._peers.values():
            if marks.last.state is not None:
                marks.leave(at, Why.NOT_RUNNING)

    def _run(self, at: int) -> None:
        """Something was told of peers, so it runs."""
        if not self._is_running:
            self._watch.put(at, State.UP, "", at)

    def _absence(self, at: int, absent: Absent) -> None:
        if absent.is_suspend:
            hole = Hole(at - absent.duration, at, None, Why.SUSPENDED, 0)
        else:
            hole = Hole(at - absent.duration, at, State.UNKNOWN, Why.STALLED, absent.duration)
            self._stalls.append(at)
        self.holes.append(hole)

    def _other(self, at: int, happened: Happened) -> None:
        if happened.kind is Kind.LOST:
            self._lost += happened.count or 0
        elif happened.kind is Kind.STORM:
            self._storms.append(Storm(at, happened.count or 0, happened.common))
        elif happened.kind is Kind.STALL:
            self._stalls.append(at)

    # -- peers --------------------------------------------------------------------------------

    def _peer(self, name: str) -> _Marks:
        marks = self._peers.get(name)
        if marks is None:
            why = Why.NOT_LISTED if self._is_listed else Why.NOT_TOLD
            marks = self._peers[name] = _new(why)
        return marks

    def _snapshot(self, at: int, snapshot: Snapshot) -> None:
        if snapshot.occasion == "stop" and not self._is_running:
            return  # a stop is told as of the moment just before it
        try:
            rows = snapshot.rows()
        except (ValueError, RecursionError):
            self._unreadable += 1
            return
        self._run(at)
        for row in rows:
            self._see(at, row)
        self._list(at, snapshot, rows)
        if snapshot.occasion == "stop":
            self._stop(at)

    def _list(self, at: int, snapshot: Snapshot, rows: list[Row]) -> None:
        """Who is in no part of a snapshot is not on the list; whole it is with its last part."""
        key = at, snapshot.occasion, snapshot.count
        if self._listing[0] != key:
            self._listing = key, set()
        named = self._listing[1]
        named.update(row.peer for row in rows)
        if len(named) < snapshot.count:
            return
        self._is_listed = True
        for name, marks in self._peers.items():
            if name not in named:
                marks.leave(at, Why.NOT_LISTED)

    def _see(self, at: int, row: Row) -> None:
        """Take what a snapshot says of a peer; mostly it is known."""
        marks = self._peer(row.peer)
        marks.detection = row.detection
        last = marks.last
        if last.state is None:
            marks.put(at, row.state, row.cause, row.since)
        elif row.state is not last.state and row.since > last.since:
            # What told of it is lost; but that it happened, and when, is known.
            marks.put(min(row.since, at), row.state, row.cause, row.since)

    def _change(self, at: int, changed: Changed) -> None:
        self._run(at)
        marks = self._peer(changed.peer)
        if changed.labels:
            marks.labels = changed.labels
        began = max(at - (changed.lasted or 0), 0)
        if marks.last.state not in (None, changed.previous):
            # What told of it is lost.
            marks.put(began, changed.previous, changed.previous_cause, began)
        if changed.state is not changed.previous:
            marks.put(at, changed.state, changed.cause, at, changed)
        elif marks.last.state is changed.state:
            marks.last.cause, marks.last.told = changed.cause, _better(marks.last.told, changed)
        else:
            marks.put(at, changed.state, changed.cause, began, changed)

    # -- the end ------------------------------------------------------------------------------

    def history(self, until: int, holes: list[Hole], *, is_watched: bool) -> History:
        known = until if is_watched else min(self._seen, until)
        cuts = _Cuts(holes)
        peers = {
            name: Track(
                _behind(cuts.of(_spans(marks.marks, known, until), marks.detection)),
                _pairs(marks.flapping, until),
                marks.labels,
            )
            for name, marks in self._peers.items()
        }
        return History(
            peers=peers,
            watch=Track(cuts.of(_spans(self._watch.marks, known, until), None)),
            node=self._node,
            starts=tuple(self._starts),
            stalls=tuple(self._stalls),
            lost=self._lost,
            unreadable=self._unreadable,
            storms=tuple(self._storms),
        )


def _new(why: Why) -> _Marks:
    return _Marks([_Mark(BEGINNING, None, why, BEGINNING)])


def _better(told: Changed | None, refined: Changed) -> Changed:
    """Give what told of the beginning, with what has been learned since."""
    if told is None:
        return refined
    return replace(
        told,
        cause=refined.cause,
        evidence=refined.evidence or told.evidence,
        address=refined.address or told.address,
    )


def _spans(marks: list[_Mark], known: int, until: int) -> list[Span]:
    """Give what lies between marks."""
    spans: list[Span] = []
    end = until
    if known < until and marks[-1].state is not None:
        begin = min(max(known, marks[-1].at + 1), until)  # what was told last was so for a moment
        spans.append(Span(begin, until, None, Why.NOT_TOLD, None, begin))
        end = begin
    for mark in reversed(marks):
        if mark.at < end:
            spans.append(Span(mark.at, end, mark.state, mark.cause, mark.told, mark.since))
            end = mark.at
    spans.reverse()
    return spans


def _behind(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Give them so that a silent peer whose parent fell with it was unreachable all along.

    Not before a hole: whoever wakes up judges anew who is to blame, not for what was before.
    """
    found: list[Span] = []
    for span in reversed(spans):
        after = found[-1] if found else span
        is_behind = span.state is State.DOWN and after.state is State.UNREACHABLE
        found.append(replace(span, state=after.state, cause=after.cause) if is_behind else span)
    found.reverse()
    return tuple(found)


def _pairs(marks: list[tuple[int, bool]], until: int) -> tuple[tuple[int, int], ...]:
    pairs: list[tuple[int, int]] = []
    began: int | None = None
    for at, is_on in [*marks, (until, False)]:
        if is_on and began is None:
            began = at
        elif not is_on and began is not None:
            pairs.append((began, max(at, began)))
            began = None
    return tuple(pairs)


class _Cuts:
    """Holes to be cut out of spans in which somebody watched."""

    def __init__(self, holes: Iterable[Hole]) -> None:
        self._holes: Final = sorted(
            (hole for hole in holes if hole.begin < hole.end), key=lambda hole: hole[:2]
        )
        self._of_detection: Final[dict[int | None, list[Hole]]] = {}

    def of(self, spans: Sequence[Span], detection: int | None) -> tuple[Span, ...]:
        """Give spans in which holes count for what they are.

        `detection`: None, where that is not known, is of a peer that no stall hides.
        """
        holes = self._of_detection.get(detection)
        if holes is None:
            holes = self._of_detection[detection] = [
                hole
                for hole in self._holes
                if not hole.beyond or (detection is not None and hole.beyond > detection)
            ]
        parts: list[Span] = []
        first = 0
        for span in spans:
            while first < len(holes) and holes[first].end <= span.begin:
                first += 1
            parts += _cut(span, holes, first)
        return tuple(parts)


def _cut(span: Span, holes: list[Hole], first: int) -> list[Span]:
    if span.state is None:
        return [span]
    parts: list[Span] = []
    begin = span.begin
    for hole in islice(holes, first, None):
        if hole.begin >= span.end:
            break
        low, high = max(hole.begin, begin), min(hole.end, span.end)
        if low >= high:
            continue
        if begin < low:
            parts.append(replace(span, begin=begin, end=low))
        parts.append(Span(low, high, hole.state, hole.cause, None, low))
        begin = high
    if begin < span.end:
        parts.append(replace(span, begin=begin))
    return parts
