import os
import stat
import time

import pytest

from hbd.core.model import Cause, State
from hbd.report.files import RETRY, SLICE, StateFiles


@pytest.fixture
def run(tmp_path):
    return tmp_path / "hbd"


def files_of(run):
    return {
        str(file.relative_to(run / "peers")): file.read_text()
        for file in (run / "peers").glob("*/*")
    }


def test_directory_is_the_state_and_content_the_cause(run):
    """A peer's file lies in the directory of its state and holds its cause."""
    files = StateFiles(run)
    files.show("db1", State.DOWN, Cause.PORT_CLOSED)
    files.show("gw", State.UP, None)
    files.work(0)
    assert not files.has_work
    assert files_of(run) == {"down/db1": "port-closed", "up/gw": ""}


def test_change_moves_the_very_file(run):
    """A change of state renames the file; a change of cause rewrites it."""
    files = StateFiles(run)
    files.show("db1", State.DOWN, Cause.PORT_CLOSED)
    files.work(0)
    inode = (run / "peers/down/db1").stat().st_ino
    files.show("db1", State.UP, None)
    files.work(0)
    assert files_of(run) == {"up/db1": ""}
    assert (run / "peers/up/db1").stat().st_ino == inode
    files.show("db1", State.DOWN, Cause.SILENT)
    files.work(0)
    files.show("db1", State.DOWN, Cause.MTU)
    files.work(0)
    assert files_of(run) == {"down/db1": "mtu"}


def test_work_is_done_in_slices(run):
    """A turn writes a bounded number of files and says whether more wait."""
    files = StateFiles(run)
    for number in range(SLICE + 1):
        files.show(f"p{number}", State.UP, None)
    files.work(0)
    assert files.has_work
    assert len(files_of(run)) == SLICE
    files.work(0)
    assert not files.has_work
    assert len(files_of(run)) == SLICE + 1


def test_restart_takes_over_what_is_there(run):
    """A new process moves the files it finds, and removes those of peers that are gone."""
    files = StateFiles(run)
    for name in ("db1", "gw", "old"):
        files.show(name, State.UP, None)
    files.work(0)
    inode = (run / "peers/up/db1").stat().st_ino
    files = StateFiles(run)
    files.keep_only(["db1", "gw"])
    files.show("db1", State.DOWN, Cause.SILENT)
    files.show("gw", State.UP, None)
    files.work(0)
    assert files_of(run) == {"down/db1": "silent", "up/gw": ""}
    assert (run / "peers/down/db1").stat().st_ino == inode


def test_removed_peer_has_no_file(run):
    """Who is watched no more has no file, even where that was not written yet."""
    files = StateFiles(run)
    files.show("db1", State.UP, None)
    files.work(0)
    files.show("gw", State.UP, None)
    for name in ("db1", "gw"):
        files.remove(name)
    files.work(0)
    assert (files_of(run), files.errors) == ({}, 0)


def test_name_in_two_directories_is_in_one_after_a_start(run):
    """A file that somebody else made does not stay beside the right one."""
    for state in ("up", "down"):
        (run / "peers" / state).mkdir(parents=True)
        (run / "peers" / state / "db1").touch()
    files = StateFiles(run)
    files.show("db1", State.DOWN, None)
    files.work(0)
    assert list(files_of(run)) == ["down/db1"]


def test_removed_file_comes_back_at_the_next_change(run):
    """Who deletes a file only waits for the next change to see it again."""
    files = StateFiles(run)
    files.show("db1", State.UP, None)
    files.work(0)
    (run / "peers/up/db1").unlink()
    files.show("db1", State.DOWN, None)
    files.work(0)
    assert files_of(run) == {"down/db1": ""}


def test_failure_is_counted_and_tried_again(run, tmp_path):
    """What cannot be written is tried again after a pause, and never raised."""
    run.symlink_to(tmp_path / "missing" / "deeper")
    blocker = tmp_path / "missing"
    blocker.write_text("a file where a directory should be")
    files = StateFiles(run)
    files.show("db1", State.UP, None)
    files.work(0)
    assert not files.has_work
    assert files.errors == 1
    assert files.failure() == f"cannot keep files of states in {run}/peers: Not a directory"
    assert not files.failure()
    assert files.next_deadline() == RETRY
    files.work(RETRY)
    assert not files.failure()  # it was told when it began
    blocker.unlink()
    (blocker / "deeper").mkdir(parents=True)
    files.work(2 * RETRY - 1)
    assert files.next_deadline() == 2 * RETRY
    files.work(2 * RETRY)
    assert files_of(run) == {"up/db1": ""}
    assert files.next_deadline() is None
    (run / "peers/up/db1").unlink()
    (run / "peers/up").rmdir()
    (run / "peers/up").touch()
    files.show("db1", State.UP, Cause.SLOW)
    files.show("db2", State.UP, None)
    files.work(3 * RETRY)
    assert "Not a directory" in files.failure()


def test_everybody_may_read(run):
    """Files and directories are readable by all, whatever the umask is."""
    umask = os.umask(0o077)
    try:
        files = StateFiles(run)
        files.show("db1", State.UP, None)
        files.work(0)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((run / "peers").stat().st_mode) == 0o755
    assert stat.S_IMODE((run / "peers/up").stat().st_mode) == 0o755
    assert stat.S_IMODE((run / "peers/up/db1").stat().st_mode) == 0o644


def taken(queue):
    """Empty the queue; give what was in it."""
    names = sorted(entry.name for entry in queue.iterdir())
    for name in names:
        (queue / name).unlink()
    return names


def test_names_of_changed_peers_are_queued_for_units(run, tmp_path):
    """A change of state queues the peer's name, one of cause does not."""
    queue = tmp_path / "hbd-changed"
    queue.mkdir()
    files = StateFiles(run, queue)
    for state, cause, queued in [
        (State.UP, None, ["db1"]),
        (State.DOWN, Cause.SILENT, ["db1"]),
        (State.DOWN, Cause.MTU, []),
        (State.UP, None, ["db1"]),
    ]:
        files.show("db1", state, cause)
        assert files.work(0) == 1 + len(queued)
        assert taken(queue) == queued


def test_file_is_moved_before_its_name_is_queued(run, tmp_path):
    """Who takes a name out of the queue finds the new state, though it takes it at once."""
    queue = tmp_path / "queue"
    files = StateFiles(run, queue)
    files.show("db1", State.UP, None)
    files.work(0)
    queue.mkdir()
    files.show("db1", State.DOWN, None)
    asked = []
    enqueue = files._enqueue
    files._enqueue = lambda name: asked.append(list(files_of(run))) or enqueue(name)
    files.work(RETRY)
    assert asked == [["down/db1"]]
    assert taken(queue) == ["db1"]


def test_new_process_queues_every_peer_once(run, tmp_path):
    """What an earlier process moved and did not queue is not lost; who is gone is not named."""
    queue = tmp_path / "queue"
    queue.mkdir()
    files = StateFiles(run)
    for name in ("db1", "old"):
        files.show(name, State.DOWN, Cause.MTU)
    files.work(0)
    files = StateFiles(run, queue)
    files.keep_only(["db1"])
    files.show("db1", State.DOWN, Cause.MTU)
    for _ in range(3):
        files.work(0)
    assert taken(queue) == ["db1"]
    files.work(0)
    assert taken(queue) == []


def test_queue_is_filled_in_slices(run, tmp_path):
    """A storm does not hold up the loop by its names either."""
    queue = tmp_path / "queue"
    queue.mkdir()
    files = StateFiles(run)
    for number in range(2 * SLICE):
        files.show(f"p{number}", State.UP, None)
    while files.has_work:
        files.work(0)
    files = StateFiles(run, queue)
    files.work(0)
    assert (files.has_work, len(taken(queue))) == (True, SLICE)
    files.work(0)
    assert (files.has_work, len(taken(queue))) == (False, SLICE)


def test_name_waits_for_a_queue_that_is_missing(run, tmp_path):
    """Without a queue nothing fails and nothing is lost: made later, it gets the names."""
    queue = tmp_path / "queue"
    files = StateFiles(run, queue)
    for name in ("db1", "old"):
        files.show(name, State.UP, None)
    files.work(0)
    assert (files.errors, files.has_work, files.next_deadline()) == (0, False, RETRY)
    files.show("gw", State.DOWN, None)
    files.remove("old")
    files.work(1)
    assert (files.errors, files.has_work, files._untold) == (0, False, {})
    files.work(RETRY)
    assert (files.errors, files.has_work, files.next_deadline()) == (0, False, 2 * RETRY)
    queue.mkdir()
    files.work(2 * RETRY - 1)
    assert taken(queue) == []
    files.work(2 * RETRY)
    assert taken(queue) == ["db1", "gw"]
    assert (files.has_work, files.next_deadline()) == (False, None)


def test_names_wait_for_a_queue_that_fails(run, tmp_path):
    """A queue that takes nothing is one error at each try, whatever the number of names."""
    queue = tmp_path / "queue"
    queue.write_text("no directory")
    files = StateFiles(run, queue)
    for name in ("db1", "gw"):
        files.show(name, State.UP, None)
    files.work(0)
    assert (files.errors, files.next_deadline()) == (1, RETRY)
    files.show("web", State.UP, None)
    files.work(1)
    assert (files.errors, files_of(run).keys()) == (1, {"up/db1", "up/gw", "up/web"})
    queue.unlink()
    queue.mkdir()
    files.work(RETRY)
    assert taken(queue) == ["db1", "gw", "web"]


@pytest.mark.parametrize("plant", [os.mkfifo, lambda p: p.symlink_to("/nowhere/x")])
def test_planted_entry_stands_for_the_name(run, tmp_path, plant):
    """What lies there under the name says it too, and is not opened, waited for or followed."""
    queue = tmp_path / "queue"
    queue.mkdir()
    plant(queue / "db1")
    files = StateFiles(run, queue)
    files.show("db1", State.UP, None)
    files.work(0)
    assert (files.errors, files.has_work, files.next_deadline()) == (0, False, None)


@pytest.mark.slow
def test_ten_thousand_changes_take_little_time(run):
    """Figures: what one change of 10,000 costs."""
    files = StateFiles(run)
    for state in (State.UP, State.DOWN):
        for number in range(10_000):
            files.show(f"peer-{number}", state, None)
        begun = time.perf_counter_ns()
        while files.has_work:
            files.work(0)
        spent = time.perf_counter_ns() - begun
        print(f"10,000 files to {state}: {spent / 1e6:.0f} ms, {spent / 1e7:.0f} us each")
    assert len(list((run / "peers/down").iterdir())) == 10_000
