"""All that is known of the daemon, shared by every viewer, and what changed in which order."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.report.words import WORST_FIRST
from hbd.web.history import Track, length_for
from hbd.web.view import View, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.web.history import Minute

KEPT: Final = 300
"""Messages that a viewer may be behind; who is further behind gets everything anew."""
KEPT_OCTETS: Final = 4 << 20

BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
"""Upper bounds of the RTT histogram, seconds."""


class Message(NamedTuple):
    """An event of the stream."""

    number: int
    octets: bytes
    peers: frozenset[str] | None
    """Whom it is about; None: everybody."""


class Board:
    """Used in the event loop alone."""

    def __init__(self) -> None:
        self.head: dict[str, Any] = {}
        """What the daemon said of itself last; empty before its first answer."""
        self.head_text = b""
        self.peers: dict[str, View] = {}
        self.answered: float | None = None
        """When it answered last, monotonic."""
        self.trouble = "hbd web has just started"
        """Why it does not answer; empty while it does."""
        self.started = time.time()
        self.is_closed = False
        self.number = time.time_ns() // 1_000_000
        """Of the last message: of another run of ours none is the same."""
        self.rtts: dict[str, Histogram] = {}
        """By protocol."""
        self._tracks: dict[str, Track] = {}
        self._messages: deque[Message] = deque()
        self._octets = 0
        self._changed = asyncio.Event()
        self._all: tuple[int, bytes] | None = None

    # -- what comes in ------------------------------------------------------------------------

    def take(self, head: bytes, texts: Iterable[bytes], *, whole: bool = False) -> None:
        """Take an answer of the daemon; a `whole` one has every peer that there is."""
        views = [parsed(text) for text in texts]
        self.head_text, self.head = head, json.loads(head)
        self.answered, self.trouble = time.monotonic(), ""
        gone = self.peers.keys() - {view.name for view in views} if whole else set()
        for name in gone:
            del self.peers[name]
            self._tracks.pop(name, None)
        minute, length = int(time.time() // 60), length_for(max(len(self.peers), len(views)))
        rows = []
        for view in views:
            before = self.peers.get(view.name)
            self.peers[view.name] = view
            self._note(view, minute, length)
            if before is None or before.row() != view.row():
                rows.append(view)
        self._tell(rows, gone)

    def take_changes(self, changes: Iterable[dict[str, Any]]) -> list[str]:
        """Take changes that are told ahead of their evidence; give whose is to be asked for.

        Those of peers not known yet are told with all of it.
        """
        unknown, views = [], []
        for change in changes:
            name = change["name"]
            before = self.peers.get(name)
            if before is None:
                unknown.append(name)
            elif any(getattr(before, key) != change[key] for key in ("state", "cause", "since")):
                told = json.loads(before.text) | change | {"evidence": [], "restored": False}
                view = self.peers[name] = parsed(json.dumps(told).encode())
                views.append(view)
        self._tell(views, set())
        return unknown + [view.name for view in views]

    def fail(self, why: str) -> None:
        """The daemon does not answer."""
        self.trouble = why
        self.tick()

    def tick(self) -> None:
        """Tell the viewers how old all this is."""
        self._put("tick", self._tick(), None)

    def _note(self, view: View, minute: int, length: int) -> None:
        track = self._tracks.get(view.name)
        if track is None:
            track = self._tracks[view.name] = Track(length)
        if track.note(view, minute) and view.rtt is not None:
            self.rtts.setdefault(view.protocol, Histogram()).observe(view.rtt.last / 1e3)

    # -- what goes out ------------------------------------------------------------------------

    @property
    def age(self) -> float | None:
        """How long ago the daemon answered, seconds; None: never."""
        return None if self.answered is None else time.monotonic() - self.answered

    def summary(self) -> dict[str, int]:
        """How many peers are in each state."""
        counts = Counter(view.state for view in self.peers.values())
        return {state: counts[state] for state in WORST_FIRST}

    def minutes(self, name: str) -> list[Minute]:
        """What is known of the last hours of a peer."""
        track = self._tracks.get(name)
        return [] if track is None else track.minutes(int(time.time() // 60))

    @property
    def span(self) -> int:
        """How many minutes of history are kept."""
        return length_for(len(self.peers))

    def status(self) -> bytes:
        """The JSON of `hbd status --json`, from the last answers."""
        rows = b",\n".join(view.text for view in self.peers.values())
        return self.head_text[:-1] + b', "peers": [\n' + rows + b"\n]}\n"

    async def wait(self, number: int) -> None:
        """Return when there are messages after that one, or will be none any more."""
        while self.number <= number and not self.is_closed:
            await self._changed.wait()

    def close(self) -> None:
        """Let all who wait go: nothing comes any more."""
        self.is_closed = True
        self._changed.set()

    def after(self, number: int, peer: str | None = None) -> tuple[int, bytes]:
        """Give all that was told after that message as octets of the stream, and the last number.

        Of one `peer` only what is about it.
        """
        first = self._messages[0].number if self._messages else self.number + 1
        if not first - 1 <= number <= self.number:
            return self.number, self.everything() if peer is None else self._tick_octets()
        told = (one for one in self._messages if one.number > number)
        wanted = (
            one.octets for one in told if peer is None or one.peers is None or peer in one.peers
        )
        return self.number, b"".join(wanted)

    def everything(self) -> bytes:
        """Give all rows as one event; viewers who come together share it."""
        if self._all is None or self._all[0] != self.number:
            rows = [view.row() for view in self.peers.values()]
            told = {"rows": rows, "node": self.head.get("node"), **self._tick()}
            self._all = (self.number, _event("all", self.number, told))
        return self._all[1]

    def _tick_octets(self) -> bytes:
        return _event("tick", self.number, self._tick())

    def _tick(self) -> dict[str, Any]:
        age = self.age
        return {
            "age": None if age is None else round(age, 1),
            "trouble": self.trouble,
            "summary": self.summary(),
        }

    def _tell(self, views: list[View], gone: set[str]) -> None:
        if views or gone:
            names = frozenset(view.name for view in views) | gone
            told = {"rows": [view.row() for view in views], "gone": sorted(gone), **self._tick()}
            self._put("rows", told, names)

    def _put(self, event: str, told: dict[str, Any], peers: frozenset[str] | None) -> None:
        self.number += 1
        message = Message(self.number, _event(event, self.number, told), peers)
        self._messages.append(message)
        self._octets += len(message.octets)
        while len(self._messages) > KEPT or self._octets > KEPT_OCTETS:
            self._octets -= len(self._messages.popleft().octets)
        self._changed.set()
        self._changed = asyncio.Event()


class Histogram:
    """Counts of RTTs up to each bound: they only grow."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        at = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.counts[at] += 1
        self.total += seconds


def _event(name: str, number: int, told: dict[str, Any]) -> bytes:
    text = json.dumps(told, separators=(",", ":"))
    return f"event: {name}\nid: {number}\ndata: {text}\n\n".encode()
