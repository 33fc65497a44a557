"""What happened is stored with its entry, and is sent by this process or by the next."""

import json
import select
import socket
from itertools import pairwise
from types import SimpleNamespace

import pytest

from hbd.core.events import StateChanged, Woke
from hbd.core.model import SECOND, Cause, PeerSettings, State
from hbd.daemon.desk import CHANGES, Desk
from hbd.daemon.poller import Poller
from hbd.daemon.teller import COST, DAY, EVENTS, FEW, Teller, began
from hbd.net.clock import Clock
from hbd.report import varlink
from hbd.report.files import StateFiles
from hbd.report.journal import Journal
from hbd.report.notify import Notifier
from hbd.report.store import Store
from hbd.report.verdicts import entry_of
from tests.daemon.fleets import fleet_of

MANY = 300


@pytest.fixture
def fleet():
    return fleet_of(MANY)


@pytest.fixture
def teller(fleet, tmp_path):
    """One whose journal takes nothing."""
    store, poller = Store(tmp_path / "lib"), Poller()
    store.load()
    sink = Journal(lambda _: None, str(tmp_path / "nobody"))
    files, notifier = StateFiles(tmp_path / "run"), Notifier({})
    teller = Teller(
        fleet,
        Clock(),
        poller,
        sink=sink,
        store=store,
        files=files,
        notifier=notifier,
        drops=lambda: 0,
    )
    teller.begin()
    yield teller
    store.close()
    sink.close()
    poller.close()


def change(name, state=State.DOWN, previous=State.UP, since=7 * SECOND, cause=Cause.SILENT):
    return StateChanged(
        at=0,
        since=since,
        peer=name,
        labels=(),
        previous=previous,
        previous_cause=None,
        state=state,
        cause=cause,
        address=None,
        evidence=(),
        duration=2 * SECOND,
        detection=None,
        rtt=None,
        loss=None,
    )


def left_behind(tmp_path):
    """The states that the next process finds, and whose entries it will send."""
    store = Store(tmp_path / "lib")
    stored = store.load()
    store.close()
    states = {name: peer.state for name, peer in stored.peers.items()}
    return states, {entry.value("HBD_PEER") for entry in stored.pending}


def test_what_a_stopping_daemon_has_not_sent_is_stored(teller, fleet, tmp_path):
    """At a stop in a storm with a dead journal every change is there for the next process."""
    teller._sink.queue.limit = 2
    for name in fleet.peers:
        teller.tell(change(name))
    teller.finish(Clock().now() + SECOND // 10)
    assert left_behind(tmp_path) == (dict.fromkeys(fleet.peers, State.DOWN), set(fleet.peers))


def test_what_was_left_behind_finds_room(teller, fleet, tmp_path):
    """The entries of the process before are all sent, however many they are."""
    for name in fleet.peers:
        teller.tell(change(name))
    teller.finish(0)
    store = Store(tmp_path / "lib")
    pending = store.load().pending
    queue = teller._sink.queue
    queue.limit = 10
    teller.again(pending)
    assert (len(queue), queue.lost_total) == (MANY, 0)
    store.close()


def test_no_state_is_stored_before_its_entry(teller, fleet, tmp_path):
    """A pause in a storm is stored after what happened before it, never without that entry."""
    for name, peer in fleet.peers.items():
        peer.state = State.DOWN
        teller.tell(change(name))
    last = fleet.peers[f"p{MANY - 1}"]
    teller.keep(last)
    teller.work(Clock().now())
    teller._store.close()
    states, told = left_behind(tmp_path)
    assert states.keys() == told
    assert len(told) == EVENTS


def test_what_is_no_entry_any_more_is_shown_and_stored(teller, tmp_path):
    """A cause that changes too often for entries is right in the files and in the store."""
    teller.tell(change("p0"))
    again = change("p0", previous=State.DOWN, cause=Cause.FILTERED)._replace(unsaid=True)
    teller.tell(again)
    teller.finish(Clock().now() + SECOND // 10)
    assert (tmp_path / "run/peers/down/p0").read_text() == "filtered"
    store = Store(tmp_path / "lib")
    stored = store.load()
    store.close()
    assert stored.peers["p0"].cause is Cause.FILTERED
    assert [entry.value("HBD_CAUSE") for entry in stored.pending] == ["silent"]


def test_heartbeats_come_first_and_all_is_told_in_the_end(teller, fleet):
    """As much as there is time for until something else is due; never ever less."""
    now = Clock().now()
    for name in fleet.peers:
        teller.tell(change(name))
    waiting = [len(teller._events)]
    for span in (-COST, 0, COST, 3 * COST + COST // 2, MANY * COST, None):
        teller.work(now, None if span is None else now + span)
        waiting.append(len(teller._events))
    told = [before - after for before, after in pairwise(waiting)]
    assert told == [1, 1, 1, 3, EVENTS, EVENTS]
    for name in 2 * list(fleet.peers):
        teller.tell(change(name))
    assert len(teller._events) > 2 * MANY
    while len(teller._events) > 2 * MANY:
        teller.work(now, now)
    assert len(teller._events) > 2 * MANY - EVENTS


def test_what_waits_to_be_sent_counts_as_much_as_what_waits_to_be_told(teller, fleet):
    """Little time as there ever is, what an absent journal has left behind goes in the end."""
    now, few = Clock().now(), 2 * len(fleet.peers)
    teller.again([entry_of(Woke(0, 0, number), f"{number:032x}") for number in range(few + 1)])
    assert teller._share(now, now) == EVENTS
    teller._sink.queue.done()
    assert teller._share(now, now) == FEW


def test_that_nothing_can_be_stored_is_written_at_once(teller, monkeypatch):
    """The writer is woken for the warning too: nobody else may do so for a second."""
    calls = []
    monkeypatch.setattr(teller._store, "notice", lambda: "cannot store states: it is full")
    monkeypatch.setattr(teller._store, "record", lambda *_: calls.append("record"))
    monkeypatch.setattr(teller._store, "write", lambda: calls.append("write"))
    teller.work(Clock().now())
    assert calls == ["record", "write"]


def test_a_reload_writes_the_files_of_those_it_touches(teller, fleet, tmp_path):
    """What others see of an unchanged peer is left alone; a removed one's file goes."""
    now = Clock().now()
    while teller._files.has_work:
        teller.work(now)
    files = tmp_path / "run/peers/unknown"
    (files / "p1").write_text("untouched")
    stays = [fleet.peers[f"p{n}"].settings for n in range(1, MANY)]
    teller.take_over(fleet.apply([*stays, PeerSettings("new", ("127.2.0.1",))]))
    teller.work(now)
    assert not teller._files.has_work
    assert not (files / "p0").exists()
    assert (files / "new").read_text() == ""
    assert (files / "p1").read_text() == "untouched"


def test_a_snapshot_is_told_between_what_was_before_and_after(teller, fleet, tmp_path):
    """It holds what was true when it was taken, however much happens before it is told."""
    teller.tell(change("p0"))
    teller.snapshot("reload")
    fleet.peers["p1"].state = State.DOWN
    teller.tell(change("p1"))
    teller.finish(Clock().now() + SECOND // 10)
    store = Store(tmp_path / "lib")
    told = [entry.value("HBD_PEER") or entry for entry in store.load().pending]
    store.close()
    first, snapshot, last = told
    assert (first, last) == ("p0", "p1")
    states = {name: state for name, state, *_ in json.loads(snapshot.value("HBD_SNAPSHOT"))}
    assert states == dict.fromkeys(fleet.peers, "unknown")


def test_a_big_snapshot_takes_some_turns(teller, monkeypatch):
    """One of its entries a turn, and nothing that happened after it before it is whole."""
    monkeypatch.setattr("hbd.report.snapshot.SNAPSHOT_LIMIT", 4_000)
    said = []
    monkeypatch.setattr(teller, "say", said.append)
    teller.snapshot("daily")
    teller.tell(change("p0"))
    for turn in range(1, 5):
        teller.work(Clock().now())
        assert (len(said), teller.counts()["journal"]["waiting"]) == (turn, 2)


def test_a_night_counts_for_the_day_between_snapshots(teller, monkeypatch):
    """A machine that sleeps has one a day too, not one in 24 h in which it is awake."""
    said = []
    monkeypatch.setattr(teller, "say", lambda entry: said.append(entry.value("HBD_OCCASION")))
    now = Clock().now()
    teller.tell(Woke(at=0, since=0, duration=14 * 3_600 * SECOND))
    for moment in (now, now + DAY * 9 // 24, now + DAY * 11 // 24):
        teller.work(moment)
        assert "daily" not in said
    teller.work(now + DAY * 11 // 24)
    assert said.count("daily") == 1


def test_a_better_known_cause_does_not_begin_a_state_anew():
    """The state began when it changed, whatever has been learned since."""
    assert began(change("a")) == 7 * SECOND
    assert began(change("a", previous=State.DOWN)) == 5 * SECOND


def test_a_pause_of_all_takes_some_turns(fleet, teller, tmp_path):
    """No more peers a turn than a heartbeat may wait for; then who asked is told of all."""
    poller = Poller()
    desk = Desk(SimpleNamespace(teller=teller, fleet=fleet, poller=poller, clock=Clock()), tmp_path)
    assert desk.open() == ""

    def asked(method):
        stream.send(varlink.request(f"io.hbd.{method}", {"peers": ["p*"]}))
        counts = [0]
        while not (ready := select.select([stream], (), (), 0)[0]) and len(counts) < 99:
            poller.call(poller.wait(0), first=False)
            desk.work(Clock().now())
            counts.append(sum(peer.pause is not None for peer in fleet.peers.values()))
        told = json.loads(stream.recv(9999)[:-1])["parameters"]["peers"] if ready else None
        return told, max(abs(after - before) for before, after in pairwise(counts[1:]))

    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(tmp_path / "io.hbd"))
        for method in ("Pause", "Resume"):
            assert asked(method) == (list(fleet.peers), CHANGES)
    desk.close()
    poller.close()


def test_watchers_see_each_change_as_it_was(fleet, tmp_path):
    """Who watches is told each event, though the peer has changed again meanwhile."""
    poller = Poller()
    daemon = SimpleNamespace(
        teller=SimpleNamespace(listeners=[]), fleet=fleet, poller=poller, reloading=None
    )
    desk = Desk(daemon, tmp_path / "run")
    assert desk.open() == ""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(tmp_path / "run/io.hbd"))
        stream.send(varlink.request("io.hbd.Watch", {"peers": ["p1"]}, more=True))
        for _ in range(5):
            poller.call(poller.wait(0), first=False)
        for state in (State.DOWN, State.UP):
            for listener in daemon.teller.listeners:
                listener(change("p1", state=state, previous=State.UNKNOWN, cause=None))
        told = [json.loads(part)["parameters"] for part in stream.recv(9999).split(b"\0")[:-1]]
    desk.close()
    poller.close()
    assert [one["state"] for one in told] == ["unknown", "down", "up"]
    assert told[1]["since"] == "1970-01-01T00:00:07.000000+00:00"
