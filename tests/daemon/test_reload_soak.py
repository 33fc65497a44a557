"""Thousands of reloads at random, under traffic: who is not changed does not notice one of them.

HBD_TESTS_RELOADS sets their number, HBD_TESTS_SEED the seed of the changes.
"""

import os
import secrets
import selectors
import socket
import struct
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest
from changing import KEY, STEADY, Changing
from reflectors import plain
from running import PORT, peer, until

from hbd.core.clock import STALL
from hbd.report.answer import NoDaemonError
from hbd.report.store import Store

pytestmark = pytest.mark.slow

RELOADS = int(os.environ.get("HBD_TESTS_RELOADS", "500"))
SEED = int(os.environ.get("HBD_TESTS_SEED", "7"))
ROTATION = 50
"""Reloads from one change of the key to the next."""
SPOILT = 0.3
"""The share of the configurations that are wrong."""
WARM = 40
"""Reloads after which all has been used once."""

REQUEST = bytes(12) + b"\0\1" + bytes(30)
PATIENCE = 60.0
"""Seconds for a start of both, in which all of hbd is compiled."""
SETTLED = 20
"""So many tenths of a second nothing is opened or closed."""
PROBES = 5
"""Descriptors that evidence may be waited for with, at any moment."""
INTERVAL = 0.2
LATE = 0.5
"""What turns beside the one that stalled may add to a gap on a busy machine, seconds. One that is
left out is found by its number."""
TRAFFIC = 0.02
"""Seconds between the requests of a peer, and between bursts of a stranger."""
SO_TIMESTAMPNS = 35
MEGABYTE = 1 << 20


class Seen:
    """What came of one peer's heartbeats, by the kernel's stamps."""

    def __init__(self):
        self.sources = set()
        self.at = self.sequence = None
        self.longest = 0.0
        self.skipped = 0

    def take(self, at, sequence, source):
        self.sources.add(source)
        if self.at is not None:
            self.longest = max(self.longest, at - self.at)
            self.skipped += sequence != self.sequence + 1
        self.at, self.sequence = at, sequence


class Field:
    """All that the daemon asks, and those that ask it; in a thread of their own."""

    def __init__(self, stack, net, target):
        self.seen = defaultdict(Seen)
        self.asked = self.answered = 0
        self._target = target
        self._ready = selectors.DefaultSelector()
        self._stack = stack
        for host in range(1, 121):
            made = self.open(socket.SOCK_DGRAM, (net(host), PORT))
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._ready.register(made, selectors.EVENT_READ, (self._reflect, self.seen[host]))
        listening = self.open(socket.SOCK_STREAM, (net(240), 0))
        listening.listen(128)
        self.tcp_port = listening.getsockname()[1]
        self._ready.register(listening, selectors.EVENT_READ, (self._accept, None))
        self._asking = self.open(socket.SOCK_DGRAM, (net(1), 0))
        self._ready.register(self._asking, selectors.EVENT_READ, (self._count, None))
        self._stranger = self.open(socket.SOCK_DGRAM, (net(241), 0))
        self._ready.register(self._stranger, selectors.EVENT_READ, (self._ignore, None))
        self._over = False
        self.asks = False
        self._thread = threading.Thread(target=self._run, name="field")
        self._thread.start()
        stack.callback(self._end)

    def open(self, kind, address):
        made = self._stack.enter_context(socket.socket(socket.AF_INET, kind))
        made.bind(address)
        made.settimeout(0)
        return made

    def begin_anew(self):
        """Forget the longest gaps so far: nobody had been promised anything yet."""
        for seen in self.seen.values():
            seen.longest = 0.0

    def _end(self):
        self._over = True
        self._thread.join()
        for key in list(self._ready.get_map().values()):
            key.fileobj.close()
        self._ready.close()

    def _run(self):
        due = time.monotonic()
        while not self._over:
            for key, _ in self._ready.select(max(due - time.monotonic(), 0)):
                hear, seen = key.data
                hear(key.fileobj, seen)
            if time.monotonic() >= due:
                due = time.monotonic() + TRAFFIC
                if self.asks:
                    self._ask()

    def _ask(self):
        self._asking.sendto(REQUEST, self._target)
        self.asked += 1
        for size in (0, 44, 100, 1_400):
            self._stranger.sendto(bytes(size), self._target)

    def _reflect(self, made, seen):
        datagram, [(_, _, stamp), *_], _, source = made.recvmsg(2_000, 64)
        seconds, nanoseconds = struct.unpack("=qq", stamp)
        sequence = int.from_bytes(datagram[:4], "big")
        seen.take(seconds + nanoseconds / 1e9, sequence, source)
        for reply in plain(datagram):
            made.sendto(reply, source)

    def _accept(self, listening, _):
        accepted, _ = listening.accept()
        self._ready.register(accepted, selectors.EVENT_READ, (self._read, None))

    def _read(self, made, _):
        """Take what comes, say nothing; an end is answered by one."""
        try:
            octets = made.recv(1 << 16)
        except ConnectionResetError:
            octets = b""
        if not octets:
            self._ready.unregister(made)
            made.close()

    def _count(self, made, _):
        self.answered += len(made.recv(2_000)) == len(REQUEST)

    def _ignore(self, made, _):
        made.recv(2_000)


class Size:
    """Memory and descriptors of a process, reload by reload."""

    def __init__(self, pid):
        self._process = Path(f"/proc/{pid}")
        self.rss, self.fds = [], []

    def take(self):
        pages = int((self._process / "statm").read_text().split()[1])
        self.rss.append(pages * os.sysconf("SC_PAGE_SIZE"))
        self.fds.append(self.descriptors())

    def descriptors(self):
        return len(list((self._process / "fd").iterdir()))

    def settled(self):
        """Give how many descriptors there are once all connections are made and all is asked."""
        seen = [self.descriptors()]
        while len(seen) < SETTLED or len(set(seen[-SETTLED:])) > 1:
            assert len(seen) < 20 * SETTLED, seen
            time.sleep(0.1)
            seen.append(self.descriptors())
        return seen[-1]

    def __str__(self):
        first, last, slope = self.rss[0], self.rss[-1], growth(self.rss)
        return (
            f"RSS {first / MEGABYTE:.1f} to {last / MEGABYTE:.1f} MB, slope {slope / MEGABYTE:+.2f}"
            f" MB; descriptors {min(self.fds)} to {max(self.fds)}, slope {growth(self.fds):+.1f}"
        )


def growth(sizes):
    """Give by how much they grow over the last three quarters, by a straight line through them."""
    last = sizes[len(sizes) // 4 :]
    middle, mean = (len(last) - 1) / 2, sum(last) / len(last)
    up = sum((at - middle) * (size - mean) for at, size in enumerate(last))
    return up / sum((at - middle) ** 2 for at in range(len(last))) * len(last)


def write_keys(daemons, *keys):
    for one in daemons:
        file = one.directory / "fleet.key"
        file.touch(0o600)
        file.write_text("\n".join(keys))


def follow(one, told):
    """Subscribe to all changes until the daemon ends."""
    try:
        for change in one.client.stream("Watch"):
            told[change["name"]] += 1
    except NoDaemonError:
        return


class Soak:
    """Two daemons that watch each other with a key, and one of them all others too."""

    def __init__(self, one, far, field, net):
        self.one, self.far, self.field = one, far, field
        # An installed one is compiled: each reload starts a process.
        del one.environment["PYTHONDONTWRITEBYTECODE"]
        one.environment["PYTHONPYCACHEPREFIX"] = str(one.directory / "compiled")
        self.key = secrets.token_hex(32)
        write_keys((one, far), self.key)
        files = [str(each.directory / "fleet.key") for each in (one, far)]
        self.changing = Changing(SEED, net, field.tcp_port, files[0], f"{net(254)}:{PORT}")
        signed = {"interval": "100ms", "timeout": "100ms", "key": KEY}
        self.changing.steady.append(peer("far", net(249), source=net(250), **signed))
        far.configure(
            listen=[f"{net(249)}:{PORT}"],
            keys={KEY: {"file": files[1]}},
            accept="any",
            peers=[peer("near", net(250), source=net(249), **signed)],
        )
        one.file.write_text(self.changing.text())
        self.at_first = self.peers = self.changing.peers
        self.whole_at_first = dict(self.changing.whole)
        self.steady = [each["name"] for each in self.changing.steady]
        self.refused = self.rotated = 0

    def start(self):
        for each in (self.far, self.one):
            each.launch()
            until(each.answers, PATIENCE)
        for name in self.steady:
            self.one.wait(name, "up", seconds=PATIENCE)

    # -- reloads ------------------------------------------------------------------------------

    def step(self, number):
        if number % ROTATION == 0:
            self.rotate()
        elif self.changing.dice.random() < SPOILT:
            self.refuse()
            if number % 10 == 0:
                assert {view["name"] for view in self.one.status()["peers"]} == self.peers.keys()
        else:
            self.reload(self.changing.change())

    def reload(self, text, renewed=()):
        """Reload; exactly what is another has changed."""
        before, self.peers = self.peers, self.changing.peers
        self.one.file.write_text(text)
        done = self.one.reload()
        assert isinstance(done, dict), done
        assert set(done["added"]) == self.peers.keys() - before.keys()
        assert set(done["removed"]) == before.keys() - self.peers.keys()
        assert set(done["changed"]) == {
            name
            for name in self.peers.keys() & before.keys()
            if self.peers[name] != before[name] or self.peers[name].get("key") in renewed
        }

    def refuse(self):
        """Reload what is wrong."""
        spoilt = self.changing.spoil()
        self.one.file.write_text(spoilt.text)
        errors = self.one.reload()
        assert isinstance(errors, list), (spoilt, errors)
        assert any(spoilt.said in error for error in errors), (spoilt.said, errors)
        self.refused += 1

    def rotate(self):
        """Another key: accepted at both ends first, then used, then the old one is gone."""
        new = secrets.token_hex(32)
        for keys in ((self.key, new), (new, self.key), (new,)):
            self.exchange()
            write_keys((self.one, self.far), *keys)
            self.reload(self.changing.text(), renewed=(KEY,))
            assert self.far.reload()["changed"] == ["near"]
        self.key = new
        self.rotated += 1

    def exchange(self):
        """Wait until what was signed before has come, both ways: two keys are known no longer."""
        views = ((self.one, "far"), (self.far, "near"))
        before = [each.peer(name)["received"] for each, name in views]
        for (each, name), count in zip(views, before, strict=True):
            until(lambda each=each, name=name, count=count: each.peer(name)["received"] > count + 1)

    def back_to_the_first(self):
        self.changing.whole = self.whole_at_first
        self.changing.loose = {
            name: each for name, each in self.at_first.items() if name not in self.steady
        }
        self.reload(self.changing.text())

    # -- what came of them --------------------------------------------------------------------

    def stalls(self):
        """Give for how long it did not run each time, seconds; a machine can be busy."""
        told = self.one.entries("stall")
        whole = [entry for entry in told if "did not run" in entry["MESSAGE"]]
        return [int(entry["HBD_DURATION_USEC"]) / 1e6 for entry in whole]

    def look_at_the_steady(self):
        views = {view["name"]: view for view in self.one.status()["peers"]}
        assert [*views] == [*self.peers]
        longest = INTERVAL + LATE + max([STALL / 1e9, *self.stalls()])
        for number, name in enumerate(self.steady[:STEADY]):
            seen, view = self.field.seen[1 + number], views[name]
            assert (seen.skipped, len(seen.sources)) == (0, 1), name
            assert seen.longest <= longest, name
            assert 0 <= view["sent"] - view["received"] <= 1, view
            assert view["loss_percent"] == 0.0, view

    def look_at_the_signed(self):
        """What is under way when a key changes is asked anew: of what was sent none was lost."""
        for name, each in (("far", self.one), ("near", self.far)):
            view = each.peer(name)
            assert (view["state"], view["loss_percent"]) == ("up", 0.0), view
        assert "hmac" not in self.far.status()["reflector"]["dropped"]  # no stranger asks it
        sent, answered = self.one.peer("far")["sent"], self.far.status()["reflector"]["answered"]
        assert abs(sent - answered) <= 2

    def look_at_the_states(self):
        states = defaultdict(list)
        for entry in self.one.entries("state"):
            states[entry["HBD_PEER"]].append(entry["HBD_STATE"])
        assert {name: states[name] for name in self.steady} == {
            name: ["up"] for name in self.steady
        }
        live = {name: told for name, told in states.items() if name.startswith("live")}
        assert {name for name, told in live.items() if "down" in told} == set()

    def look_at_the_files(self):
        """State files and records are of those that are watched."""
        until(lambda: set(self.one.files()) == self.peers.keys())
        self.one.stop()
        store = Store(self.one.directory / "state")
        try:
            assert store.load().peers.keys() <= self.peers.keys()
        finally:
            store.close()


@pytest.mark.timeout(120 + 2 * RELOADS)
def test_reloads_at_random_under_traffic(daemon, net, capsys):
    """Who is not changed keeps its pace, its port, its figures and its state; nothing leaks."""
    with ExitStack() as stack:
        field = Field(stack, net, (net(250), PORT))
        taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        taken.bind((net(254), PORT))
        soak = Soak(daemon(), daemon(), field, net)
        soak.start()
        told = defaultdict(int)
        watching = threading.Thread(target=follow, args=(soak.one, told), daemon=True)
        watching.start()
        field.asks = True
        sizes, began = Size(soak.one.process.pid), time.monotonic()
        at_first = sizes.settled()
        for number in range(1, RELOADS + 1):
            if number == WARM:
                field.begin_anew()
            soak.step(number)
            sizes.take()
        span = time.monotonic() - began
        soak.back_to_the_first()
        field.asks = False
        until(lambda: not soak.one.status()["journal"]["waiting"])
        longest = max(field.seen[1 + number].longest for number in range(STEADY)) * 1e3
        with capsys.disabled():
            print(
                f"\n{RELOADS} reloads (seed {SEED}), {soak.refused} refused, {soak.rotated} keys"
                f" rotated, {RELOADS / span:.1f} a second: longest gap {longest:.0f} ms,"
                f" longest stall {max(soak.stalls(), default=0) * 1e3:.0f} ms; of {field.asked}"
                f" requests {field.asked - field.answered} without a reply; {sizes};"
                f" {sum(told.values())} changes told"
            )
        soak.look_at_the_steady()
        soak.look_at_the_signed()
        soak.look_at_the_states()
        assert field.asked - field.answered <= 2
        assert growth(sizes.rss) < 1.5 * MEGABYTE
        until(lambda: sizes.descriptors() <= at_first + PROBES, 20)
        soak.look_at_the_files()
        watching.join()
