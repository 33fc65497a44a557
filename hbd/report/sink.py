"""Where entries go: what journal and console have in common."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.report.entry import Entry

SLICE: Final = 100
"""Entries in one turn of the loop."""
QUEUE_LIMIT: Final = 4096
"""Entries that wait at most; the daemon raises it to four for each peer."""


class Sink(Protocol):
    """Takes entries at once and sends them when they go; nothing here blocks or raises."""

    queue: Queue

    def put(self, entry: Entry) -> bool:
        """Queue an entry; False where there is no room: it is counted and will be told of."""

    def flush(self, now: int, most: int = SLICE) -> list[str]:
        """Send what goes, so many at the most; the event ids of those known to have gone."""

    @property
    def wants_write(self) -> bool:
        """Whether `flush` waits for `fileno()` to be writable."""

    @property
    def is_read(self) -> bool:
        """Whether all that went was taken by whoever reads it."""

    def next_deadline(self) -> int | None:
        """When `flush` wants to be called even if nothing is writable."""

    def fileno(self) -> int:
        """The same one for ever; -1 where there is nothing to wait for."""

    def close(self) -> None: ...


class Queue:
    """A bounded queue of entries that counts what found no room, and says so when it has some."""

    def __init__(self, lost: Callable[[int], Entry], limit: int = QUEUE_LIMIT) -> None:
        """`lost` makes the entry that says how many were lost."""
        self.limit = limit
        self.lost_total = 0
        self._lost = 0
        self._tell_lost = lost
        self._waiting: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + (self._lost > 0)

    def put(self, entry: Entry) -> bool:
        """False where there is no room."""
        if len(self._waiting) >= self.limit:
            self.lose()
            return False
        self._waiting.append(entry)
        return True

    def first(self) -> Entry | None:
        """The entry to send next."""
        if not self._waiting:
            self._own_up()
        return self._waiting[0] if self._waiting else None

    def done(self) -> Entry:
        """The first one has gone."""
        entry = self._waiting.popleft()
        # Not at the first free place: one entry is to tell of many.
        if len(self._waiting) <= self.limit // 2:
            self._own_up()
        return entry

    def lose(self, count: int = 1) -> None:
        """So many entries will not be sent."""
        self._lost += count
        self.lost_total += count

    def _own_up(self) -> None:
        if self._lost:
            self._waiting.append(self._tell_lost(self._lost))
            self._lost = 0
