"""How many peers are in which state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hbd.core.model import State
from hbd.report.compose import peers_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ORDER: Final = (
    State.UP,
    State.DEGRADED,
    State.DOWN,
    State.UNREACHABLE,
    State.UNKNOWN,
    State.PAUSED,
    State.LEFT,
)


def tally(states: Iterable[State]) -> dict[str, int]:
    """Count each state there is, those that do not occur too."""
    count = Counter(states)
    return {state.value: count[state] for state in ORDER}


def in_words(counts: Mapping[str, int]) -> str:
    """`12 peers: 10 up, 1 degraded, 1 down`: only the states that occur."""
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    total = peers_in_words(sum(counts.values()))
    return f"{total}: {told}" if told else total
