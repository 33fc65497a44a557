"""A connection of ours to a peer."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hbd.core.model import ANYHOW, Cause
from hbd.net import linux, tcp
from hbd.net.icmp import hear_icmp
from hbd.net.outgoing import lead
from hbd.net.tcp import End, KeepAlive, TcpInfo

if TYPE_CHECKING:
    from ssl import SSLContext

    from hbd.core.address import Address
    from hbd.core.model import Leaving
    from hbd.net.tls import Encrypted

READ_SLICE: Final = 16 * 1024
"""Octets read at a time. A TLS record is no longer: nothing stays behind where epoll is blind."""

WRITE_LIMIT: Final = 64 * 1024
"""Octets that may wait here, beside those in the kernel, when something is to be written."""

REFUSALS: Final = linux.WEATHER | {
    errno.EMFILE,
    errno.ENFILE,
    errno.EADDRINUSE,  # no port is left
    errno.EAFNOSUPPORT,  # no IPv6 here
}
"""Why this machine may not even try."""


class Carrier(Protocol):
    """A socket, encrypted or not."""

    def recv(self, limit: int, /) -> bytes: ...

    def send(self, octets: bytearray, /) -> int: ...


class Progress(NamedTuple):
    """What has come of waiting for a connection."""

    opened: bool
    """Just now: TCP is connected and, where asked for, TLS complete."""
    octets: bytes
    end: End | None
    """Nothing comes after it but `close` or `abort`."""


class Stream:
    """One connection, to one address, once; no call ever waits."""

    def __init__(
        self,
        address: Address,
        leaving: Leaving = ANYHOW,
        *,
        tls: SSLContext | None = None,
        server_name: str | None = None,
        keepalive: KeepAlive | None = None,
        user_timeout_ms: int | None = None,
    ) -> None:
        self._address: Final = address
        self._leaving: Final = leaving
        self._tls = tls
        self._server_name = server_name or address[0]
        self._keepalive = keepalive
        self._user_timeout_ms = user_timeout_ms
        self._socket: socket.socket | None = None
        self._fd = -1
        self._ours = ""
        """Our own address."""
        self._encrypted: Encrypted | None = None
        self.is_connected = False
        """Whether the peer's kernel has taken the connection."""
        self._carrier: Carrier | None = None
        """What octets go through, once they can."""
        self.taken = 0
        """Octets that `on_ready` has read: what TLS says for itself is no data, but work."""
        self._queue = bytearray()
        self._broken: End | None = None
        """Why nothing can be written any more; something may be left to read."""
        self._end: End | None = None

    def start(self) -> int | None:
        """Begin to connect, and return None; else the errno with which this machine refuses.

        What the peer, the network or a firewall of our own says comes from `on_ready`.
        """
        try:
            self._socket = tcp.open_socket(self._address)
            self._fd = self._socket.fileno()
            self._prepare(self._socket)
            with suppress(BlockingIOError):
                self._socket.connect(self._address)
            self._ours = self._socket.getsockname()[0]
        except OSError as error:
            self.close()
            if error.errno not in REFUSALS:
                raise
            return error.errno
        return None

    def _prepare(self, opened: socket.socket) -> None:
        # A heartbeat is not to wait until the one before it is acknowledged (Nagle).
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hear_icmp(opened, on=True)  # errno does not tell a firewall from a host that is off
        lead(opened, self._leaving)
        self._patience(opened)

    def _patience(self, opened: socket.socket) -> None:
        if self._keepalive is not None:
            tcp.keep_alive(opened, self._keepalive)
        if self._user_timeout_ms is not None:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._user_timeout_ms)

    def adopt(self, keepalive: KeepAlive | None, user_timeout_ms: int | None) -> None:
        """Take over other times, on the connection that is."""
        self._keepalive, self._user_timeout_ms = keepalive, user_timeout_ms
        if self._socket is not None:
            self._patience(self._socket)

    def fileno(self) -> int:
        """Return the same until `close` or `abort`, whatever happens; -1 before and after."""
        return self._fd

    @property
    def is_open(self) -> bool:
        """Whether octets go through: connected, and TLS complete."""
        return self._carrier is not None

    @property
    def wants_write(self) -> bool:
        """Whether `on_ready` is to be called when it can be written to, not only read from."""
        if self._end or self._broken:
            return False
        if self._encrypted is not None and (self._encrypted.wants_write or not self.is_open):
            return self._encrypted.wants_write
        return bool(self._queue) or not self.is_connected

    def on_ready(self) -> Progress:
        """Go on where it can: connect, read a slice, write what waits."""
        opened, octets = False, b""
        if self._end is None and self._carrier is None:
            self._end = self._open()
            opened = self.is_open
        if self._end is None and self._carrier is not None:
            octets = self._read(self._carrier)
            self._flush(self._carrier)
        self.taken = len(octets) if self._encrypted is None else self._encrypted.taken
        return Progress(opened, octets, self._end)

    def write(self, octets: bytes) -> End | None:
        """Send, or keep until it can be sent; an end when too much waits already.

        A connection that turns out to be broken is told of by `on_ready`, after all that the peer
        has said before.
        """
        if len(self._queue) > WRITE_LIMIT:
            cause = Cause.HUNG if self.is_connected else Cause.CONNECT_TIMEOUT
            words = f"{len(self._queue)} octets wait for {tcp.spelled(self._address)} to take them"
            return End(cause, words)
        self._queue += octets
        if self._carrier is not None:
            self._flush(self._carrier)
        return None

    def acknowledged(self) -> TcpInfo | None:
        """Ask the kernel what the peer's kernel has acknowledged; None unless connected."""
        if self._socket is None or not self.is_connected:
            return None
        return tcp.info(self._socket)

    def ask(self) -> None:
        """Let our kernel ask the peer's, now or when nothing has come for a second."""
        if self._socket is not None and self.is_connected:
            tcp.ask(self._socket)

    def rest(self) -> None:
        """Let our kernel ask only in its own time again."""
        if self._socket is not None and self._keepalive is not None:
            tcp.keep_alive(self._socket, self._keepalive)

    def close(self) -> None:
        """End it in an orderly way; what the kernel has taken is still sent."""
        if self._encrypted is not None and self.is_open:
            self._encrypted.goodbye()
        self._fd = -1
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """End it by a reset: of one that hangs the kernel would keep what is unsent for minutes."""
        if self._socket is not None and self._socket.fileno() >= 0:
            tcp.end_by_reset(self._socket)
            self._socket.close()
        self._fd = -1

    # -- opening ------------------------------------------------------------------------------

    def _open(self) -> End | None:
        """Get a step nearer to an open connection; return why there will be none."""
        if self._socket is None:
            return None
        try:
            if not self.is_connected:
                self._connect(self._socket)
            self._carrier = (
                self._socket if self._tls is None else self._shake(self._socket, self._tls)
            )
        except BlockingIOError:
            # What came while connect() ran is not its errno, and would wake us again and again.
            return self._said_by_icmp(self._socket)
        except OSError as error:
            said = self._said_by_icmp(self._socket)
            return said or tcp.ending(error, self._address, connecting=not self.is_connected)
        return None

    def _said_by_icmp(self, opened: socket.socket) -> End | None:
        return None if self.is_connected else tcp.said_by_icmp(opened, self._address, self._ours)

    def _connect(self, opened: socket.socket) -> None:
        """Learn whether it has connected by asking for it again: connect(2)."""
        refusal = opened.connect_ex(self._address)
        if refusal not in (0, errno.EISCONN):
            raise OSError(refusal, os.strerror(refusal))
        if opened.getsockname() == opened.getpeername():
            # Nobody listens on a port of our own, and it is the one that the kernel gave to us.
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self.is_connected = True
        hear_icmp(opened, on=False)  # it would end by one that anybody can send

    def _shake(self, connected: socket.socket, context: SSLContext) -> Encrypted:
        """Go on with the handshake; BlockingIOError until it is complete."""
        if self._encrypted is None:
            # OpenSSL and its Python take five megabytes: only who uses TLS pays for it.
            from hbd.net.tls import Encrypted  # noqa: PLC0415

            self._encrypted = Encrypted(connected, context, self._server_name)
        try:
            self._encrypted.handshake()
        except (ConnectionResetError, BrokenPipeError) as error:
            # Who does not understand TLS ends it, one way or the other.
            raise tcp.TlsError("reset in the middle of the handshake, without a reason") from error
        return self._encrypted

    # -- open ---------------------------------------------------------------------------------

    def _read(self, carrier: Carrier) -> bytes:
        taken = tcp.take(carrier.recv, READ_SLICE, self._address)
        if isinstance(taken, bytes):
            return taken
        # All that the peer had said was read. A failed write has taken the error of the socket.
        self._end = self._broken or taken
        return b""

    def _flush(self, carrier: Carrier) -> None:
        if not self._queue or self._broken is not None:
            return
        try:
            sent = carrier.send(self._queue)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken = tcp.ending(error, self._address)
            return
        del self._queue[:sent]
