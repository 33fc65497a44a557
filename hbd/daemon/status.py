"""The daemon's view as the JSON of `hbd status --json` and `hbd explain --json`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from json.encoder import encode_basestring_ascii as _text
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
    from collections.abc import Sequence

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

_YES = ("false", "true")
_RTT = '{"last": %.3f, "min": %.3f, "mean": %.3f, "p99": %.3f, "max": %.3f}'


def summary(fleet: Fleet) -> dict[str, int]:
    """How many peers are in each state."""
    return tally(peer.state for peer in fleet.peers.values())


def view(fleet: Fleet, peer: Peer) -> dict[str, Any]:
    """One peer; figures that are not known are None, never 0."""
    told: dict[str, Any] = json.loads(written(fleet, peer))
    return told


def written(fleet: Fleet, peer: Peer, *, recent: bool = False) -> str:
    """The same as JSON: to have json write it would take as long as all the rest.

    With `recent` it has what the last heartbeats came to, on the path whose loss is told.
    """
    settings, clock = peer.settings, fleet.clock
    now, real = clock.now, clock.real
    paths = [(path, path.seen(now)) for path in peer.paths]
    first, worst = _told_of(paths)
    loss_out, loss_in = worst.directions or (None, None)
    sent, received, late, duplicate = peer.former
    for _, seen in paths:
        figures = seen.figures
        sent += figures.sent
        received += figures.received
        late += figures.late
        duplicate += figures.duplicate
    authenticated, expect, pause = is_authenticated(settings), settings.expect, peer.pause
    timing, way = settings.timing, settings.way
    interval = timing.interval if expect is None else expect.interval
    asked = (timing.timeout, timing.retries) if way is Way.ASKED else None
    return (
        f'{{"name": {_text(peer.name)}, "state": "{peer.state!s}", "cause": {_word(peer.cause)},'
        f' "since": "{moment(peer.since)}", "flapping": {_YES[fleet.is_flapping(peer)]},'
        f' "via": {_word(settings.via)}, "labels": {_labels(settings.labels)},'
        f" {_judged(settings.protocol, way, authenticated, interval, asked)},"
        f' "evidence": {_texts(evidence(peer, now))}, "restored": {_YES[peer.restored]},'
        f' "paused_until": {"null" if pause is None else _text(moment(pause.until))},'
        f' "sent": {sent}, "received": {received}, "late": {late}, "duplicate": {duplicate},'
        f' "loss_percent": {_percent(worst.loss)}, "loss_out_percent": {_percent(loss_out)},'
        f' "loss_in_percent": {_percent(loss_in)}, "rtt_ms": {_rtt(first)},'
        f' "paths": [{", ".join([_path(path, seen, real) for path, seen in paths])}]'
        f"{_recent(paths, worst, now) if recent else ''}}}"
    )


def _told_of(paths: list[tuple[Path, Seen]]) -> tuple[Seen, Seen]:
    """Give those whose RTTs and whose loss are told as the peer's: of answering ones, if any."""
    if len(paths) == 1:
        seen = paths[0][1]
        return seen, seen
    answering = [seen for path, seen in paths if path.state is State.UP]
    some = answering or [seen for _, seen in paths]
    return some[0], max(some, key=_loss)


def _recent(paths: list[tuple[Path, Seen]], told: Seen, now: int) -> str:
    path = next(path for path, seen in paths if seen is told)
    return f', "recent": "{path.recent(now)}"'


@lru_cache  # of thousands of peers most are judged alike
def _judged(
    protocol: str,
    way: Way,
    authenticated: bool,  # noqa: FBT001 - by keyword it takes twice as long
    interval: int,
    asked: tuple[int, int] | None,
) -> str:
    timeout, retries = ("null", "null") if asked is None else (f"{asked[0] / 1e6:.3f}", asked[1])
    return (
        f'"protocol": "{protocol}", "way": "{way}", "authenticated": {_YES[authenticated]},'
        f' "interval_ms": {interval / 1e6:.3f}, "timeout_ms": {timeout}, "retries": {retries}'
    )


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


def _path(path: Path, seen: Seen, real: int) -> str:
    last, rounds, target = seen.last_reply_real, seen.rounds, path.target
    egress = None if path.egress is None else str(path.egress.key)
    return (
        f'{{"address": {_text(path.address)}, "target": {_word(target and target[0])},'
        f' "state": "{path.state!s}", "cause": {_word(_path_cause(path, seen.figures))},'
        f' "egress": {_word(egress)},'
        f' "hops": {_number(hops_away(seen.reply_ttl))},'
        f' "last_reply_s_ago": {"null" if last is None else f"{(real - last) / SECOND:.3f}"},'
        f' "missed": {path.missed},'
        f' "rounds": {_number(rounds and rounds.ended)},'
        f' "overdue": {_number(rounds and rounds.overdue)},'
        f' "loss_percent": {_percent(seen.loss)}}}'
    )


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


def _rtt(seen: Seen) -> str:
    rtts, last = seen.rtts, seen.figures.window.last_rtt()
    if last is None:
        return '{"last": null, "min": null, "mean": null, "p99": null, "max": null}'
    count = len(rtts)
    mean, p99 = sum(rtts) / count / 1e3, rtts[-1 - count // 100] / 1e3
    return _RTT % (last / 1e6, rtts[0] / 1e3, mean, p99, rtts[-1] / 1e3)


@lru_cache  # of thousands most lose as much
def _percent(fraction: float | None) -> str:
    return "null" if fraction is None else f"{100 * fraction:.1f}"


def _number(number: object) -> object:
    return "null" if number is None else number


def _word(word: str | None) -> str:
    return "null" if word is None else _text(word)


def _texts(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    return f"{{{', '.join([f'{_text(key)}: {_text(value)}' for key, value in labels])}}}"
