"""Reads the configuration beside the loop, in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import hbd
from hbd.config.model import ConfigError, Loaded, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hbd.core.model import PeerSettings
    from hbd.daemon.poller import Poller

    InUse = Callable[[str], PeerSettings | None]
    """Gives the settings of a peer as they are until now."""

COMMAND: Final = (sys.executable, "-P", "-m", "hbd.config")

CHUNK: Final = 1 << 16

OTHER_CODE: Final = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError),
    *(TypeError, ValueError, LookupError),
)
"""What reading ends with where other code under the same version wrote; ValueError is of an enum
that had another member."""

Outcome = Loaded | list[Problem]


class Answer(NamedTuple):
    """What the process gave for one file, as far as that came; see hbd.config's __main__."""

    is_ours: bool
    """It runs the same code as we do."""
    pickles: bytes
    is_whole: bool

    @classmethod
    def of(cls, come: bytes | bytearray) -> Answer:
        """Read what has come so far."""
        end = come.find(b"\n") + 1
        is_ours = not end or _size(come[:end]) is not None
        return cls(is_ours, bytes(come[end:]), is_whole(come))


def is_whole(come: bytes | bytearray) -> bool:
    """Whether nothing more is to come; copies nothing, as it is asked at each piece that comes."""
    end = come.find(b"\n") + 1
    size = _size(come[:end])
    return end > 0 and (size is None or len(come) >= end + size)


def _size(head: bytes | bytearray) -> int | None:
    """How many octets follow the line at the beginning; None of other code than ours."""
    version, _, size = head.strip().partition(b" ")
    return int(size) if version == hbd.__version__.encode() and size.isdigit() else None


def load_now(file: str) -> Loaded:
    """Read a configuration before there is a loop to hold up; ConfigError with every mistake.

    OSError where nobody has read it to its end: that says nothing of the file.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        COMMAND, input=_question(file), stdout=subprocess.PIPE, env=_environment(), check=False
    )
    answer = Answer.of(done.stdout)
    if not answer.is_whole:
        how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with {done.returncode}"
        raise OSError(f"the process that reads {file} ended early ({how}); try again")
    steps = taken_in(file, answer, lambda _: None)
    outcome = [one for one in steps if one is not None][-1]
    if not isinstance(outcome, Loaded):
        raise ConfigError(outcome)
    return outcome


class Reader:
    """A process that reads configurations, one after the other: its start takes the longest.

    Construction raises OSError where no process can be had.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller: Final = poller
        self._come = bytearray()
        self._has_ended = False
        self._asked = 0
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process: Final = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    COMMAND,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                )
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0)
        poller.watch(self._socket.fileno(), self._read)

    def ask(self, file: str) -> bool:
        """Have a file read, once the one before was; False where the process is no more."""
        self._come.clear()
        self._asked += 1
        try:
            self._socket.send(_question(file))
        except OSError:
            return False
        return not self._has_ended

    def _read(self) -> None:
        try:
            chunk = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._come += chunk
        if not chunk:
            self._has_ended = True
            self._poller.unwatch(self._socket.fileno())

    @property
    def was_gone(self) -> bool:
        """Whether it ended before it was asked for this file, which nobody could know then."""
        return self._has_ended and not self._come and self._asked > 1

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to come of the file."""
        return self._has_ended or is_whole(self._come)

    @property
    def answer(self) -> Answer:
        """What has come of the file, as far as it has."""
        return Answer.of(self._come)

    def close(self) -> None:
        """End it, whatever it does."""
        self._poller.unwatch(self._socket.fileno())
        self._socket.close()
        self._process.kill()  # though it said its last: the loop waits for nobody to end by himself
        self._process.wait()


class Loading:
    """One reading of the configuration, whose outcome is taken in step by step."""

    def __init__(self, file: str, reader: Reader, in_use: InUse) -> None:
        """`reader` was asked for the file."""
        self._file: Final = file
        self._reader: Final = reader
        self._in_use: Final = in_use
        self._steps: Iterator[Outcome | None] | None = None

    @property
    def has_work(self) -> bool:
        """Whether a step can be taken at once."""
        return self._steps is not None or self._reader.is_done

    def step(self) -> Outcome | None:
        """Take in some of what came; give the outcome when that was all."""
        if self._steps is None and self._reader.is_done:
            self._steps = taken_in(self._file, self._reader.answer, self._in_use)
        return None if self._steps is None else next(self._steps)


def _question(file: str) -> bytes:
    return json.dumps(file).encode() + b"\n"


def _environment() -> dict[str, str]:
    """Not from the current directory, but first from where this program itself was loaded."""
    places = [str(Path(hbd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def taken_in(file: str, answer: Answer, in_use: InUse) -> Iterator[Outcome | None]:
    """Take in a piece a step, and at last give the outcome."""
    if not answer.is_whole:
        yield [Problem(file, 1, 1, "the process that reads it ended early; try again")]
        return
    try:
        if answer.is_ours:
            yield from _unpickled(BytesIO(answer.pickles), in_use)
            return
    except OTHER_CODE:
        pass
    yield [Problem(file, 1, 1, "hbd was upgraded since it was started: systemctl restart hbd")]


def _unpickled(stream: BytesIO, in_use: InUse) -> Iterator[Outcome | None]:
    """Read what our child wrote; a peer whose settings are the same keeps the very object."""
    head: Outcome = pickle.load(stream)  # noqa: S301 - our own child's
    if not isinstance(head, Loaded):
        yield head
        return
    peers: list[PeerSettings] = []
    while piece := pickle.load(stream):  # noqa: S301 - as before
        for name, addresses, others in piece:
            one = replace(others, name=name, addresses=addresses)
            before = in_use(name)
            peers.append(before if before is not None and before == one else one)
        yield None
    yield replace(head, configuration=replace(head.configuration, peers=tuple(peers)))
