"""How many peers are in which state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hbd.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    return every(Counter(states))


def every(counts: Counter[State]) -> dict[str, int]:
    """Give what was counted, those that do not occur too."""
    return {state.value: counts[state] for state in ORDER}
