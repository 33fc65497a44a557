"""Why a heartbeat did not leave this machine: what errors of send and of opening a socket mean."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from hbd.core.model import Cause
from hbd.core.session import Fact

if TYPE_CHECKING:
    from hbd.core.path import Path
    from hbd.daemon.outlet import Outlet

OWN_LINK: Final = {errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL}
NO_ROUTE: Final = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EACCES,  # a prohibit route
    errno.EINVAL,  # a blackhole route
    errno.ENOKEY,  # WireGuard without a session,
    errno.EDESTADDRREQ,  # or without an endpoint
}
FORBIDDEN: Final = "a prohibit route, or the broadcast address of a link (EACCES)"
NO_ROOM: Final = {
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.EADDRINUSE,  # no port is left
}
IPV6_OFF: Final = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


def known(error: OSError) -> int:
    """Give the errno of a socket that could not be opened, if it is one to expect."""
    if error.errno not in OWN_LINK | NO_ROUTE | NO_ROOM | IPV6_OFF | {errno.EPERM}:
        raise error
    return error.errno


def fault(refusal: int, path: Path, outlet: Outlet, size: int) -> Fact:
    """Say why a heartbeat of `size` octets did not leave."""
    words = f"{os.strerror(refusal)} ({errno.errorcode.get(refusal, refusal)})"
    address = path.target[0] if path.target is not None else path.address
    interface, source, _ = outlet.leaving
    bound = interface or source or "the interface"
    too_long = f"{size} octets at once are more than our interface takes, or a router on the way"
    no_address = refusal == errno.EADDRNOTAVAIL and source is not None
    rows = (
        (no_address, Cause.OWN_LINK, f"source: {source} is no address of this machine"),
        (refusal in OWN_LINK, Cause.OWN_LINK, f"cannot send by {bound}: {words}"),
        (refusal == errno.EACCES, Cause.NO_ROUTE, f"no route to {address}: {FORBIDDEN}"),
        (refusal in NO_ROUTE, Cause.NO_ROUTE, f"no route to {address}: {words}"),
        (refusal in IPV6_OFF, Cause.NO_ROUTE, f"no route to {address}: no IPv6 on this machine"),
        (refusal == errno.EMSGSIZE, Cause.MTU, too_long),
        (
            refusal == errno.EPERM,
            Cause.SEND_BLOCKED,
            f"our own firewall refuses to send to {address}: {words}",
        ),
    )
    otherwise = Fact(Cause.SEND_BLOCKED, f"this machine cannot send to {address}: {words}")
    return next((Fact(cause, told) for so, cause, told in rows if so), otherwise)
