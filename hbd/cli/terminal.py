"""What the terminal can show, and texts made to fit it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.report.words import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS: Final = 80
LINES: Final = 24
"""Of a terminal that does not say its size, such as a serial line."""

PLAIN: Final = ("dumb", "linux")
"""Terminals without eighths of a block; the console's fonts have no room for them."""

NO_LIMIT: Final = 1 << 20

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "31", "32", "33", "34", "35", "36"
DIM: Final = "2"


class Terminal(NamedTuple):
    """Where a table goes; no dataclass, which would take longer to make than the table."""

    width: int | None = None
    """None: no terminal, and lines of any length."""
    height: int = LINES
    has_colour: bool = False
    has_blocks: bool = True
    """Whether letters beyond ASCII can be shown."""

    @property
    def ellipsis(self) -> str:
        return "…" if self.has_blocks else "..."

    def paint(self, text: str, code: str) -> str:
        """Colour a text, if that is wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.has_colour and text else text

    def cut(self, text: str, width: int | None) -> str:
        """Give as much of a text as fits, with a sign where that is not all."""
        if width is None or width_of(text) <= width:
            return text
        room = width - len(self.ellipsis)
        if room <= 0:
            return _begin(text, width)
        return _begin(text, room) + self.ellipsis


def terminal_of(stream: Any, environ: Mapping[str, str]) -> Terminal:
    """Say what the terminal can that a stream goes to, if it is one."""
    name, is_utf8 = environ.get("TERM", ""), _is_utf8(stream, environ)
    if not stream.isatty():
        return Terminal(has_blocks=is_utf8)
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        size = os.terminal_size((0, 0))
    return Terminal(
        size.columns or COLUMNS,
        size.lines or LINES,
        has_colour=name != "dumb" and not environ.get("NO_COLOR"),
        has_blocks=is_utf8 and name not in PLAIN,
    )


def standard_output() -> Terminal:
    """Do so of standard output, as it is at this moment."""
    return terminal_of(sys.stdout, os.environ)


def _is_utf8(stream: Any, environ: Mapping[str, str]) -> bool:
    """Python takes LC_ALL=C for UTF-8, which is not what who sets it says of the terminal."""
    named = next(
        (environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), ""
    )
    if named and "utf8" not in named.replace("-", "").lower():
        return False
    return str(stream.encoding).replace("-", "").lower() == "utf8"


def clean(text: str) -> str:
    """Make controls visible that others have put into a text."""
    return text if text.isprintable() else one_line(text, NO_LIMIT)


def width_of(text: str) -> int:
    """How many columns a printable text takes: letters of East Asia take two, accents none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(letter: str) -> int:
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - mostly not needed

    if category(letter) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1


def _begin(text: str, width: int) -> str:
    """Give the longest beginning that is no wider."""
    if text.isascii():
        return text[:width]
    end = room = 0
    for letter in text:
        room += _width(letter)
        if room > width:
            break
        end += 1
    return text[:end]


def pad(text: str, width: int) -> str:
    """Fill up with blanks to a width."""
    return text + " " * (width - width_of(text))
