"""Figures and strangers' texts in words fit for one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hbd.core.names import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Named as systemd.time does; nanoseconds.
_UNITS: Final = (
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
)
END: Final = 253_402_300_800 * 1_000_000_000
"""The year 10000, on the wall clock: calendars end before it, and so does `moment`."""

_SECONDS_ENOUGH: Final = 10_000_000_000
_MILLISECONDS_ENOUGH: Final = 10_000_000


WORST_FIRST: Final = ("down", "unreachable", "degraded", "unknown", "left", "paused", "up")
"""States, those first that one looks for."""


PATTERNS: Final = 32
"""So many at most, and none longer than any name: nobody is to keep the daemon busy by asking."""


def is_name(text: str) -> bool:
    """Whether a peer can have this name."""
    return NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether a PEER stands for all that are like it: no name has such a letter."""
    return any(letter in text for letter in "*?[")


def duration(nanoseconds: int) -> str:
    """`3d 4h`, `12s`, `240ms`: the two largest units, and nothing finer than a reader needs."""
    rest = max(nanoseconds, 0)
    units: tuple[tuple[str, int], ...] = _UNITS
    if rest >= _MILLISECONDS_ENOUGH:
        units = _UNITS[:4] if rest >= _SECONDS_ENOUGH else _UNITS[:5]
    for index, (unit, size) in enumerate(units):
        count, rest = divmod(rest, size)
        if count:
            lower = [
                f"{rest // size}{unit}" for unit, size in units[index + 1 :][:1] if rest >= size
            ]
            return " ".join([f"{count}{unit}", *lower])
    return "0s"


def moment(wall: int) -> str:
    """UTC in ISO 8601 with microseconds; `wall` is nanoseconds since 1970."""
    second, rest = divmod(wall, 1_000_000_000)
    return f"{_second(second)}.{rest // 1000:06d}+00:00"


@lru_cache  # of thousands of peers most came up in the same few seconds
def _second(second: int) -> str:
    return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}"


def one_line(text: str, limit: int) -> str:
    r"""At most `limit` characters; line breaks and terminal controls show as `\n`, `\x1b`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def peers_in_words(count: int) -> str:
    """`1 peer`, `12 peers`."""
    return f"{count} peer{'s' * (count != 1)}"


def in_words(counts: Mapping[str, int]) -> str:
    """`12 peers: 10 up, 1 degraded, 1 down`: only the states that occur."""
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    total = peers_in_words(sum(counts.values()))
    return f"{total}: {told}" if told else total


def listed(names: list[str], most: int) -> str:
    """`a, b and 7 more`: at most `most` names."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
