"""What root can tell of how the service sees files: as another user, and in a sandbox."""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USER: Final = "hbd"

HIDDEN: Final = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108 - to warn
"""What it does not see, or has of its own: ProtectHome= and PrivateTmp= of the unit."""


def why_unreadable(files: Iterable[str]) -> dict[str, str]:
    """Say of each file why the service cannot read it, if so; KeyError, OSError: not known here."""
    places = {file: os.path.realpath(file) for file in files}
    with _as(pwd.getpwnam(USER)):
        found = {file: _why(place) for file, place in places.items()}
    return {file: why for file, why in found.items() if why is not None}


def _why(place: str) -> str | None:
    if place.startswith(HIDDEN):
        return f"the service does not see {place}; move it to /etc/hbd.d"
    for directory in reversed(Path(place).parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            return f"the service (user {USER}) may not enter {directory}; chmod a+x {directory}"
    if os.access(place, os.R_OK, effective_ids=True):
        return None
    mend = f"chgrp {USER} {place}; chmod g+r {place}"
    return f"the service (user {USER}) may not read {place}; {mend}"


@contextmanager
def _as(user: pwd.struct_passwd) -> Iterator[None]:
    group, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
