"""A report as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from hbd.core.model import SECOND, State
from hbd.report.history.figures import UNWATCHED
from hbd.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hbd.report.history.figures import CauseFigures, Figures, Outage, PeerFigures

VERSION: Final = 1
FORMULA: Final = (
    "available = (up + degraded) / (up + degraded + down); unreachable, unknown, paused, left and"
    " unwatched time is in neither"
)
KINDS: Final = (*(state.value for state in State), UNWATCHED)


def written(figures: Figures) -> Iterator[str]:
    """Give the JSON in pieces, a peer a line."""
    whole = shape(figures)
    peers = whole.pop("peers")
    yield json.dumps(whole)[:-1] + ', "peers": ['
    for number, peer in enumerate(peers):
        yield (",\n" if number else "\n") + json.dumps(peer)
    yield "\n]}\n"


def shape(figures: Figures) -> dict[str, Any]:
    """Give it; what is not known is null, times are UTC, durations seconds."""
    return {
        "version": VERSION,
        "node": figures.node,
        "since": moment(figures.since),
        "until": moment(figures.until),
        "formula": FORMULA,
        "availability_percent": percent(figures.availability),
        "watch": {
            "seconds": _times(figures.watch, (State.UP.value, UNWATCHED)),
            "starts": figures.starts,
            "stalls": figures.stalls,
            "entries_lost": figures.lost,
            "entries_unreadable": figures.unreadable,
            "unwatched": [
                {"since": moment(span.begin), "until": moment(span.end), "why": span.cause}
                for span in figures.watch.spans
                if span.state is not State.UP
            ],
        },
        "causes": [_cause(cause) for cause in figures.causes],
        "storms": [
            {"at": moment(storm.at), "peers": storm.peers, "common": storm.common}
            for storm in figures.storms
        ],
        "peers": [_peer(peer) for peer in figures.peers],
    }


def percent(share: float | None) -> float | None:
    """Give it with five digits behind the point: 0.3 s of a month."""
    return None if share is None else round(100 * share, 5)


def _times(peer: PeerFigures, kinds: tuple[str, ...]) -> dict[str, float]:
    return {kind: _seconds(peer.times.get(kind, 0)) for kind in kinds}


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / SECOND, 6)


def _known(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else _seconds(nanoseconds)


def _cause(cause: CauseFigures) -> dict[str, Any]:
    return {
        "cause": cause.cause,
        "state": cause.state,
        "outages": cause.outages,
        "peers": cause.peers,
        "seconds": _seconds(cause.lasted),
    }


def _peer(peer: PeerFigures) -> dict[str, Any]:
    return {
        "name": peer.name,
        "labels": dict(peer.labels),
        "state": peer.state.value if peer.state else None,
        "availability_percent": percent(peer.availability),
        "reachability_percent": percent(peer.reachability),
        "seconds": _times(peer, KINDS),
        "failures": peer.begun,
        "mtbf_seconds": _known(peer.mtbf),
        "mttr_seconds": _known(peer.mttr),
        "longest_seconds": _known(peer.longest),
        "flapping": {"times": peer.flapping, "seconds": _seconds(peer.flapped)},
        "outages": [_outage(outage) for outage in peer.outages],
    }


def _outage(outage: Outage) -> dict[str, Any]:
    return {
        "state": outage.state,
        "since": moment(outage.since),
        "until": moment(outage.until) if outage.is_over else None,
        "known_until": moment(outage.until),
        "seconds": _seconds(outage.lasted),
        "down_seconds": _seconds(outage.down),
        "unreachable_seconds": _seconds(outage.unreachable),
        "seconds_within": _seconds(outage.within),
        "cause": outage.cause,
        "causes": list(outage.causes),
        "address": outage.address or None,
        "detection_seconds": _known(outage.detection),
        "evidence": outage.evidence.splitlines(),
    }
