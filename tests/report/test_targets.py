import os
import subprocess
import sys

import pytest

from hbd.config import values
from hbd.report import targets
from hbd.report.targets import (
    AGAIN_S,
    AT_MOST,
    EVERYBODY,
    FREELY,
    SIDE_OF,
    SLICE,
    SPACING_S,
    Loaded,
)

ACTIVE = Loaded(is_active=True, is_changing=False)
STOPPED = Loaded(is_active=False, is_changing=False)
STOPPING = Loaded(is_active=True, is_changing=True)


@pytest.fixture
def queue(tmp_path):
    directory = tmp_path / "queue"
    directory.mkdir()
    return directory


def take(directory):
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        return targets.take(descriptor)
    finally:
        os.close(descriptor)


def show(peers, name, state):
    (peers / state).mkdir(parents=True, exist_ok=True)
    (peers / state / name).touch()


def test_names_are_those_of_the_configuration():
    """It takes the very names that the configuration allows, and a state belongs to one side."""
    assert targets.NAME.pattern == values.NAME.pattern
    assert SIDE_OF == {"up": "up", "degraded": "up", "down": "down", "unreachable": "down"}


@pytest.mark.parametrize("name", ["db1", "_a", "fd00::1", "a.b-c", "x" * 100])
def test_a_name_is_taken_and_gone(queue, name):
    """A queued name comes out once."""
    (queue / name).touch()
    assert take(queue) == ({name}, 0)
    assert take(queue) == (set(), 0)


@pytest.mark.parametrize("name", ["-x", ".x", "a b", "a@b", "x" * 101, "a\n", "é", "a\\x2d", "%i"])
def test_what_is_no_name_is_removed(queue, name):
    """Whatever else somebody put there goes, and names nobody."""
    (queue / name).touch()
    assert take(queue) == (set(), 0)
    assert list(queue.iterdir()) == []


def test_what_cannot_be_removed_holds_up_nobody(queue, monkeypatch):
    """A planted directory makes no round slower that takes a name; then it is waited for."""
    (queue / "full/er").mkdir(parents=True)
    for number in range(2 * SLICE + 1):
        (queue / f"p{number}").touch()
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if seconds == AGAIN_S:
            (queue / "full/er").rmdir()

    monkeypatch.setattr(targets.time, "sleep", pause)
    descriptor = os.open(queue, os.O_RDONLY)
    try:
        targets.follow(descriptor)
    finally:
        os.close(descriptor)
    assert pauses == [SPACING_S, SPACING_S, SPACING_S, AGAIN_S, SPACING_S]
    assert list(queue.iterdir()) == []


def test_planted_things_are_removed_and_nothing_else(queue, tmp_path):
    """Links are not followed, pipes not opened; a full directory stays and is counted."""
    precious = tmp_path / "precious"
    precious.write_text("here")
    (queue / "link").symlink_to(precious)
    (queue / "dangling").symlink_to("/nowhere")
    os.mkfifo(queue / "pipe")
    (queue / "empty").mkdir()
    (queue / "full").mkdir()
    (queue / "full/file").touch()
    (queue / "tree").symlink_to(tmp_path)
    assert take(queue) == ({"link", "dangling", "pipe", "empty", "tree"}, 1)
    assert [entry.name for entry in queue.iterdir()] == ["full"]
    assert precious.read_text() == "here"


def test_a_flood_is_taken_in_slices(queue):
    """However many there are, one round takes a slice; none is lost."""
    wanted = {f"p{number}" for number in range(SLICE + 3)}
    for name in wanted:
        (queue / name).touch()
    first, _ = take(queue)
    second, _ = take(queue)
    assert (len(first), first | second) == (SLICE, wanted)


def test_what_cannot_be_removed_hides_no_name(queue):
    """However much of that there is, a name beside it is found."""
    for number in range(SLICE + 10):
        (queue / f"full{number}").mkdir()
        (queue / f"full{number}/file").touch()
    (queue / "db1").touch()
    assert take(queue) == ({"db1"}, SLICE + 10)


def test_the_file_of_a_peer_says_its_side(tmp_path):
    """Up and degraded are one side, down and unreachable the other; the rest is neither."""
    states = ("up", "degraded", "down", "unreachable", "unknown", "paused", "left")
    for state in states:
        show(tmp_path, f"is-{state}", state)
    found = targets.sides([f"is-{state}" for state in states] + ["nobody"], tmp_path)
    assert found == {f"is-{state}": side for state, side in SIDE_OF.items()}


def test_a_directory_that_is_a_link_says_nothing(tmp_path):
    """User hbd cannot have root look elsewhere by a link in place of a directory."""
    show(tmp_path / "elsewhere", "db1", "up")
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/up").symlink_to(tmp_path / "elsewhere/up")
    assert targets.sides(["db1"], tmp_path / "peers") == {}
    assert targets.sides(["db1"], tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("up", "down", "is_due"),
    [
        (None, None, True),
        (STOPPED, ACTIVE, True),
        (ACTIVE, STOPPED, False),
        (ACTIVE, None, False),
        (ACTIVE, ACTIVE, True),
        (STOPPING, STOPPED, True),
        (ACTIVE, STOPPING, True),
        (STOPPED, STOPPED, True),
    ],
)
def test_a_target_is_started_unless_it_is_there_to_stay(up, down, is_due):
    """Started again is only what is not active, or is not about to stay so."""
    known = {"hbd-up@db1.target": up, "hbd-down@db1.target": down}
    known = {unit: loaded for unit, loaded in known.items() if loaded is not None}
    wanted = ["hbd-up@db1.target"] if is_due else []
    assert list(targets.due({"db1": "up"}, known)) == wanted


def test_of_very_many_only_the_followed_are_started():
    """Where a thousand are loaded, a peer that no unit follows gets no further one."""
    known = {f"hbd-up@p{number}.target": ACTIVE for number in range(FREELY)}
    known["hbd-down@seen.target"] = STOPPED
    wanted = {"db1": "down", "linked": "down", "seen": "down"}
    started = list(targets.due(wanted, known, lambda: {"linked"}))
    assert started == ["hbd-down@linked.target", "hbd-down@seen.target"]
    assert len(list(targets.due(wanted, known, lambda: {EVERYBODY}))) == 3
    full = {f"hbd-up@p{number}.target": ACTIVE for number in range(AT_MOST)}
    assert list(targets.due(wanted, full, lambda: {EVERYBODY})) == []


def test_a_storm_at_first_is_bounded_too():
    """Of many new peers only some get their targets, and whoever is followed."""
    wanted = {f"p{number}": "up" for number in range(FREELY)}
    last = f"p{FREELY - 1}"
    started = list(targets.due(wanted, {}, lambda: {last}))
    assert len(started) == FREELY // 2 + 1
    assert started[-1] == f"hbd-up@{last}.target"


def test_enabled_units_are_found(tmp_path):
    """Who follows is seen by the links of systemctl enable, for one peer or all."""
    (tmp_path / "hbd-up@db1.target.wants").mkdir()
    (tmp_path / "hbd-down@.target.requires").mkdir()
    (tmp_path / "hbd-up@.target").touch()
    (tmp_path / "multi-user.target.wants").mkdir()
    assert targets.linked([str(tmp_path), "/nowhere"]) == {"db1", EVERYBODY}


def test_it_is_cheap_to_import():
    """It starts at every change, so it loads next to nothing of hbd."""
    program = "import sys, hbd.report.targets as t; print(*(m for m in sys.modules if 'hbd' in m))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {"hbd", "hbd.report", "hbd.report.targets", "hbd.core", "hbd.core.names"}
    assert set(done.stdout.split()) == loaded
