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
    assert files.error
    assert files.next_deadline() == RETRY
    blocker.unlink()
    (blocker / "deeper").mkdir(parents=True)
    files.work(RETRY - 1)
    assert files.next_deadline() == RETRY
    files.work(RETRY)
    assert files_of(run) == {"up/db1": ""}
    assert files.next_deadline() is None


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


def test_names_of_changed_peers_are_queued_for_units(run, tmp_path):
    """A change of state, but not of cause and not a restart, queues the peer's name."""
    queue = tmp_path / "hbd-changed"
    files = StateFiles(run, queue)
    files.show("db1", State.UP, None)
    files.work(0)
    assert not queue.exists()
    queue.mkdir()
    for state, cause, queued in [
        (State.DOWN, Cause.SILENT, True),
        (State.DOWN, Cause.MTU, False),
    ]:
        files.show("db1", state, cause)
        files.work(0)
        assert (queue / "db1").exists() == queued
        (queue / "db1").unlink(missing_ok=True)
    files = StateFiles(run, queue)
    files.show("db1", State.DOWN, Cause.MTU)
    files.work(0)
    assert not (queue / "db1").exists()


def test_name_is_queued_once_the_queue_works_again(run, tmp_path):
    """A queue that failed gets the name at the next try."""
    queue = tmp_path / "queue"
    queue.mkdir()
    (queue / "db1").symlink_to("elsewhere")
    files = StateFiles(run, queue)
    files.show("db1", State.UP, None)
    files.work(0)
    assert files.errors == 1
    (queue / "db1").unlink()
    files.work(RETRY)
    assert (queue / "db1").exists()


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
