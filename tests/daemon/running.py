"""A daemon in a directory of its own, run and asked as an ordinary user does it."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

from hbd.report.answer import NoDaemonError
from hbd.report.client import Client, RemoteError

ROOT = Path(__file__).parents[2]
PORT = 18620
NOBODY = 65534

FAST = {"interval": "200ms", "timeout": "100ms", "retries": 2, "rise": 2}
DETECTION = 0.2 + 3 * 0.1
MARGIN = 1.0
"""What a busy machine may add to any time, seconds."""

# Several test runs may go on side by side.
_block = 16 + os.getpid() % 230
_blocks = count(1)


def network():
    """Give addresses of a /24 of loopback that no other test uses."""
    block = next(_blocks)
    return lambda host: f"127.{_block + block // 250}.{block % 250}.{host}"


def peer(name, address, **settings):
    """One peer of a configuration, at the tests' port and pace."""
    return {"name": name, "address": address, "port": PORT, **settings}


def until(condition, seconds=10.0):
    """Poll until the condition gives something; give that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


def as_user(user):
    """Give the words that run a command as somebody else; only root can."""
    if user is None:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


class Daemon:
    """One configuration, its directories, and the process, if it runs."""

    def __init__(self, directory):
        directory.chmod(0o755)
        self.directory = directory
        self.file = directory / "hbd.yaml"
        self.log = directory / "log"
        self.process = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNTIME_DIRECTORY": str(directory / "run"),
            "STATE_DIRECTORY": str(directory / "state"),
        }
        self.client = Client(directory / "run/io.hbd", timeout=10.0)

    # -- the process --------------------------------------------------------------------------

    def configure(self, peers=(), **keys):
        """Write the configuration; what a test does not name is fast and answers nobody."""
        whole = {"listen": [], "start_grace": "0s", "defaults": FAST, **keys, "peers": list(peers)}
        self.file.write_text(json.dumps(whole, indent=1))  # JSON is YAML

    def launch(self, *, user=None, log="json", without=()):
        """Start the process and return at once; its entries are added to the log.

        `without`: system calls that it is refused.
        """
        words = [*as_user(user), sys.executable, "-m", "hbd", "run", "--config", str(self.file)]
        if without:
            refusing = str(ROOT / "tests/refusing.py")
            words = [sys.executable, refusing, "EPERM", ",".join(without), *words]
        with self.log.open("ab") as log_file:
            self.process = subprocess.Popen(
                [*words, "--log", log],
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log_file,
            )
        return self

    def start(self, **options):
        """Start the process and wait until it answers."""
        self.launch(**options)
        until(self.answers)
        return self

    def answers(self):
        """Whether it can be asked; a daemon that has ended never will be."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.call("Status")["pid"] == self.process.pid
        except NoDaemonError:
            return False

    def stop(self):
        """End it by SIGTERM: it says goodbye with status 0 and nothing of Python's."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(10) == 0, self.log.read_text()
        self.process = None
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    def kill(self):
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def refuses_to_start(self, **options):
        """Launch it; give the exit status and what it said when it has ended by itself."""
        self.launch(**options)
        status = self.process.wait(10)
        self.process = None
        said = self.log.read_text()
        assert "Traceback" not in said
        return status, said

    def end(self):
        """After a test, however that went."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.stop()
            finally:
                if self.process is not None:
                    self.kill()
        elif self.process is not None:
            raise AssertionError(f"it ended by itself:\n{self.log.read_text()}")

    # -- what it says -------------------------------------------------------------------------

    def hbd(self, *words, user=None, seconds=30, **more):
        """Run one of its commands."""
        return subprocess.run(
            [*as_user(user), sys.executable, "-m", "hbd", *map(str, words)],
            cwd="/",
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def status(self):
        """Give the daemon's view."""
        return self.client.call("Status")

    def peer(self, name):
        """Give its view of one peer."""
        return self.client.call("Status", peers=[name])["peers"][0]

    def state(self, name):
        """Give a peer's state and cause."""
        view = self.peer(name)
        return view["state"], view["cause"]

    def wait(self, name, state, cause=None, seconds=10.0):
        """Wait until a peer is in that state, for that cause if one is given; give the view."""

        def found():
            view = self.peer(name)
            return view if view["state"] == state and cause in (None, view["cause"]) else None

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if view := found():
                return view
            time.sleep(0.02)
        raise AssertionError(f"{name} is not {state} ({cause}): {self.peer(name)}\n{self.tail()}")

    def beats(self, name, more=3, seconds=10.0):
        """Wait until so many more heartbeats of a peer were answered."""
        before = self.peer(name)["received"]
        until(lambda: self.peer(name)["received"] >= before + more, seconds)

    def reload(self):
        """Reload as the command does; give what changed, or the errors."""
        try:
            return self.client.call("Reload")
        except RemoteError as error:
            return error.parameters["errors"]

    def entries(self, event=None, **fields):
        """Give the entries so far, those of an event with those fields: HBD_PEER as PEER=."""
        wanted = {f"HBD_{name.upper()}": value for name, value in fields.items()}
        if event is not None:
            wanted["HBD_EVENT"] = event
        found = []
        whole, _, _ = self.log.read_bytes().rpartition(b"\n")  # the last line may be half written
        for line in whole.splitlines():
            entry = json.loads(line)
            if all(entry.get(name) == value for name, value in wanted.items()):
                found.append(entry)
        return found

    def entry(self, event=None, seconds=10.0, **fields):
        """Wait for an entry; give the last one such."""
        return until(lambda: self.entries(event, **fields), seconds)[-1]

    def states(self, name):
        """Give the states told of a peer, in order, once the log has all that has happened."""
        until(lambda: not self.status()["journal"]["waiting"])
        return [entry["HBD_STATE"] for entry in self.entries("state", peer=name)]

    def tail(self):
        """Give the end of the log, for failures."""
        return "\n".join(self.log.read_text().splitlines()[-8:])

    def files(self):
        """Give the state files: name -> (state, content)."""
        root = self.directory / "run/peers"
        return {file.name: (file.parent.name, file.read_text()) for file in root.glob("*/*")}
