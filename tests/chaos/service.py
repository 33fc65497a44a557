"""The daemon as hbd.service, in a booted container with the package."""

import json
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from hbd.report.answer import NoDaemonError
from hbd.report.client import Client
from tests.chaos.host import FULL, Disk
from tests.daemon.running import ROOT, Daemon
from tests.network.namespaces import Namespace
from tests.systemd.container import eventually

PACKAGE = "/root/hbd.deb"
WATCHDOG = "[Service]\nWatchdogSec=3s\n"


@contextmanager
def named(machine):
    """Give the container's network a name, so that links can lead there."""
    namespace = Namespace(f"hbd-{machine.leader}-container")
    subprocess.run(["ip", "netns", "attach", namespace.name, str(machine.leader)], check=True)
    try:
        yield namespace
    finally:
        namespace.stop()


class Service(Daemon):
    """hbd.service, with what the run asks of a daemon."""

    def __init__(self, machine, namespace, directory, hear):
        self.machine, self.file = machine, machine.path("/etc/hbd.yaml")
        self.client = Client(machine.path("/run/hbd/io.hbd"), timeout=10.0)
        self.namespace = namespace
        built = subprocess.run(
            [ROOT / "packaging/build-deb.sh", directory], check=True, capture_output=True, text=True
        )
        machine.path(PACKAGE).write_bytes(Path(built.stdout.strip()).read_bytes())
        drop_in = machine.path("/etc/systemd/system/hbd.service.d/watchdog.conf")
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(WATCHDOG)
        self.states = machine.path("/var/lib/hbd")
        self.states.mkdir()
        machine.run("mount", "-t", "tmpfs", "-o", FULL, "tmpfs", "/var/lib/hbd")
        self.disk = Disk(self.states)
        self.upgrade()
        machine.run("systemctl", "stop", "hbd")
        self._hear = hear
        self._killed = 0
        # From here on: what was told before is not of this run.
        machine.run("journalctl", "--sync")
        shown = machine.run("journalctl", "-n", "1", "-o", "json").stdout
        self._following = machine.start(
            "journalctl", "-f", "--no-tail", f"--after-cursor={json.loads(shown)['__CURSOR']}",
            "-a", "-o", "json", "SYSLOG_IDENTIFIER=hbd",
        )  # fmt: skip
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self._following.stdout:
            entry = json.loads(line)
            if "HBD_EVENT" in entry:
                self._hear(entry)

    def upgrade(self):
        """Install the package, once more."""
        self.machine.run("dpkg", "--force-confold", "-i", PACKAGE)

    def systemctl(self, *words, check=True):
        return self.machine.run("systemctl", *words, check=check)

    def main_pid(self):
        return int(self.machine.show("hbd", "MainPID")["MainPID"])

    def is_well(self):
        """Whether it can be asked."""
        with suppress(NoDaemonError, OSError):
            return self.client.call("Status")["pid"] > 0
        return False

    def start(self):
        """Start the unit if it was stopped; else systemd does by itself. Wait for an answer."""
        if self.machine.show("hbd", "ActiveState")["ActiveState"] == "inactive":
            self.systemctl("start", "hbd")
        with suppress(AssertionError):
            eventually(self.is_well)

    def launch(self):
        """Wait until systemd has started another process."""
        eventually(lambda: self.main_pid() not in (0, self._killed))

    def stop(self):
        self.systemctl("stop", "hbd")
        assert self.machine.show("hbd", "Result")["Result"] == "success"

    def kill(self):
        self._killed = self.main_pid()
        self.signal("KILL")

    def signal(self, name, unit="hbd"):
        self.systemctl("kill", "--kill-whom=main", "-s", name, unit)

    def await_watchdog(self):
        """Stop the process, and wait until systemd has put another in its place."""
        before = self.main_pid()
        self.signal("STOP")
        eventually(lambda: self.main_pid() not in (0, before), seconds=60)

    def files(self):
        """Give the state files: name -> (state, content)."""
        root = self.machine.path("/run/hbd/peers")
        return {file.name: (file.parent.name, file.read_text()) for file in root.glob("*/*")}

    def said(self):
        """Give the end of what the journal has of the unit."""
        return self.machine.journal("-u", "hbd", "-n", "40")

    def close(self):
        """Leave nothing behind."""
        self._following.terminate()
        self._following.wait()
