"""Every peer's state at once, in entries for reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from hbd.report.compose import Fields, compose
from hbd.report.entry import Entry, Priority
from hbd.report.kinds import Kind
from hbd.report.tally import tally
from hbd.report.words import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hbd.core.model import Cause, State

    Row = tuple[str, State, Cause | None, int, int]

SNAPSHOT_LIMIT: Final = 48_000
"""Readers of the journal cut a field at 64 KiB unless told otherwise."""


def snapshot(
    new_id: Callable[[], str], since: int, peers: Sequence[Row], occasion: str
) -> Iterator[Entry]:
    """Every peer's state in entries of bounded size; `occasion` is start, reload, stop or daily.

    A peer is its name, state, cause, since when, on the wall clock, and how long its silence takes
    to be noticed. HBD_SNAPSHOT holds JSON: a list of [name, state, cause or null, since,
    detection], both in microseconds.
    """
    when = "daily snapshot" if occasion == "daily" else f"snapshot at {occasion}"
    message = f"{when}: {in_words(tally(state for _, state, *_ in peers))}"
    for part, rows in enumerate(_parts(peers), 1):
        fields: Fields = (
            ("HBD_OCCASION", occasion),
            ("HBD_COUNT", len(peers)),
            ("HBD_PART", part),
            ("HBD_SNAPSHOT", f"[{','.join(rows)}]"),
        )
        yield compose(
            Kind.SNAPSHOT, Priority.INFO, message, event_id=new_id(), since=since, fields=fields
        )


def _parts(peers: Sequence[Row]) -> Iterator[list[str]]:
    """JSON rows, as many together as one entry may hold; one empty part where there is no peer."""
    rows: list[str] = []
    size = 0
    for name, state, cause, since, detection in peers:
        told = (name, state, cause, since // 1000, detection // 1000)
        row = json.dumps(told, separators=(",", ":"))
        if size + len(row) > SNAPSHOT_LIMIT:
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += len(row) + 1
    yield rows
