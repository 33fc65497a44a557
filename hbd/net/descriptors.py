"""File descriptors: how many this process may have, and how many connections may take."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

RESERVED: Final = 400
"""Left for all that is no connection of ours: 72 clients of the control socket, 256 connections for
evidence, files, the journal; where there are few at all, as many as are for connections."""


def claim() -> int:
    """Raise the limit as far as it may go without privileges; give the number for connections.

    The usual soft limit of 1024 is for programs that pass descriptors to select(2); of ours only
    that of epoll goes there, which is one of the first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox forbids it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(soft - RESERVED, soft // 2)
