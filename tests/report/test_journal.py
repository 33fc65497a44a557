import os
import socket
import time

import pytest

from hbd.core.model import SECOND
from hbd.report import messages
from hbd.report.entry import Entry
from hbd.report.journal import RATE, RECONNECT, SLICE, Journal

MILLISECOND = 1_000_000


def lost(count):
    return messages.entries_lost("f" * 32, 0, count)


def entry(number, *fields):
    return Entry(f"entry {number}", "0" * 32, 6, (("HBD_EVENT_ID", f"{number:032x}"), *fields))


def listen(path):
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    reader.bind(str(path))
    return reader


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


@pytest.fixture
def reader(path):
    with listen(path) as reader:
        yield reader


@pytest.fixture
def journal(path):
    journal = Journal(lost, str(path))
    yield journal
    journal.close()


def messages_in(reader):
    """The messages that wait; of a memfd, what it holds."""
    found = []
    while True:
        try:
            datagram, fds, _, _ = socket.recv_fds(reader, 1 << 20, 1)
        except BlockingIOError:
            return found
        for fd in fds:
            os.lseek(fd, 0, os.SEEK_SET)
            datagram += os.read(fd, 1 << 24)
            os.close(fd)
        found.append(datagram.split(b"\n")[0].decode().removeprefix("MESSAGE="))


def drain(journal, reader, now, turns=100_000):
    """Turn until nothing waits; the messages read and the moment of the end."""
    found = []
    for _ in range(turns):
        journal.flush(now)
        found += messages_in(reader)
        if not len(journal.queue):
            break
        now = max(now + 1, journal.next_deadline() or 0)
    return found, now


def test_entries_go_and_their_ids_are_told(journal, reader):
    """An entry is sent at the next flush, and its id is given back as gone."""
    assert journal.put(entry(1))
    assert journal.put(entry(2))
    assert journal.next_deadline() == 0
    assert journal.flush(5) == [f"{1:032x}", f"{2:032x}"]
    assert messages_in(reader) == ["entry 1", "entry 2"]
    assert journal.next_deadline() is None
    assert not journal.wants_write


def test_what_went_is_not_read_yet(journal, reader):
    """Who ends before journald has read what he sent is of no unit when it does."""
    assert journal.is_read
    journal.put(entry(1))
    journal.flush(5)
    assert not journal.is_read
    reader.recv(65_536)
    assert journal.is_read


@pytest.mark.slow
def test_flood_with_a_stopped_reader_never_blocks(journal, reader):
    """20,000 entries while journald hangs: none waits, 4096 stay, the rest is counted and told."""
    longest, begun = 0, time.perf_counter_ns()
    for number in range(20_000):
        at = time.perf_counter_ns()
        journal.put(entry(number))
        journal.flush(number * MILLISECOND)
        longest = max(longest, time.perf_counter_ns() - at)
    spent = time.perf_counter_ns() - begun
    print(f"20,000 entries, reader stopped: {spent / 1e6:.0f} ms, longest {longest / 1e6:.2f} ms")
    assert longest < 500 * MILLISECOND  # a busy machine, not a block
    assert journal.wants_write
    assert journal.next_deadline() is None
    waiting = messages_in(reader)
    kept = len(waiting) + 4096
    assert len(journal.queue) == 4096 + 1
    assert journal.queue.lost_total == 20_000 - kept
    found, _ = drain(journal, reader, 100 * SECOND)
    found = waiting + found
    told = [text for text in found if not text.startswith("entry ")]
    assert [text.split(":")[0] for text in told] == [f"{20_000 - kept} entries were lost"]
    assert [text for text in found if text.startswith("entry ")] == [
        f"entry {n}" for n in range(kept)
    ]


def test_no_second_sees_more_than_the_rate(journal, reader):
    """At most 2,000 entries go in any second, a slice in one turn."""
    for number in range(4000):
        journal.put(entry(number))
    sent, now = [], 0
    while len(journal.queue):
        gone = journal.flush(now)
        messages_in(reader)
        assert len(gone) <= SLICE
        sent += [now] * len(gone)
        now = max(now + 1, journal.next_deadline() or 0)
    assert all(later - at >= SECOND for at, later in zip(sent, sent[RATE:], strict=False))
    assert now < 2.3 * SECOND


def test_journald_that_comes_later_gets_the_entries(journal, path):
    """Entries wait for a journald that is not there yet, and are tried once a second."""
    journal.put(entry(1))
    assert journal.flush(0) == []
    assert journal.next_deadline() == RECONNECT
    with listen(path) as reader:
        assert journal.flush(RECONNECT - 1) == []
        assert journal.flush(RECONNECT) == [f"{1:032x}"]
        assert messages_in(reader) == ["entry 1"]


def test_restarted_journald_is_found_again(journal, path):
    """After journald went and came back the entries follow, on the same descriptor."""
    before = journal.fileno()
    with listen(path):
        journal.put(entry(1))
        assert journal.flush(0)
    journal.put(entry(2))
    assert journal.flush(1) == []
    path.unlink()
    with listen(path) as reader:
        assert journal.flush(1 + RECONNECT) == [f"{2:032x}"]
        assert messages_in(reader) == ["entry 2"]
    assert journal.fileno() == before


def test_reader_with_room_again_makes_the_socket_writable(journal, reader):
    """A full journald is waited for by writability, not by time."""
    for number in range(1000):
        journal.put(entry(number))
    for turn in range(30):
        journal.flush(turn * SECOND)
    assert journal.wants_write
    messages_in(reader)
    assert journal.flush(31 * SECOND)


def test_too_big_entry_goes_through_memory(journal, reader):
    """An entry that fits no datagram arrives whole, as sealed memory."""
    journal.put(entry(1, ("HBD_SNAPSHOT", "x" * 3_000_000)))
    assert journal.flush(0) == [f"{1:032x}"]
    datagram, fds, _, _ = socket.recv_fds(reader, 1 << 20, 1)
    assert datagram == b""
    assert os.pread(fds[0], 15, 0) == b"MESSAGE=entry 1"
    assert os.fstat(fds[0]).st_size > 3_000_000
    with pytest.raises(PermissionError):
        os.truncate(fds[0], 0)
    os.close(fds[0])
