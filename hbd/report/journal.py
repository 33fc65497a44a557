"""Entries to journald in its native protocol, without ever waiting for it.

`systemd.journal.send` holds the interpreter while journald is stuck, and heartbeats with it; this
one goes on, keeps what does not go at once in a bounded queue and counts what found no room.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import termios
from typing import TYPE_CHECKING, Final

from hbd.core.model import MILLISECOND, SECOND
from hbd.report.entry import Entry, native
from hbd.report.sink import QUEUE_LIMIT, SLICE, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET: Final = "/run/systemd/journal/socket"
RATE: Final = 2_000
"""Entries a second at most: journald is not to be flooded by a storm."""
REFILL: Final = SECOND // (RATE - SLICE)
"""A full slice at first, and then so many nanoseconds an entry: never more than RATE a second."""
PAUSE: Final = 50 * MILLISECOND
"""Time in which a good part of a slice gathers."""
RECONNECT: Final = 1 * SECOND

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journal:
    """A sink that sends to journald."""

    def __init__(
        self, lost: Callable[[int], Entry], path: str = SOCKET, limit: int = QUEUE_LIMIT
    ) -> None:
        """`lost` makes the entry that says how many were lost."""
        self.queue = Queue(lost, limit)
        self._path = path
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._connected = False
        self._blocked = False
        self._again = 0
        """Not before that moment; nothing else is due then."""
        self._full_at = 0
        """When the allowance is a full slice again."""

    def put(self, entry: Entry) -> bool:
        """Queue an entry; False where there is no room."""
        return self.queue.put(entry)

    def flush(self, now: int, most: int = SLICE) -> list[str]:
        """Send what goes, so many at the most and RATE a second; the ids of what went."""
        gone: list[str] = []
        self._blocked = False
        if now < self._again or not len(self.queue):
            return gone
        self._full_at = max(self._full_at, now)
        while len(gone) < most and (entry := self.queue.first()) is not None:
            if self._full_at + REFILL > now + SLICE * REFILL:
                self._again = now + PAUSE
                break
            if not self._sent(entry, now):
                break
            self._full_at += REFILL
            gone.append(self.queue.done().event_id)
        return gone

    @property
    def wants_write(self) -> bool:
        """The socket has no room at the moment."""
        return self._blocked

    @property
    def is_read(self) -> bool:
        """Whether journald has read all that went: who has ended by then is of no unit any more."""
        try:
            unread = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return True  # nothing is known
        return int.from_bytes(unread, sys.byteorder) == 0

    def next_deadline(self) -> int | None:
        """When `flush` is due although nothing is writable; None where nothing waits."""
        return None if self._blocked or not len(self.queue) else self._again

    def fileno(self) -> int:
        """The same for ever: a lost connection is made again on the same socket."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _sent(self, entry: Entry, now: int) -> bool:
        """Whether it went; a missing journald is asked again after a pause, an entry stays."""
        try:
            if not self._connected:
                self._socket.connect(self._path)
                self._connected = True
            self._send(native(entry))
        except BlockingIOError:
            self._blocked = True
        except OSError:
            # Whatever it was (restarted, not there yet, no memory), it may pass.
            self._connected = False
            self._again = now + RECONNECT
        else:
            return True
        return False

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._send_in_memory(datagram)

    def _send_in_memory(self, datagram: bytes) -> None:
        """As sd_journal_send does with what is too big for a datagram: a sealed memfd."""
        memory = os.memfd_create("hbd-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(memory, datagram)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [b""], [memory])
        finally:
            os.close(memory)
