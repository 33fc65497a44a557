"""The processes of a demonstration and the directory they live in; all of it goes in the end."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hbd
from hbd.report.answer import NoDaemonError
from hbd.report.client import Client
from hbd.report.places import SOCKET_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PATIENCE_S: Final = 20.0
"""How long what is announced may take to be seen; a busy machine takes a while."""
LOOK_S: Final = 0.02
PR_SET_PDEATHSIG: Final = 1
SOCKET_OCTETS: Final = 107
"""As many as unix(7) has room for."""


class DemoError(Exception):
    """It cannot be shown here, or something else was seen than announced."""


class Stage:
    """Runs programs of hbd's as an ordinary user does, below a directory of its own."""

    def __init__(self) -> None:
        """OSError where no directory can be made."""
        self.directory: Final = _directory()
        self.processes: Final[dict[str, subprocess.Popen[bytes]]] = {}
        self._ended: Final[set[str]] = set()
        """Those that were ended on purpose."""

    def close(self) -> None:
        """End everything and remove the directory; who is impatient meanwhile has to wait."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def look(self) -> None:
        """DemoError where a process ended by itself."""
        for name, process in self.processes.items():
            if name not in self._ended and process.poll() is not None:
                raise DemoError(f"{name} ended by itself (status {process.returncode})")

    # -- daemons ------------------------------------------------------------------------------

    def configure(self, name: str, configuration: dict[str, Any]) -> None:
        """Write a daemon's configuration."""
        own = self.directory / name
        own.mkdir(exist_ok=True)
        (own / "hbd.yaml").write_text(json.dumps(configuration, indent=1))  # JSON is YAML

    def write_key(self, key: str) -> str:
        """Give the path of a file with that key."""
        file = self.directory / "fleet.key"
        file.touch(0o600)
        file.write_text(f"{key}\n")
        return str(file)

    def start(self, name: str) -> None:
        """Run a daemon and wait until it answers; DemoError where it does not."""
        own = self.directory / name
        with (own / "log").open("ab") as log:
            words = ("run", "--config", str(own / "hbd.yaml"), "--log", "json")
            self._launch(name, ("-m", "hbd", *words), log=log.fileno())
        client, end = self.client(name), time.monotonic() + PATIENCE_S
        while not _answers(client):
            if self.processes[name].poll() is not None or time.monotonic() > end:
                raise DemoError(f"{name} does not start: {(own / 'log').read_text().strip()}")
            time.sleep(LOOK_S)

    def client(self, name: str) -> Client:
        """Give a client of that daemon."""
        return Client(self.directory / name / "run" / SOCKET_NAME, timeout=PATIENCE_S)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process, and wait for its end where that is what it means."""
        process = self.processes[name]
        process.send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._ended.add(name)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise _late(f"{name} to end") from error

    def command(self, name: str, *words: str) -> str:
        """Give what a command of hbd's says, asked of that daemon; DemoError where it is late."""
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "hbd", *words],
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _late(f"hbd {' '.join(words)}") from error
        return done.stdout

    # -- the line -----------------------------------------------------------------------------

    def lay_line(self, near: str, far: str, own: str, port: int) -> None:
        """Lay the line from `near` to `far`."""
        words = ("-m", "hbd.demo.line", near, far, own, str(port))
        self._launch("line", words, log=subprocess.DEVNULL)

    def make_line(self, manner: str) -> None:
        """Let it be so from now on, see hbd.demo.line."""
        pipe = self.processes["line"].stdin
        if pipe is None:
            raise DemoError("the line has no end to be told at")
        pipe.write(f"{manner}\n".encode())
        pipe.flush()

    def _launch(self, name: str, words: Sequence[str], *, log: int) -> None:
        parent = os.getpid()
        self._ended.discard(name)

        def die_with_parent() -> None:
            """Whatever becomes of us, nothing is left behind."""
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self.processes[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-P", *words],
            env=self._environment(name),
            stdin=subprocess.PIPE if name == "line" else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - there are no threads here
            process_group=0,  # Ctrl-C is for us
        )

    def _environment(self, name: str) -> dict[str, str]:
        """Nothing of a service we may run in: no socket, journal or credential of another."""
        own = self.directory / name
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(Path(hbd.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNTIME_DIRECTORY": str(own / "run"),
            "STATE_DIRECTORY": str(own / "state"),
        }


def _directory() -> Path:
    place = Path(tempfile.gettempdir())
    longest = place / "hbd-demo-12345678" / "monitor" / "run" / SOCKET_NAME
    # A colon ends the name in $RUNTIME_DIRECTORY, and all beyond 107 octets that of a socket.
    if ":" in str(place) or len(os.fsencode(longest)) > SOCKET_OCTETS:
        raise OSError(f"{place} has a colon or is too long a name")
    return Path(tempfile.mkdtemp(prefix="hbd-demo-"))


class Journal:
    """What a daemon says, entry by entry."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._file: Final = stage.directory / name / "log"
        self._read = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Give the entries since the last time."""
        with self._file.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


def free_port(addresses: Iterable[str]) -> int:
    """Give a UDP port that nobody uses at any of them."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        if all(_is_free(address, port) for address in addresses):
            return port
    raise DemoError("no UDP port is free on loopback")


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _late(what: str) -> DemoError:
    return DemoError(f"{what} took longer than {PATIENCE_S:g} s; try again on a less busy machine")


def _answers(client: Client) -> bool:
    try:
        client.call("Status")
    except NoDaemonError:
        return False
    return True
