"""What root can tell of how the service sees files: as another user, and in a sandbox."""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USER: Final = "hbd"

HIDDEN: Final = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108 - to warn
"""What it does not see, or has of its own: ProtectHome= and PrivateTmp= of the unit."""


def why_unreadable(files: Iterable[str]) -> dict[str, str]:
    """Say of each file why the service cannot read it, if so; KeyError, OSError: not known here."""
    user = pwd.getpwnam(USER)
    found = {}
    with _as(user):
        for file in files:
            if file.startswith(HIDDEN):
                found[file] = "the service does not see it there; move it to /etc/hbd.d"
            elif not os.access(file, os.R_OK, effective_ids=True):
                found[file] = f"the service (user {USER}) may not read it; chmod a+r {file}"
    return found


@contextmanager
def _as(user: pwd.struct_passwd) -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
