"""One written value to one Python value; `Mistake` says what is wrong and what to write."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from hbd.core.model import MILLISECOND, SECOND
from hbd.core.names import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hbd.config.nodes import Scalar


MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

UNITS: Final = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1000),
    **dict.fromkeys(("ms", "msec"), MILLISECOND),
    **dict.fromkeys(("s", "sec", "second", "seconds"), SECOND),
    **dict.fromkeys(("m", "min", "minute", "minutes"), MINUTE),
    **dict.fromkeys(("h", "hr", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), 24 * HOUR),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24 * HOUR),
}
"""Those of systemd.time(7) up to a week, in nanoseconds."""

TRUE: Final = {"yes", "on", "true"}
FALSE: Final = {"no", "off", "false"}

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,19})")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
_DURATION = re.compile(r"(?:\s*[0-9]+(?:\.[0-9]+)?\s*[a-zµμ]+)+\s*")
_DURATION_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*([a-zµμ]+)")
_SIMPLE = re.compile(r"[A-Za-z0-9_.:%/@+*\[\]-]{1,100}")
VARIETY: Final = 1
"""Of more different digits than so many is what may be a key; a name may repeat one."""
_KEY = re.compile(r"[0-9A-Fa-f]{32,}")


class Mistake(ValueError):  # noqa: N818 - it is the user's, and not always an error
    """What is wrong with a value and what to write instead, to follow the name of its key."""


def shown(text: str) -> str:
    """Give a user's text back for a message: short, printable, and never a secret."""
    if looks_like_key(text):
        return "(a key)"
    hidden = _KEY.sub(lambda found: "(a key)" if _varies(found[0]) else found[0], text)
    if _SIMPLE.fullmatch(text) and hidden == text:
        return text
    text = hidden
    cut = text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line's worth
    escaped = (c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)
    return '"' + "".join(escaped) + '"'


def looks_like_key(text: str) -> bool:
    """Say whether `text` may be a secret that was written where it does not belong."""
    return _KEY.fullmatch(text.strip()) is not None and _varies(text)


def _varies(text: str) -> bool:
    return len(set(text)) > VARIETY


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give `; did you mean ...?`, or nothing when no known word is near."""
    near = get_close_matches(word[:100].lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(words: Collection[str]) -> str:
    """Write `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def refuse_boolean(scalar: Scalar) -> None:
    """Raise Mistake for what YAML readers take for a boolean, where a text is meant."""
    text = scalar.text
    if scalar.plain and text.lower() in TRUE | FALSE:
        raise Mistake(f'{text} is a boolean in YAML; if text is meant, write "{text}" in quotes')


def word(scalar: Scalar) -> str:
    """Text; refuses what YAML readers take for a boolean."""
    refuse_boolean(scalar)
    text = scalar.text
    if not text.strip():
        raise Mistake("empty text; write a value or leave the key out")
    return text


def name(scalar: Scalar) -> str:
    """Give the name of a peer, a key or this node."""
    text = word(scalar)
    if not NAME.fullmatch(text):
        raise Mistake(
            f"{shown(text)} is no name; write 1 to 100 letters, digits and : _ . - "
            "beginning with a letter, digit or _",
        )
    return text


def duration(low: int, high: int) -> Callable[[Scalar], int]:
    """Make a reader of durations from `low` to `high`; nanoseconds."""

    def read(scalar: Scalar) -> int:
        nanoseconds = nanoseconds_of(scalar.text)
        if not low <= nanoseconds <= high:
            raise Mistake(
                f"{shown(scalar.text)} is out of range; "
                f"write {show_duration(low)} to {show_duration(high)}",
            )
        return nanoseconds

    return read


def nanoseconds_of(text: str) -> int:
    """Read a duration as systemd.time(7) writes it, but never without a unit."""
    if _NUMBER.fullmatch(text) and len(text) <= 20:  # noqa: PLR2004 - more is no duration
        positive = text.lstrip("-")
        raise Mistake(f"{text} has no unit; write {positive}s or {positive}ms")
    if len(text) > 100 or not _DURATION.fullmatch(text):  # noqa: PLR2004 - more is no duration
        raise Mistake(f"{shown(text)} is no duration; write one such as 250ms, 1s or 1min 30s")
    total = 0
    for whole_part, decimals, unit in _DURATION_PART.findall(text):
        if unit not in UNITS:
            raise Mistake(f"{shown(unit)} is no unit of time; write us, ms, s, min, h, d or w")
        total += int(whole_part) * UNITS[unit]
        total += int(decimals or "0") * UNITS[unit] // 10 ** len(decimals)
    return total


def show_duration(nanoseconds: int) -> str:
    """Write a duration as the configuration has it, in the largest unit that needs no decimals."""
    for unit in ("h", "min", "s", "ms"):
        if nanoseconds % UNITS[unit] == 0 and nanoseconds:
            return f"{nanoseconds // UNITS[unit]}{unit}"
    return f"{nanoseconds / 1000:g}us" if nanoseconds else "0s"


def whole(low: int, high: int) -> Callable[[Scalar], int]:
    """Make a reader of whole numbers from `low` to `high`."""

    def read(scalar: Scalar) -> int:
        text = scalar.text
        if not _WHOLE.fullmatch(text):
            raise Mistake(f"{shown(text)} is no whole number; write {low} to {high}")
        if not low <= int(text) <= high:
            raise Mistake(f"{text} is out of range; write {low} to {high}")
        return int(text)

    return read


def grace(scalar: Scalar) -> float:
    """Give how many intervals may pass without a heartbeat, 1 < number <= 100."""
    text = scalar.text
    if not _NUMBER.fullmatch(text) or len(text) > 20:  # noqa: PLR2004 - more is no such number
        raise Mistake(f"{shown(text)} is no number; write for instance 1.5")
    if not 1 < float(text) <= 100:  # noqa: PLR2004 - a hundred lost heartbeats
        raise Mistake(f"{text} is out of range; write more than 1 and at most 100")
    return float(text)


def percent(scalar: Scalar) -> float:
    """Give a fraction, 0 < fraction <= 1."""
    if _NUMBER.fullmatch(scalar.text):
        raise Mistake(f"{shown(scalar.text)} has no percent sign; write for instance 5%")
    match = _PERCENT.fullmatch(scalar.text)
    if not match:
        raise Mistake(f"{shown(scalar.text)} is no percentage; write for instance 5% or 0.5%")
    fraction = float(match[1]) / 100
    if not 0 < fraction <= 1:
        raise Mistake(f"{scalar.text} is out of range; write more than 0% and at most 100%")
    return fraction


def choice(words: Iterable[str]) -> Callable[[Scalar], str]:
    """Make a reader of one of `words`, which stand in the order to be named."""
    known = tuple(words)

    def read(scalar: Scalar) -> str:
        if scalar.text not in known:
            raise Mistake(f"{shown(scalar.text)} is not known; write {one_of(known)}")
        return scalar.text

    return read


def switch(scalar: Scalar) -> bool:
    """Read what YAML 1.1 calls a boolean."""
    text = scalar.text.lower()
    if text not in TRUE | FALSE:
        raise Mistake(f"{shown(scalar.text)} is neither on nor off; write on or off")
    return text in TRUE


def absolute_path(example: str) -> Callable[[Scalar], str]:
    """Make a reader of the full path of a file."""

    def read(scalar: Scalar) -> str:
        text = word(scalar)
        if not text.startswith("/") or not text.isprintable():
            raise Mistake(f"{shown(text)} is no absolute path; write for instance {example}")
        return text

    return read


def interface(scalar: Scalar) -> str:
    """Give the name of a network interface, as the kernel allows it (dev_valid_name)."""
    text = word(scalar)
    if len(text) > 15:  # noqa: PLR2004 - IFNAMSIZ less its NUL
        raise Mistake(f"{shown(text)} is too long; an interface has at most 15 characters")
    if text in {".", ".."} or re.search(r"[\s/:]", text) or not text.isprintable():
        raise Mistake(f"{shown(text)} is no interface; `ip link` lists them")
    return text


def label(scalar: Scalar) -> str:
    """Give the value of a label."""
    text = word(scalar)
    if len(text) > 255 or not text.isprintable():  # noqa: PLR2004 - it is shown in tables
        raise Mistake(f"{shown(text)} is no label; write up to 255 printable characters")
    return text
