"""Whether a host answers TCP at all: a connection that is tried for that, and never used."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.net import icmp, tcp
from hbd.net.outgoing import lead

if TYPE_CHECKING:
    from hbd.core.address import Address
    from hbd.core.model import Leaving


class Outcome(NamedTuple):
    """What came of it."""

    words: str
    is_alive: bool
    """The host itself has answered."""


class Attempt:
    """One connection that is tried. Construction raises OSError if its SYN does not leave."""

    def __init__(self, address: Address, leaving: Leaving) -> None:
        self._address: Final = address
        self._socket = tcp.open_socket(address)
        try:
            lead(self._socket, leaving)
            # An ICMP error in a reset's place is told from it by the error queue.
            icmp.hear_icmp(self._socket, on=True)
            # Whoever takes it finds it broken off at once, and we keep no trace of it.
            tcp.end_by_reset(self._socket)
            self._socket.connect(address)
        except BlockingIOError:
            return
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def outcome(self) -> Outcome:
        """Say what has come, once the socket is writable."""
        port = self._address[1]
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == 0:
            return Outcome(f"TCP port {port} (takes connections)", is_alive=True)
        said_by = self._said_by()
        if number == errno.ECONNREFUSED and said_by in (None, self._address[0]):
            return Outcome(f"TCP port {port} (refuses connections)", is_alive=True)
        words = f"TCP port {port}: {os.strerror(number)}"
        return Outcome(words + (f", says {said_by}" if said_by else ""), is_alive=False)

    def _said_by(self) -> str | None:
        """Give whose ICMP error it was; None if it was a reset."""
        try:
            payload, ancillary, _, _ = self._socket.recvmsg(
                512, icmp.ANCILLARY, socket.MSG_ERRQUEUE
            )
        except OSError:  # nothing is queued
            return None
        error = icmp.icmp_error(payload, ancillary, self._address)
        return None if error is None else error.offender
