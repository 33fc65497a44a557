"""States and causes in words: the table from which messages, fields, advice and manual are made.

A row is true of every protocol; what is different for one of them stands in `dialects`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from hbd.core.model import State
from hbd.report.causes_bfd import BFD
from hbd.report.causes_down import DEGRADED, DOWN
from hbd.report.causes_ours import NOT_TO_BLAME
from hbd.report.causes_stream import MQTT, STREAM
from hbd.report.dialects import DIALECTS, SAME, Differs
from hbd.report.explanation import HISTORY, Explanation
from hbd.report.ways import dialect, service
from hbd.report.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hbd.core.model import Cause, PeerSettings

CAUSES: Final = DOWN | STREAM | MQTT | BFD | DEGRADED | NOT_TO_BLAME

STATES: Final = {
    State.UNKNOWN: Explanation(
        "no verdict yet",
        "There is no verdict yet.",
        "Wait for the first verdict.",
    ),
    State.UP: Explanation(
        "it answers",
        "The peer is alive and reachable from here.",
        "Nothing.",
    ),
    State.DEGRADED: Explanation(
        "it answers, but not as it should",
        "The peer answers, but not as it should.",
        "See which of its paths fails.",
        commands=(HISTORY,),
    ),
    State.DOWN: Explanation(
        "it does not answer",
        "The peer does not answer.",
        "Wait for the evidence.",
        commands=(HISTORY,),
    ),
    State.UNREACHABLE: Explanation(
        "the way there is cut",
        "What lies between is down, so nothing can be said of this peer.",
        "Repair the peer named in via: first.",
        commands=("hbd explain {via}",),
    ),
    State.PAUSED: Explanation(
        "maintenance",
        "An operator took the peer out of judgement; it is still measured.",
        "Nothing: the pause ends by itself; hbd resume ends it early.",
        commands=("hbd resume {name}",),
    ),
    State.LEFT: Explanation(
        "it said goodbye",
        "The peer was stopped on purpose and said so.",
        "Nothing, if that was meant; else start it there again.",
        commands=("ping -c 3{by} {host}",),
    ),
}


def explanation(
    state: State, cause: Cause | None, settings: PeerSettings | None = None
) -> Explanation:
    """Of the cause where there is one, else of the state; in the words of the peer's protocol."""
    if cause is None:
        return STATES[state]
    return CAUSES[cause] if settings is None else _spoken(cause, dialect(settings))


@cache
def _spoken(cause: Cause, whose: str) -> Explanation:
    return adapted(CAUSES[cause], DIALECTS[whose].get(cause, SAME))


def adapted(row: Explanation, own: Differs) -> Explanation:
    """A row as one dialect has it."""
    return replace(row, **{name: text for name, text in own._asdict().items() if text is not None})


def told(
    row: Explanation,
    settings: PeerSettings,
    address: str | None,
    evidence: Sequence[str],
    *,
    loss: float | None,
    rtt: int | None,
) -> str:
    """The words of a row with what is known of this case."""
    fact = evidence[0] if evidence else ""
    # A peer that is known by its key alone is nowhere in particular.
    place = address if settings.addresses else None
    return row.words.format(
        on=f" on {place}" if place else "",
        service=service(settings),
        loss="" if loss is None else f" ({100 * loss:.3g} %)",
        rtt="" if rtt is None else f" (last {duration(rtt)})",
        fact=f" ({fact})" if fact else "",
        proof=f" ({fact.removeprefix(f'{address}: ')})" if fact else "",
    )
