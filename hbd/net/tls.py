"""TLS on a connection, without waiting.

To import this costs five megabytes, and a context with the system's certificates two more: only
who has peers with `tls: on` is to do so.
"""

from __future__ import annotations

import errno
import re
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from hbd.net.tcp import TlsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

NO_CERTIFICATE: Final = "it has no certificate"

SLICE: Final = 16 * 1024
"""Octets read at a time during a handshake."""

UNSENT: Final = 128 * 1024
"""Octets that may wait for a peer to take them: twice what we write at once, and more than any
handshake."""

_OF_PYTHON: Final = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")
"""What Python puts around OpenSSL's words."""


def tls_context(ca: bytes | None) -> ssl.SSLContext:
    """Trust these certificates (PEM), or those of the system; any number of connections.

    The certificate and its name are always verified. OSError where there is no certificate.
    """
    # Words beside the certificates may be of any language.
    trusted = None if ca is None else ca.decode("ascii", "ignore")
    if trusted == "":
        raise OSError(errno.EINVAL, NO_CERTIFICATE)  # Python would trust the system's
    try:
        context = ssl.create_default_context(cadata=trusted)
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, NO_CERTIFICATE) from error
    # In TLS 1.2 a peer could make us wait for it while we write.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class Encrypted:
    """A connection whose octets are encrypted.

    Its methods raise BlockingIOError where they would wait, and TlsError. OpenSSL is given what has
    come a slice at a time: with the socket in its hands it would read on, within one call, as long
    as a peer sends what is no data (keys may be changed without end).
    """

    def __init__(self, tcp: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        # No certificate names an interface.
        name = server_name.partition("%")[0]
        self._tcp: Final = tcp
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = bytearray()
        """Encrypted, and not yet taken by the kernel."""
        self.taken = 0
        """How many octets the kernel had when it was last asked, data or not."""
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except (ValueError, TypeError) as error:  # the latter for a NUL in it
            raise TlsError(f"no server can have the name {name!r}: {error}") from error

    @property
    def wants_write(self) -> bool:
        """Whether something waits until it can be written."""
        return bool(self._unsent)

    def handshake(self) -> None:
        """Go on with it; returns when it is complete."""
        self._take(SLICE)
        with self._openssl():
            self._tls.do_handshake()

    def recv(self, limit: int) -> bytes:
        """Take what is in at most so many octets of the kernel's, or was left incomplete before."""
        self._take(limit)
        octets = bytearray()
        try:
            with self._openssl():
                while piece := self._tls.read(limit):
                    octets += piece
        except BlockingIOError:
            if not octets:
                raise
        return bytes(octets)

    def send(self, octets: bytearray) -> int:
        """Take a record, or nothing as long as one before it waits to be sent."""
        self._flush()
        if self._unsent:
            raise BlockingIOError
        with self._openssl():
            return self._tls.write(octets)

    def goodbye(self) -> None:
        """Say that nothing follows, if that can be said at once."""
        with suppress(OSError, ValueError), self._openssl():  # it may never have been complete
            self._tls.unwrap()

    def _take(self, limit: int) -> None:
        self.taken = 0
        with suppress(BlockingIOError):
            octets = self._tcp.recv(limit)
            self.taken = len(octets)
            if octets:
                self._incoming.write(octets)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        if self._unsent:
            with suppress(BlockingIOError):
                del self._unsent[: self._tcp.send(self._unsent)]
        if len(self._unsent) > UNSENT:
            raise TlsError("it does not take what TLS answers")

    @contextmanager
    def _openssl(self) -> Iterator[None]:
        """Raise what OpenSSL says in our terms, and send what it has to say to the peer."""
        try:
            with _in_our_terms():
                yield
        except TlsError:
            with suppress(OSError):
                self._flush()  # the reason, for the log there
            raise
        except BlockingIOError:
            self._flush()
            raise
        self._flush()


@contextmanager
def _in_our_terms() -> Iterator[None]:
    try:
        yield
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
        raise BlockingIOError from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise TlsError("closed in the middle of TLS, without a reason") from error
    except ssl.SSLError as error:
        raise TlsError(_OF_PYTHON.sub("", error.strerror or str(error))) from error
