import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/network"))

import namespaces  # noqa: E402 - found next door

PATIENCE = 240

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Run the short form: what it printed, and its numbers."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json", str(file)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        printed, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        pytest.fail(f"it takes longer than {PATIENCE} s:\n{process.communicate()[1]}")
    assert process.returncode == 0, said
    return printed, json.loads(file.read_text())


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """Ctrl-C ends it in the middle of a row: no process, file or namespace is left."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "storm"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(4)
    assert mentioned(tmp_path) > 1
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert mentioned(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    assert not list(Path("/run/netns").glob(f"hbd-{process.pid}-*"))


def mentioned(directory):
    """Count the processes that were started with a file in this directory."""
    count = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            count += str(directory).encode() in file.read_bytes()
    return count


def test_every_row_is_printed(result):
    """The table has a row for each thing that is promised, with a figure and its goal."""
    printed, whole = result
    lines = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    names = [cells[0].removeprefix("| ") for cells in lines[1:]]
    assert names == [row["name"] for row in whole["rows"]]
    assert {name.partition("-")[0] for name in names} == {
        "open",
        "authenticated",
        "fping",
        "oping",
        "bird",
        "rate",
        "reflector",
        "profile",
        "handful",
        "memory",
        "lost",
        "accuracy",
        "stall",
        "start",
        "status",
        "storm",
        "uplink",
    }
    assert all(row["figure"] and row["goal"] for row in whole["rows"])
    assert len(names) == len(set(names))


def test_the_machine_is_told(result):
    """Figures hold for a machine and for versions: both are printed."""
    printed, whole = result
    for name in ("CPU", "kernel", "Python", "cc", "openssl", "fping", "oping", "bird"):
        assert f"* {name}: " in printed
    assert "not installed" not in " ".join(whole["machine"])


def test_all_programs_do_their_work(result):
    """Whatever is compared, all peers are up and no heartbeat is lost, on either side."""
    for row in result[1]["rows"]:
        facts = row["facts"]
        assert facts["up"] == facts["peers"], row
        assert facts.get("other_up", facts["peers"]) == facts["peers"], row
        for lost in ("lost", "other_lost", "false"):
            assert facts.get(lost, 0) == 0, row


def test_the_fault_is_named(result):
    """Of silent peers hbd says down, unless it may be our own uplink; all come back."""
    rows = {row["name"]: row["facts"] for row in result[1]["rows"]}
    assert all(verdict.startswith("down ") for verdict in rows["storm"]["verdicts"])
    assert list(rows["uplink"]["verdicts"]) == ["unknown own-uplink"]
    for name in ("storm", "uplink"):
        assert rows[name]["up_again"] == rows[name]["peers"]
