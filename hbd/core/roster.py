"""Who is watched: peers and paths, where their datagrams come from, what a reload changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.path import Address, Path, Session
from hbd.core.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hbd.core.clock import Clock
    from hbd.core.model import PeerSettings


class Change(NamedTuple):
    """What new settings changed, as names of peers."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Roster:
    """The peers by name and the paths by address."""

    def __init__(self, clock: Clock, session: Callable[[PeerSettings], Session]) -> None:
        self.peers: dict[str, Peer] = {}
        self._clock: Final = clock
        self._session: Final = session
        self._by_address: dict[Address, list[Path]] = {}

    def at(self, address: Address) -> list[Path]:
        """Give the paths whose heartbeats go to this address."""
        return self._by_address.get(address, [])

    def parent(self, peer: Peer) -> Peer | None:
        """Give what lies between us and the peer."""
        return self.peers.get(peer.settings.via) if peer.settings.via is not None else None

    def apply(self, settings: Iterable[PeerSettings], renewed: Collection[str]) -> Change:
        """Take over new settings: what is the same path goes on, with all that is known of it.

        `renewed`: names of keys whose octets are others now.
        """
        wanted = {one.name: one for one in settings}
        removed = [name for name in self.peers if name not in wanted]
        added = [name for name in wanted if name not in self.peers]
        changed = [
            name
            for name, peer in self.peers.items()
            if name in wanted and (wanted[name] != peer.settings or wanted[name].key in renewed)
        ]
        for name in removed:
            self._remove(self.peers.pop(name))
        for name in changed:
            self._change(self.peers[name], wanted[name], renewed)
        for name in added:
            peer = self.peers[name] = Peer(wanted[name], self._clock.wall, self._clock.real)
            self._give_paths(peer)
        self.peers = {name: self.peers[name] for name in wanted}  # in the order of the file
        self._relate()
        return Change(added, removed, changed)

    def _remove(self, peer: Peer) -> None:
        peer.deadline = None
        for path in peer.paths:
            self._drop(path)

    def _drop(self, path: Path) -> None:
        path.deadline = None
        self.aim(path, ())
        if path.egress is not None:
            path.egress.drop(path)

    def _change(self, peer: Peer, settings: PeerSettings, renewed: Collection[str]) -> None:
        before, peer.settings = peer.settings, settings
        is_other_session = before.stamp != settings.stamp or settings.key in renewed
        for path in list(peer.paths):
            if not _is_same_path(before, settings) or path.address not in settings.addresses:
                peer.paths.remove(path)
                self._drop(path)
                continue
            path.adopt(settings)
            if is_other_session:
                path.ask_anew(self._clock.now)
        self._give_paths(peer)

    def _give_paths(self, peer: Peer) -> None:
        paths = {path.address: path for path in peer.paths}
        peer.paths = [
            paths.get(address) or Path(address, peer, self._session(peer.settings))
            for address in peer.settings.addresses
        ]

    def _relate(self) -> None:
        for peer in self.peers.values():
            peer.children.clear()
        for peer in self.peers.values():
            parent = self.parent(peer)
            if parent is not None:
                parent.children.append(peer)

    def aim(self, path: Path, targets: tuple[Address, ...]) -> None:
        """Set where a path's heartbeats go and its replies come from."""
        for target in path.targets:
            there = self._by_address[target]
            there.remove(path)
            if not there:
                del self._by_address[target]
        path.targets = targets
        for target in targets:
            self._by_address.setdefault(target, []).append(path)


def _is_same_path(before: PeerSettings, after: PeerSettings) -> bool:
    """Whether a path of the same address is the same: by its port, protocol and key."""
    return (before.port, before.protocol, before.key) == (after.port, after.protocol, after.key)
