"""What of our memory stays, and what the system gets back."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL


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
