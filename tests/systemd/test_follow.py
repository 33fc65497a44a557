"""Units that follow a peer: those of the README, in a system that boots, breaks and is upgraded."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.systemd.container import booted, disk, eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# One retry: what a dying db1 still took into its socket, no ICMP tells of.
CONFIGURATION = """\
listen: ["0.0.0.0:862"]
accept: any
start_grace: 0s
defaults: {interval: 100ms, timeout: 50ms, retries: 1, rise: 1}
peers:
  - {name: self, address: 127.0.0.1}
  - {name: db1, address: 127.0.0.5, port: 8620}
"""
DB1 = """\
[Service]
Type=notify
RuntimeDirectory=db1
StateDirectory=db1
ExecStart=/usr/bin/hbd run --config /root/db1.yaml
[Install]
WantedBy=multi-user.target
"""
ALL = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo %i >>/root/all'
[Install]
WantedBy=hbd-down@.target
"""
UP, DOWN = "hbd-up@db1.target", "hbd-down@db1.target"


def examples():
    """The units in the README: file -> text."""
    blocks = re.findall(r"```ini\n# (\S+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return dict(blocks)


def active(machine, *units):
    """Which of them are, of the following service and the two targets unless given."""
    asked = units or ("app.service", UP, DOWN)
    shown = machine.run("systemctl", "is-active", *asked, check=False).stdout.split()
    return [unit for unit, state in zip(asked, shown, strict=True) if state == "active"]


def becomes(machine, *units, seconds=20.0):
    """Wait until those, of the three, are active."""
    eventually(lambda: active(machine) == list(units), seconds)


def state(machine):
    """What hbd says of db1."""
    shown = json.loads(
        machine.run("hbd", "status", "--json", check=False).stdout or '{"peers": []}'
    )
    return next((peer["state"] for peer in shown["peers"] if peer["name"] == "db1"), None)


def path_state(machine):
    """What hbd measures of db1, whether it is paused or not."""
    shown = json.loads(machine.run("hbd", "status", "--json", "db1", check=False).stdout)
    return shown["peers"][0]["paths"][0]["state"]


def mails(machine):
    """The subjects of root's mails, in order."""
    box = machine.path("/var/mail/root")
    return re.findall(r"(?m)^Subject: (.*)$", box.read_text()) if box.exists() else []


def die(machine):
    """End db1 without a goodbye."""
    machine.run("systemctl", "kill", "-s", "KILL", "db1")


def revive(machine):
    """Start db1; it answers from then on."""
    machine.run("systemctl", "reset-failed", "db1")
    machine.run("systemctl", "start", "db1")


def nothing_failed(machine):
    failed = machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
    assert failed == "", machine.journal("-n", "60")


def main_pid(machine, unit):
    return machine.show(unit, "MainPID")["MainPID"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root of a system with the package, a reflector db1 and the units of the README."""
    with disk(tmp_path_factory.mktemp("follow") / "disk") as system:
        yield system


@pytest.fixture(scope="module")
def first_boot(root, package, tmp_path_factory):
    with booted(tmp_path_factory.mktemp("boot") / "console", root) as machine:
        machine.path("/root/hbd.deb").write_bytes(package.read_bytes())
        machine.path("/usr/lib/flips.py").write_text((HERE / "flips.py").read_text())
        machine.path("/root/db1.yaml").write_text(
            '{listen: ["127.0.0.5:8620"], accept: any, peers: []}'
        )
        machine.path("/etc/systemd/system/db1.service").write_text(DB1)
        machine.path("/etc/systemd/system/all@.service").write_text(ALL)
        app = machine.path("/usr/local/bin/app")
        app.write_text("#!/bin/sh\nexec sleep infinity\n")
        app.chmod(0o755)
        for file, text in examples().items():
            machine.path(file).write_text(text)
        machine.run("dpkg", "-i", "/root/hbd.deb")
        machine.run("systemctl", "enable", "--now", "db1")
        machine.path("/etc/hbd.yaml").write_text(CONFIGURATION)
        machine.run("systemctl", "restart", "hbd")
        machine.run("systemctl", "enable", "--now", "app", timeout=30)
        machine.run("systemctl", "enable", "page@db1", "all@")
        yield machine


@pytest.fixture
def machine(first_boot):
    """The system with db1 and what follows it up."""
    first_boot.run("systemctl", "start", "db1", "hbd")
    first_boot.run("hbd", "resume", "db1", check=False)
    becomes(first_boot, "app.service", UP)
    return first_boot


def test_a_service_runs_while_the_peer_is_up(machine):
    """It stops when db1 is killed, cannot be started then, and runs again when db1 does."""
    die(machine)
    becomes(machine, DOWN)
    refused = machine.run("systemctl", "start", "app", check=False)
    assert refused.returncode != 0
    assert active(machine, "app.service", UP) == []
    revive(machine)
    becomes(machine, "app.service", UP)
    nothing_failed(machine)


def test_a_mail_says_that_it_is_down_and_why(machine):
    """The page of the README is sent by sendmail(1), with what hbd explain says, once."""
    before = len(mails(machine))
    die(machine)
    sent = eventually(lambda: mails(machine)[before:])
    machine.run("systemctl", "restart", "hbd")
    eventually(lambda: state(machine) == "down")
    eventually(lambda: not list(machine.path("/run/hbd-changed").iterdir()))
    time.sleep(0.5)
    assert mails(machine)[before:] == sent
    assert sent == ["db1 is down: port-closed"]
    text = machine.path("/var/mail/root").read_text()
    assert "\n\ndb1 is down: port closed on 127.0.0.5 " in text
    assert "\nEvidence:\n" in text
    assert "\nNext:\n" in text
    assert set(machine.path("/root/all").read_text().split()) == {"db1"}
    revive(machine)


def test_unknown_paused_left_and_a_stop_change_nothing(machine):
    """Whatever hbd does not know, or does not say, neither stops the service nor starts another."""
    pid = main_pid(machine, "app")
    machine.run("hbd", "pause", "db1")
    eventually(lambda: state(machine) == "paused")
    die(machine)
    eventually(lambda: path_state(machine) == "down")
    assert active(machine) == ["app.service", UP]
    revive(machine)
    eventually(lambda: path_state(machine) == "up")
    machine.run("hbd", "resume", "db1")
    eventually(lambda: state(machine) == "up")
    machine.run("systemctl", "stop", "hbd")
    die(machine)
    time.sleep(0.5)
    assert active(machine) == ["app.service", UP]
    revive(machine)
    machine.run("systemctl", "start", "hbd")
    eventually(lambda: state(machine) == "up")
    assert main_pid(machine, "app") == pid


def test_real_transitions_one_after_another(machine):
    """A real peer that dies and comes back, over and over: each time the service follows."""
    for _ in range(3):
        die(machine)
        becomes(machine, DOWN)
        revive(machine)
        becomes(machine, "app.service", UP)
    for _ in range(8):  # faster than it can follow
        die(machine)
        time.sleep(0.15)
        revive(machine)
        time.sleep(0.1)
    eventually(lambda: state(machine) == "up")
    becomes(machine, "app.service", UP)
    nothing_failed(machine)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (("up", "degraded", "unknown", "unreachable", "paused", "down"), [DOWN]),
        (("down", "left", "unreachable", "up", "degraded"), ["app.service", UP]),
    ],
)
def test_a_thousand_rapid_transitions(machine, states, outcome):
    """By the daemon's own code, faster than anything can follow: the outcome is right."""
    machine.run("systemctl", "stop", "hbd")
    machine.run("install", "-d", "-o", "hbd", "/run/hbd")
    try:
        began = time.monotonic()
        machine.run("runuser", "-u", "hbd", "--", "python3", "/usr/lib/flips.py", *states)
        spent = time.monotonic() - began
        becomes(machine, *outcome, seconds=5)
        eventually(lambda: machine.show("hbd-follow", "ActiveState")["ActiveState"] == "inactive")
        assert active(machine) == outcome
        cpu = int(machine.show("hbd-follow", "CPUUsageNSec")["CPUUsageNSec"]) / 1e9
        print(f"1,000 transitions in {spent:.1f} s, {cpu:.2f} s of processor time to follow")
        assert cpu < spent
        nothing_failed(machine)
    finally:
        machine.run("rm", "-r", "/run/hbd")


def test_planted_names_do_no_harm(machine):
    """Links, pipes, odd names and a flood are removed unread; db1 is followed all the same."""
    plant = """
        cd /run/hbd-changed
        ln -s /etc/shadow db1; ln -s /etc passwd; mkfifo pipe; touch -- '-rf' ' ' 'a b' '$(reboot)'
        mkdir full; touch full/file; i=0
        while [ $i -lt 5000 ]; do : >p$i; i=$((i + 1)); done
    """
    shadow = machine.path("/etc/shadow").stat()
    machine.run("runuser", "-u", "hbd", "--", "sh", "-c", plant)
    queue = machine.path("/run/hbd-changed")
    eventually(lambda: [entry.name for entry in queue.iterdir()] == ["full"])
    die(machine)
    becomes(machine, DOWN)
    revive(machine)
    becomes(machine, "app.service", UP)
    machine.run("rm", "-r", "/run/hbd-changed/full")
    eventually(lambda: machine.show("hbd-follow", "ActiveState")["ActiveState"] == "inactive")
    assert machine.path("/etc/shadow").stat() == shadow
    said = machine.journal("-u", "hbd-follow", "-o", "cat")
    assert "1 directories in /run/hbd-changed cannot be removed" in said
    units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "hbd-*@*")
    assert len(units.stdout.splitlines()) == 4, units.stdout
    nothing_failed(machine)


def test_an_upgrade_disturbs_nobody(machine):
    """Installing again keeps what runs running, and the path watched."""
    pid = main_pid(machine, "app")
    machine.run("dpkg", "-i", "/root/hbd.deb")
    assert active(machine, "hbd-follow.path") == ["hbd-follow.path"]
    eventually(lambda: state(machine) == "up")
    assert main_pid(machine, "app") == pid
    machine.run("systemctl", "disable", "--now", "hbd-follow.path")
    machine.run("dpkg", "-i", "/root/hbd.deb")
    assert active(machine, "hbd-follow.path") == []
    die(machine)
    eventually(lambda: state(machine) == "down")
    machine.run("systemctl", "enable", "--now", "hbd-follow.path")
    becomes(machine, DOWN)  # what changed meanwhile waited
    revive(machine)
    becomes(machine, "app.service", UP)


def test_a_removed_peer_changes_nothing(machine):
    """Who takes db1 out of the configuration, by mistake perhaps, stops no service."""
    machine.path("/etc/hbd.yaml").write_text(CONFIGURATION.replace("db1", "db2"))
    machine.run("systemctl", "reload", "hbd")
    eventually(lambda: active(machine, "hbd-up@db2.target"))
    assert active(machine) == ["app.service", UP]
    machine.path("/etc/hbd.yaml").write_text(CONFIGURATION)
    machine.run("systemctl", "reload", "hbd")


def test_after_a_boot_they_are_as_the_peer_is(root, first_boot, tmp_path):
    """The machine boots with db1 up, then with db1 down; purged, nothing of it is left."""
    first_boot.run("systemctl", "poweroff", check=False)
    eventually(lambda: not Path(f"/proc/{first_boot.leader}").exists(), 30)
    with booted(tmp_path / "second", root) as machine:
        becomes(machine, "app.service", UP)
        nothing_failed(machine)
        machine.run("systemctl", "disable", "db1")
    with booted(tmp_path / "third", root) as machine:
        becomes(machine, DOWN)
        nothing_failed(machine)
        machine.run("dpkg", "--purge", "hbd")
        units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "hbd*")
        assert "hbd-down" not in units.stdout
        assert not machine.path("/etc/systemd/system/paths.target.wants/hbd-follow.path").exists()
