"""Loads configurations in a process of its own, for `hbd run`: `python3 -m hbd.config`.

Each line that comes in is the name of a file, in JSON.

A big file takes longer to read than a heartbeat may be late, and a daemon that never reads YAML
itself is smaller by three megabytes. What comes out are pickles, each small enough to be taken in
between two heartbeats. Before those of a file stands a line: our version, as who asks may be older
than this code, and how many octets follow.
"""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hbd import __version__
from hbd.config.files import load
from hbd.config.model import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hbd.config.model import Loaded, Problem
    from hbd.core.model import PeerSettings

SLICE: Final = 200
"""Peers in one piece: it takes the daemon two or three milliseconds."""

Named = tuple[str, tuple[str, ...], "PeerSettings"]
"""A peer by its name, its addresses, and what else there is to it: of most peers that is alike."""


def pieces(file: str) -> Iterator[list[Problem] | Loaded | tuple[Named, ...]]:
    """Give all that is wrong with the file; or what it says without its peers, then these.

    So many at a time, and none at last.
    """
    try:
        loaded = load(file)
    except ConfigError as error:
        yield error.problems
        return
    configuration, peers = loaded.configuration, loaded.configuration.peers
    # Places are for people, not for the daemon.
    yield replace(loaded, configuration=replace(configuration, peers=()), timing_places={})
    for start in range(0, len(peers), SLICE):
        yield tuple(named(peers[start : start + SLICE]))
    yield ()


def named(peers: Iterable[PeerSettings]) -> Iterator[Named]:
    """Take apart what peers have alike, which then is there once."""
    known: dict[PeerSettings, PeerSettings] = {}
    for peer in peers:
        others = replace(peer, name="", addresses=())
        yield peer.name, peer.addresses, known.setdefault(others, others)


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        octets = b"".join(
            pickle.dumps(piece, protocol=pickle.HIGHEST_PROTOCOL)
            for piece in pieces(json.loads(line))
        )
        sys.stdout.buffer.write(f"{__version__} {len(octets)}\n".encode() + octets)
        sys.stdout.buffer.flush()
