"""Real programs at the other end: started, frozen, killed by their pid, heard with times."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from namespaces import Namespace

PATIENCE: Final = 10.0
"""Seconds that anything here may take before the test fails."""


class Line(NamedTuple):
    at: float
    """Seconds since 1970."""
    words: str


def missing(**packages: str) -> str | None:
    """Why a test must be skipped: a package whose program is not there; None when all are."""
    absent = [package for program, package in packages.items() if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed; tests/run.sh installs it" if absent else None


def until(condition: Callable[[], Any], seconds: float = PATIENCE, words: object = "") -> Any:
    """Poll until the condition gives something; give that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        told = words() if callable(words) else words
        assert time.monotonic() < deadline, f"not in {seconds} s: {told}"
        time.sleep(0.01)
    return found


class Program:
    """One command in a namespace (None: on this host); it can be started again once it ended."""

    def __init__(self, host: Namespace | None, *command: str, serves: str = "") -> None:
        """What it prints with the words `serves`, if any, it prints when it serves."""
        self.host = host
        self.command = command
        self._serves = serves
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._printed: list[Line] = []

    def start(self) -> Self:
        """Start it and wait until it serves."""
        before = self.count()
        with self.inside():
            # The child inherits the namespace of this thread.
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | {"TZ": "UTC", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self._reader.start()
        if self._serves:
            self.find(self._serves, since=before)
        self.ready()
        return self

    def ready(self) -> None:
        """Wait for what it does not print itself."""

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.host is None else self.host.inside()

    def run(self, *command: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run another command beside it to its end; its output and errors are in stdout."""
        with self.inside():
            return subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )

    # -- its life -----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """End it by SIGTERM; give its status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it by SIGKILL: its sockets are closed by the kernel."""
        return self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it with SIGSTOP: the kernel still answers for it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait until it ends by itself; give its status."""
        status = self.process.wait(seconds)
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        return status

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.thaw()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait()
            raise

    def close(self) -> None:
        """Leave nothing behind, however the test went."""
        if self.process is not None and not self.process.stdout.closed:
            self.kill()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what it says -------------------------------------------------------------------------

    def _read(self, stdout: Any) -> None:
        for line in stdout:
            self._printed.append(Line(time.time(), line.rstrip("\n")))

    def lines(self) -> list[Line]:
        """Give what it printed in all its lives, with the time at which that was read."""
        return self._printed[:]

    def count(self) -> int:
        return len(self.lines())

    def find(self, words: str, since: int = 0, seconds: float = PATIENCE) -> Line:
        """Wait for a line with these words, the first of those from number `since` on."""
        return until(
            lambda: next((line for line in self.lines()[since:] if words in line.words), None),
            seconds,
            lambda: f"{words!r} in:\n{self.told()}",
        )

    def told(self) -> str:
        return "\n".join(line.words for line in self.lines())


class Server(Program):
    """A program with a directory for what it reads and writes, gone when it is closed."""

    def __init__(self, host: Namespace | None, *command: str, serves: str = "") -> None:
        super().__init__(host, *command, serves=serves)
        self.directory = Path(tempfile.mkdtemp(prefix="hbd-live-"))
        # Some give up root before they open their files.
        self.directory.chmod(0o755)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)
