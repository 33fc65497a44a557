"""Text that goes onto the wire: exact octets, with escapes for those that no editor shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hbd.config.values import Mistake, refuse_boolean, shown, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.config.nodes import Scalar

MAX_OCTETS: Final = 512

ESCAPES: Final = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

_PART: Final = re.compile(r"\\x([0-9A-Fa-f]{2})|\\(.?)|[^\\]+", re.DOTALL)


def text(scalar: Scalar) -> bytes:
    r"""Give 1 to 512 octets of UTF-8; \r \n \t \0 \\ \xNN stand for one octet each."""
    refuse_boolean(scalar)
    octets = b"".join(map(_octets, _PART.finditer(scalar.text)))
    if not octets:
        raise Mistake("empty text; write a value or leave the key out")
    if len(octets) > MAX_OCTETS:
        raise Mistake(f"{len(octets)} octets are too many; write at most {MAX_OCTETS}")
    return octets


def _octets(part: re.Match[str]) -> bytes:
    if part[1] is not None:
        return bytes.fromhex(part[1])
    if part[2] is None:
        return _encoded(part[0])
    if part[2] not in ESCAPES:
        raise Mistake(rf"{shown(part[0])} is no escape; write \r, \n, \t, \0, \\ or \xNN")
    return ESCAPES[part[2]]


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Mistake(f"{shown(text)} is no UTF-8; write an octet as \\xNN") from None


def payload(scalar: Scalar) -> bytes | None:
    """Give what must come, None for `any`."""
    return None if scalar.text == "any" else text(scalar)


def printable(limit: int) -> Callable[[Scalar], str]:
    """Make a reader of text without control characters of at most `limit` octets of UTF-8."""

    def read(scalar: Scalar) -> str:
        written = word(scalar)
        if not written.isprintable() or len(written.encode("utf-8")) > limit:
            words = f"write up to {limit} octets of printable characters"
            raise Mistake(f"{shown(written)} cannot be sent; {words}")
        return written

    return read


def topic(scalar: Scalar) -> str:
    """Give the name of an MQTT topic: no wildcards (MQTT 3.1.1, 3.3.2-2)."""
    name = printable(MAX_OCTETS)(scalar)
    if set(name) & {"+", "#"}:
        raise Mistake(f"{shown(name)} has a wildcard; write one topic without + and #")
    return name
