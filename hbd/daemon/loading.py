"""Reads the configuration beside the loop, in a process of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hbd
from hbd.config.model import ConfigError, Loaded, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.daemon.poller import Poller

CHUNK: Final = 1 << 16

Outcome = Loaded | list[Problem]


def load_now(file: str) -> Loaded:
    """Read a configuration before there is a loop to hold up; ConfigError with every mistake."""
    done = subprocess.run(_command(file), stdout=subprocess.PIPE, env=_environment(), check=False)  # noqa: S603 - our own interpreter and module
    outcome = _outcome(file, done.returncode, done.stdout)
    if not isinstance(outcome, Loaded):
        raise ConfigError(outcome)
    return outcome


class Loading:
    """One reading of the configuration; `done` is called with what came of it.

    Construction raises OSError where no process can be had.
    """

    def __init__(self, file: str, poller: Poller, done: Callable[[Outcome], None]) -> None:
        self._file: Final = file
        self._poller: Final = poller
        self._done: Final = done
        self._chunks: list[bytes] = []
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
        self._done(_outcome(self._file, status, b"".join(self._chunks)))

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


def _outcome(file: str, status: int, output: bytes) -> Outcome:
    if status != 0:
        words = f"the process that reads it ended early (status {status}); try again"
        return [Problem(file, 1, 1, words)]
    version, _, pickled = output.partition(b"\n")
    try:
        if version == hbd.__version__.encode():
            outcome: Outcome = pickle.loads(pickled)  # noqa: S301 - our own child's
            return outcome
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, TypeError):
        pass  # other code under the same version
    return [Problem(file, 1, 1, "hbd was upgraded since it was started: systemctl restart hbd")]
