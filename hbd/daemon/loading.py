"""Reads the configuration beside the loop, in a process of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hbd
from hbd.config.model import ConfigError, Loaded, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hbd.core.model import PeerSettings
    from hbd.daemon.poller import Poller

    InUse = Callable[[str], PeerSettings | None]
    """Gives the settings of a peer as they are until now."""

CHUNK: Final = 1 << 16

Outcome = Loaded | list[Problem]


def load_now(file: str) -> Loaded:
    """Read a configuration before there is a loop to hold up; ConfigError with every mistake."""
    done = subprocess.run(_command(file), stdout=subprocess.PIPE, env=_environment(), check=False)  # noqa: S603 - our own interpreter and module
    steps = taken_in(file, done.returncode, done.stdout, lambda _: None)
    outcome = [one for one in steps if one is not None][-1]
    if not isinstance(outcome, Loaded):
        raise ConfigError(outcome)
    return outcome


class Loading:
    """One reading of the configuration, whose outcome is taken in step by step.

    Construction raises OSError where no process can be had.
    """

    def __init__(self, file: str, poller: Poller, in_use: InUse) -> None:
        self._file: Final = file
        self._poller: Final = poller
        self._in_use: Final = in_use
        self._chunks: list[bytes] = []
        self._steps: Iterator[Outcome | None] | None = None
        """There are some once the process has ended."""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            _command(file),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        self._pipe = self._process.stdout
        if self._pipe is not None:
            os.set_blocking(self._pipe.fileno(), False)
            poller.watch(self._pipe.fileno(), self._read)

    def _read(self) -> None:
        if self._pipe is None:
            return
        try:
            chunk = os.read(self._pipe.fileno(), CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._chunks.append(chunk)
            return
        self._poller.unwatch(self._pipe.fileno())
        self._pipe.close()
        self._pipe = None
        status = self._process.wait()
        self._steps = taken_in(self._file, status, b"".join(self._chunks), self._in_use)

    @property
    def has_work(self) -> bool:
        """Whether a step can be taken at once."""
        return self._steps is not None

    def step(self) -> Outcome | None:
        """Take in some of what came; give the outcome when that was all."""
        return None if self._steps is None else next(self._steps)

    def cancel(self) -> None:
        """End it without an outcome."""
        if self._pipe is not None:
            self._poller.unwatch(self._pipe.fileno())
            self._pipe.close()
            self._pipe = None
            self._process.kill()
            self._process.wait()


def _command(file: str) -> list[str]:
    return [sys.executable, "-P", "-m", "hbd.config", file]


def _environment() -> dict[str, str]:
    """Not from the current directory, but first from where this program itself was loaded."""
    places = [str(Path(hbd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def taken_in(file: str, status: int, output: bytes, in_use: InUse) -> Iterator[Outcome | None]:
    """Take in a piece a step, and at last give the outcome."""
    if status != 0:
        words = f"the process that reads it ended early (status {status}); try again"
        yield [Problem(file, 1, 1, words)]
        return
    stream = BytesIO(output)
    try:
        if stream.readline() == hbd.__version__.encode() + b"\n":
            yield from _unpickled(stream, in_use)
            return
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, TypeError):
        pass  # other code under the same version
    yield [Problem(file, 1, 1, "hbd was upgraded since it was started: systemctl restart hbd")]


def _unpickled(stream: BytesIO, in_use: InUse) -> Iterator[Outcome | None]:
    """Read what our child wrote; a peer whose settings are the same keeps the very object."""
    head: Outcome = pickle.load(stream)  # noqa: S301 - our own child's
    if not isinstance(head, Loaded):
        yield head
        return
    peers: list[PeerSettings] = []
    while piece := pickle.load(stream):  # noqa: S301 - as before
        for one in piece:
            before = in_use(one.name)
            peers.append(before if before is not None and before == one else one)
        yield None
    yield replace(head, configuration=replace(head.configuration, peers=tuple(peers)))
