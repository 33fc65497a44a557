"""A regular file's octets, a bounded number of them."""

from __future__ import annotations

import errno
import os
import stat


def read_regular(path: str, limit: int) -> tuple[os.stat_result, bytes]:
    """Give the status and at most `limit` octets of one open file; raises OSError."""
    with open(path, "rb", opener=_open) as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return status, opened.read(limit)


def _open(path: str, flags: int) -> int:
    # A FIFO in /etc/hbd.d is a mistake, not a reason to hang.
    return os.open(path, flags | os.O_NONBLOCK)
