"""Entries to standard error, as text or as JSON lines, never waiting for who reads them."""

from __future__ import annotations

import os
import select
import socket
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from hbd.core.model import MILLISECOND
from hbd.report.entry import Entry, json_line, text_line
from hbd.report.sink import QUEUE_LIMIT, SLICE, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY: Final = 50 * MILLISECOND
"""A full pipe is tried again so often: who shares a terminal shares its poll flags as well."""


class Console:
    """A sink that writes lines to a file descriptor."""

    wants_write: Final = False
    is_read: Final = True

    def __init__(
        self, lost: Callable[[int], Entry], fd: int, form: str, limit: int = QUEUE_LIMIT
    ) -> None:
        """`form` is text or json; `lost` makes the entry that says how many were lost."""
        self.queue = Queue(lost, limit)
        self._line = json_line if form == "json" else text_line
        self._write, self._close = _writer(fd)
        self._rest = b""
        """What a full pipe left of a line."""
        self._again = 0

    def put(self, entry: Entry) -> bool:
        """Queue an entry; False where there is no room."""
        return self.queue.put(entry)

    def flush(self, now: int, most: int = SLICE) -> list[str]:
        """Write what goes, so many at the most; the ids of the entries that went whole."""
        gone: list[str] = []
        if now < self._again:
            return gone
        self._again = now
        for _ in range(most):
            entry = self.queue.first()
            if entry is None or not self._written(entry, now):
                break
            gone.append(self.queue.done().event_id)
        return gone

    def next_deadline(self) -> int | None:
        """When `flush` is due; None where nothing waits."""
        return self._again if len(self.queue) else None

    def fileno(self) -> int:
        """Nothing to wait for: a plain file cannot be polled, and a pipe is tried again."""
        return -1

    def close(self) -> None:
        self._close()

    def _written(self, entry: Entry, now: int) -> bool:
        """Whether the whole line went."""
        line = self._rest or self._line(entry)
        try:
            while line:
                written = self._write(line[: select.PIPE_BUF])
                line = line[written:]
        except OSError:
            # Full, or nobody reads it any more; what waits is bounded and counted either way.
            self._rest = line
            self._again = now + RETRY
            return False
        self._rest = b""
        return True


def _writer(fd: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """How to write there without waiting, and how to end that.

    O_NONBLOCK belongs to the open file, which a shell and others share with us: a pipe or a
    terminal is opened a second time, so that the flag is ours alone.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return partial(os.write, fd), _nothing
    if stat.S_ISSOCK(mode):
        stream = socket.socket(fileno=os.dup(fd))
        return lambda octets: stream.send(octets, socket.MSG_DONTWAIT), stream.close
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        # Another user's terminal: to ask before each write is nearly as good.
        return partial(_write_if_ready, fd), _nothing
    return partial(os.write, own), partial(os.close, own)


def _nothing() -> None:
    pass


def _write_if_ready(fd: int, octets: bytes) -> int:
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    if not ready.poll(0):
        raise BlockingIOError
    return os.write(fd, octets)
