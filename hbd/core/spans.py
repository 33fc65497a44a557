"""Durations in evidence: as they were measured, and as a person would write them."""

from __future__ import annotations

from typing import Final

from hbd.core.model import MILLISECOND, SECOND

SHORTEST: Final = 10
"""Milliseconds; no timeout is shorter."""

ROOM: Final = 1.5
"""How much longer than the slowest reply a timeout should be."""


def shown(span: int) -> str:
    """Say how long something took: `4.2 s`, `620 ms`."""
    return f"{span / SECOND:.3g} s" if span >= SECOND else f"{span / MILLISECOND:.3g} ms"


def timeout_for(latest: int, interval: int) -> str:
    """Say which timeout takes replies that come so late; and which interval, if that is shorter."""
    timeout = roomy(latest)
    words = _written(timeout // MILLISECOND)
    longer = f" with `interval: {words}`" if timeout > interval else ""
    return f"`timeout: {words}`{longer} would do"


def roomy(slowest: int) -> int:
    """Give a timeout with room for replies as slow as that, with a second digit of 0 or 5."""
    milliseconds = max(-(-int(slowest * ROOM) // MILLISECOND), SHORTEST)
    step: int = 5 * 10 ** (len(str(milliseconds)) - 2)
    return -(-milliseconds // step) * step * MILLISECOND


def _written(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g}s" if milliseconds >= 1000 else f"{milliseconds}ms"  # noqa: PLR2004 - a second
