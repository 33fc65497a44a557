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
    """A connection whose octets are encrypted; `socket` takes the place of the one given.

    Its methods raise BlockingIOError where they would wait, and TlsError.
    """

    def __init__(self, tcp: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        # No certificate names an interface.
        name = server_name.partition("%")[0]
        try:
            # Tried before the socket is given away, which would be closed.
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
        except (ValueError, TypeError) as error:  # the latter for a NUL in it
            raise TlsError(f"no server can have the name {name!r}: {error}") from error
        self.socket: Final = context.wrap_socket(
            tcp, server_hostname=name, do_handshake_on_connect=False
        )
        self.wants_write = False
        """Whether the handshake waits until it can write, rather than read."""

    def handshake(self) -> None:
        """Go on with it; returns when it is complete."""
        self.wants_write = False
        try:
            with _openssl():
                self.socket.do_handshake()
        except BlockingIOError as error:
            self.wants_write = isinstance(error.__cause__, ssl.SSLWantWriteError)
            raise

    def recv(self, limit: int) -> bytes:
        with _openssl():
            return self.socket.recv(limit)

    def send(self, octets: bytearray) -> int:
        with _openssl():
            return self.socket.send(octets)

    def goodbye(self) -> None:
        """Say that nothing follows, if that can be said at once."""
        with suppress(OSError, ValueError):  # it may be broken, or never have been complete
            self.socket.unwrap()


@contextmanager
def _openssl() -> Iterator[None]:
    try:
        yield
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
        raise BlockingIOError from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise TlsError("closed in the middle of TLS, without a reason") from error
    except ssl.SSLError as error:
        raise TlsError(_OF_PYTHON.sub("", error.strerror or str(error))) from error
