"""By which way what a socket sends leaves this machine."""

from __future__ import annotations

import errno
import os
import socket

from hbd.net.datagrams import mark
from hbd.net.resolver import numeric


def lead(
    opened: socket.socket, interface: str | None, source: str | None, dscp: int | None
) -> None:
    """Send by this interface, from this address, with this DSCP; OSError where that cannot be."""
    if interface is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    if source is not None:
        local = numeric(source, 0)
        if local is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL), source)
        opened.bind(local)
    if dscp is not None:
        mark(opened, dscp)
