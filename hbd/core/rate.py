"""What is remembered about strangers is bounded, and so is how often they are answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeVar

from hbd.core.model import SECOND

TABLE: Final = 65_536
"""Entries of a table: as many as paths may be configured. The one unused longest makes room."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Rate:
    """So many a second in the long run, and so many at once after a rest."""

    __slots__ = ("cost", "depth")

    def __init__(self, per_second: int, burst: int) -> None:
        self.cost: Final = SECOND // per_second
        """Nanoseconds until a token that was taken is back;"""
        self.depth: Final = burst * self.cost
        """until all are."""


PER_SOURCE: Final = Rate(per_second=1_000, burst=1_000)
"""For one pair of addresses: the shortest interval is 50 ms, so fifty monitors behind one NAT."""

OVERALL: Final = Rate(per_second=200_000, burst=20_000)
"""More than one core answers; only under `accept: any`, where sources can be invented at will."""


def remember(table: OrderedDict[K, V], key: K, value: V) -> None:
    """Set an entry and make it the newest; beyond TABLE entries the oldest is forgotten."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > TABLE:
        table.popitem(last=False)


def spend(full_at: int, now: int, rate: Rate) -> int | None:
    """Take a token at `now` from a bucket that is full at `full_at`; None if it is empty.

    Returned is when the bucket would be full again: the whole state of a bucket, in nanoseconds.
    """
    full_at = max(full_at, now) + rate.cost
    return full_at if full_at - now <= rate.depth else None


class Buckets:
    """A bucket for each key, and one for all of them together."""

    def __init__(self, each: Rate = PER_SOURCE, overall: Rate = OVERALL) -> None:
        self._each = each
        self._overall = overall
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()
        self._overall_full_at = 0

    def refuses(self, key: Hashable, now: int) -> str | None:
        """Take a token of the key's and one of all; `rate` or `overload` if one is not to be had.

        The key's comes first: who is too fast takes nothing from the others.
        """
        full_at = spend(self._full_at.get(key, 0), now, self._each)
        if full_at is None:
            return "rate"
        remember(self._full_at, key, full_at)
        overall = spend(self._overall_full_at, now, self._overall)
        if overall is None:
            return "overload"
        self._overall_full_at = overall
        return None
