"""The real daemon, as a user runs it, watching any number of loopback addresses."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from hbd.report.client import Client, NoDaemonError
from tests.daemon import running

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.network.namespaces import Namespace

FIRST_ADDRESS: Final = 0x7F010000
"""127.1.0.0, as in monitor.c."""

PORT: Final = 862


def address(number: int) -> str:
    """Give the address of a peer."""
    return socket.inet_ntoa((FIRST_ADDRESS + number).to_bytes(4, "big"))


class Counts(NamedTuple):
    """Of all peers together, since they are watched."""

    sent: int
    received: int
    lost: int


class Hbd(running.Daemon):
    """An `hbd run` in a namespace; nothing is left of it afterwards.

    `keys` of the configuration other than the peers are given as text that is YAML.
    """

    def __init__(self, host: Namespace, peers: int = 0, *, key: Path | None = None, **keys: str):
        super().__init__(Path(tempfile.mkdtemp(prefix="hbd-bench-")))
        self.host = host
        self.count = peers
        self.started_in = 0.0
        """Seconds until its control socket answered."""
        self.client = Client(self.directory / "run/io.hbd", timeout=120.0)
        # Compiled once, as an installed hbd is, but not into the tree.
        del self.environment["PYTHONDONTWRITEBYTECODE"]
        self.environment["PYTHONPYCACHEPREFIX"] = str(self.directory.parent / "hbd-bench-pycache")
        self.key = key
        self.keys = {"listen": "[]", "start_grace": "10s"} | keys
        self.write()

    def write(self, changed: dict[int, str] | None = None) -> None:
        """Write the configuration; `changed`: more settings of some peers."""
        self.file.write_text("".join(self._lines(changed or {})))

    def _lines(self, changed: dict[int, str]) -> Iterable[str]:
        if self.key is not None:
            yield f"keys:\n  fleet: {{file: {self.key}}}\n"
        for name, text in self.keys.items():
            yield f"{name}: {text}\n"
        yield "peers:\n" if self.count else ""
        for number in range(self.count):
            yield f"  - name: peer-{number}\n    address: {address(number)}\n"
            if self.key is not None:
                yield "    key: fleet\n"
            if number in changed:
                yield f"    {changed[number]}\n"

    def launch(self, **_: Any) -> Self:
        words = ["setpriv", "--pdeathsig=KILL", sys.executable, "-m", "hbd", "run"]
        with self.log.open("ab") as log, self.host.inside():
            # The child inherits the namespace of this thread, and dies with it.
            self.process = subprocess.Popen(
                [*words, "--config", str(self.file), "--log=json"],
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def summary(self) -> dict[str, int]:
        """Count the peers in each state; cheap for the daemon, as only one is shown."""
        shown = [f"peer-{number}" for number in range(self.count)[:1]]
        return self.client.call("Status", peers=shown)["summary"]

    def all_up(self, seconds: float = 30.0) -> int:
        """Wait until all peers are up, or time is over; give how many are."""
        deadline = time.monotonic() + seconds
        while (up := self.summary()["up"]) < self.count and time.monotonic() < deadline:
            time.sleep(0.2)
        return up

    def counts(self) -> Counts:
        """Count heartbeats, replies and losses so far.

        What has no reply at two moments is lost; what is on its way at one of them is not.
        """
        views = self.client.call("Status")["peers"]
        once = {view["name"]: _unanswered(view) for view in views}
        time.sleep(0.1)
        views = self.client.call("Status")["peers"]
        return Counts(
            sent=sum(view["sent"] for view in views),
            received=sum(view["received"] for view in views),
            lost=sum(min(once[view["name"]], _unanswered(view)) for view in views),
        )

    def __enter__(self) -> Self:
        began = time.monotonic()
        self.launch()
        try:
            # A big configuration takes its time.
            running.until(self.answers, 300)
        except BaseException:
            self.__exit__()
            raise
        self.started_in = time.monotonic() - began
        return self

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.summary()
        except NoDaemonError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        """End it as a power cut does: thousands of goodbyes take their time."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None
        shutil.rmtree(self.directory)


def _unanswered(view: dict[str, Any]) -> int:
    return view["sent"] - view["received"] - view["late"]
