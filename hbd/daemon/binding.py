"""Opening what is listened on; what to do where that cannot be."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.config.model import Listen, Place

T = TypeVar("T")

NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


class BindError(Exception):
    """An address cannot be bound; says what to do. `place`: where it is listened on."""

    def __init__(self, words: str, place: Place | None) -> None:
        super().__init__(words)
        self.place = place


def open_at(
    listen: Listen, opening: Callable[[], T], warn: Callable[[str], None], key: str = "listen"
) -> T | None:
    """Open what listens there; None, and a warning, for `::` without IPv6; BindError.

    `key` is that of the configuration from which the address comes.
    """
    try:
        return opening()
    except OSError as error:
        if listen.address == "::" and error.errno in NO_IPV6:
            warn(f"{key}: [::]:{listen.port} is left out: this machine has no IPv6")
            return None
        raise BindError(_advice(listen, error, key), listen.place) from error


def _advice(listen: Listen, error: OSError, key: str) -> str:
    at = f"[{listen.address}]" if ":" in listen.address else listen.address
    place = f"cannot listen on {at}:{listen.port}: {error.strerror}"
    match error.errno:
        case errno.EACCES | errno.EPERM:
            answer_nobody = ", or to [] to answer nobody" if key == "listen" else ""
            return (
                f"{place}: ports below 1024 need root or CAP_NET_BIND_SERVICE;"
                f" set `{key}:` to a port from 1024 on{answer_nobody}"
            )
        case errno.EADDRINUSE:
            option = "-ltpn" if key == "listen_tcp" else "-ulpn"
            return (
                f"{place}: another program, perhaps another hbd, listens there"
                f" (ss {option} 'sport = :{listen.port}'); stop it or change `{key}:`"
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{place}: the address is not on this machine (ip address): correct `{key}:`, or"
                " give an interface the address"
            )
    return f"{place}; correct `{key}:`"
