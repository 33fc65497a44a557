"""What happened goes out: stored first, then to the journal, then as files and STATUS=."""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hbd.core.events import Stalled, StateChanged, Woke
from hbd.core.model import MILLISECOND, SECOND
from hbd.core.outputs import Tell
from hbd.core.roster import Change
from hbd.daemon import status
from hbd.report import messages
from hbd.report.files import SLICE
from hbd.report.records import PeerRecord
from hbd.report.sink import QUEUE_LIMIT
from hbd.report.sink import SLICE as QUEUE_SLICE
from hbd.report.snapshot import snapshot
from hbd.report.verdicts import entry_of, state_changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.events import Event
    from hbd.core.fleet import Fleet
    from hbd.core.peer import Peer
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.report.entry import Entry
    from hbd.report.files import StateFiles
    from hbd.report.notify import Notifier
    from hbd.report.sink import Sink
    from hbd.report.store import Store

STATUS_SPACING: Final = 250 * MILLISECOND
"""STATUS= is sent no more often."""

COST: Final = MILLISECOND // 5
"""To tell an event takes about so long: to store it, to send it, and to move a file."""
EVENTS: Final = 32
"""So many are told in one turn at the most: what comes in meanwhile is to be heard.

No more go to the sink in one: what is not told yet is smaller than an entry that waits.
"""
FEW: Final = 1
"""So many though there is no time: heartbeats and verdicts come first;"""
UNTOLD: Final = 2
"""but of each peer no more than so many events on average may wait for that."""

DAY: Final = 86_400 * SECOND


def new_id() -> str:
    """Give an event id: 128 random bits."""
    return os.urandom(16).hex()


def record(peer: Peer) -> PeerRecord:
    """Give what is kept of a peer over a restart."""
    return PeerRecord(peer.name, peer.state, peer.cause, peer.since, peer.pause)


def began(event: StateChanged) -> int:
    """Give when the state began, on the wall clock; a better known cause does not begin it anew."""
    return event.since - event.duration if event.is_refinement else event.since


class Teller:
    """Owns the way from an event to everybody who is told."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        poller: Poller,
        *,
        sink: Sink,
        store: Store,
        files: StateFiles,
        notifier: Notifier,
        drops: Callable[[], int],
    ) -> None:
        """`drops`: how many datagrams to us the kernel dropped; stands in STATUS=."""
        self._drops: Final = drops
        self.listeners: list[Callable[[StateChanged], None]] = []
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._is_waiting = False
        self._most = EVENTS
        """How many are told in a turn at the most."""
        self._sink: Final = sink
        self._store: Final = store
        self._files: Final = files
        self._notifier: Final = notifier
        self._events: deque[Event | Tell | Iterator[Entry]] = deque()
        """What is to be told; of many entries that belong together, those that are yet to come."""
        self._kept: dict[str, Peer] = {}
        """Peers to be stored as they are, once what happened to them is stored."""
        self._has_said = False
        self._complaint = ""
        self._status_due: int | None = None
        self._status_sent = -STATUS_SPACING
        self._next_snapshot = clock.now() + DAY

    def watch(self) -> None:
        """Wake the loop for what was stored and may go out."""
        self._poller.watch(self._store.fileno(), _nothing)

    # -- telling ------------------------------------------------------------------------------

    def tell(self, event: Event | Tell) -> None:
        """Tell what the fleet says happened; in the same order, though a storm takes some turns.

        State and entry are stored together: of what a crash leaves untold nothing is stored, and
        the next process finds and tells it itself.
        """
        self._events.append(event)

    def _tell(self, event: Event | Tell) -> None:
        if isinstance(event, Tell):
            for each in self._fleet.told(event):
                self._tell(each)
            return
        if isinstance(event, Stalled):
            self.refresh_status()
        if isinstance(event, Woke):
            # A day of the wall clock: reports look for a snapshot no further back than that.
            self._next_snapshot -= event.duration
        if not isinstance(event, StateChanged):
            self.say(entry_of(event, new_id()))
            return
        peer = self._fleet.peers.get(event.peer)
        if peer is None:
            return  # removed since
        self._files.show(event.peer, event.state, event.cause)
        self.refresh_status()
        for listener in self.listeners:
            listener(event)
        known = PeerRecord(peer.name, event.state, event.cause, began(event), peer.pause)
        entry = None if event.unsaid else state_changed(event, new_id(), peer.settings)
        self._store.record(known, entry, self._clock.now())

    def say(self, entry: Entry) -> None:
        """Tell what befell hbd itself."""
        self._has_said = True
        self._store.record(None, entry, self._clock.now())

    def warn(self, text: str) -> None:
        """Say that something around us is not as it should be, and what to do."""
        self.say(messages.weather(new_id(), self._clock.wall(), text))

    def again(self, entries: list[Entry]) -> None:
        """Send what an earlier process stored and may not have sent; under the same ids."""
        self._sink.queue.limit += len(entries)
        for entry in entries:
            self._put(entry)

    def keep(self, peer: Peer) -> None:
        """Store a peer as it is, without an entry."""
        self._kept[peer.name] = peer

    def snapshot(self, occasion: str) -> None:
        """Tell every peer's state as it is now, for reports, before what happens after."""
        peers = self._fleet.peers.items()
        rows = [
            (name, peer.state, peer.cause, peer.since, peer.settings.detection)
            for name, peer in peers
        ]
        self._events.append(snapshot(new_id, self._clock.wall(), rows, occasion))

    def begin(self) -> None:
        """Show the peers there are at the start, and nobody else."""
        self._files.keep_only(self._fleet.peers)
        self.take_over(Change([*self._fleet.peers], [], []))

    def take_over(self, change: Change) -> None:
        """The peers are others now; what others see of those that go on is as before."""
        peers = self._fleet.peers
        for name in change.removed:
            self._kept.pop(name, None)
            self._store.forget(name)
            self._files.remove(name)
        for name in change.added:
            self._files.show(name, peers[name].state, peers[name].cause)
        self._sink.queue.limit = max(QUEUE_LIMIT, 4 * len(peers))
        self._complaint = ""
        self._send_status(self._clock.now())

    def counts(self) -> dict[str, dict[str, int]]:
        """Give how much waits, and what went wrong since the start."""
        queue, store = self._sink.queue, self._store
        waiting = len(self._events) + store.waiting + len(queue)
        return {
            "journal": {"waiting": waiting, "lost": queue.lost_total},
            "store": {"not_stored": store.released, "damaged_lines": store.damaged},
            "files": {"failed": self._files.errors},
        }

    def complain(self, text: str) -> None:
        """Say in STATUS= at once what was refused, until a reload is not."""
        self._complaint = text
        self._send_status(self._clock.now())

    def _send_status(self, now: int) -> None:
        self._status_due, self._status_sent = None, now
        line = status.line(self._fleet, drops=self._drops())
        self._notifier.status(f"{line}; {self._complaint}" if self._complaint else line)

    def refresh_status(self) -> None:
        """Send STATUS= again soon."""
        if self._status_due is None:
            self._status_due = self._status_sent + STATUS_SPACING

    # -- working ------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether something happened that `work` has not seen yet."""
        return bool(self._events) or self._has_said

    def work(self, now: int, until: int | None = None) -> int:
        """Send and write what goes, as much as one turn may take: done by then, if it is known.

        Gives how many things it did.
        """
        self._has_said = False
        share = self._share(now, until)
        told = self._tell_some(share)
        notice = self._store.notice()
        if notice:
            self.warn(notice)
        self._store.write()
        for entry in self._store.stored(now):
            self._put(entry)
        gone = self._sink.flush(now, share)
        self._store.gone(gone)
        self._wait_for_sink()
        written = self._files.work(now, min(share, SLICE))
        failure = self._files.failure()
        if failure:
            self.warn(f"{failure}; what follows them is told nothing new until that is mended")
        if now >= self._next_snapshot:
            self._next_snapshot = now + DAY
            self.snapshot("daily")
        if self._status_due is not None and now >= self._status_due:
            self._send_status(now)
        return told + len(gone) + written

    def _share(self, now: int, until: int | None) -> int:
        """Give how many events there is time for."""
        waiting = len(self._events) + len(self._sink.queue)
        if until is None or waiting > UNTOLD * len(self._fleet.peers):
            return self._most
        return min(max((until - now) // COST, FEW), self._most)

    def _tell_some(self, most: int) -> int:
        told = 0
        while self._events and told < most:
            told += self._tell_first()
        if not self._events:
            for peer in self._kept.values():
                self._store.record(record(peer), None, self._clock.now())
            self._kept.clear()
        return told

    def _tell_first(self) -> int:
        """Tell what has waited longest; give how many events it was, or took as long as."""
        first = self._events[0]
        if not isinstance(first, Iterator):
            self._events.popleft()
            self._tell(first)
            return 1
        entry = next(first, None)
        if entry is None:
            self._events.popleft()
            return 0
        self.say(entry)
        return EVENTS

    def tell_all(self) -> None:
        """Tell at once all that waits: no heartbeat is held up any more."""
        self._tell_some(sys.maxsize)

    def _put(self, entry: Entry) -> None:
        if not self._sink.put(entry):
            self._store.gone([entry.event_id])

    def _wait_for_sink(self) -> None:
        """Wake up when a journal that is full takes entries again."""
        if self._sink.wants_write is not self._is_waiting:
            self._is_waiting = self._sink.wants_write
            if self._is_waiting:
                self._poller.watch(self._sink.fileno(), _nothing, read=False, write=True)
            else:
                self._poller.unwatch(self._sink.fileno())

    def deadlines(self) -> list[int | None]:
        """When it has something to do again."""
        return [
            self._store.next_deadline(),
            self._sink.next_deadline(),
            0 if self._events or self._files.has_work else self._files.next_deadline(),
            self._status_due,
            self._next_snapshot,
        ]

    def finish(self, until: int) -> None:
        """Store the rest, then send and write what goes until that moment at the latest.

        Nothing is given up: what has not gone by then, the next process sends.
        """
        self._sink.queue.limit = sys.maxsize
        self._most = QUEUE_SLICE  # no heartbeat is held up any more
        self.tell_all()
        while (now := self._clock.now()) < until:
            self.work(now)
            is_stored = self._store.next_deadline() is None
            # Files that could not be written are not waited for.
            is_told = not len(self._sink.queue) and self._sink.is_read
            if is_stored and is_told and not self._files.has_work:
                break
            select.select([self._store.fileno()], (), (), 0.005)
        self._store.close()
        self._sink.close()


def _nothing() -> None:
    """What is stored is fetched in every turn, whatever woke it."""
