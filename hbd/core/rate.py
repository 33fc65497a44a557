"""What is remembered about strangers is bounded, and so is how often they are answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeVar

from hbd.core.model import SECOND

TABLE: Final = 65_536
"""Entries of a table: as many as paths may be configured. The one unused longest makes room."""

NEVER: Final = 1 << 62
"""Nanoseconds: when a bucket that was forgotten is full again."""

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


def remember(table: OrderedDict[K, V], key: K, value: V) -> V | None:
    """Set an entry and make it the newest; beyond TABLE the oldest is forgotten, and given."""
    table[key] = value
    table.move_to_end(key)
    return table.popitem(last=False)[1] if len(table) > TABLE else None


def spend(full_at: int, now: int, rate: Rate, count: int = 1) -> int | None:
    """Take tokens at `now` from a bucket that is full at `full_at`; None if it has too few.

    Returned is when the bucket would be full again: the whole state of a bucket, in nanoseconds.
    """
    since = full_at if full_at > now else now  # noqa: FURB136 - max() takes twice as long
    full_at = since + count * rate.cost
    return full_at if full_at - now <= rate.depth else None


class Bucket:
    """What is left of a key's tokens."""

    __slots__ = ("full_at", "key")

    def __init__(self, key: Hashable) -> None:
        self.key: Final = key
        self.full_at = 0


class Buckets:
    """A bucket for each key, and one for all of them together."""

    def __init__(self, each: Rate = PER_SOURCE, overall: Rate = OVERALL) -> None:
        self._each = each
        self._overall = overall
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()
        self._overall_full_at = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def __getitem__(self, key: Hashable) -> Bucket:
        """Give one from which a token was taken just now."""
        return self._buckets[key]

    def refuses(self, key: Hashable, now: int) -> str | None:
        """Take a token of the key's and one of all; `rate` or `overload` if one is not to be had.

        The key's comes first: who is too fast takes nothing from the others.
        """
        bucket = self._buckets.get(key) or Bucket(key)
        full_at = spend(bucket.full_at, now, self._each)
        if full_at is None:
            return "rate"
        bucket.full_at = full_at
        forgotten = remember(self._buckets, key, bucket)
        if forgotten is not None:
            forgotten.full_at = NEVER  # who still knows it gets nothing from it
        overall = spend(self._overall_full_at, now, self._overall)
        if overall is None:
            return "overload"
        self._overall_full_at = overall
        return None

    def grants(self, bucket: Bucket, now: int) -> bool:
        """Take a token of one that is known; one of all together is to be charged then."""
        full_at = spend(bucket.full_at, now, self._each)
        if full_at is None:
            return False
        bucket.full_at = full_at
        return True

    def have(self, count: int, now: int) -> bool:
        """Tell whether there are so many tokens of all together."""
        return spend(self._overall_full_at, now, self._overall, count) is not None

    def charge(self, count: int, now: int) -> None:
        """Take so many of them, which there are."""
        if count:
            full_at = spend(self._overall_full_at, now, self._overall, count)
            self._overall_full_at = full_at or NEVER

    def renew(self, bucket: Bucket) -> None:
        """It has granted something: make it the newest."""
        self._buckets.move_to_end(bucket.key)
