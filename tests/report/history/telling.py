"""A daemon's entries over days, made in no time: composed as hbd composes them."""

from dataclasses import replace
from itertools import count

from hbd.core.events import FlappingChanged, Stalled, StateChanged, Storm, Woke
from hbd.core.model import MICROSECOND, SECOND, Cause, PeerSettings, State
from hbd.report import messages
from hbd.report.history.told import Receipt, told
from hbd.report.snapshot import snapshot
from hbd.report.verdicts import entry_of, state_changed

TEN = 1_795_341_600 * SECOND  # 2026-11-22T10:00:00Z
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
DETECTION = 3 * SECOND


class Telling:
    """hbd on one machine: at each moment something happens, and is told."""

    def __init__(self):
        self.entries = []
        self.peers = {}
        """By name: state, cause, since when on the wall clock, and in truth."""
        self.boot, self.process = 1, 100
        self.clock_error = 0
        """How far the wall clock is ahead of the true one."""
        self.slept = 0
        self.booted = TEN - HOUR
        self._ids = count(1)
        self._watched_until = None

    def tell(self, at, entry, delay=0):
        """`at` is true time; the journal gets the entry `delay` later."""
        real = at + delay - self.booted - self.slept
        receipt = Receipt(f"boot{self.boot}", at + delay + self.clock_error, real, self.process)
        self.entries.append(told(dict(entry.fields), receipt))

    def wall(self, at):
        return at + self.clock_error

    def new_id(self):
        return f"{next(self._ids):032x}"

    def start(self, at, *names, knows_when=True):
        """Start with these peers; those that were there before keep what they were."""
        gap = None
        if knows_when and self._watched_until is not None:
            gap = at - self._watched_until
        self.process += 1
        self.tell(
            at,
            messages.started(
                self.new_id(), self.wall(at), version="1", node="m1", peers=len(names),
                listening=[], unwatched=gap,
            ),
        )  # fmt: skip
        self._list(at, names)
        self.snapshot(at, "start")

    def reload(self, at, *names):
        before = set(self.peers)
        self._list(at, names)
        added, removed = sorted(set(names) - before), sorted(before - set(names))
        entry = messages.reloaded(
            self.new_id(), self.wall(at), added=added, removed=removed, changed=[]
        )
        self.tell(at, entry)
        self.snapshot(at, "reload")

    def _list(self, at, names):
        fresh = State.UNKNOWN, None, self.wall(at), at
        self.peers = {name: self.peers.get(name, fresh) for name in names}

    def snapshot(self, at, occasion="daily"):
        rows = [(name, *known[:3], DETECTION) for name, known in self.peers.items()]
        for entry in snapshot(self.new_id, self.wall(at), rows, occasion):
            self.tell(at, entry)

    def stop(self, at):
        self.snapshot(at + MICROSECOND, "stop")  # told first, though it is of later
        self.tell(at, messages.stopped(self.new_id(), self.wall(at), node="m1", ran=0))
        self._watched_until = at

    def crash(self, at):
        """It ends without a word; what it knew last is on the disk."""
        self._watched_until = at

    def change(self, at, name, state, cause=None, *, delay=0, untold=False, evidence=(), labels=()):
        state = State(state)
        before, why, since, began = self.peers[name]
        is_new = state is not before
        since, true = (self.wall(at), at) if is_new else (since, began)
        self.peers[name] = (state, cause and Cause(cause), since, true)
        event = StateChanged(
            at=0, since=self.wall(at), peer=name, labels=labels, previous=before,
            previous_cause=why, state=state, cause=cause and Cause(cause), address="10.0.0.1",
            evidence=evidence, duration=at - began, detection=DETECTION, rtt=None,
            loss=None,
        )  # fmt: skip
        if not untold:
            settings = PeerSettings(name, ("10.0.0.1",))
            self.tell(at, state_changed(event, self.new_id(), settings), delay)

    def stall(self, until, lasted, *, in_pieces=False):
        event = Stalled(0, self.wall(until), lasted, in_pieces=in_pieces)
        self.tell(until, entry_of(event, self.new_id()))

    def sleep(self, begin, end, *, untold=False):
        self.slept += end - begin
        if not untold:
            self.tell(end, entry_of(Woke(0, self.wall(end), end - begin), self.new_id()))

    def flap(self, at, name, *, on):
        event = FlappingChanged(0, self.wall(at), name, (), State.UP, on, 9)
        self.tell(at, entry_of(event, self.new_id()))

    def storm(self, at, peers):
        event = Storm(0, self.wall(at), State.DOWN, None, peers, "via gw", over=False)
        self.tell(at, entry_of(event, self.new_id()))

    def reboot(self, at):
        self.boot += 1
        self.booted, self.slept = at, 0

    def again(self, at, index):
        """Send an entry again, as after a crash."""
        entry = self.entries[index]
        real = at - self.booted - self.slept
        receipt = Receipt(f"boot{self.boot}", at + self.clock_error, real, self.process)
        self.entries.append(replace(entry, receipt=receipt))
