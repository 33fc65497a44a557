"""Every peer's state at once, in entries for reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from hbd.report.compose import Fields, compose
from hbd.report.entry import Entry, Priority
from hbd.report.kinds import Kind
from hbd.report.tally import in_words, tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hbd.report.records import PeerRecord

SNAPSHOT_LIMIT: Final = 48_000
"""Readers of the journal cut a field at 64 KiB unless told otherwise."""


def snapshot(
    new_id: Callable[[], str], since: int, peers: Sequence[PeerRecord], occasion: str
) -> Iterator[Entry]:
    """Every peer's state in entries of bounded size; `occasion` is start, reload, stop or daily.

    HBD_SNAPSHOT holds JSON: a list of [name, state, cause or null, since in microseconds].
    """
    when = "daily snapshot" if occasion == "daily" else f"snapshot at {occasion}"
    message = f"{when}: {in_words(tally(peer.state for peer in peers))}"
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


def _parts(peers: Sequence[PeerRecord]) -> Iterator[list[str]]:
    """JSON rows, as many together as one entry may hold; one empty part where there is no peer."""
    rows: list[str] = []
    size = 0
    for peer in peers:
        told = (peer.name, peer.state, peer.cause, peer.since // 1000)
        row = json.dumps(told, separators=(",", ":"))
        if size + len(row) > SNAPSHOT_LIMIT:
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += len(row) + 1
    yield rows
