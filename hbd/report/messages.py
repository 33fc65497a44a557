"""What befell hbd itself, as journal entries.

`event_id` is 128 random bits in hexadecimal, given by the caller; `since` is the wall clock in
nanoseconds; durations are nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.report.compose import Fields, compose, usec
from hbd.report.entry import Entry, Priority
from hbd.report.kinds import Kind
from hbd.report.words import duration, listed, peers_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES_SHOWN: Final = 5


def started(
    event_id: str,
    since: int,
    *,
    version: str,
    node: str,
    peers: int,
    listening: Sequence[str],
    unwatched: int | None = None,
) -> Entry:
    """`unwatched`: for how long nobody watched, from the last stored moment on."""
    where = f"answering on {', '.join(listening)}" if listening else "answering nobody"
    message = f"hbd {version} started on {node}: watching {peers_in_words(peers)}, {where}"
    fields: Fields = (
        ("HBD_NODE", node),
        ("HBD_VERSION", version),
        ("HBD_COUNT", peers),
        ("HBD_DURATION_USEC", usec(unwatched)),
    )
    return compose(
        Kind.START, Priority.INFO, message, event_id=event_id, since=since, fields=fields
    )


def stopped(event_id: str, since: int, *, node: str, ran: int) -> Entry:
    """A clean stop; `ran` is how long this process watched."""
    message = f"hbd stopped on {node} after {duration(ran)}: its peers are not watched now"
    fields: Fields = (("HBD_NODE", node), ("HBD_DURATION_USEC", usec(ran)))
    return compose(Kind.STOP, Priority.INFO, message, event_id=event_id, since=since, fields=fields)


def reloaded(
    event_id: str,
    since: int,
    *,
    added: Sequence[str],
    removed: Sequence[str],
    changed: Sequence[str],
) -> Entry:
    """A good reload, with the names of the peers it touched."""
    groups = [("added", added), ("removed", removed), ("changed", changed)]
    told = [f"{word} {listed(sorted(names), NAMES_SHOWN)}" for word, names in groups if names]
    message = f"configuration reloaded: {'; '.join(told) or 'no peer changed'}"
    count = sum(len(names) for _, names in groups)
    evidence = [f"{word}: {name}" for word, names in groups for name in sorted(names)]
    fields: Fields = (("HBD_COUNT", count),)
    return compose(
        Kind.RELOAD,
        Priority.NOTICE,
        message,
        event_id=event_id,
        since=since,
        fields=fields,
        evidence=evidence,
    )


def first_of(mistakes: Sequence[object]) -> str:
    """Give the first, and how many more there are."""
    more = f" (and {len(mistakes) - 1} more: see hbd check)" if len(mistakes) > 1 else ""
    return f"{mistakes[0]}{more}"


def reload_refused(event_id: str, since: int, errors: Sequence[str]) -> Entry:
    """The new configuration has mistakes; the old one stays in use."""
    message = f"configuration refused, the old one stays in use: {first_of(errors)}"
    fields: Fields = (("HBD_COUNT", len(errors)),)
    return compose(
        Kind.RELOAD_REFUSED,
        Priority.WARNING,
        message,
        event_id=event_id,
        since=since,
        fields=fields,
        evidence=errors,
    )


def refused_source(
    event_id: str, since: int, address: str, protocol: str = "stamp", *, places: str = "peers:"
) -> Entry:
    """Heartbeats came from a source that is not in any of these places; said once for each."""
    what = "heartbeats" if protocol == "stamp" else f"{protocol} heartbeats"
    message = f"{what} from {address} refused: add it to {places}"
    fields: Fields = (("HBD_ADDRESS", address),)
    return compose(
        Kind.REFUSED, Priority.INFO, message, event_id=event_id, since=since, fields=fields
    )


def refused_key(event_id: str, since: int, address: str) -> Entry:
    """Heartbeats came that are not signed as they should be here; said once for each key."""
    message = (
        f"heartbeats from {address} refused: its key is another than ours, or one end has none:"
        " give both ends the same `key:`"
    )
    return compose(
        Kind.REFUSED,
        Priority.INFO,
        message,
        event_id=event_id,
        since=since,
        fields=(("HBD_ADDRESS", address),),
    )


def entries_lost(event_id: str, since: int, count: int) -> Entry:
    """So many entries did not fit into the queue towards the journal."""
    what = "1 entry was" if count == 1 else f"{count} entries were"
    message = f"{what} lost: the journal took none for too long; hbd status shows every state"
    fields: Fields = (("HBD_COUNT", count),)
    return compose(
        Kind.LOST, Priority.WARNING, message, event_id=event_id, since=since, fields=fields
    )


def damaged(lines: int, file: Path) -> str:
    """What is lost where so many lines of a file of states cannot be read."""
    what = "1 line" if lines == 1 else f"{lines} lines"
    lost = "states, pauses and since when of some peers may be lost; see hbd status"
    return f"{what} of {file} cannot be read (is the disk sound?): {lost}"


def weather(event_id: str, since: int, text: str, evidence: Sequence[str] = ()) -> Entry:
    """Something around hbd is not as it should be; `text` says what, and what to do about it."""
    return compose(
        Kind.WEATHER, Priority.WARNING, text, event_id=event_id, since=since, evidence=evidence
    )
