"""Storms: many peers that change together get one entry that says what they have in common."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from hbd.core.timers import Timer

if TYPE_CHECKING:
    from hbd.core.model import State
    from hbd.core.peer import Peer

ALOUD: Final = 5
"""So many changes within one detection time go out as usual."""

MOST: Final = 0.75
"""What so many share is worth telling: one stray must not hide why all the others changed."""

Trait = tuple[int, str]
"""Something a peer may share with others; the lower the number, the more telling."""


def traits(peer: Peer) -> set[Trait]:
    """What a peer may have in common with others."""
    found: set[Trait] = {(3, f"label {key}={value}") for key, value in peer.settings.labels}
    if peer.settings.via is not None:
        found.add((1, f"via {peer.settings.via}"))
    for path in peer.paths:
        if path.egress is not None:
            found.add((0, f"egress {path.egress.key}"))
        if path.target is not None:
            found.add((2, f"subnet {_subnet(path.target[0])}"))
    return found


def _subnet(host: str) -> str:
    """Give the LAN of a numeric address, as large as most are."""
    if ":" in host:
        return _subnet6(host.partition("%")[0])
    return f"{host.rpartition('.')[0]}.0/24"


@lru_cache(1024)
def _subnet6(host: str) -> str:
    return str(ip_network((host, 64), strict=False))


class StormWatch(Timer):
    """Counts the peers that have changed to one state in the last detection time.

    Its deadline is the end of a storm.
    """

    __slots__ = ("_peers", "_recent", "_traits", "is_storm", "state")

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state: Final = state
        """What the peers change to."""
        self._recent: dict[Peer, tuple[int, set[Trait]]] = {}
        """Those whose change is no storm yet: until when it counts."""
        self._peers: set[Peer] = set()
        """Those of a storm."""
        self._traits: Counter[Trait] = Counter()
        self.is_storm = False

    def change(self, peer: Peer, at: int, now: int) -> bool:
        """Count a change of some moment; tell whether a storm began by it.

        That goes on for as long as changes are told: `now`.
        """
        span = peer.settings.timing.detection
        if self.is_storm:
            self._join(peer, traits(peer))
            self.deadline = now + span
            return False
        self._recent = {one: since for one, since in self._recent.items() if at <= since[0]}
        self._recent[peer] = (at + span, traits(peer))
        if len(self._recent) <= ALOUD:
            return False
        self.is_storm = True
        for one, (_, found) in self._recent.items():
            self._join(one, found)
        self._recent.clear()
        self.deadline = now + span
        return True

    def _join(self, peer: Peer, found: set[Trait]) -> None:
        if peer in self._peers:
            return  # it changes to and fro
        self._peers.add(peer)
        for trait in found:
            self._traits[trait] += 1  # for so few Counter.update takes twice as long

    @property
    def count(self) -> int:
        """How many peers are part of it."""
        return len(self._peers)

    @property
    def common(self) -> str:
        """What all or most have in common, the most telling first."""
        shared = sorted(trait for trait, n in self._traits.items() if n >= MOST * self.count)
        return ", ".join(map(self._words, shared)) or "nothing that hbd knows of"

    def _words(self, trait: Trait) -> str:
        have = self._traits[trait]
        return trait[1] + (f" ({have} of {self.count})" if have < self.count else "")

    def end(self) -> None:
        self.is_storm = False
        self._peers.clear()
        self._traits.clear()
        self.deadline = None
