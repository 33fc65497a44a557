"""The file of the store: a line of JSON for each batch of changes, rewritten when it grows.

Only the writer's thread touches it. A line is written whole or counts as not written; nothing in
one batch is ever half there. That thread is given records and entries as they are to be written:
while it made them the loop would stand still, for Python runs one thread at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from hbd.report import entry as entries
from hbd.report import records

if TYPE_CHECKING:
    from pathlib import Path

    from hbd.report.entry import Entry
    from hbd.report.records import PeerRecord

NAME: Final = "peers.jsonl"
LOCK: Final = "lock"
COMPACT_BYTES: Final = 1 << 20
"""Below this a file is not worth rewriting."""
CHUNK: Final = 64
"""Peers or entries in one line of a rewritten file."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


Known = TypeVar("Known")
"""What is known of a peer: a record, or what is written of it;"""
Told = TypeVar("Told")
"""and so an entry."""


@dataclass(slots=True)
class Batch(Generic[Known, Told]):
    """What changed: records (None: the peer is forgotten), new entries, and those that went."""

    peers: dict[str, Known | None] = field(default_factory=dict)
    entries: dict[str, Told] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Contents(Generic[Known, Told]):
    """What all batches together come to."""

    peers: dict[str, Known] = field(default_factory=dict)
    pending: dict[str, Told] = field(default_factory=dict)
    """Entries not known to have gone, by event id."""

    def add(self, batch: Batch[Known, Told]) -> None:
        for name, peer in batch.peers.items():
            if peer is None:
                self.peers.pop(name, None)
            else:
                self.peers[name] = peer
        self.pending.update(batch.entries)
        for event_id in batch.gone:
            self.pending.pop(event_id, None)

    def batches(self) -> list[Batch[Known, Told]]:
        """The same in few and short lines."""
        peers, pending = list(self.peers.items()), list(self.pending.items())
        return [
            *(Batch(peers=dict(peers[n : n + CHUNK])) for n in range(0, len(peers), CHUNK)),
            *(Batch(entries=dict(pending[n : n + CHUNK])) for n in range(0, len(pending), CHUNK)),
        ]


def written(value: list[object]) -> bytes:
    """Write what to_json of a record or of an entry gives."""
    return _encode(value).encode()


def in_writing(batch: Batch[PeerRecord, Entry]) -> Batch[bytes, bytes]:
    """Give a batch of what is written of each."""
    peers = {
        name: None if peer is None else written(records.to_json(peer))
        for name, peer in batch.peers.items()
    }
    told = {id_: written(entries.to_json(entry)) for id_, entry in batch.entries.items()}
    return Batch(peers, told, batch.gone)


def line(batch: Batch[bytes, bytes]) -> bytes:
    """Give the line of changes that are written already, one by one."""
    told = {
        b"peers": [peer for peer in batch.peers.values() if peer],
        b"forgotten": [_encode(name).encode() for name, peer in batch.peers.items() if not peer],
        b"entries": list(batch.entries.values()),
        b"gone": [_encode(event_id).encode() for event_id in batch.gone],
    }
    parts = [b'"%b":[%b]' % (key, b",".join(values)) for key, values in told.items() if values]
    return b"{%b}\n" % b",".join(parts)


def parse(line: bytes) -> Batch[PeerRecord, Entry]:
    """Read what `line` made; ValueError for anything else."""
    try:
        told: dict[str, Any] = json.loads(line)
        peers: dict[str, PeerRecord | None] = dict.fromkeys(map(str, told.get("forgotten", ())))
        peers |= {peer.name: peer for peer in map(records.from_json, told.get("peers", ()))}
        found = map(entries.from_json, told.get("entries", ()))
        gone = [str(event_id) for event_id in told.get("gone", ())]
        return Batch(peers, {entry.event_id: entry for entry in found}, gone)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a stored line") from error


class Ledger:
    """The open file. Every method may raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._lock: int | None = None
        self._fd: int | None = None
        self._size = 0
        self._compacted = 0
        self.contents: Contents[bytes, bytes] = Contents()
        self.damaged = 0
        """Lines that could not be read; a last one half-written is as if it was never begun."""

    def lock(self) -> None:
        """Keep others out until `release`; BlockingIOError where another process is in."""
        if self._lock is not None:
            return
        fd = os.open(self._path.with_name(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        self._lock = fd

    def release(self) -> None:
        """Close, and let others in."""
        self.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, known: Contents[PeerRecord, Entry]) -> int | None:
        """Fill `contents`, and `known` with the same as it is meant: as far as can be read.

        Gives when the file was last touched (wall clock, ns), if it is there.
        """
        try:
            with self._path.open("rb") as stream:
                moment = os.fstat(stream.fileno()).st_mtime_ns
                for each in stream:
                    self._take(each, known)
        except FileNotFoundError:
            return None
        finally:
            for batch in known.batches():
                self.contents.add(in_writing(batch))
        return moment

    @property
    def is_open(self) -> bool:
        """False after `close`: the next `append` writes the whole file anew."""
        return self._fd is not None

    def append(self, batches: list[Batch[bytes, bytes]]) -> None:
        """Write batches that `contents` has already; on the disk when this returns."""
        if self._fd is None or self._size > max(COMPACT_BYTES, 2 * self._compacted):
            self.rewrite()
            return
        for batch in batches:
            self._size += _write(self._fd, line(batch))
        if any(batch.peers or batch.entries for batch in batches):
            os.fdatasync(self._fd)

    def rewrite(self) -> None:
        """Write everything anew beside the old file, then put it in its place."""
        self.lock()
        self.close()
        fresh = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600)
        try:
            size = sum(_write(fd, line(batch)) for batch in self.contents.batches())
            os.fdatasync(fd)
            fresh.rename(self._path)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._size, self._compacted = fd, size, size

    def touch(self) -> None:
        """We watch: whoever reads the file later sees until when."""
        if self._fd is None:
            return
        if os.fstat(self._fd).st_nlink == 0:  # somebody has removed it
            self.rewrite()
        os.utime(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _take(self, line: bytes, known: Contents[PeerRecord, Entry]) -> None:
        try:
            known.add(parse(line))
        except ValueError:
            self.damaged += line.endswith(b"\n")


def _write(fd: int, octets: bytes) -> int:
    """All of it, or OSError."""
    written = 0
    while written < len(octets):
        written += os.write(fd, octets[written:])
    return written
