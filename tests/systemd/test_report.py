"""`hbd report` on a real journal: figures to the second, over restarts, pauses and rotation."""

import json
import time
from pathlib import Path

import pytest

from tests.systemd.container import eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

TRAFFIC = "/root/stamp_traffic.py"
TOLERANCE = 1.0
"""Seconds: a verdict takes half of one here."""

CONFIGURATION = """\
listen: ["0.0.0.0:862"]
accept: any
start_grace: 0s
defaults: {{interval: 200ms, timeout: 100ms, retries: 1}}
peers:
  - {{name: steady, address: 127.0.0.1}}
  - {{name: {name}, address: 127.0.0.1, port: 9999, labels: {{site: "<b>ams</b>"}}}}
"""


@pytest.fixture(scope="module")
def service(machine):
    """hbd.service, installed and not yet started."""
    machine.path(TRAFFIC).write_text(Path(__file__).with_name("stamp_traffic.py").read_text())
    machine.run("dpkg", "-i", "/root/hbd.deb")
    machine.run("systemctl", "stop", "hbd")
    machine.run("journalctl", "--rotate")
    machine.run("journalctl", "--vacuum-time=1us")
    return machine


def report(machine, *words):
    machine.run("journalctl", "--sync")
    done = machine.run("hbd", "report", "--json", *words)
    told = json.loads(done.stdout)
    return told, {peer["name"]: peer for peer in told["peers"]}


def state(machine, name):
    out = machine.run("hbd", "status", "--json", check=False).stdout
    found = json.loads(out)["peers"] if out else []
    return next((peer["state"] for peer in found if peer["name"] == name), None)


def reflect(machine):
    machine.run(
        "systemd-run", "--unit=live", "--collect", "--quiet",
        "python3", TRAFFIC, "reflect", "9999", "1", "/root/live",
    )  # fmt: skip


def reaches(machine, name, wanted):
    """When the peer is seen to be in that state, as the test's clock has it."""
    eventually(lambda: state(machine, name) == wanted, pause=0.05)
    return time.time()


def near(seconds):
    return pytest.approx(seconds, abs=TOLERANCE)


def test_without_entries_it_says_so(service):
    """A span in which hbd told nothing is no mistake, and no figures are made up."""
    done = service.run("hbd", "report", "--since", "-1h", "--json")
    assert "no entries of hbd.service" in done.stderr
    assert json.loads(done.stdout)["peers"] == []
    done = service.run("hbd", "report")
    assert (done.stdout, "no entries of hbd.service" in done.stderr) == ("", True)


def test_an_ordinary_user_is_told_what_is_missing(service):
    """Without access to the journal: 77 and what would help, not a report of nothing."""
    done = service.run("runuser", "-u", "nobody", "--", "hbd", "report", check=False)
    assert (done.returncode, done.stdout) == (77, "")
    assert "systemd-journal" in done.stderr
    assert "sudo" in done.stderr
    member = ("runuser", "-u", "nobody", "-G", "systemd-journal", "--", "hbd", "report")
    done = service.run(*member, check=False)
    assert (done.returncode, "no entries" in done.stderr) == (0, True)


def live_through_it(service):
    """An outage, a restart, a pause, and a new name; give when each began and ended."""
    reflect(service)
    service.path("/etc/hbd.yaml").write_text(CONFIGURATION.format(name="db1"))
    service.run("systemctl", "start", "hbd")
    began = reaches(service, "db1", "up")

    service.run("systemctl", "stop", "live")
    down_at = reaches(service, "db1", "down")
    time.sleep(2)
    reflect(service)
    outage = down_at, reaches(service, "db1", "up")

    stopped_at = time.time()
    service.run("systemctl", "stop", "hbd")
    time.sleep(2)
    service.run("systemctl", "start", "hbd")
    absence = stopped_at, reaches(service, "db1", "up")

    service.run("hbd", "pause", "db1")
    paused_at = reaches(service, "db1", "paused")
    time.sleep(1.5)
    service.run("hbd", "resume", "db1")
    pause = paused_at, reaches(service, "db1", "up")

    service.path("/etc/hbd.yaml").write_text(CONFIGURATION.format(name="renamed"))
    service.run("systemctl", "reload", "hbd")
    renamed_at = reaches(service, "renamed", "up")
    service.run("systemctl", "stop", "live")
    reaches(service, "renamed", "down")
    time.sleep(1)
    return began, outage, absence, pause, renamed_at


FORGED = """\
from systemd import journal
journal.send(
    "x", HBD_EVENT="state", HBD_EVENT_ID="f" * 32, MESSAGE_ID="37d9351fc0e84b4da269304e00d9b0b1",
    HBD_PEER="steady", HBD_STATE="down", HBD_PREVIOUS_STATE="up",
    HBD_SINCE="2026-01-01T00:00:00+00:00",
)
"""


def test_the_figures_are_what_was_done_to_the_peer(service):
    """An outage, a restart, a pause and a rename of known lengths, each to the second; what
    somebody else writes into the journal counts for nothing."""
    began, *spans, renamed_at = live_through_it(service)
    outage_lasted, unwatched, pause = (end - begin for begin, end in spans)
    service.run("python3", "-c", FORGED)
    told, peers = report(service, "--since", f"@{began:.6f}")
    now = time.time()
    db1, renamed, steady = peers["db1"], peers["renamed"], peers["steady"]
    for peer in peers.values():
        assert sum(peer["seconds"].values()) == near(now - began)

    (outage,) = db1["outages"]
    assert (outage["cause"], outage["state"]) == ("port-closed", "down")
    assert any("port unreachable" in fact for fact in outage["evidence"])
    assert db1["seconds"]["down"] == outage["seconds"] == near(outage_lasted)
    assert db1["seconds"]["paused"] == near(pause)
    assert db1["seconds"]["unwatched"] == near(unwatched + now - renamed_at)
    up = renamed_at - began - outage_lasted - unwatched - pause
    assert db1["seconds"]["up"] == near(up)
    share = db1["seconds"]["up"] / (db1["seconds"]["up"] + db1["seconds"]["down"])
    assert db1["availability_percent"] == pytest.approx(100 * share, abs=1e-4)
    assert db1["labels"] == {"site": "<b>ams</b>"}

    (outage,) = renamed["outages"]
    assert outage["until"] is None
    assert renamed["state"] == "down"

    within = spans[0][0] + 0.5  # the outage lasted from before until after
    _, peers = report(service, "--since", f"@{within:.6f}", "--until", f"@{within + 1:.6f}", "db1")
    (outage,) = peers["db1"]["outages"]
    assert (peers["db1"]["availability_percent"], peers["db1"]["seconds"]["down"]) == (0, 1)
    assert (outage["seconds_within"], outage["seconds"]) == (1, near(outage_lasted))
    assert outage["until"] is not None
    assert (steady["outages"], steady["availability_percent"]) == ([], 100)
    assert told["watch"]["seconds"]["unwatched"] == near(unwatched)
    assert [gap["why"] for gap in told["watch"]["unwatched"]] == ["not-running"]


def test_a_crash_is_known_by_the_next_start(service):
    """kill -9: from the last stored moment to the new start nobody watched."""
    since = time.time()
    pid = service.show("hbd", "MainPID")["MainPID"]
    service.run("kill", "-KILL", pid)
    eventually(lambda: service.show("hbd", "MainPID")["MainPID"] not in ("0", pid))
    eventually(lambda: state(service, "steady") == "up")
    told, peers = report(service, "--since", f"@{since - 1:.6f}")
    assert told["watch"]["starts"] == 1
    # The moment is stored every 10 s, and with each change.
    assert 0.9 < told["watch"]["seconds"]["unwatched"] <= time.time() - since + 1
    assert peers["renamed"]["seconds"]["up"] == 0
    assert len(peers["renamed"]["outages"]) == 1


def test_what_was_vacuumed_is_unknown(service):
    """Without older entries a snapshot tells the states; the time before it nobody knows."""
    before = time.time()
    service.run("journalctl", "--rotate")
    service.run("journalctl", "--vacuum-time=1us")
    service.run("systemctl", "reload", "hbd")
    time.sleep(1)
    told, peers = report(service, "--since", f"@{before - 60:.6f}")
    assert peers.keys() == {"steady", "renamed"}  # of the old name nothing is left
    for peer in peers.values():
        assert peer["seconds"]["unwatched"] == near(60 + time.time() - before - 1)
    (outage,) = peers["renamed"]["outages"]
    assert outage["since"] < told["since"] or outage["seconds"] > 1  # it began before
    assert peers["renamed"]["seconds"]["down"] == near(1)


def test_it_is_watched_until_now_only_while_hbd_runs(service):
    """Of the time after a crash that no start has told of yet, nothing is made up."""
    drop_in = service.path("/run/systemd/system/hbd.service.d/no-restart.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nRestart=no\n")
    service.run("systemctl", "daemon-reload")
    told, _ = report(service, "--since", "-100ms")
    assert told["watch"]["seconds"]["unwatched"] == 0
    service.run("kill", "-KILL", service.show("hbd", "MainPID")["MainPID"])
    eventually(lambda: service.show("hbd", "MainPID")["MainPID"] == "0")
    since = time.time()
    time.sleep(1)
    told, _ = report(service, "--since", f"@{since:.6f}")
    assert told["watch"]["seconds"]["up"] == 0
    assert [gap["why"] for gap in told["watch"]["unwatched"]] == ["not-told"]


FLOOD = """\
import sys, time
from systemd import journal
for number in range(int(sys.argv[1])):
    if number == 300:
        time.sleep(1.2)
    journal.send(
        "x", HBD_EVENT="state", HBD_EVENT_ID=str(number), HBD_SINCE="2026-01-01T00:00:00+00:00",
        MESSAGE_ID="37d9351fc0e84b4da269304e00d9b0b1", HBD_PEER="db1", HBD_STATE="down",
        HBD_PREVIOUS_STATE="up",
    )
"""


def test_what_journald_dropped_is_told(service):
    """A unit beyond its rate limit: the report says how many entries are missing."""
    service.path("/root/flood.py").write_text(FLOOD)
    service.run(
        "systemd-run", "--unit=flood", "--wait", "--quiet", "-p", "LogRateLimitIntervalSec=1s",
        "-p", "LogRateLimitBurst=10", "python3", "/root/flood.py", "301",
    )  # fmt: skip
    told, peers = report(service, "--unit", "flood", "--since", "-1h")
    assert told["watch"]["entries_lost"] >= 1
    assert peers.keys() == {"db1"}


def test_text_and_page(service):
    """The text is a table; the page is written whole, with what came from the journal escaped."""
    reflect(service)
    service.run("systemctl", "start", "hbd")
    reaches(service, "renamed", "up")
    service.run("journalctl", "--sync")
    text = service.run("hbd", "report", "--since", "-1h").stdout
    assert "AVAILABLE" in text
    assert "Available is (up + degraded)" in text
    service.run("hbd", "report", "--since", "-1h", "--html", "/root/report.html")
    page = service.path("/root/report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert "site=&lt;b&gt;ams&lt;/b&gt;" in page
    assert "<b>ams" not in page
    unwritten = service.run("hbd", "report", "--html", "/nowhere/report.html", check=False)
    assert (unwritten.returncode, "cannot write" in unwritten.stderr) == (73, True)
    missing = service.run("hbd", "report", "nobody", check=False)
    assert missing.returncode == 69
