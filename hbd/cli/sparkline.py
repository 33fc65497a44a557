"""What the last heartbeats came to, as a line of blocks: the higher the worse."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from hbd.cli.terminal import GREEN, RED, YELLOW

if TYPE_CHECKING:
    from hbd.cli.terminal import Terminal

HEARTBEATS: Final = 100
WIDEST: Final = 20
NARROWEST: Final = 10
"""Columns: each stands for five heartbeats, or for ten."""

ANSWERED, SLOW, NOTHING = 0, 1, -1
SOME: Final = 2
"""Some were lost; the more, the higher above this."""

BLOCKS: Final = "▁▃▅▆▇█·"
ASCII: Final = ".sxxxX-"
"""By level; the last for those that count for nothing."""
MOST: Final = 5
"""The level of all lost."""


def sparkline(recent: str, width: int, terminal: Terminal) -> str:
    """Draw the letters of Window.recent, the last one to the right."""
    levels = _levels(recent, -(-HEARTBEATS // width))
    signs = BLOCKS if terminal.has_blocks else ASCII
    blank = " " * (width - len(levels))
    runs = groupby(levels, key=_colour)
    return blank + "".join(
        terminal.paint("".join(signs[level] for level in run), code) for code, run in runs
    )


def _levels(recent: str, size: int) -> list[int]:
    """Give a level for each so many heartbeats, counted from the last one."""
    first = len(recent) % size
    groups = [recent[:first]] if first else []
    groups += [recent[at : at + size] for at in range(first, len(recent), size)]
    return [_level(group) for group in groups]


def _level(group: str) -> int:
    lost, counted = group.count("x"), len(group) - group.count("-")
    if not counted:
        return NOTHING
    if lost:
        return SOME + (MOST - SOME) * lost // counted
    return SLOW if "s" in group else ANSWERED


def _colour(level: int) -> str:
    return GREEN if level <= ANSWERED else YELLOW if level == SLOW else RED
