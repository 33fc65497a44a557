"""What must survive a restart: each peer's state, and the entries not known to have gone.

A change is stored together with its entry before the entry is sent. One thread does all writing:
a full disk, or one that hangs, costs the loop nothing, and after a second the entry is sent anyway.
What is to be written is put into words by the loop, as little at a time as it can bear.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND
from hbd.report import entry as entries
from hbd.report import places, records
from hbd.report.ledger import NAME, Batch, Contents, Ledger, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hbd.report.entry import Entry
    from hbd.report.records import PeerRecord

PATIENCE: Final = 1 * SECOND
"""How long an entry waits to be stored."""
TOUCH_SECONDS: Final = 10
"""How often the last stored moment is kept."""
CHUNK: Final = 64
"""Peers in one line."""
RETRY_SECONDS: Final = 10.0
"""After a failure everything stays in memory for so long."""
CLOSE_SECONDS: Final = 5.0
"""How long a stopping daemon waits for the disk."""


class StoreTakenError(Exception):
    """Another daemon keeps its states in the same directory."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What an earlier process left."""

    peers: dict[str, PeerRecord]
    pending: list[Entry]
    """Entries not known to have gone: they are to be sent again."""
    last_moment: int | None
    """Wall clock, ns: until when somebody watched; None where nothing was stored."""
    error: str
    """Why nothing can be stored; empty when all is well."""


@dataclass(slots=True)
class _Waiting:
    """What is to be written about one peer, or, under an empty name, about none."""

    record: bytes | None = None
    forgotten: bool = False
    entries: dict[str, bytes] = field(default_factory=dict)


class Store:
    """Below `directory`; everything but `load` and `close` takes microseconds."""

    def __init__(self, directory: Path) -> None:
        self.released = 0
        """Entries given out although they could not be stored (in time)."""
        self._directory = directory
        self._ledger = Ledger(directory)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._stuck = False
        self._is_due = False
        """Something was recorded of which the writer does not know."""
        self._unstored: dict[str, tuple[int, Entry]] = {}
        """By event id: until when an entry waits, in the order in which they came."""
        # Between the loop and the writer, under the lock:
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}
        self._peer_of: dict[str, str] = {}
        self._gone: list[str] = []
        self._closing = False
        self._written: deque[str] = deque()
        self._notices: deque[str] = deque(maxlen=1)
        self._broken_until = 0.0

    def load(self) -> Stored:
        """Read what is there and begin to write. Where that cannot be, `error` says why, once.

        StoreTakenError where another daemon does so; nothing has been touched then.
        """
        error, moment = "", None
        known: Contents[PeerRecord, Entry] = Contents()
        try:
            places.make(self._directory, 0o750)
            self._ledger.lock()
            moment = self._ledger.read(known)
            self._ledger.rewrite()
        except BlockingIOError:
            words = f"another hbd keeps its states in {self._directory}"
            raise StoreTakenError(f"{words}; stop it, or set STATE_DIRECTORY") from None
        except OSError as failed:
            self._broken_until = time.monotonic() + RETRY_SECONDS
            error = self._why_not(failed)
        stored = Stored(known.peers, list(known.pending.values()), moment, error)
        self._thread = threading.Thread(target=self._write_on, name="store", daemon=True)
        self._thread.start()
        return stored

    @property
    def waiting(self) -> int:
        """Entries that are not stored yet."""
        return len(self._unstored)

    @property
    def damaged(self) -> int:
        """Lines that could not be read at the start, and are lost."""
        return self._ledger.damaged

    @property
    def file(self) -> Path:
        """Where it stands."""
        return self._directory / NAME

    def fileno(self) -> int:
        """Readable when `stored` has something to give."""
        return self._wake

    def record(self, record: PeerRecord | None, entry: Entry | None, now: int) -> None:
        """Store a peer's record together with its entry, at the next `write`; either may be None.

        `stored` gives the entry back as soon as it may be sent; `now` is monotonic.
        """
        name = record.name if record else (entry.value("HBD_PEER") if entry else "") or ""
        if entry:
            self._unstored[entry.event_id] = (now if self._stuck else now + PATIENCE, entry)
        words = written(records.to_json(record)) if record else None
        told = {entry.event_id: written(entries.to_json(entry))} if entry else {}
        with self._changed:
            waiting = self._waiting.setdefault(name, _Waiting())
            if words:
                waiting.record, waiting.forgotten = words, False
            waiting.entries |= told
            self._peer_of |= dict.fromkeys(told, name)
        self._is_due = True

    def write(self) -> None:
        """Have all that was recorded written: together, or the writer would be woken for each."""
        if self._is_due:
            self._is_due = False
            with self._changed:
                self._changed.notify()

    def forget(self, name: str) -> None:
        """The peer was removed from the configuration."""
        with self._changed:
            waiting = self._waiting.setdefault(name, _Waiting())
            waiting.record, waiting.forgotten = None, True
            self._changed.notify()

    def gone(self, event_ids: list[str]) -> None:
        """These entries have been sent, or dropped and counted: not to be sent again."""
        if not event_ids:
            return
        with self._changed:
            for event_id in event_ids:
                waiting = self._waiting.get(self._peer_of.pop(event_id, ""))
                # What went before it was written need not be written any more.
                if waiting is None or waiting.entries.pop(event_id, None) is None:
                    self._gone.append(event_id)
            self._changed.notify()

    def stored(self, now: int) -> list[Entry]:
        """Entries that may be sent: stored, or in vain for too long. In the order of `record`."""
        written = self._drained()
        for event_id in written:
            self._stuck = False
            self._unstored.pop(event_id, None)
        return [*written.values(), *self._overdue(now)]

    def next_deadline(self) -> int | None:
        """When an entry will have waited for too long; None where none waits."""
        return next((until for until, _ in self._unstored.values()), None)

    def notice(self) -> str:
        """Why nothing can be written any more, once when it begins; that it is over; else empty."""
        return self._notices.pop() if self._notices else ""

    def close(self) -> None:
        """Write what waits; a disk that hangs is not waited for."""
        with self._changed:
            self._closing = True
            self._broken_until = 0.0
            self._changed.notify()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                return
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1

    def _drained(self) -> dict[str, Entry]:
        """What the writer reported and the loop still waits for."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return {}
        # By peer they were written; in the order in which they came they are told.
        ids = {self._written.popleft() for _ in range(len(self._written))}
        return {id_: entry for id_, (_, entry) in self._unstored.items() if id_ in ids}

    def _overdue(self, now: int) -> list[Entry]:
        first = next(iter(self._unstored.values()), None)
        if first is None or now < first[0]:
            return []
        self._stuck = True
        overdue = [entry for _, entry in self._unstored.values()]
        self._unstored.clear()
        with self._changed:
            self.released += len(overdue)
        return overdue

    # From here on: the writer's thread.

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, TOUCH_SECONDS)
                closing = self._closing
                waiting, self._waiting = self._waiting, {}
                gone, self._gone = self._gone, []
                self._peer_of.clear()
            self._write([*_batches(waiting), *([Batch(gone=gone)] if gone else [])])
            if closing:
                self._ledger.release()
                return

    def _has_work(self) -> bool:
        return bool(self._waiting or self._gone or self._closing)

    def _write(self, batches: list[Batch[bytes, bytes]]) -> None:
        for batch in batches:
            self._ledger.contents.add(batch)
        written = self._is_written(batches)
        ids = [event_id for batch in batches for event_id in batch.entries]
        if not ids:
            return
        if not written:
            with self._changed:
                self.released += len(ids)
        # What could not be written is given out as well; it stays in memory for the next attempt.
        self._written.extend(ids)
        os.eventfd_write(self._wake, 1)

    def _is_written(self, batches: list[Batch[bytes, bytes]]) -> bool:
        broken = not self._ledger.is_open
        if broken and time.monotonic() < self._broken_until:
            return False
        try:
            if batches or broken:
                self._ledger.append(batches)
            else:
                self._ledger.touch()
        except OSError as error:
            # Half a line may stand there: the next attempt writes the whole file anew.
            self._ledger.close()
            self._broken_until = time.monotonic() + RETRY_SECONDS
            if not broken:
                self._notices.append(self._why_not(error))
            return False
        if broken:
            self._notices.append("states are stored again")
        return True

    def _why_not(self, error: OSError) -> str:
        return (
            f"cannot store states in {self._directory}: {error.strerror or error}: until it can, a"
            f" restart may repeat or forget changes; see whether it is full (df) or may not be"
            f" written to"
        )


def _batches(waiting: dict[str, _Waiting]) -> Iterator[Batch[bytes, bytes]]:
    """A few peers each, every peer with its newest record and all of its entries."""
    items = list(waiting.items())
    for start in range(0, len(items), CHUNK):
        batch: Batch[bytes, bytes] = Batch()
        for name, one in items[start : start + CHUNK]:
            if one.record or one.forgotten:
                batch.peers[name] = one.record
            batch.entries |= one.entries
        yield batch
