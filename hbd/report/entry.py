"""A journal entry, and its three forms: native protocol, text line, JSON line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from hbd.report.words import one_line

IDENTIFIER: Final = "hbd"

MESSAGE_LIMIT: Final = 2_000
FACTS_LIMIT: Final = 16
FACT_LIMIT: Final = 240
FIELD_NAME_LIMIT: Final = 64
"""journald drops fields with longer names."""

_FIELD: Final = re.compile(rf"[A-Z][A-Z0-9_]{{0,{FIELD_NAME_LIMIT - 1}}}")
_PRIORITIES: Final = range(8)
"""Those of syslog(3)."""


class Priority(IntEnum):
    """syslog(3)."""

    ERR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


_WORDS: Final = {3: "error", 4: "warning", 5: "notice", 6: "info"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `fields` are the HBD_ ones, in order."""

    message: str
    message_id: str
    priority: int
    fields: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def event_id(self) -> str:
        """By which readers count an entry once; empty where there is none."""
        return self.value("HBD_EVENT_ID") or ""

    def pairs(self) -> list[tuple[str, str]]:
        """All fields as the journal gets them."""
        return [
            ("MESSAGE", self.message),
            ("MESSAGE_ID", self.message_id),
            ("PRIORITY", str(int(self.priority))),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            *self.fields,
        ]


def field_name(prefix: str, key: str) -> str:
    """A name that journald accepts: upper case, digits and `_`, at most 64 characters."""
    return re.sub(r"[^A-Z0-9_]", "_", f"{prefix}{key.upper()}")[:FIELD_NAME_LIMIT]


def facts(evidence: tuple[str, ...] | list[str]) -> str:
    """One fact a line, bounded; the last line says how many more there were."""
    shown = [one_line(fact, FACT_LIMIT) for fact in evidence[:FACTS_LIMIT]]
    if len(evidence) > FACTS_LIMIT:
        shown[-1] = f"and {len(evidence) - FACTS_LIMIT + 1} more"
    return "\n".join(shown)


def native(entry: Entry) -> bytes:
    """The datagram for /run/systemd/journal/socket (systemd: JOURNAL_NATIVE_PROTOCOL)."""
    return b"".join(_framed(name, value) for name, value in entry.pairs())


def _framed(name: str, value: str) -> bytes:
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" not in raw:
        return b"%b=%b\n" % (name.encode(), raw)
    # With its length in front no value can pretend to be a field of its own.
    return b"%b\n%b%b\n" % (name.encode(), len(raw).to_bytes(8, "little"), raw)


def text_line(entry: Entry) -> bytes:
    """`2026-11-22T10:05:00Z error: db1 is down: …`, one line."""
    since = entry.value("HBD_SINCE")
    when = f"{since[:19]}Z " if since else ""
    word = _WORDS.get(int(entry.priority), "info")
    line = f"{when}{word}: {one_line(entry.message, MESSAGE_LIMIT)}\n"
    return line.encode("utf-8", "backslashreplace")


def json_line(entry: Entry) -> bytes:
    """One JSON object with the names and the strings that `journalctl -o json` gives."""
    return json.dumps(_joined(entry.pairs()), separators=(",", ":")).encode() + b"\n"


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    """A repeated name gets a list, as `journalctl -o json` does it."""
    joined: dict[str, str | list[str]] = {}
    for name, value in pairs:
        earlier = joined.get(name)
        if earlier is None:
            joined[name] = value
        else:
            joined[name] = [*([earlier] if isinstance(earlier, str) else earlier), value]
    return joined


def to_json(entry: Entry) -> list[object]:
    """For the store."""
    return [entry.message, entry.message_id, int(entry.priority), entry.fields]


def from_json(value: Any) -> Entry:
    """What `to_json` made; ValueError for anything else."""
    try:
        message, message_id, priority, fields = value
        pairs = tuple((str(name), str(text)) for name, text in fields)
        entry = Entry(str(message), str(message_id), int(priority), pairs)
    except (TypeError, OverflowError) as error:
        raise ValueError("not a stored entry") from error
    if entry.priority not in _PRIORITIES or not all(_FIELD.fullmatch(name) for name, _ in pairs):
        raise ValueError("not an entry that the journal takes")
    return entry
