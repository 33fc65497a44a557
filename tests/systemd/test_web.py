"""hbd-web.service in a booted system."""

import json

import pytest

from tests.systemd.container import eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

ASK = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[2], method=sys.argv[1])
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        print(answer.status); print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code); print(error.read().decode())
"""


@pytest.fixture(scope="module")
def installed(machine):
    machine.run("dpkg", "-i", "/root/hbd.deb")
    eventually(lambda: machine.run("hbd", "status", check=False).returncode == 0)
    return machine


def ask(machine, path, method="GET"):
    url = f"http://127.0.0.1:8621{path}"
    done = machine.run("python3", "-c", ASK, method, url, check=False)
    code, _, body = done.stdout.partition("\n")
    return int(code or 0), body


def test_it_is_off_until_it_is_wanted(installed):
    """The package starts the monitor, not its page."""
    shown = installed.show("hbd-web", "UnitFileState", "ActiveState")
    assert shown == {"UnitFileState": "disabled", "ActiveState": "inactive"}


def test_it_starts_and_answers_in_its_sandbox(installed):
    """Systemctl returns when it serves; page, metrics and JSON are there, as a user of its own."""
    installed.run("systemctl", "enable", "--now", "hbd-web")
    eventually(lambda: ask(installed, "/healthz")[0] == 200)
    assert json.loads(ask(installed, "/api/status")[1])["summary"]["up"] == 1
    assert "hbd_up 1.0" in ask(installed, "/metrics")[1]
    name = installed.run("hbd", "status", "--json").stdout
    (peer,) = json.loads(name)["peers"]
    code, body = ask(installed, f"/peer/{peer['name']}")
    assert code == 200
    assert "alive and reachable" in body
    pid = installed.show("hbd-web", "MainPID")["MainPID"]
    user = installed.run("ps", "-o", "user:20=", "-p", pid).stdout.strip()
    assert user not in ("root", "hbd", "nobody")
    privileges = installed.path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in privileges
    assert "NoNewPrivs:\t1" in privileges


def test_it_cannot_change_anything(installed):
    """Nothing but questions is answered, and the daemon would refuse its user anyway."""
    for path in ("/", "/api/status", "/peer/x"):
        assert ask(installed, path, "POST")[0] == 405
    pid = installed.show("hbd-web", "MainPID")["MainPID"]
    uid = installed.path(f"/proc/{pid}").stat().st_uid
    refused = installed.run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                            "hbd", "reload", check=False)  # fmt: skip
    assert refused.returncode == 77


def test_it_outlives_the_daemon_and_says_so(installed):
    """Without the daemon it is there, answers 503, and is well again afterwards."""
    installed.run("systemctl", "stop", "hbd")
    eventually(lambda: ask(installed, "/healthz")[0] == 503)
    assert "hbd_up 0.0" in ask(installed, "/metrics")[1]
    installed.run("systemctl", "start", "hbd")
    eventually(lambda: ask(installed, "/healthz")[0] == 200)
    assert installed.show("hbd-web", "NRestarts")["NRestarts"] == "0"


def test_another_address_by_a_drop_in(installed):
    """The drop-in of hbd-web(8) has it listen where it says."""
    drop_in = installed.path("/etc/systemd/system/hbd-web.service.d/listen.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(
        '[Service]\nEnvironment=LISTEN=0.0.0.0:8622 "OPTIONS=--host mon1"\n'
        "IPAddressAllow=192.0.2.0/24\n"
    )  # fmt: skip
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "restart", "hbd-web")
    listening = installed.run("ss", "-ltn").stdout
    assert "0.0.0.0:8622" in listening
    assert ":8621" not in listening


def test_nothing_is_said_but_that_it_serves(installed):
    """Its journal has no traceback and no complaint of the sandbox."""
    text = installed.journal("-u", "hbd-web")
    assert "hbd web: http://127.0.0.1:8621/" in text
    assert "Traceback" not in text
    assert "denied" not in text.lower()
    installed.run("systemctl", "stop", "hbd-web")
    assert installed.show("hbd-web", "Result")["Result"] == "success"


SENDMAIL = """\
#!/bin/sh
cat >>/tmp/mails
"""


def test_a_mail_for_a_peer_that_goes_down(installed):
    """hbd-mail.service mails the cause of a DOWN, and nothing that another user made up."""
    assert installed.show("hbd-mail", "UnitFileState")["UnitFileState"] == "disabled"
    sendmail = installed.path("/usr/sbin/sendmail")
    sendmail.write_text(SENDMAIL)
    sendmail.chmod(0o755)
    installed.run("systemctl", "start", "hbd", "hbd-mail")
    follows = lambda: installed.run("pgrep", "-f", "journalctl --follow", check=False).stdout  # noqa: E731
    eventually(follows)
    forged = "db9 is down: forged"
    installed.run("logger", "-t", "hbd", "-p", "daemon.err", forged)
    configuration = installed.path("/etc/hbd.yaml")
    configuration.write_text(
        "listen: ['127.0.0.1:862']\naccept: any\nstart_grace: 0s\n"
        "peers: [{name: here, address: 127.0.0.1}, {name: dead, address: 127.0.0.1, port: 9}]\n"
    )
    installed.run("systemctl", "reload", "hbd")
    mails = installed.path("/tmp/mails")  # noqa: S108 - the container's own
    wanted = ": dead is down: port closed on 127.0.0.1"
    eventually(lambda: mails.exists() and wanted in mails.read_text(), 100)  # one a minute
    text = mails.read_text()
    assert text.startswith("To: root\nSubject: hbd on ")
    assert forged not in text
    installed.run("systemctl", "stop", "hbd-mail")
