"""The daemon's view as the JSON of `hbd status --json` and `hbd explain --json`."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from hbd.core.inquiry import hops_away
from hbd.core.model import SECOND, Cause, State, Way
from hbd.core.peer import evidence
from hbd.report.causes import explanation, told
from hbd.report.explanation import HISTORY, commands
from hbd.report.tally import tally
from hbd.report.ways import is_authenticated, judged
from hbd.report.words import in_words, moment

if TYPE_CHECKING:
    from hbd.core.figures import Figures
    from hbd.core.fleet import Fleet
    from hbd.core.path import Path, Seen
    from hbd.core.peer import Peer
    from hbd.report.explanation import Explanation

VERSION = 1

NAMED = 3
"""So many of those that do not answer stand in STATUS=."""

LATE_TOLD = 0.1
"""From this share of the time on STATUS= says that we are late."""


def summary(fleet: Fleet) -> dict[str, int]:
    """How many peers are in each state."""
    return tally(peer.state for peer in fleet.peers.values())


def view(fleet: Fleet, peer: Peer) -> dict[str, Any]:
    """One peer; figures that are not known are None, never 0."""
    settings, now = peer.settings, fleet.clock.now
    paths = [(path, path.seen(now)) for path in peer.paths]
    figures = [seen.figures for _, seen in paths]
    answering = [seen for path, seen in paths if path.state is State.UP]
    worst = max(answering or [seen for _, seen in paths], key=_loss)
    loss_out, loss_in = worst.directions or (None, None)
    way, timing = settings.way, settings.timing
    is_asked = way is Way.ASKED
    return {
        "name": peer.name,
        "state": peer.state,
        "cause": peer.cause,
        "since": moment(peer.since),
        "flapping": fleet.is_flapping(peer),
        "via": settings.via,
        "labels": dict(settings.labels),
        "protocol": settings.protocol,
        "way": way,
        "authenticated": is_authenticated(settings),
        "interval_ms": _milliseconds((settings.expect or timing).interval),
        "timeout_ms": _milliseconds(timing.timeout) if is_asked else None,
        "retries": timing.retries if is_asked else None,
        "evidence": list(evidence(peer, now)),
        "restored": peer.restored,
        "paused_until": moment(peer.pause.until) if peer.pause is not None else None,
        "sent": sum([each.sent for each in figures]),
        "received": sum([each.received for each in figures]),
        "late": sum([each.late for each in figures]),
        "duplicate": sum([each.duplicate for each in figures]),
        "loss_percent": _percent(worst.loss),
        "loss_out_percent": _percent(loss_out),
        "loss_in_percent": _percent(loss_in),
        "rtt_ms": _rtt(answering[0] if answering else paths[0][1]),
        "paths": [_path_view(path, seen, fleet.clock.real) for path, seen in paths],
    }


def _loss(seen: Seen) -> float:
    return -1.0 if (loss := seen.loss) is None else loss


def explain(fleet: Fleet, peer: Peer) -> dict[str, Any]:
    """One peer, with what its state means, how it is judged and what to do next."""
    path = min(peer.paths, key=lambda path: _beside(path, peer))
    row = explanation(peer.state, peer.cause, peer.settings)
    # Of one path among several its own cause says more than that it is down.
    own = explanation(State.DOWN, _path_cause(path, path.figures), peer.settings)
    inner = own if peer.cause is Cause.PATH_DOWN else row
    agreed = (path.patience for path in peer.paths if path.state is State.UP)
    return {
        "peer": view(fleet, peer),
        "words": _in_words(fleet, peer, path, row),
        "meaning": row.meaning if inner is row else f"{row.meaning} {inner.meaning}",
        "judged": judged(peer.settings, next(agreed, None)),
        "apart": inner.apart,
        "advice": inner.advice,
        "commands": _commands(peer, path, inner, history=fleet.is_flapping(peer)),
    }


def _beside(path: Path, peer: Peer) -> tuple[bool, bool, bool]:
    """Sort to the front which path the peer's cause is about."""
    state = path.state
    cause = _path_cause(path, path.figures)
    return cause is not peer.cause, state is not State.DOWN, state is State.UP


def _in_words(fleet: Fleet, peer: Peer, path: Path, row: Explanation) -> str:
    return told(
        row,
        peer.settings,
        path.address,
        (),  # it is told beside
        loss=peer.loss(fleet.clock.now),
        rtt=peer.last_rtt,
    )


def _commands(peer: Peer, path: Path, row: Explanation, *, history: bool) -> list[str]:
    return commands(
        replace(row, commands=(HISTORY, *row.commands)) if history else row,
        peer.settings,
        path.address,
        target=path.target[0] if path.target is not None else None,
        interface=path.egress.key.interface if path.egress is not None else None,
    )


def line(fleet: Fleet, *, drops: int) -> str:
    """The text of STATUS=: `12 peers: 10 up, 1 degraded, 1 down (db1: port-closed)`."""
    text = in_words(summary(fleet))
    failed = (State.DOWN, State.UNREACHABLE)
    bad = (peer for peer in fleet.peers.values() if peer.state in failed)
    named = [f"{peer.name}: {peer.cause}" for peer in islice(bad, NAMED)]
    if named:
        text += f" ({', '.join(named)}{', …' if next(bad, None) else ''})"
    if drops:
        text += f"; {drops} datagrams to us were dropped for want of buffer"
    late = fleet.lag_share()
    if late >= LATE_TOLD:
        text += f"; overloaded: late {late:.0%} of the last seconds"
    return text


def _path_view(path: Path, seen: Seen, real: int) -> dict[str, Any]:
    last, rounds = seen.last_reply_real, seen.rounds
    return {
        "address": path.address,
        "target": path.target[0] if path.target is not None else None,
        "state": path.state,
        "cause": _path_cause(path, seen.figures),
        "egress": str(path.egress.key) if path.egress is not None else None,
        "hops": hops_away(seen.reply_ttl),
        "last_reply_s_ago": None if last is None else round((real - last) / SECOND, 3),
        "missed": path.missed,
        "rounds": None if rounds is None else rounds.ended,
        "overdue": None if rounds is None else rounds.overdue,
        "loss_percent": _percent(seen.loss),
    }


def _path_cause(path: Path, figures: Figures) -> Cause | None:
    if path.state is State.DOWN:
        return path.failure().cause
    if path.state is State.UNKNOWN:
        if path.fault is not None:
            return path.fault.cause
        return Cause.UNRESOLVED if path.unresolved is not None else None
    if figures.tight:
        return Cause.TOO_TIGHT
    if figures.lossy:
        return Cause.LOSSY
    return Cause.SLOW if figures.slow else None


def _rtt(seen: Seen) -> dict[str, float | None]:
    rtts, last = seen.rtts, seen.figures.window.last_rtt()
    if last is None:
        return dict.fromkeys(("last", "min", "mean", "p99", "max"))
    return {
        "last": last / 1e6,
        "min": rtts[0] / 1e3,
        "mean": sum(rtts) // len(rtts) / 1e3,
        "p99": rtts[-1 - len(rtts) // 100] / 1e3,
        "max": rtts[-1] / 1e3,
    }


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 1)
