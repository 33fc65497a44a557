"""When something came, by the kernel's stamp on the wall clock."""

from __future__ import annotations


def arrived(stamp: int | None, since: int, now: int, wall: int) -> int:
    """Give the monotonic moment of a stamp, between when all was last read and now.

    So no step of the wall clock makes anything old or young. Without a stamp it has just come.
    """
    return now if stamp is None else max(since, min(now - (wall - stamp), now))
