"""Goodbyes, of others to us and ours to them (RFC 8762 has none: hbd's own TLV carries them)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.address import host_of
from hbd.core.asked import Asked
from hbd.core.model import MILLISECOND, State
from hbd.core.stamp import StampSession
from hbd.wire.hbd_tlv import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hbd.core.address import Address
    from hbd.core.fleet import Fleet
    from hbd.core.path import Path
    from hbd.core.station import Station
    from hbd.daemon.mirror import Answered

TIMES: Final = 3
"""A goodbye is said so often, as long as nobody answers it,"""
SPACING: Final = 50 * MILLISECOND
"""and this apart."""


class Goodbyes:
    """Hears them in the requests of peers, and says ours."""

    def __init__(self, fleet: Fleet, station: Station) -> None:
        self._fleet: Final = fleet
        self._station: Final = station
        self._ports: set[int] = set()
        self._gone: dict[str, set[Path]] = {}
        """By host, the paths on which it is asked, and has said goodbye."""

    def take(self, paths: Iterable[Path]) -> None:
        """These are watched now."""
        self._ports = {path.peer.settings.port for path in paths if isinstance(path, Asked)}
        gone = {host: set(filter(_is_watched, told)) for host, told in self._gone.items()}
        self._gone = {host: told for host, told in gone.items() if told}

    def hear(self, request: Answered, told: list[Path]) -> None:
        """A request was answered; `told`: the paths that are judged by it."""
        sender, goodbye = request.reflection.sender, request.reflection.goodbye
        if goodbye is None and not self._gone:
            return
        host = host_of(request.source)
        if goodbye is None:
            for path in self._gone.pop(host, ()) if sender.is_of_host else ():
                self._fleet.returned(path)
            return
        asked = self._asked_at(request.source) if sender.is_of_host else []
        for path in [*asked, *told]:
            settings = path.peer.settings
            # A key that somebody has says nothing for a peer without one, at whose address he is.
            is_signed = sender.key is not None and settings.key is not None
            believed = is_signed or settings.stamp.trust_goodbye
            if believed and self._fleet.goodbye(path, goodbye) and path in asked:
                self._gone.setdefault(host, set()).add(path)  # said again, it is there already

    def _asked_at(self, source: Address) -> list[Path]:
        """Give the paths on which the sender of a request is asked itself."""
        host, _, *rest = source
        addresses = ((host, port, *rest) for port in self._ports)
        return [path for address in addresses for path in self._fleet.known_by(address)]

    def is_own(self, source: Address, ssid: int) -> bool:
        """Whether a request is one of ours that somebody sends back to us, by its session.

        Where the same `ssid:` is set at both ends that cannot be told, and none is believed.
        """
        sessions = (path.session for path in self._asked_at(source) if isinstance(path, Asked))
        return ssid != 0 and any(
            isinstance(one, StampSession) and one.ssid == ssid for one in sessions
        )

    def say(self, send: Callable[[Path], None], listen: Callable[[int], None]) -> None:
        """Tell all that are up that we stop; `listen` for so many nanoseconds in between."""
        self._station.leave(Reason.STOP)
        waiting = [path for path in self._paths() if path.state is State.UP]
        for _ in range(TIMES):
            said = {path: path.sequence for path in waiting}
            for path in waiting:
                send(path)
            if waiting:
                listen(SPACING)
            waiting = [path for path in waiting if path.last_answered < said[path]]

    def _paths(self) -> Iterable[Asked]:
        for peer in self._fleet.peers.values():
            if peer.settings.protocol == "stamp":
                yield from (path for path in peer.paths if isinstance(path, Asked))


def _is_watched(path: Path) -> bool:
    return path.is_watched
