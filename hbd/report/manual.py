r"""What the manual and README say of causes, made from their table.

`python3 -m hbd.report.manual FILE...` writes it anew between the marks: in hbd(8) lines such as
`.\" [stamp] of python3 -m hbd.report.manual` and `.\" [end]`, in README.md the same as comments.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from hbd.core.model import Cause
from hbd.report.causes import CAUSES, adapted
from hbd.report.causes_bfd import BFD
from hbd.report.causes_down import DEGRADED, DOWN
from hbd.report.causes_ours import NOT_TO_BLAME
from hbd.report.causes_stream import MQTT, STREAM
from hbd.report.dialects import DIALECTS, SAME
from hbd.report.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterable

Rows = dict[Cause, Explanation]

MARKED: Final = re.compile(
    r'^(?P<open>(?:\.\\"|<!--) \[(?P<name>\w+)\][^\n]*\n)'
    r'(?P<text>.*?)'
    r'(?P<close>^(?:\.\\"|<!--) \[end\])',
    re.MULTILINE | re.DOTALL,
)  # fmt: skip
WIDTH: Final = 90

OF_PROTOCOL: Final[dict[str, Rows]] = {"tcp": STREAM, "mqtt": MQTT, "bfd": BFD}
NOTHING: Final = Explanation("", "", "")

BLANKS: Final = {
    **{name: name.upper() for name in ("via", "size", "interface")},
    **dict.fromkeys(("host", "ip"), "ADDRESS"),
    **dict.fromkeys(("port", "open_port"), "PORT"),
    **dict.fromkeys(("dev", "by", "openssl_tls", "mosquitto_tls"), ""),
    "name": "PEER",
    "endpoint": "ADDRESS:PORT",
}


def causes() -> str:
    """Section CAUSES."""
    return (
        _subsection("The peer is down", DOWN)
        + _subsection("The peer is degraded", DEGRADED)
        + _subsection("The peer is not to blame", NOT_TO_BLAME)
    )


def of_protocol(name: str) -> str:
    """The causes of one protocol: those of its own, and of others what is different."""
    rows = dict.fromkeys(DIALECTS[name], NOTHING) | OF_PROTOCOL.get(name, {})
    return _entries(
        (cause, adapted(rows[cause], DIALECTS[name].get(cause, SAME)))
        for cause in CAUSES
        if cause in rows
    )


def readme() -> str:
    """The table of the README: STAMP's causes each, the others by name."""
    lines = ["| cause | what it is | what to do |", "|---|---|---|"]
    for cause, row in (DOWN | DEGRADED | NOT_TO_BLAME).items():
        told = adapted(row, DIALECTS["stamp"].get(cause, SAME))
        lines.append(f"| `{cause}` | {told.meaning} | {told.advice} |")
    for protocol, rows in OF_PROTOCOL.items():
        names = ", ".join(f"`{cause}`" for cause in rows)
        lines.append(f"| {names} | of `{protocol}` peers | `man hbd`, PROTOCOLS |")
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """A text with what stands between its marks made anew."""
    return MARKED.sub(lambda match: match["open"] + _made(match["name"]) + match["close"], text)


def _made(name: str) -> str:
    sections = {"causes": causes, "readme": readme}
    return sections[name]() if name in sections else of_protocol(name)


def _subsection(title: str, rows: Rows) -> str:
    return f".SS {title}\n{_entries(rows.items())}"


def _entries(rows: Iterable[tuple[Cause, Explanation]]) -> str:
    return "".join(_entry(cause, row) for cause, row in rows)


def _entry(cause: Cause, row: Explanation) -> str:
    prose = [line for text in (row.meaning, row.apart, row.advice) for line in _sentences(text)]
    if not prose and not row.commands:
        return ""
    commands = [f".br\n\\fB{_roff(command.format_map(BLANKS))}\\fR" for command in row.commands]
    return "\n".join([".TP", f".B {cause}", *map(_roff, prose), *commands]) + "\n"


def _sentences(text: str) -> list[str]:
    """Each sentence on a line of its own, as roff wants it, long ones on several."""
    sentences = re.split(r"(?<=[.?]) (?=[A-Z])", text)
    return [line for s in sentences for line in wrap(s, WIDTH, break_on_hyphens=False)]


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
