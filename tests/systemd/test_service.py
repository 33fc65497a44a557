import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hbd.core.model import JITTER, SECOND, Timing
from tests.systemd.container import eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

CONFIGURATION = """\
listen: ["0.0.0.0:862"]
accept: any
start_grace: 1s
defaults: {interval: 200ms, timeout: 100ms}
peers:
  - {name: self, address: 127.0.0.1}
  - {name: dead, address: 127.0.0.1, port: 9}
"""
BAD = CONFIGURATION.replace("start_grace: 1s", "start_gracé: 1s")
TIMING = Timing()
"""Of who is configured as by default."""
TRAFFIC = "/root/stamp_traffic.py"


@pytest.fixture(scope="module")
def installed(machine):
    machine.path("/root/stamp_traffic.py").write_text(
        Path(__file__).with_name("stamp_traffic.py").read_text()
    )
    machine.run("dpkg", "-i", "/root/hbd.deb")
    return machine


@pytest.fixture
def service(installed):
    """hbd.service with one peer up and one down, whatever the test before did."""
    configure(installed, CONFIGURATION)
    installed.run("systemctl", "reset-failed", "hbd", check=False)
    installed.run("systemctl", "restart", "hbd")
    eventually(lambda: states(installed) == {"self": "up", "dead": "down"})
    return installed


def configure(machine, text):
    machine.path("/etc/hbd.yaml").write_text(text)


def status(machine):
    out = machine.run("hbd", "status", "--json", check=False).stdout
    return json.loads(out) if out else {"peers": []}


def states(machine):
    return {peer["name"]: peer["state"] for peer in status(machine)["peers"]}


def entries(machine, *match):
    return [json.loads(line) for line in machine.journal("-o", "json", *match).splitlines()]


def main_pid(machine):
    return int(machine.show("hbd", "MainPID")["MainPID"])


def is_running_anew(machine, before):
    """Another process is the daemon now, and is ready."""
    shown = machine.show("hbd", "MainPID", "ActiveState")
    return int(shown["MainPID"]) not in (0, before) and shown["ActiveState"] == "active"


def test_systemctl_status_shows_the_summary(service):
    """systemctl status has one line that counts the peers and names who is down and why."""
    shown = service.run("systemctl", "status", "hbd").stdout
    assert re.search(r'Status: "2 peers: 1 up, 1 down \(dead: port-closed\)', shown)


def test_a_change_of_state_is_in_the_journal_with_its_fields(service):
    """journalctl HBD_PEER= finds the change, its state, cause, priority and unit."""
    entry = entries(service, "HBD_PEER=dead", "HBD_STATE=down")[-1]
    assert entry["HBD_CAUSE"] == "port-closed"
    assert entry["PRIORITY"] == "3"
    assert entry["SYSLOG_IDENTIFIER"] == "hbd"
    assert entry["_SYSTEMD_UNIT"] == "hbd.service"
    assert "127.0.0.1" in entry["MESSAGE"]


def test_journalctl_explains_the_cause(service):
    """journalctl -x shows under the entry what it means, what to do and the next commands."""
    text = service.journal("-x", "HBD_PEER=dead", "HBD_STATE=down")
    assert "Subject: " in text
    assert "hbd(8)" in text
    assert "@HBD_" not in text
    for lead in ("To tell apart: Its status there", "What to do: Start hbd there"):
        assert lead in text
    assert re.search(r"Next:\n\S* ?ssh 127\.0\.0\.1 systemctl status hbd\n", text), text


def test_everybody_may_ask_and_only_the_group_may_change(service):
    """A stranger can read the status; reload is refused to him with exit code 77."""
    assert service.run("stat", "-c", "%a", "/run/hbd/io.hbd").stdout.strip() == "666"
    asked = service.run("runuser", "-u", "nobody", "--", "hbd", "status", check=False)
    assert asked.returncode == 2, asked.stderr
    assert "dead" in asked.stdout
    refused = service.run("runuser", "-u", "nobody", "--", "hbd", "reload", check=False)
    assert refused.returncode == 77
    assert "sudo" in refused.stderr


def test_state_files_can_be_read_by_everybody(service):
    """/run/hbd/peers has each peer in the directory of its state, the cause inside."""
    read = ("runuser", "-u", "nobody", "--", "cat", "/run/hbd/peers/down/dead")
    assert service.run(*read).stdout.strip() == "port-closed"
    assert service.path("/run/hbd/peers/up/self").exists()


def test_why_it_does_not_start_is_an_error(service):
    """The mistake is found by journalctl -p err, and so in a mail that names it."""
    configure(service, BAD)
    service.run("systemctl", "restart", "hbd", check=False)
    assert "did you mean start_grace?" in service.journal("-u", "hbd", "-p", "err", "-n", "5")
    configure(service, CONFIGURATION)


def test_warnings_of_a_good_reload_are_no_errors(service):
    """What is doubtful is told as such, once, by the daemon."""
    twins = "".join(f"  - {{name: {name}, address: 127.0.0.9}}\n" for name in ("twin1", "twin2"))
    configure(service, CONFIGURATION + twins)
    service.run("systemctl", "reload", "hbd")
    words = "is watched by peer twin1, too"
    told = [one for one in entries(service, "-u", "hbd", "-n", "20") if words in one["MESSAGE"]]
    assert [(one["PRIORITY"], one["HBD_EVENT"]) for one in told] == [("4", "weather")]
    configure(service, CONFIGURATION)


def test_who_mails_listens_before_it_starts(service):
    """Of a mistake at boot there is an entry before anybody could read it otherwise."""
    service.run("systemctl", "start", "hbd-mail", check=False)
    assert "hbd-mail.service" in service.show("hbd", "After")["After"].split()
    service.run("systemctl", "stop", "hbd-mail")
    service.run("systemctl", "reset-failed", "hbd-mail", check=False)


def test_what_may_pass_is_tried_again(service):
    """A port that is taken, or a reader that is killed, keeps nobody from watching for ever."""
    service.run("systemctl", "stop", "hbd")
    taker = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    taker += "; s.bind(('0.0.0.0', 862)); time.sleep(12)"
    service.run("systemd-run", "--unit=taker", "python3", "-c", taker)
    began = time.monotonic()
    service.run("systemctl", "start", "--no-block", "hbd")
    eventually(lambda: states(service) == {"self": "up", "dead": "down"}, 40)
    assert time.monotonic() - began > 10
    said = service.journal("-u", "hbd", "--since=-40s", "--grep", "cannot listen on 0.0.0.0:862")
    assert 1 <= len(said.splitlines()) <= 4


def test_a_good_reload_adds_a_peer_and_keeps_the_process(service):
    """systemctl reload waits until the new peer is there; the others keep their since."""
    before, since = main_pid(service), status(service)["peers"][0]["since"]
    configure(service, CONFIGURATION + "  - {name: more, address: 127.0.0.2}\n")
    service.run("systemctl", "reload", "hbd")
    assert "more" in states(service)
    assert main_pid(service) == before
    assert status(service)["peers"][0]["since"] == since
    assert entries(service, "HBD_EVENT=reload", f"_PID={before}")


def test_a_bad_reload_fails_and_changes_nothing(service):
    """systemctl reload fails, Status: tells the mistake, the old configuration is in use."""
    before = main_pid(service)
    configure(service, BAD)
    assert service.run("systemctl", "reload", "hbd", check=False).returncode != 0
    assert main_pid(service) == before
    assert set(states(service)) == {"self", "dead"}
    assert re.search(r'Status: ".*hbd\.yaml:3', service.run("systemctl", "status", "hbd").stdout)
    by_hand = service.run("hbd", "reload", check=False)
    assert by_hand.returncode == 78
    assert "/etc/hbd.yaml:3:1: " in by_hand.stderr


def test_a_bad_configuration_ends_with_78_and_is_not_tried_again(service):
    """Started on a mistake, the service fails once, with the mistake in its status."""
    configure(service, BAD)
    assert service.run("systemctl", "restart", "hbd", check=False).returncode != 0
    time.sleep(3)  # RestartSec= is half a second: were it tried again, it would be by now
    shown = service.show("hbd", "ActiveState", "ExecMainStatus", "NRestarts", "StatusText")
    assert shown["ActiveState"] == "failed"
    assert shown["ExecMainStatus"] == "78"
    assert shown["NRestarts"] == "0"
    assert "hbd.yaml:3" in shown["StatusText"]


def test_a_crash_is_survived_and_repeats_no_event(service):
    """After kill -9 systemd starts it again, and no verdict is told twice."""
    time.sleep(2)  # the state is stored in slices, after the verdict
    told = len(entries(service, "HBD_PEER=dead", "HBD_EVENT=state"))
    before = main_pid(service)
    service.run("kill", "-KILL", str(before))
    eventually(lambda: is_running_anew(service, before))
    eventually(lambda: not any(peer["restored"] for peer in status(service)["peers"]))
    assert states(service) == {"self": "up", "dead": "down"}
    after = entries(service, "HBD_PEER=dead", "HBD_EVENT=state")
    assert len({entry["HBD_EVENT_ID"] for entry in after}) == told


def test_the_watchdog_restarts_a_frozen_daemon(service):
    """A daemon stopped for longer than WatchdogSec= is killed and started again."""
    drop_in = service.path("/run/systemd/system/hbd.service.d/watchdog.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nWatchdogSec=3s\n")
    try:
        service.run("systemctl", "daemon-reload")
        service.run("systemctl", "restart", "hbd")
        before = main_pid(service)
        time.sleep(4)  # fed in time, nothing happens
        assert main_pid(service) == before
        service.run("kill", "-STOP", str(before))
        eventually(lambda: is_running_anew(service, before), seconds=30)
    finally:
        drop_in.unlink()
        drop_in.parent.rmdir()
        service.run("systemctl", "daemon-reload")
    assert "Watchdog timeout" in service.journal("-u", "hbd")
    eventually(lambda: states(service) == {"self": "up", "dead": "down"})


@pytest.mark.parametrize("how", ["systemctl restart hbd", "kill -KILL {pid}"])
def test_a_restart_loses_no_request_of_others(service, how):
    """Of 100 heartbeats a second, none stays unanswered over a restart or a crash.

    Nor so long that who asks once a second misses more than one.
    """
    before = main_pid(service)
    client = service.start("python3", TRAFFIC, "send", "5", "100")
    time.sleep(1.5)
    service.run(*how.format(pid=before).split())
    result = json.loads(client.communicate(timeout=30)[0])
    assert is_running_anew(service, before)
    assert (result["sent"], result["answered"]) == (500, 500)
    assert result["slowest"] < (TIMING.timeout + TIMING.interval * (1 - JITTER)) / SECOND


def test_heartbeats_go_on_while_the_journal_hangs(service):
    """journald stopped, 400 peers fail: a live peer is asked on time, and all is told later."""
    reflect(service, "live", 9999, 1)
    reflect(service, "doomed", 10000, 400)
    peers = "".join(
        f"  - {{name: p{port}, address: 127.0.0.1, port: {port}}}\n" for port in range(10000, 10400)
    )
    configure(service, CONFIGURATION + "  - {name: live, address: 127.0.0.1, port: 9999}\n" + peers)
    try:
        service.run("systemctl", "reload", "hbd")
        eventually(lambda: list(states(service).values()).count("up") == 402, seconds=30)
        signal_journal(service, "STOP")
        try:
            asked_until = time.monotonic() + 6
            service.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "doomed")
            eventually(lambda: list(states(service).values()).count("down") == 401)
            time.sleep(max(0.0, asked_until - time.monotonic()))
        finally:
            signal_journal(service, "CONT")
        times = [float(line) for line in service.path("/root/live").read_text().split()]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps) < 0.5, max(gaps)
        eventually(lambda: len(told_down(service)) == 400)
    finally:
        service.run("systemctl", "stop", "live", "doomed", check=False)


MANY = 10_000
FIELDS = "HBD_EVENT,HBD_EVENT_ID,HBD_PEER,HBD_PREVIOUS_STATE,HBD_COUNT,HBD_COMMON,PRIORITY,MESSAGE"
SUPPRESSED = "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e"
"""journald's word that it dropped entries by its rate limit."""


def test_ten_thousand_at_once_are_all_in_the_journal(service):
    """10,000 peers fail at once: each has its entry, none is suppressed, one entry names what they
    share, and those that live notice nothing."""
    service.path("/root/doomed.yaml").write_text(
        "listen: [0.0.0.0:10000]\naccept: any\npeers: []\n"
    )
    service.run(
        "systemd-run", "--unit=doomed", "--collect", "--quiet", "-p", "RuntimeDirectory=doomed",
        "-p", "StateDirectory=doomed", "hbd", "run", "--config", "/root/doomed.yaml",
    )  # fmt: skip
    doomed = "".join(
        f"  - {{name: p{n}, address: 127.9.{n // 250}.{1 + n % 250}, port: 10000,"
        " interval: 5s, timeout: 500ms, retries: 2, labels: {site: ams}}\n"
        for n in range(MANY)
    )
    configure(service, CONFIGURATION + doomed)
    try:
        service.run("systemctl", "restart", "hbd")
        up = re.compile(rf"{MANY + 1} up")
        eventually(lambda: up.search(service.show("hbd", "StatusText")["StatusText"]), 60, 0.5)
        before = status_of(service, "self")
        service.run("systemctl", "kill", "--kill-whom=main", "-s", "STOP", "doomed")
        eventually(
            lambda: any("storm over" in e["MESSAGE"] for e in of_many(service, "storm")), 90, 2
        )
        changes, storms = of_many(service, "state"), of_many(service, "storm")
        assert {entry["HBD_PEER"] for entry in changes} == {f"p{n}" for n in range(MANY)}
        assert len(changes) == len({entry["HBD_EVENT_ID"] for entry in changes}) == MANY
        assert [entry["PRIORITY"] for entry in changes] == ["3"] * 5 + ["6"] * (MANY - 5)
        assert [entry["HBD_COUNT"] for entry in storms] == ["6", str(MANY)]
        assert {entry["HBD_COMMON"] for entry in storms} == {"egress lo, label site=ams"}
        assert entries(service, SUPPRESSED) == entries(service, "HBD_EVENT=lost") == []
        after = status_of(service, "self")
        assert after["since"] == before["since"]
        assert (after["late"], after["loss_percent"]) == (0, 0.0)
    finally:
        service.run("systemctl", "kill", "-s", "KILL", "doomed", check=False)
        configure(service, CONFIGURATION)
        service.run("systemctl", "restart", "hbd")  # which forgets the states of so many


def status_of(machine, name):
    return json.loads(machine.run("hbd", "status", "--json", name, check=False).stdout)["peers"][0]


def of_many(machine, event):
    """What this process of the daemon told of the many that went down, and of the storm."""
    told = entries(
        machine, f"_PID={main_pid(machine)}", f"HBD_EVENT={event}", "HBD_STATE=down",
        f"--output-fields={FIELDS}",
    )  # fmt: skip
    return [
        entry
        for entry in told
        if re.fullmatch(r"p\d+", entry.get("HBD_PEER", "p0"))
        if entry.get("HBD_PREVIOUS_STATE") != "down"  # else its cause is better known
    ]


def signal_journal(machine, signal):
    pid = machine.show("systemd-journald", "MainPID")["MainPID"]
    machine.run("kill", f"-{signal}", pid)


def reflect(machine, name, port, count):
    """Start a reflector of that many ports as a unit; /root/NAME gets the time of each request."""
    machine.run(
        "systemd-run", f"--unit={name}", "--collect", "--quiet",
        "python3", TRAFFIC, "reflect", str(port), str(count), f"/root/{name}",
    )  # fmt: skip


def told_down(machine):
    """Names of the many peers that the journal says are down."""
    told = {entry["HBD_PEER"] for entry in entries(machine, "HBD_EVENT=state", "HBD_STATE=down")}
    return {name for name in told if re.fullmatch(r"p\d+", name)}


def test_an_idle_daemon_is_small(service):
    """With two peers its resident memory stays under 25 MB."""
    service.run("systemctl", "restart", "hbd")  # the last start may have had thousands to forget
    eventually(lambda: states(service) == {"self": "up", "dead": "down"})
    text = service.path(f"/proc/{main_pid(service)}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024 / 1e6
    print(f"resident memory, 2 peers: {resident:.1f} MB")
    assert resident < 25


def scheduling(machine):
    return machine.run("chrt", "--pid", str(main_pid(machine))).stdout


def test_it_runs_in_real_time_where_that_may_be_had(service):
    """Ready, it goes before all that is not urgent; elsewhere it starts all the same, silently."""
    assert "SCHED_RR|SCHED_RESET_ON_FORK\n" in scheduling(service)
    service.run("ln", "-s", "/bin/false", "/usr/local/bin/chrt")
    try:
        service.run("systemctl", "restart", "hbd")
        assert "SCHED_OTHER\n" in scheduling(service)
    finally:
        service.run("rm", "/usr/local/bin/chrt")
    shown = service.run("systemctl", "status", "hbd").stdout
    assert "active (running)" in shown
    assert re.search(r"ExecStartPost=.*chrt.*status=1/FAILURE", shown)
    invocation = service.show("hbd", "InvocationID")["InvocationID"]
    by_us = service.journal("-o", "cat", f"_SYSTEMD_INVOCATION_ID={invocation}")
    by_systemd = service.journal("-o", "cat", f"INVOCATION_ID={invocation}")
    assert "chrt" not in by_us + by_systemd
    assert "FAILURE" not in by_systemd


def test_the_sandbox_is_as_tight_as_promised(service):
    """systemd-analyze security gives 1.4 or less for the running unit."""
    service.run("systemd-analyze", "security", "--no-pager", "--threshold=14", "hbd.service")


def test_stopping_is_clean(service):
    """systemctl stop ends it with success, closes the port and takes /run/hbd away."""
    service.run("systemctl", "stop", "hbd")
    shown = service.show("hbd", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert not service.path("/run/hbd").exists()
    assert ":862" not in service.run("ss", "-Hlun").stdout
    assert service.run("hbd", "status", check=False).returncode == 3
