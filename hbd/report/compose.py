"""How every entry is put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.report.entry import MESSAGE_LIMIT, Entry, Priority, facts, field_name
from hbd.report.kinds import KINDS, Kind
from hbd.report.words import moment, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LABEL_LIMIT: Final = 256

Fields = tuple[tuple[str, str | int | None], ...]


def compose(
    kind: Kind,
    priority: Priority,
    message: str,
    *,
    event_id: str,
    since: int,
    fields: Fields = (),
    labels: Iterable[tuple[str, str]] = (),
    evidence: Sequence[str] = (),
) -> Entry:
    """Fields without a value are left out."""
    given = [
        ("HBD_EVENT", kind.value),
        ("HBD_EVENT_ID", event_id),
        ("HBD_SINCE", moment(since)),
        *((name, str(value)) for name, value in fields if value is not None),
        *((field_name("HBD_LABEL_", key), one_line(text, LABEL_LIMIT)) for key, text in labels),
    ]
    if evidence:
        given.append(("HBD_EVIDENCE", facts(tuple(evidence))))
    text = one_line(message, MESSAGE_LIMIT)
    return Entry(text, KINDS[kind].message_id, priority, tuple(given))


def usec(nanoseconds: int | None) -> int | None:
    """Microseconds, as the fields have them."""
    return None if nanoseconds is None else nanoseconds // 1000
