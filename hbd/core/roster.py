"""Who is watched: peers and paths, where their datagrams come from, what a reload changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.core.asked import Asked
from hbd.core.connected import Connected
from hbd.core.model import Way
from hbd.core.peer import Peer
from hbd.core.told import ANYWHERE, Told
from hbd.core.unwatched import Unwatched

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

    from hbd.core.address import Address
    from hbd.core.clock import Clock
    from hbd.core.model import PeerSettings
    from hbd.core.path import Path
    from hbd.core.timers import Timers


SESSION: Final = ("stamp", "send", "expect_reply", "tls", "mqtt", "password")
"""Where these are others, what was asked before cannot be answered any more."""


class Change(NamedTuple):
    """What new settings changed, as names of peers."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Roster:
    """The peers by name and the paths by address."""

    def __init__(
        self, clock: Clock, timers: Timers, session: Callable[[PeerSettings, str], Any]
    ) -> None:
        self.peers: dict[str, Peer] = {}
        self._clock: Final = clock
        self._timers: Final = timers
        self._session: Final = session
        self._known_by: dict[Hashable, tuple[Path, ...]] = {}
        self._known_as: dict[Path, tuple[Hashable, ...]] = {}
        """By what a path is known beside its targets, where there is such a thing."""

    def at(self, key: Hashable) -> tuple[Path, ...]:
        """Give the paths whose heartbeats go to this address, or that are known by this key."""
        return self._known_by.get(key, ())

    def parent(self, peer: Peer) -> Peer | None:
        """Give what lies between us and the peer."""
        return self.peers.get(peer.settings.via) if peer.settings.via is not None else None

    def apply(
        self,
        settings: Iterable[PeerSettings],
        renewed: Collection[str],
        replaced: Collection[str],
    ) -> Change:
        """Take over new settings: what is the same path goes on, with all that is known of it.

        `renewed`: names of keys whose octets are others now; `replaced`: of peers whose paths are
        others now.
        """
        wanted, before = {one.name: one for one in settings}, self.peers
        for path in self.going(wanted, replaced):
            path.peer.paths = _without(path, path.peer.paths)
            self._drop(path)
        added = [name for name in wanted if name not in before]
        removed = [name for name in before if name not in wanted]
        changed = [
            name
            for name, peer in before.items()
            if (one := wanted.get(name)) is not None
            and (_differ(one, peer.settings) or one.key in renewed or name in replaced)
        ]
        for name in removed:
            self._timers.forget(before[name])
        for name in changed:
            self._change(before[name], wanted[name], renewed)
        # In the order of the file.
        self.peers = {name: before.get(name) or self._enter(one) for name, one in wanted.items()}
        self._relate()
        return Change(added, removed, changed)

    def going(self, wanted: Mapping[str, PeerSettings], replaced: Collection[str]) -> list[Path]:
        """Give the paths that are no more, or are others, with these settings by name."""
        return [
            path
            for name, peer in self.peers.items()
            if name in replaced or _differ(wanted.get(name), peer.settings)
            for path in peer.paths
            if name in replaced or not _is_path_of(path, wanted.get(name))
        ]

    def _drop(self, path: Path) -> None:
        path.leave()
        path.peer.former = path.peer.former.plus(path.figures)
        self._timers.forget(path)
        path.forget_why()
        self._forget(path)
        path.targets = ()
        if path.egress is not None:
            path.egress.drop(path)

    def _enter(self, settings: PeerSettings) -> Peer:
        peer = Peer(settings, self._clock.wall, self._clock.real)
        self._give_paths(peer)
        return peer

    def _change(self, peer: Peer, settings: PeerSettings, renewed: Collection[str]) -> None:
        before, peer.settings = peer.settings, settings
        is_other_way = before.leaving != settings.leaving
        is_void = is_other_way or settings.key in renewed
        is_void |= any(getattr(before, part) != getattr(settings, part) for part in SESSION)
        for path in peer.paths:
            path.adopt(settings, self._clock.now)
            self.aim(path, path.targets)
            if is_other_way:
                path.leads_to = None
            if is_void:
                path.ask_anew(self._clock.now)
        self._give_paths(peer)

    def _give_paths(self, peer: Peer) -> None:
        paths = {path.address: path for path in peer.paths}
        peer.paths = tuple(
            paths.get(address) or self._watch(address, peer) for address in _places(peer.settings)
        )

    def _watch(self, address: str, peer: Peer) -> Path:
        path = self._new(address, peer)
        path.goodbye = next((one.goodbye for one in peer.paths if one.goodbye is not None), None)
        if peer.pause is not None:
            path.pause(self._clock.now, on=True)
        return path

    def _new(self, address: str, peer: Peer) -> Path:
        session = self._session(peer.settings, address)
        match peer.settings.way:
            case Way.TOLD | Way.AGREED:
                return Told(address, peer, session)
            case Way.UNWATCHED:
                return Unwatched(address, peer, session)
        if peer.settings.is_asked_by_connection:
            return Connected(address, peer, session)
        return Asked(address, peer, session)

    def _relate(self) -> None:
        children: dict[Peer, list[Peer]] = {}
        for peer in self.peers.values():
            peer.children = ()
        for peer in self.peers.values():
            parent = self.parent(peer)
            if parent is not None:
                children.setdefault(parent, []).append(peer)
        for parent, behind in children.items():
            parent.children = tuple(behind)

    def aim(self, path: Path, targets: tuple[Address, ...]) -> None:
        """Set where a path's heartbeats go, and by what is known that something is for it."""
        self._forget(path)
        path.leave()
        path.targets = targets
        keys = path.keys()
        if keys:
            self._known_as[path] = keys
        alone = path.peer.paths if path.peer.paths == (path,) else (path,)
        for key in (*targets, *keys):
            there = self.at(key)
            self._known_by[key] = (*there, path) if there else alone

    def _forget(self, path: Path) -> None:
        for key in (*path.targets, *self._known_as.pop(path, ())):
            others = self._known_by[key] = _without(path, self._known_by[key])
            if not others:
                del self._known_by[key]


def _differ(one: PeerSettings | None, other: PeerSettings) -> bool:
    """Whether settings are others; of thousands all but a few are the very same object."""
    return one is not other and one != other


def _without(path: Path, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(other for other in paths if other is not path)


def _places(settings: PeerSettings) -> tuple[str, ...]:
    return settings.addresses or (ANYWHERE,)


def _is_path_of(path: Path, settings: PeerSettings | None) -> bool:
    """Whether a path is one of these settings too: by its address, port, protocol and key."""
    if settings is None or path.address not in _places(settings):
        return False
    return _identity(path.peer.settings) == _identity(settings)


def _identity(settings: PeerSettings) -> tuple[Hashable, ...]:
    bfd = settings.bfd
    is_only_held = settings.is_asked_by_connection and settings.send is None
    session = is_only_held, bfd.auth, bfd.key_id, bfd.multihop
    return settings.port, settings.protocol, settings.key, settings.way, session
