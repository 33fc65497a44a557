"""By which way what a socket sends leaves this machine."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from hbd.net.datagrams import mark
from hbd.net.resolver import numeric

if TYPE_CHECKING:
    from hbd.core.model import Leaving


def lead(opened: socket.socket, leaving: Leaving) -> None:
    """Have what is sent leave by this way; OSError where that cannot be."""
    interface, source, dscp = leaving
    if interface is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    if source is not None:
        local = numeric(source, 0)
        if local is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL), source)
        opened.bind(local)
    if dscp is not None:
        mark(opened, dscp)
