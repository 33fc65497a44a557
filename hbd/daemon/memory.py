"""What of our memory stays, and what the system gets back."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctypes import CDLL

NEVER: Final = 2**31 - 1
"""Looks for young cycles after which the old are looked at."""
MANY: Final = 20_000
"""To look through so many things for old cycles takes some milliseconds."""


def begin() -> None:
    """Have no look for cycles that takes long come by itself: it may come in the midst of a storm.

    What is young is looked at as ever, and that is where cycles are.
    """
    gc.set_threshold(*gc.get_threshold()[:2], NEVER)


def tidy() -> None:
    """Look for old cycles; to be called now and then.

    After a storm what is new stays, and to look through all of it would hold up heartbeats.
    """
    gc.collect(1)
    if len(gc.get_objects(2)) > MANY:
        gc.freeze()
    gc.collect()


def settle() -> None:
    """Take what is there for good, as after a start or a reload; takes less than a millisecond.

    To look for cycles in it would hold up heartbeats; and what was freed on the way, two megabytes
    of ten thousand peers that were read again, the C library would keep.
    """
    gc.freeze()
    with suppress(ImportError, OSError, AttributeError):  # not glibc
        _library().malloc_trim(0)


@cache
def _library() -> CDLL:
    """Give the C library, once: each would be a cycle, which is never looked for any more."""
    import ctypes  # noqa: PLC0415 - as in net.batch

    return ctypes.CDLL(None)
