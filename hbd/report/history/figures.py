"""What timelines come to: availability, outages, and how long it took until they were over.

available = (up + degraded) / (up + degraded + down). Time in which nothing is known of the peer
itself (unreachable, unknown, unwatched), or in which it was not to be there (paused, left), is in
neither; reachability counts unreachable time like down.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import State
from hbd.report.history.timeline import Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hbd.report.history.timeline import History, Span, Storm, Track

UNWATCHED: Final = "unwatched"
"""Beside the words of the states: nobody watched."""

AVAILABLE: Final = (State.UP, State.DEGRADED)
FAILED: Final = (State.DOWN, State.UNREACHABLE)
ENDING: Final = (State.UP, State.DEGRADED, State.LEFT)
"""An outage lasts until the peer is seen to be there, or to leave."""
NO_CAUSE: Final = "not told"


@dataclass(frozen=True, slots=True)
class Outage:
    """A peer was not there; it was not seen to be there in between."""

    peer: str
    since: int
    until: int
    """The end of what is known of it."""
    is_over: bool
    """It was seen to be there again, or to leave; else it goes on, or is watched no more."""
    down: int
    unreachable: int
    within: int
    """How much of both lies in the span of the report."""
    cause: str
    causes: tuple[str, ...]
    address: str
    evidence: str
    detection: int | None

    @property
    def state(self) -> State:
        """Down, unless nothing but what lies between was."""
        return State.DOWN if self.down else State.UNREACHABLE

    @property
    def lasted(self) -> int:
        return self.down + self.unreachable


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """One peer; durations in nanoseconds. `times` add up to the span of the report."""

    name: str
    times: Mapping[str, int]
    outages: tuple[Outage, ...]
    flapping: int
    """How often it began to."""
    flapped: int
    """For how long."""
    spans: tuple[Span, ...]
    labels: tuple[tuple[str, str], ...] = ()
    state: State | None = None
    """At the end of the span."""

    @property
    def up(self) -> int:
        return sum(self.times.get(state, 0) for state in AVAILABLE)

    @property
    def availability(self) -> float | None:
        """0 to 1; None where nothing is known that counts."""
        return _share(self.up, self.times.get(State.DOWN, 0))

    @property
    def reachability(self) -> float | None:
        """The same with unreachable time as downtime."""
        return _share(self.up, sum(self.times.get(state, 0) for state in FAILED))

    @property
    def unavailable(self) -> int:
        return sum(self.times.get(state, 0) for state in FAILED)

    @property
    def failures(self) -> tuple[Outage, ...]:
        """Outages of its own."""
        return tuple(outage for outage in self.outages if outage.state is State.DOWN)

    @property
    def begun(self) -> int:
        """How many of them began in the span."""
        return sum(self.spans[0].begin <= outage.since for outage in self.failures)

    @property
    def mtbf(self) -> int | None:
        """Mean time between failures: time there, for each that began."""
        return self.up // self.begun if self.begun else None

    @property
    def mttr(self) -> int | None:
        """Mean time to repair: how long those took that were over in the span."""
        end = self.spans[-1].end
        repaired = [each.down for each in self.failures if each.is_over and each.until <= end]
        return sum(repaired) // len(repaired) if repaired else None

    @property
    def longest(self) -> int | None:
        return max((outage.lasted for outage in self.outages), default=None)

    @property
    def is_quiet(self) -> bool:
        """Nothing of it need be told but its name."""
        return not (self.outages or self.flapping or self.times.get(State.DEGRADED))


class CauseFigures(NamedTuple):
    """One cause: how many outages it had, of how many peers, and how long they lasted."""

    cause: str
    state: State
    outages: int
    peers: int
    lasted: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report says."""

    since: int
    until: int
    node: str
    peers: tuple[PeerFigures, ...]
    """The worst first."""
    causes: tuple[CauseFigures, ...]
    watch: PeerFigures
    """Of hbd itself: up while it watched."""
    starts: int
    stalls: int
    lost: int
    unreadable: int
    storms: tuple[Storm, ...]

    @property
    def availability(self) -> float | None:
        """Of all peers together: their time, not the mean of their shares."""
        down = sum(peer.times.get(State.DOWN, 0) for peer in self.peers)
        return _share(sum(peer.up for peer in self.peers), down)

    def outages(self) -> list[Outage]:
        """All, the latest first."""
        outages = [outage for peer in self.peers for outage in peer.outages]
        return sorted(outages, key=lambda outage: (-outage.since, outage.peer))


def figures(told: History, since: int, until: int, names: Iterable[str] = ()) -> Figures:
    """Count what lies in [since, until); only peers of these names, if any are given."""
    wanted = set(names)
    found = [
        peer_figures(name, track, since, until)
        for name, track in told.peers.items()
        if not wanted or name in wanted
    ]
    peers = sorted((peer for peer in found if _is_of_interest(peer, wanted)), key=_badness)
    return Figures(
        since=since,
        until=until,
        node=told.node,
        peers=tuple(peers),
        causes=causes(outage for peer in peers for outage in peer.outages),
        watch=peer_figures("hbd", told.watch, since, until),
        starts=sum(since <= start < until for start in told.starts),
        stalls=sum(since <= stall < until for stall in told.stalls),
        lost=told.lost,
        unreadable=told.unreadable,
        storms=tuple(storm for storm in told.storms if since <= storm.at < until),
    )


def peer_figures(name: str, track: Track, since: int, until: int) -> PeerFigures:
    """Count what lies in [since, until) of one peer."""
    spans = clipped(track.spans, since, until)
    times: Counter[str] = Counter()
    for span in spans:
        times[span.state or UNWATCHED] += span.lasted
    flapping = [pair for pair in track.flapping if pair[0] < until and pair[1] > since]
    return PeerFigures(
        name=name,
        times=times,
        outages=tuple(outages(name, track.spans, since, until)),
        flapping=len(flapping),
        flapped=sum(min(end, until) - max(begin, since) for begin, end in flapping),
        spans=spans,
        labels=track.labels,
        state=spans[-1].state,
    )


def clipped(spans: Iterable[Span], since: int, until: int) -> tuple[Span, ...]:
    """Give what lies in [since, until)."""
    return tuple(
        span
        if since <= span.begin and span.end <= until  # as most are
        else replace(span, begin=max(span.begin, since), end=min(span.end, until))
        for span in spans
        if span.begin < until and span.end > since
    )


def outages(name: str, spans: Iterable[Span], since: int, until: int) -> list[Outage]:
    """Give those of which some part lies in [since, until), in their order."""
    found: list[Outage] = []
    parts: list[Span] = []
    for span in spans:
        if span.state in FAILED:
            parts.append(span)
        elif parts and _ends(span):
            found.append(_outage(name, parts, since, until, is_over=span.state is not None))
            parts = []
    if parts:
        found.append(_outage(name, parts, since, until, is_over=False))
    return [outage for outage in found if outage.within]


def _ends(span: Span) -> bool:
    return span.state in ENDING or (span.state is None and span.cause == Why.NOT_LISTED)


def _outage(name: str, parts: list[Span], since: int, until: int, *, is_over: bool) -> Outage:
    first = parts[0]
    began = min(first.since, first.begin) if first.state is State.DOWN else first.begin
    earlier = 0 if first.told is not None else first.begin - began
    told = [part.told for part in parts if part.told is not None]
    own = [part for part in parts if part.state is State.DOWN] or parts
    causes = tuple(dict.fromkeys(part.cause for part in own if part.cause))
    best = next((each for each in reversed(told) if each.cause == own[-1].cause), None)
    return Outage(
        peer=name,
        since=began,
        until=parts[-1].end,
        is_over=is_over,
        down=earlier + sum(part.lasted for part in parts if part.state is State.DOWN),
        unreachable=sum(part.lasted for part in parts if part.state is State.UNREACHABLE),
        within=sum(max(min(part.end, until) - max(part.begin, since), 0) for part in parts),
        cause=own[-1].cause or NO_CAUSE,
        causes=causes,
        address=best.address if best else "",
        evidence=best.evidence if best else "",
        detection=told[0].detection if told else None,
    )


def causes(found: Iterable[Outage]) -> tuple[CauseFigures, ...]:
    """Give the causes, that with the longest time first."""
    times: Counter[tuple[str, State]] = Counter()
    counts: Counter[tuple[str, State]] = Counter()
    peers: dict[tuple[str, State], set[str]] = {}
    for outage in found:
        key = outage.cause, outage.state
        times[key] += outage.within
        counts[key] += 1
        peers.setdefault(key, set()).add(outage.peer)
    ordered = sorted(times, key=lambda key: (-times[key], key))
    return tuple(
        CauseFigures(cause, state, counts[cause, state], len(peers[cause, state]), time)
        for cause, state in ordered
        for time in (times[cause, state],)
    )


def _is_of_interest(peer: PeerFigures, wanted: set[str]) -> bool:
    """Whether it was on the list at any time in the span."""
    return peer.name in wanted or any(
        span.state is not None or span.cause != Why.NOT_LISTED for span in peer.spans
    )


def _badness(peer: PeerFigures) -> tuple[float, float, int, int, str]:
    """Order by its own fault first; who only lay behind another comes after."""
    known = peer.availability
    return (
        2.0 if known is None else known,
        -peer.unavailable / (peer.up + peer.unavailable or 1),
        -len(peer.outages),
        -peer.times.get(State.DEGRADED, 0),
        peer.name,
    )


def _share(there: int, away: int) -> float | None:
    known = there + away
    return there / known if known else None
