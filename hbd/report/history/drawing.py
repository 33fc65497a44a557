"""A timeline as a picture: each state has its colour, its height and its pattern."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import State
from hbd.report.history.figures import UNWATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hbd.report.history.timeline import Span

BINS: Final = 400
"""A timeline has so many parts at most: an outage of a second shows, ten thousand are no more."""

ALWAYS: Final = (State.DOWN, State.UNREACHABLE, State.DEGRADED)
"""These show however short they were, the first before the others; else what was longest does."""

HEIGHT: Final = 24


class Look(NamedTuple):
    """Where a state's bar begins, from above, and how high it is."""

    top: int
    height: int
    words: str


LOOKS: Final = {
    State.UP.value: Look(14, 8, "up"),
    State.DEGRADED.value: Look(8, 14, "degraded: answers, not well"),
    State.DOWN.value: Look(1, 21, "down"),
    State.UNREACHABLE.value: Look(1, 21, "unreachable: what lies between is down"),
    State.UNKNOWN.value: Look(14, 8, "unknown: no verdict"),
    State.PAUSED.value: Look(14, 8, "paused by an operator"),
    State.LEFT.value: Look(18, 4, "left: stopped on purpose"),
    UNWATCHED: Look(20, 2, "not watched"),
}

# Drawn in the foreground, which is printed, where backgrounds are not.
PATTERNS: Final = """\
<svg class="defs" width="0" height="0" aria-hidden="true"><defs>
<pattern id="degraded" width="6" height="6" patternUnits="userSpaceOnUse">\
<rect class="degraded-back" width="6" height="6"/>\
<path class="degraded-line" d="M-1 1l2-2M0 6l6-6M5 7l2-2"/></pattern>
<pattern id="unreachable" width="6" height="6" patternUnits="userSpaceOnUse">\
<rect class="unreachable-back" width="6" height="6"/>\
<path class="unreachable-line" d="M0 0l6 6M6 0l-6 6"/></pattern>
<pattern id="unknown" width="5" height="4" patternUnits="userSpaceOnUse">\
<circle class="unknown-dot" cx="2.5" cy="2" r="1.2"/></pattern>
<pattern id="paused" width="4" height="8" patternUnits="userSpaceOnUse">\
<rect class="paused-line" width="2" height="8"/></pattern>
</defs></svg>
"""


class Part(NamedTuple):
    """Bins in a row that look alike."""

    first: int
    width: int
    state: str


def parts(spans: Sequence[Span]) -> list[Part]:
    """Give what a timeline shows, of spans that follow each other without a gap."""
    begin, end = spans[0].begin, spans[-1].end
    shown = list(_bins(spans, begin, end - begin))
    found, first = [], 0
    for state, group in groupby(shown):
        count = sum(1 for _ in group)
        found.append(Part(first, count, state))
        first += count
    return found


def _bins(spans: Sequence[Span], begin: int, lasted: int) -> Iterator[str]:
    index = 0
    for number in range(BINS):
        low = begin + lasted * number // BINS
        high = begin + lasted * (number + 1) // BINS
        times: Counter[str] = Counter()
        while True:
            span = spans[index]
            times[span.state or UNWATCHED] += max(min(span.end, high) - max(span.begin, low), 0)
            if span.end >= high or index + 1 == len(spans):
                break
            index += 1
        yield next((state.value for state in ALWAYS if times[state]), times.most_common(1)[0][0])


def picture(spans: Sequence[Span], words: str) -> str:
    """Give the SVG of a timeline; `words`, escaped already, say it to those who do not see it."""
    drawn = "".join(_bar(part) for part in parts(spans))
    return f'<svg class="line" role="img" aria-label="{words}" height="{HEIGHT}">{drawn}</svg>'


def sample(state: str) -> str:
    """Give a piece of a timeline for the legend."""
    look = LOOKS[state]
    bar = f'<rect class="{state}" y="{look.top}" width="36" height="{look.height}"/>'
    return f'<svg width="36" height="{HEIGHT}" aria-hidden="true">{bar}</svg>'


def _bar(part: Part) -> str:
    look = LOOKS[part.state]
    return (
        f'<rect class="{part.state}" x="{_percent(part.first)}%" y="{look.top}"'
        f' width="{_percent(part.width)}%" height="{look.height}"/>'
    )


def _percent(bins: int) -> str:
    return f"{100 * bins / BINS:g}"
