"""Connections of others to us."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

from hbd.net import tcp
from hbd.net.resolver import numeric
from hbd.net.tcp import KeepAlive

if TYPE_CHECKING:
    from hbd.core.address import Address
    from hbd.net.tcp import End

BACKLOG: Final = 128
"""Connections that the kernel keeps until we take them."""

KEEP_ALIVE: Final = KeepAlive(idle_s=60, interval_s=15, probes=4)
"""Whoever has gone without a word makes room after two minutes."""

_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_THEIRS: Final = {
    # accept(2): errors of the new connection, which is gone.
    errno.ECONNABORTED,
    errno.ENETDOWN,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
    errno.EPERM,
    errno.ETIMEDOUT,
}


class Connection:
    """A connection from a client; we only read."""

    def __init__(self, accepted: socket.socket, source: Address) -> None:
        self.source: Final = source
        self._socket: Final = accepted
        accepted.settimeout(0)
        tcp.keep_alive(accepted, KEEP_ALIVE)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, limit: int) -> bytes | End | None:
        """Take at most so many octets; None while there are none."""
        return tcp.take(self._socket.recv, limit, self.source)

    def close(self) -> None:
        self._socket.close()


class Listener:
    """A port where clients connect.

    Construction raises OSError: the address is not ours or taken, the port is privileged.
    """

    def __init__(self, address: str, port: int) -> None:
        local = numeric(address, port)
        if local is None:
            raise OSError(errno.EADDRNOTAVAIL, "not a numeric address", address)
        self._socket = tcp.open_socket(local)
        try:
            # Connections of before a restart linger for a minute, and are in nobody's way.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(local)
            self._socket.listen(BACKLOG)
            self._spare = _spare()
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self, limit: int) -> list[Connection]:
        """Take up to so many connections; more than the caller wants it is to close at once."""
        connections: list[Connection] = []
        for _ in range(limit):
            try:
                accepted, source = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _OURS:
                    self._turn_away()
                    break
                if error.errno not in _THEIRS:
                    raise
                continue
            connections.append(Connection(accepted, source))
        return connections

    def _turn_away(self) -> None:
        """Close a client's connection, with the one descriptor that was kept for that.

        Else the socket would stay readable, and the loop would turn at full speed.
        """
        self._drop_spare()
        try:
            self._socket.accept()[0].close()
        except OSError as error:
            if error.errno not in _OURS | _THEIRS | {errno.EAGAIN}:
                raise
        self._spare = _spare()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def close(self) -> None:
        self._socket.close()
        self._drop_spare()


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _OURS:
            raise
        return None  # another thread was quicker
