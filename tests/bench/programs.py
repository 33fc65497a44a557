"""The two programs in C that hbd is measured with, built when they are needed."""

from __future__ import annotations

import mmap
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from tests.network.namespaces import Namespace

HERE: Final = Path(__file__).parent
PATIENCE: Final = 10.0

PAUSE, GO, END = range(3)
"""Orders, as in page.h."""

WORDS: Final = (
    "order",
    "port",
    "is_ready",
    "sent",
    "received",
    "lost",
    "late",
    "refused",
    "up",
    "down",
)
"""As in page.h."""


class Program:
    """One of them, while it is entered; its figures are read at no cost of its own."""

    name: str

    def __init__(
        self, host: Namespace, directory: Path, *arguments: object, port: int, key: Path | None
    ) -> None:
        binary = _built(directory, self.name, keyed=key is not None)
        self._file = directory / f"{self.name}-{id(self)}.page"
        self._file.write_bytes(bytes(8 * len(WORDS)))
        with self._file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 0)
        self._words = memoryview(self._map).cast("Q")
        self["port"] = port
        self._host = host
        command = [binary, self._file, *arguments, *([] if key is None else [key])]
        self._command = [str(word) for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def __getitem__(self, word: str) -> int:
        return self._words[WORDS.index(word)]

    def __setitem__(self, word: str, value: int) -> None:
        self._words[WORDS.index(word)] = value

    def go(self) -> None:
        self["order"] = GO

    def pause(self) -> None:
        self["order"] = PAUSE

    def until(self, word: str, value: int, seconds: float = PATIENCE) -> bool:
        """Wait until a word has this value; tell whether it came to have it."""
        deadline = time.monotonic() + seconds
        while self[word] != value:
            if self._process.poll() is not None:
                raise ChildProcessError(f"{self.name} ended: {self._process.returncode}")
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def __enter__(self) -> Self:
        with self._host.inside():
            # The child inherits the namespace of this thread, and dies with it (page.h).
            self._process = subprocess.Popen(self._command)
        try:
            self._ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _ready(self) -> None:
        if not self.until("is_ready", 1):
            raise TimeoutError(f"{self.name} is not ready")

    def __exit__(self, *_: object) -> None:
        self["order"] = END
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.release()
        self._map.close()
        self._file.unlink()


class Reflector(Program):
    """Answers on all addresses."""

    name = "reflector"

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        *,
        port: int,
        key: Path | None = None,
        poll_usec: int = 500,
    ) -> None:
        super().__init__(host, directory, poll_usec, port=port, key=key)
        self.go()


class Monitor(Program):
    """Watches peers when it is told to."""

    name = "monitor"

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        peers: int,
        *,
        port: int,
        interval: float = 1.0,
        tick: float | None = None,
        key: Path | None = None,
    ) -> None:
        """Times are in seconds."""
        self.peers = peers
        tick = best_tick(peers / interval) if tick is None else tick
        super().__init__(
            host, directory, peers, round(interval * 1e6), round(tick * 1e6), port=port, key=key
        )

    def pause(self) -> None:
        """Stop asking, and take what is still on its way."""
        super().pause()
        time.sleep(0.3)

    def all_up(self) -> bool:
        """Begin, and wait until all peers are up."""
        self.go()
        return self.until("up", self.peers)


def best_tick(rate: float) -> float:
    """Give the tick in which 64 of so many heartbeats a second go out, 10 to 100 ms."""
    return min(max(64 / rate, 0.01), 0.1)


def _built(directory: Path, name: str, *, keyed: bool) -> Path:
    """Compile it, unless that is done."""
    binary = directory / (f"{name}-keyed" if keyed else name)
    if not binary.exists():
        options = ["-DKEYED"] if keyed else []
        libraries = ["-lcrypto"] if keyed else []
        command = ["cc", "-O2", "-Wall", *options, "-o", binary, HERE / f"{name}.c", *libraries]
        subprocess.run(command, check=True)
    return binary
