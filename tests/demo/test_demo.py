"""hbd demo as an ordinary user runs it: it shows what it says, and leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from hbd.demo.stage import DemoError, Stage

ROOT = Path(__file__).parents[2]
NOBODY = 65534

pytestmark = [pytest.mark.slow, pytest.mark.root]


@pytest.fixture
def home():
    """A directory of nobody's, short enough for sockets, where the demonstration may put files."""
    directory = Path(tempfile.mkdtemp(prefix="hbd-"))
    os.chown(directory, NOBODY, NOBODY)
    yield directory
    assert list(directory.iterdir()) == []
    directory.rmdir()


@pytest.fixture
def demo(home):
    """Start it as nobody in a network of its own; whatever a test does, it ends."""
    started = []

    def start():
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        words += [sys.executable, "-P", "-m", "hbd", "demo"]
        within = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *words]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(home),
        }
        started.append(
            subprocess.Popen(
                within,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes(home):
    """Those that live below that directory: pid -> command."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"={home}".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # it ended meanwhile
    return found


def read_until(process, words):
    """Read what it prints until a line with those words."""
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"it never said {words}: {process.stderr.read()}")


def all_gone(home):
    end = time.monotonic() + 5
    while processes(home) and time.monotonic() < end:
        time.sleep(0.02)
    return processes(home) == {}


def test_everything_is_seen_as_announced(demo, home):
    """It ends with 0, told each of its causes in hbd's own words, and left nothing behind."""
    process = demo()
    said, errors = process.communicate(timeout=150)
    assert (process.returncode, errors) == (0, "")
    for words in (
        r"db is paused: ",
        r"far is degraded: RTT on 127\.0\.0\.31 is over max_rtt",
        r"far is down: wrong key",
        r"far is down: bad reply",
        r"web is degraded: no answer on 127\.0\.0\.22",
        r"db is down: filtered",
        r"web is down: port closed on 127\.0\.0\.2[12]",
        r"far is unreachable: .*via web",
        r"far is degraded: loss on",
        r"db has left: it said goodbye",
        r"Cause: port-closed, since",
        r"3 peers: 1 up, 1 degraded, 1 left",
        r"What loopback cannot show",
    ):
        assert re.search(words, said), words
    assert "\x1b" not in said
    assert all_gone(home)


@pytest.mark.parametrize("moment", ["Three hbd run", "All are started", "is paused"])
def test_ctrl_c_leaves_nothing_behind(demo, home, moment):
    """Interrupted at any moment it takes everything away, though Ctrl-C is pressed again."""
    process = demo()
    read_until(process, moment)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")
    assert all_gone(home)


def test_killed_it_takes_its_processes_along(demo, home):
    """Nothing goes on running when it is killed; only its directory is left."""
    process = demo()
    read_until(process, "is paused")
    assert len(processes(home)) >= 5
    process.kill()
    process.communicate()
    assert all_gone(home)
    (left,) = home.iterdir()
    shutil.rmtree(left)


def test_a_reader_who_has_seen_enough_ends_it(demo, home):
    """As with any command whose output goes to head."""
    process = demo()
    read_until(process, "db is up")
    process.stdout.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    assert all_gone(home)


def test_something_else_than_announced_is_a_failure(demo, home):
    """Where one of its daemons dies it says so and ends with 1."""
    process = demo()
    read_until(process, "is paused")
    (monitor,) = (pid for pid, words in processes(home).items() if b"monitor/hbd.yaml" in words)
    os.kill(monitor, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("hbd: the demonstration failed: ")
    assert all_gone(home)


def test_a_machine_too_busy_for_it_is_named_as_such(monkeypatch):
    """A command that is too late is no traceback, but says what to do."""
    monkeypatch.setattr("hbd.demo.stage.PATIENCE_S", 0.001)
    stage = Stage()
    try:
        with pytest.raises(DemoError, match=r"hbd status took longer than 0\.001 s; try again"):
            stage.command("monitor", "status")
    finally:
        stage.directory.rmdir()


@pytest.mark.parametrize("name", ["a:b", "x" * 90])
def test_a_place_without_room_for_sockets_is_named(tmp_path, name):
    """Before anything is started, and nothing is left behind there, nor beside it."""
    place = tmp_path / name
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hbd", "demo"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{place} has a colon or is too long a name; set TMPDIR" in done.stderr
    assert list(tmp_path.iterdir()) == [place]
    assert list(place.iterdir()) == []
