"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, NamedTuple

_SO_PEERGROUPS: Final = 59
_GROUPS_OCTETS: Final = 1024
"""Python's getsockopt takes no more: 256 groups."""


class Credentials(NamedTuple):
    """Who asks, by SO_PEERCRED and SO_PEERGROUPS."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def may_change(self, group: int | None) -> bool:
        """Whether it is root, the daemon's own user, or a member of `group`."""
        return self.uid in (0, os.getuid()) or (
            group is not None and (group == self.gid or group in self.groups)
        )


def credentials_of(connection: socket.socket) -> Credentials:
    """Of the process at the other end, as it was when it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, gid = struct.unpack("iII", raw)
    try:
        listed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_OCTETS)
    except OSError:
        # More than 256 groups, or an old kernel: the first group decides.
        listed = b""
    return Credentials(pid, uid, gid, frozenset(struct.unpack(f"{len(listed) // 4}I", listed)))
