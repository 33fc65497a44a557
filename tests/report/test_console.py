import fcntl
import json
import os
import select
import socket
import time

import pytest

from hbd.report import messages
from hbd.report.choose import _is_journal, choose
from hbd.report.console import RETRY, SLICE, Console
from hbd.report.entry import Entry
from hbd.report.journal import Journal


def lost(count):
    return messages.entries_lost("f" * 32, 0, count)


def entry(number):
    return Entry(f"entry {number}", "0" * 32, 6, (("HBD_EVENT_ID", f"{number:032x}"),))


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def read_all(fd):
    found = b""
    while select.select([fd], [], [], 0)[0]:
        found += os.read(fd, 1 << 20)
    return found


def test_text_lines_are_written(pipe):
    """`--log text` writes one readable line for each entry."""
    console = Console(lost, pipe[1], "text")
    console.put(entry(1))
    assert console.next_deadline() == 0
    assert console.flush(1) == [f"{1:032x}"]
    assert read_all(pipe[0]) == b"info: entry 1\n"
    assert console.next_deadline() is None
    console.close()


def test_json_lines_carry_the_fields(pipe):
    """`--log json` writes the fields of the journal as one object."""
    console = Console(lost, pipe[1], "json")
    console.put(entry(1))
    console.flush(0)
    assert json.loads(read_all(pipe[0])) == {
        "MESSAGE": "entry 1",
        "MESSAGE_ID": "0" * 32,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "hbd",
        "HBD_EVENT_ID": f"{1:032x}",
    }
    console.close()


def test_full_pipe_never_blocks_and_loses_no_byte(pipe):
    """A reader that stopped costs no time; what it read in the end are whole lines, in order."""
    console = Console(lost, pipe[1], "text", limit=500)
    longest = 0
    for number in range(20_000):
        console.put(entry(number))
        begun = time.perf_counter_ns()
        console.flush(number)
        longest = max(longest, time.perf_counter_ns() - begun)
    assert longest < 500_000_000  # a busy machine, not a block
    assert console.next_deadline() > 0
    found, now = b"", 10**9
    while len(console.queue):
        found += read_all(pipe[0])
        now += RETRY
        console.flush(now)
    lines = (found + read_all(pipe[0])).decode().splitlines()
    told = [line for line in lines if "entries were lost" in line]
    kept = [line for line in lines if line.startswith("info: entry ")]
    assert len(told) == 1
    assert len(kept) + len(told) == len(lines)
    assert kept == [f"info: entry {n}" for n in range(len(kept))]
    assert console.queue.lost_total == 20_000 - len(kept)
    console.close()


def test_shared_pipe_stays_blocking_for_others(pipe):
    """Nobody else who writes to the same terminal or pipe sees O_NONBLOCK."""
    console = Console(lost, pipe[1], "text")
    console.put(entry(1))
    console.flush(0)
    assert not fcntl.fcntl(pipe[1], fcntl.F_GETFL) & os.O_NONBLOCK
    console.close()


def test_one_turn_writes_a_slice(pipe):
    """A turn of the loop writes a bounded number of lines."""
    console = Console(lost, pipe[1], "text")
    for number in range(SLICE + 1):
        console.put(entry(number))
    assert len(console.flush(7)) == SLICE
    assert console.next_deadline() == 7
    assert len(console.flush(8)) == 1
    console.close()


def test_stream_socket_never_blocks():
    """Standard error that is a socket, as under systemd, does not block either."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        console = Console(lost, ours.fileno(), "text", limit=50_000)
        for number in range(50_000):
            console.put(entry(number))
        for turn in range(600):
            console.flush(turn)
        assert len(console.queue)
        assert theirs.recv(14) == b"info: entry 0\n"
        console.close()


def test_closed_pipe_is_no_error():
    """When nobody reads any more, entries are counted as lost, and nothing is raised."""
    reading, writing = os.pipe()
    console = Console(lost, writing, "text", limit=10)
    os.close(reading)
    for number in range(20):
        console.put(entry(number))
        console.flush(number)
    assert console.queue.lost_total == 10
    console.close()
    os.close(writing)


def test_plain_file_gets_its_lines(tmp_path):
    """Standard error may be a file."""
    with (tmp_path / "log").open("wb") as stream:
        console = Console(lost, stream.fileno(), "text")
        console.put(entry(1))
        console.flush(0)
        console.close()
    assert (tmp_path / "log").read_bytes() == b"info: entry 1\n"


def test_journal_is_chosen_only_where_systemd_connected_it(pipe):
    """JOURNAL_STREAM must name the very device and inode of standard error."""
    status = os.fstat(pipe[1])
    assert _is_journal(pipe[1], f"{status.st_dev}:{status.st_ino}")
    assert not _is_journal(pipe[1], f"{status.st_dev}:{status.st_ino + 1}")
    assert not _is_journal(pipe[1], "")
    assert not _is_journal(99_999, "1:1")
    stderr = os.fstat(2)
    environ = {"JOURNAL_STREAM": f"{stderr.st_dev}:{stderr.st_ino}"}
    for log, environment, kind in [
        (None, environ, Journal),
        ("text", environ, Console),
        (None, {}, Console),
    ]:
        sink = choose(log, environment, lost)
        assert isinstance(sink, kind)
        sink.close()
