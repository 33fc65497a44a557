"""A picture of the last hours of a peer, as SVG made here: RTT, loss and state minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hbd.web.history import Minute

LEFT, RIGHT, TOP, WIDTH = 62, 12, 14, 720
RTT_HEIGHT, GAP, LOSS_HEIGHT, STATE_HEIGHT = 150, 26, 50, 14
HEIGHT: Final = TOP + RTT_HEIGHT + GAP + LOSS_HEIGHT + GAP + STATE_HEIGHT + 24
LOSS_TOP: Final = TOP + RTT_HEIGHT + GAP
STATE_TOP: Final = LOSS_TOP + LOSS_HEIGHT + GAP
NICE: Final = (1.0, 2.0, 5.0, 10.0)
HOUR: Final = 60


SPANS: Final = (HOUR // 2, HOUR, 2 * HOUR)
"""Minutes: the shortest that holds all that is known is drawn, where all hours are not known."""


def span_for(known: int, longest: int) -> int:
    """How many minutes to draw where so many are known."""
    return min(next((span for span in SPANS if span >= known), longest), longest)


class Picture:
    """The minutes from `first` to `last`; before `known` hbd web did not look."""

    def __init__(self, minutes: list[Minute], first: int, last: int, known: int) -> None:
        self._minutes: Final = minutes
        self._first, self._last = first, max(last, first + 1)
        self._known = min(max(known, first), self._last + 1)
        self._top_rtt: Final = _nice(max((m.most or 0 for m in minutes), default=0))
        self._top_loss: Final = _nice(max((m.loss or 0 for m in minutes), default=0), 1.0)

    def svg(self, name: str) -> str:
        """Draw it."""
        said = escape(self.words(name))
        box = f"0 0 {WIDTH} {HEIGHT}"
        return "".join(
            (
                f'<svg class="picture" viewBox="{box}" role="img" aria-label="{said}">',
                *self._before(),
                *self._frame(),
                *self._rtts(),
                *self._losses(),
                *self._states(),
                "</svg>",
            )
        )

    def words(self, name: str) -> str:
        """Say what the picture shows, for those who do not see it."""
        seen = [one for one in self._minutes if one.least is not None]
        span = _span(self._last + 1 - self._known)
        if not seen:
            return f"{name}: no reply was measured in the {span} since hbd web began to look"
        least = min(one.least or 0 for one in seen)
        most = max(one.most or 0 for one in seen)
        mean = sum(one.mean or 0 for one in seen) / len(seen)
        loss = max((one.loss or 0 for one in self._minutes), default=0)
        told = f"{name}: RTT from {least:.3g} to {most:.3g} ms, {mean:.3g} ms on average, and loss"
        return f"{told} of up to {loss:.3g} %, within {span}"

    def _x(self, minute: float) -> float:
        share = (minute - self._first) / (self._last + 1 - self._first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def _y(self, milliseconds: float) -> float:
        return TOP + RTT_HEIGHT * (1 - milliseconds / self._top_rtt)

    def _frame(self) -> Iterable[str]:
        for share in (0, 0.5, 1):
            y = TOP + RTT_HEIGHT * (1 - share)
            yield _line(LEFT, y, WIDTH - RIGHT, y)
            yield _text(LEFT - 6, y + 4, f"{self._top_rtt * share:.3g} ms", "end")
        for share in (0, 1):
            y = LOSS_TOP + LOSS_HEIGHT * (1 - share)
            yield _line(LEFT, y, WIDTH - RIGHT, y)
            yield _text(LEFT - 6, y + 4, f"{self._top_loss * share:.3g} %", "end")
        yield _text(LEFT, TOP - 4, "RTT: mean, and from the least to the most")
        yield _text(LEFT, LOSS_TOP - 6, "loss of the last 100 heartbeats")
        yield _text(LEFT, STATE_TOP - 6, "state")
        span = self._last - self._first
        step = HOUR if span > 2 * HOUR else HOUR // 4 if span > HOUR // 2 else HOUR // 12
        for minute in range(-(-self._first // step) * step, self._last + 1, step):
            x = self._x(minute)
            yield _line(x, TOP, x, STATE_TOP + STATE_HEIGHT)
            yield _text(x, HEIGHT - 6, f"{_clock(minute)}", "middle")

    def _rtts(self) -> Iterable[str]:
        for run in _runs(one for one in self._minutes if one.mean is not None):
            upper = self._points(run, [one.most or 0 for one in run])
            lower = self._points(run, [one.least or 0 for one in run])
            yield f'<polygon class="band" points="{" ".join((*upper, *reversed(lower)))}"/>'
            mean = self._points(run, [one.mean or 0 for one in run])
            yield f'<polyline class="mean" points="{" ".join(mean)}"/>'

    def _points(self, run: list[Minute], rtts: list[float]) -> list[str]:
        """Give a step a minute."""
        return [
            f"{x:.1f},{self._y(rtt):.1f}"
            for one, rtt in zip(run, rtts, strict=True)
            for x in (self._x(one.number), self._x(one.number + 1))
        ]

    def _losses(self) -> Iterable[str]:
        for one in self._minutes:
            if one.loss:
                height = max(LOSS_HEIGHT * one.loss / self._top_loss, 1)
                y = LOSS_TOP + LOSS_HEIGHT - height
                yield self._box(one.number, one.number + 1, y, height, "loss")

    def _states(self) -> Iterable[str]:
        for run in _runs(self._minutes, lambda a, b: a.state == b.state):
            first, last = run[0], run[-1]
            box = self._box(
                first.number, last.number + 1, STATE_TOP, STATE_HEIGHT, f"s-{first.state}"
            )
            yield f"<g><title>{_clock(first.number)} UTC: {escape(first.state)}</title>{box}</g>"

    def _before(self) -> Iterable[str]:
        if self._known > self._first:
            height = STATE_TOP + STATE_HEIGHT - TOP
            yield self._box(self._first, self._known, TOP, height, "before")
            middle = self._x((self._first + self._known) / 2)
            if self._x(self._known) - LEFT > WIDTH / 4:
                words = "not known: hbd web was not running"
                yield _text(middle, TOP + RTT_HEIGHT / 2 + 20, words, "middle")

    def _box(self, first: float, end: float, y: float, height: float, kind: str) -> str:
        x, width = self._x(first), self._x(end) - self._x(first)
        return (
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}"'
            f' width="{max(width, 0.5):.1f}" height="{height:.1f}"/>'
        )


def _runs(
    minutes: Iterable[Minute], alike: Callable[[Minute, Minute], bool] = lambda _a, _b: True
) -> list[list[Minute]]:
    """Split where minutes are missing, or not alike."""
    listed = list(minutes)
    runs = [[listed[0]]] if listed else []
    for before, one in pairwise(listed):
        if one.number == before.number + 1 and alike(before, one):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _nice(most: float, least: float = 0.1) -> float:
    """Give a round figure that is not smaller."""
    scale = least
    while scale * NICE[-1] < most:
        scale *= 10
    return next(scale * one for one in NICE if scale * one >= most)


def _clock(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M}"


def _span(minutes: int) -> str:
    return f"{minutes} min" if minutes < 2 * HOUR else f"{minutes // HOUR} h"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
