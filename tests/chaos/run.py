"""One run: rounds of faults and changes from a seed, each with its verdict."""

import json
import time
from collections import Counter
from contextlib import ExitStack, suppress
from random import Random

from tests.chaos import faults
from tests.chaos.oracle import Oracle
from tests.chaos.world import BEAT, LINKS, SPARE, World
from tests.daemon.running import PORT, peer

PATIENCE = 30.0
"""In which everything must have been told, and all be well: seconds."""
QUIET = 1.5
"""Then nothing more may come."""
SURE = 1.0
"""An entry of a process that lives for so long has been stored."""


class Run:
    """The daemon, its world, and what is known of both."""

    def __init__(self, seed, network, groups, host):
        """`host` makes the host of the daemon, of what hears its entries."""
        self.dice = Random(seed)  # noqa: S311 - which faults, the same each time
        self.host = host(lambda entry: self.oracle.hear(entry))  # noqa: PLW0108 - made below
        self.world = World(network, self.host.namespace)
        self.oracle = Oracle(self.world.state)
        self._groups = groups
        self.faults = Counter()
        self._timing = faults.TIMINGS[0]
        self._names = [name for name, peer in self.world.peers.items() if peer.number < SPARE]
        self._started = 0.0
        self.missed = Counter()
        """Heartbeats that a peer of the daemon missed over a restart."""

    def go(self, seconds):
        """Go on for so long, or until something is wrong."""
        self._configure()
        self.oracle.begin()
        self.start()
        self._settle()
        end = time.monotonic() + seconds
        while not self.oracle.wrong and time.monotonic() < end:
            self._round()
        if not self.oracle.wrong:
            self.oracle.begin()
            self.stop()
            time.sleep(QUIET)
            self.oracle.end()

    def close(self):
        self.world.close()
        self.host.close()

    # -- one round ----------------------------------------------------------------------------

    def _round(self):
        drawn = faults.draw(self.dice, self._groups)
        self.faults.update(drawn.keys())
        self.oracle.may_repeat = bool(faults.UNSURE & drawn.keys())
        self._next = self._draw_configuration() if "reload" in drawn else self._names
        self._is_west_well = not faults.NETWORK.keys() & drawn.keys()
        stable = [name for name in self._names if name in self._next]
        changes = self.world.draw(self.dice, stable)
        # What is not stored cannot outlive the process; the daemon says so.
        if "disk full" in drawn and faults.ENDINGS & drawn.keys():
            changes = []
        self.oracle.begin()
        self.oracle.doubtful = ()
        words = ", ".join(text for text, _ in changes) or "no change"
        self.oracle.note(f"-- {', '.join(drawn)}; {words}")
        first = "kill -9 as it tells" in drawn or self.dice.random() < 0.6
        hold = self.dice.uniform(0.0, 3.0)
        if first:
            self._make(changes)
            time.sleep(self.dice.uniform(0.0, 1.2))
        with ExitStack() as stack:
            for fault in drawn.values():
                stack.enter_context(fault(self))
            time.sleep(hold / 2)
            if not first:
                self._make(changes)
            time.sleep(hold / 2)
        self._settle()

    def _make(self, changes):
        for text, make in changes:
            self.oracle.note(text)
            make()

    def _settle(self):
        self.oracle.note("over")
        end = time.monotonic() + PATIENCE
        while (why := self._unsettled()) and time.monotonic() < end and not self.oracle.wrong:
            time.sleep(0.1)
        time.sleep(QUIET)
        self.oracle.end()
        if why := self._unsettled():
            self.oracle.complain(f"not within {PATIENCE:.0f} s: {why}")

    def _unsettled(self):
        """Give what is not yet as it should be."""
        if missing := self.oracle.missing():
            return f"nothing told of {missing}"
        if not self.host.is_well():
            return "the daemon does not answer"
        truth = {name: self.world.state(name) for name in self._names}
        status = {peer["name"]: peer["state"] for peer in self.host.status()["peers"]}
        if status != truth:
            return f"status is {status}"
        files = {name: state for name, (state, _) in self.host.files().items()}
        return "" if files == truth else f"files are {files}"

    # -- what faults do -----------------------------------------------------------------------

    def start(self):
        """Start the daemon, which is expected to say so."""
        self.host.start()
        self._started = time.monotonic()
        self.oracle.expect("start")

    def stop(self):
        """End it as it should be."""
        self.host.stop()
        self.oracle.expect("stop")

    def crash(self):
        """End it as a power cut does."""
        self.host.kill()
        if time.monotonic() - self._started < SURE:
            self.oracle.least["start"] -= 1

    def restarted(self, began):
        """A restart that was asked for is over: a peer may miss one heartbeat, if it was quick."""
        took = time.monotonic() - began
        if not self._is_west_well or "west" in self.world.cut or not self.host.is_well():
            return
        time.sleep(BEAT)
        missed = sum(sent > began - BEAT for sent in self.world.outsider.missed)
        self.missed[f"{missed} missed in {took:.1f} s"] += 1
        if missed > 1 + int(took / BEAT):
            self.oracle.complain(f"a peer missed {missed} heartbeats: a restart took {took:.1f} s")

    def await_store(self, since):
        """Wait until the states have been written since then."""
        end = time.monotonic() + PATIENCE
        while not self._has_stored(since):
            time.sleep(0.1)
            if time.monotonic() > end:
                self.oracle.complain("the states are not stored though there is room")
                return

    def _has_stored(self, since):
        with suppress(FileNotFoundError):
            return (self.host.states / "peers.jsonl").stat().st_mtime > since
        return False

    def hears(self, event, seconds):
        """Whether one more entry of that event comes within so long."""
        end, before = time.monotonic() + seconds, self.oracle.events[event]
        while self.oracle.events[event] == before and time.monotonic() < end:
            time.sleep(0.0005)
        return self.oracle.events[event] > before

    def link(self):
        """Give a link that is there, to be touched for a moment."""
        link = self.dice.choice([link for link in LINKS if link not in self.world.cut])
        self.oracle.doubtful = [name for name in self._names if name.startswith(link)]
        return link

    def _draw_configuration(self):
        names = [name for name, peer in self.world.peers.items() if peer.number < SPARE]
        spare = [name for name in self.world.peers if name not in names]
        self._timing = self.dice.choice(faults.TIMINGS)
        return names + [name for name in spare if self.dice.random() < 0.5]

    def reload(self):
        """Have the daemon take the configuration that was drawn."""
        self._names = self._next
        self._configure()
        self.host.signal("HUP")
        self.oracle.expect("reload", sure=False)

    def _configure(self):
        self.oracle.watch(self._names)
        peers = [peer(name, self.world.peers[name].address) for name in self._names]
        self.host.configure(
            peers, listen=[f"0.0.0.0:{PORT}"], accept="any", start_grace="1s",
            defaults=self._timing,
        )  # fmt: skip


def report(run, seed):
    """Give what a run came to, as lines."""
    counts = run.oracle.counts
    yield f"seed {seed}: {sum(run.faults.values())} faults"
    yield "  " + ", ".join(f"{name} {count}" for name, count in sorted(run.faults.items()))
    yield f"  heartbeats sent {sum(peer.heartbeats for peer in run.world.peers.values())}"
    kinds = ("expected", "seen", "lost", "repeated", "told twice", "invented", "doubted")
    yield "  events " + ", ".join(f"{kind} {counts[kind]}" for kind in kinds)
    restarts = [f"{count} x {words}" for words, count in sorted(run.missed.items())]
    yield f"  heartbeats of a peer over a restart: {', '.join(restarts) or 'none looked at'}"
    yield f"  entries {json.dumps(run.oracle.events, sort_keys=True)}"
