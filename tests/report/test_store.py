import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.core.model import SECOND, Cause, State
from hbd.core.peer import Pause
from hbd.report import ledger
from hbd.report.entry import Entry
from hbd.report.ledger import Batch, Contents, in_writing, line, parse
from hbd.report.records import PeerRecord
from hbd.report.store import PATIENCE, Store, StoreTakenError


def entry(number, peer="db1"):
    fields = (("HBD_EVENT_ID", f"{number:032x}"), ("HBD_PEER", peer))
    return Entry(f"entry {number}\nsecond line", "0" * 32, 6, fields)


def record(name="db1", state=State.DOWN, since=1):
    return PeerRecord(name, state, Cause.SILENT, since)


def ids(entries):
    return [one.event_id for one in entries]


def wait_for(store, count, now=0):
    """The entries given out, `count` of them, as fast as the writer is."""
    found = []
    store.write()
    while len(found) < count:
        assert select.select([store.fileno()], [], [], 10)[0], "the writer is silent"
        found += store.stored(now)
    return found


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "lib"


@pytest.fixture
def store(directory):
    store = Store(directory)
    store.load()
    yield store
    store.close()


def loaded(directory):
    """What a new process would find."""
    another = Store(directory)
    stored = another.load()
    another.close()
    return stored


def test_entry_is_given_out_once_it_is_stored(store, directory):
    """An entry comes back after it was written together with its peer's record."""
    store.record(record(), entry(1), now=5)
    assert store.next_deadline() == 5 + PATIENCE
    assert wait_for(store, 1) == [entry(1)]
    assert store.next_deadline() is None
    assert store.released == 0
    read = ledger.Ledger(directory)
    known = Contents()
    read.read(known)
    assert known == Contents({"db1": record()}, {entry(1).event_id: entry(1)})


def test_entries_are_given_out_in_the_order_in_which_they_came(directory):
    """Of whom or of nobody they are: what is told of many follows what was told of each."""
    store = Store(directory)
    told = [entry(1, ""), entry(2, "a"), entry(3, "b"), entry(4, ""), entry(5, "a")]
    for one in told:
        name = one.value("HBD_PEER")
        store.record(record(name) if name else None, one, 0)
    store.load()  # only now it begins to write
    assert wait_for(store, len(told)) == told
    store.close()


def test_restart_finds_states_pauses_and_what_has_not_gone(store, directory):
    """A new process gets every record, and the entries that are not known to have gone."""
    paused = PeerRecord("gw", State.PAUSED, Cause.PAUSED, 7, Pause(99, "disk swap", "root"))
    store.record(record(), entry(1), 0)
    store.record(paused, entry(2, "gw"), 0)
    store.record(None, entry(3, ""), 0)
    store.record(record("old"), None, 0)
    wait_for(store, 3)
    store.gone(ids([entry(2)]))
    store.forget("old")
    store.close()
    stored = loaded(directory)
    assert stored.peers == {"db1": record(), "gw": paused}
    assert sorted(ids(stored.pending)) == ids([entry(1), entry(3)])
    assert stored.error == ""
    assert abs(stored.last_moment - time.time_ns()) < 10 * SECOND


def test_first_start_finds_nothing(directory):
    """Where nothing was stored yet, there is no last moment and no error."""
    stored = loaded(directory)
    assert (stored.peers, stored.pending, stored.last_moment, stored.error) == ({}, [], None, "")


CRASH = """
import select, sys, time
from pathlib import Path
from hbd.core.model import State
from hbd.report.entry import Entry
from hbd.report.records import PeerRecord
from hbd.report.store import Store
store = Store(Path(sys.argv[1]))
store.load()
fields = (("HBD_EVENT_ID", "ab" * 16), ("HBD_PEER", "db1"))
store.record(PeerRecord("db1", State.DOWN, None, 1), Entry("m", "0" * 32, 3, fields), 0)
store.write()
select.select([store.fileno()], [], [], 10)
assert store.stored(0)
print("stored", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_crash_between_store_and_send_sends_again_under_the_same_id(directory):
    """A process killed before it sent leaves the entry to the next one, with its id."""
    command = [sys.executable, "-c", CRASH, str(directory)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout.readline() == b"stored\n"
        process.kill()
    stored = loaded(directory)
    assert ids(stored.pending) == ["ab" * 16]
    assert stored.peers["db1"].state is State.DOWN


def test_second_daemon_finds_the_directory_taken_and_touches_nothing(store, directory):
    """Who comes second is told so and changes nothing; who comes after a kill gets it all."""
    store.record(record(), entry(1), 0)
    wait_for(store, 1)
    inode = (directory / ledger.NAME).stat().st_ino
    with pytest.raises(StoreTakenError, match="another hbd keeps its states in"):
        Store(directory).load()
    assert (directory / ledger.NAME).stat().st_ino == inode
    store.close()
    assert loaded(directory).peers == {"db1": record()}


def test_half_written_line_is_left_out(store, directory):
    """The torn end of a file costs that line alone, and the file is whole again afterwards."""
    store.record(record(), entry(1), 0)
    wait_for(store, 1)
    store.record(record(state=State.UP), entry(2), 0)
    wait_for(store, 1)
    store.close()
    file = directory / ledger.NAME
    file.write_bytes(file.read_bytes()[:-20])
    stored = loaded(directory)
    assert stored.peers == {"db1": record()}
    assert ids(stored.pending) == ids([entry(1)])
    read = ledger.Ledger(directory)
    read.read(Contents())
    assert read.damaged == 0


@given(st.binary())
def test_no_damage_is_more_than_an_unreadable_line(octets):
    """Whatever stands in a line, it is a batch or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(parse(octets), Batch)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(["peers", "forgotten", "entries", "gone"]),
)
def test_no_wrong_shape_is_more_than_an_unreadable_line(value, key):
    """JSON of another shape is a batch or a ValueError too."""
    with contextlib.suppress(ValueError):
        assert isinstance(parse(json.dumps({key: value}).encode()), Batch)


def test_newest_record_of_a_peer_wins(store, directory):
    """Of many changes the last one is found, and every entry of theirs."""
    for number in range(500):
        store.record(record(since=number), entry(number), 0)
    wait_for(store, 500)
    store.close()
    stored = loaded(directory)
    assert stored.peers == {"db1": record(since=499)}
    assert sorted(ids(stored.pending)) == ids(map(entry, range(500)))


def test_unwritable_directory_is_said_once_and_holds_nothing_up(tmp_path):
    """Where nothing can be stored, that is said once, and entries come back at once."""
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "lib")
    stored = store.load()
    assert "cannot store states in" in stored.error
    store.record(record(), entry(1), 0)
    assert wait_for(store, 1) == [entry(1)]
    assert store.released == 1
    assert store.notice() == ""
    store.close()


def test_full_disk_releases_counts_and_recovers(store, directory):
    """A full disk releases the entry, says so once, and what was missed is written later."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), store._ledger._fd)
    for number in (1, 2):
        store.record(record(since=number), entry(number), 0)
        assert wait_for(store, 1) == [entry(number)]
    assert store.released == 2
    assert "No space left" in store.notice()
    assert store.notice() == ""
    store._broken_until = 0.0
    store.record(record(since=3), entry(3), 0)
    assert wait_for(store, 1) == [entry(3)]
    assert store.notice() == "states are stored again"
    store.close()
    stored = loaded(directory)
    assert stored.peers == {"db1": record(since=3)}
    assert ids(stored.pending) == ids([entry(1), entry(2), entry(3)])


def test_a_file_that_somebody_removes_is_written_anew(store, directory):
    """What is only in memory would be lost by the next crash."""
    store.record(record(), entry(1), 0)
    wait_for(store, 1)
    (directory / ledger.NAME).unlink()
    store._ledger.touch()
    store.close()
    assert loaded(directory).peers == {"db1": record()}


def test_hanging_disk_releases_after_a_second(store, directory):
    """A write that hangs delays an entry by one second, the next ones not at all."""
    fifo = (directory / ledger.NAME).with_suffix(".new")
    os.mkfifo(fifo)
    store._ledger._size = 1 << 40  # the next write rewrites the file, and hangs at the fifo
    store.record(record(), entry(1), 0)
    store.write()
    assert store.stored(PATIENCE - 1) == []
    assert store.stored(PATIENCE) == [entry(1)]
    store.gone(ids([entry(1)]))
    store.record(record(), entry(2), PATIENCE + 5)
    assert store.next_deadline() == PATIENCE + 5
    assert store.stored(PATIENCE + 5) == [entry(2)]
    assert store.released == 2
    # The disk answers again.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fifo.unlink()
    store.record(record(), entry(3), 2 * PATIENCE)
    store.write()
    given = []
    while ids(given) != ids([entry(3)]):
        assert select.select([store.fileno()], [], [], 10)[0]
        given += store.stored(2 * PATIENCE)
    os.close(reader)


@pytest.mark.parametrize("moment", [-1, 253_402_300_800 * SECOND, 10**40])
def test_no_state_is_of_a_time_without_a_calendar(moment):
    """A moment that cannot be written down is damage: it would end each start of the daemon."""
    last = 253_402_300_799 * SECOND
    latest = Batch({"db1": record(since=last)})
    assert parse(line(in_writing(latest))) == latest
    paused = PeerRecord("db1", State.PAUSED, None, 1, Pause(moment, "", "root"))
    for one in (record(since=moment), paused):
        with pytest.raises(ValueError, match="not a moment"):
            parse(line(in_writing(Batch({"db1": one}))))


def test_what_went_before_it_was_written_is_not_sent_again(directory):
    """An entry that went while it waited for the disk is not pending afterwards."""
    store = Store(directory)
    with store._changed:  # the writer waits
        store.record(record(), entry(1), 0)
        store.gone(ids([entry(1)]))
    store.load()
    store.close()
    assert loaded(directory).pending == []
    assert loaded(directory).peers == {"db1": record()}


def test_grown_file_is_rewritten(store, directory, monkeypatch):
    """The file does not grow without end."""
    monkeypatch.setattr(ledger, "COMPACT_BYTES", 10_000)
    for number in range(300):
        store.record(record(since=number), entry(number), 0)
        store.gone(ids(wait_for(store, 1)))
    store.close()
    assert (directory / ledger.NAME).stat().st_size < 30_000
    assert loaded(directory).peers == {"db1": record(since=299)}


@pytest.mark.slow
def test_ten_thousand_changes_at_once(store):
    """Figures: what a storm costs the loop, and how soon it is on the disk."""
    changes = [
        (record(f"peer-{n}"), Entry("m" * 120, "0" * 32, 3, (("HBD_EVENT_ID", f"{n:032x}"),
        ("HBD_PEER", f"peer-{n}"), *((f"HBD_F{k}", "v" * 60) for k in range(14)))))
        for n in range(10_000)
    ]  # fmt: skip
    begun = time.perf_counter_ns()
    for one, told in changes:
        store.record(one, told, 0)
    recorded = time.perf_counter_ns()
    wait_for(store, 10_000)
    written = time.perf_counter_ns()
    assert store.released == 0
    print(
        f"10,000 changes: {(recorded - begun) / 1e7:.1f} us each for the loop,"
        f" on the disk after {(written - begun) / 1e6:.0f} ms"
    )
