"""The state of each peer as a file, `peers/STATE/NAME`: for scripts and other units."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND, Cause, State
from hbd.report import places

if TYPE_CHECKING:
    from collections.abc import Collection

SLICE: Final = 30
"""Files and names in one turn of the loop."""
RETRY: Final = 10 * SECOND
"""A file that could not be written (a full /run, say) is tried again so often."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a peer's file says; `cause` is None where its content is not known."""

    state: State
    cause: str | None


@cache
def _shown(state: State, cause: str) -> _Shown:
    """Give that of all that are so: they are few."""
    return _Shown(state, cause)


class StateFiles:
    """Keeps the files as the states are, in slices; no OSError leaves it."""

    def __init__(self, directory: Path, queue: Path | None = None) -> None:
        """Below `directory`, beginning with what an earlier process left there.

        The names of changed peers go into the directory `queue`, once it is there; at first those
        of all peers, for what an earlier process moved and did not queue.
        """
        self.errors = 0
        self._root: Final = directory / "peers"
        self._failure = ""
        """Why they cannot be kept, while it is not told yet."""
        self._is_failing = False
        root = self._root
        self._places = {state: f"{root / state}/" for state in State}
        """As text: ten thousand files may be moved at once, and a Path takes its time."""
        self._queue = queue
        self._wanted: dict[str, _Shown | None] = {}
        """What is still to be done; None is to remove."""
        self._failed: dict[str, _Shown | None] = {}
        self._retry = 0
        self._shown: dict[str, _Shown] = {}
        self._untold: dict[str, None] = {}
        """Moved, but not yet in the queue."""
        self._has_queue = True
        """Without one no name is kept: all are queued once somebody has made it."""
        self._queue_due = 0
        for state in State:
            self._read(state)

    def show(self, name: str, state: State, cause: Cause | None) -> None:
        """A peer is in that state; of several changes only the last is written."""
        self._want(name, _shown(state, cause or ""))

    def remove(self, name: str) -> None:
        """A peer is watched no more."""
        self._want(name, None)

    def keep_only(self, names: Collection[str]) -> None:
        """The files of all other peers go, which an earlier process left."""
        for name in self._shown.keys() | self._wanted.keys() | self._failed.keys():
            if name not in names:
                self.remove(name)

    @property
    def has_work(self) -> bool:
        """Whether more can be done at once."""
        return bool(self._wanted) or (self._has_names and not self._queue_due)

    def work(self, now: int, most: int = SLICE) -> int:
        """Do a slice of what waits, so much at the most; give how much it was."""
        if self._failed and now >= self._retry:
            self._wanted = self._failed | self._wanted
            self._failed = {}
        count = min(most, len(self._wanted))
        for _ in range(count):
            name = next(iter(self._wanted))
            wish = self._wanted.pop(name)
            try:
                self._fulfil(name, wish)
            except OSError as error:
                self.errors += 1
                if not self._is_failing:
                    self._is_failing, self._failure = True, error.strerror or str(error)
                self._failed[name] = wish
                self._retry = now + RETRY
        if not self._wanted:
            self._wanted = {}  # the old one keeps the room of all that were in it
            self._is_failing = bool(self._failed)
        if self._has_names and now >= self._queue_due:
            count += self._queue_some(now, most - count)
        return count

    def failure(self) -> str:
        """Why they cannot be kept: given once when that begins; else empty."""
        why, self._failure = self._failure, ""
        return f"cannot keep files of states in {self._root}: {why}" if why else ""

    def next_deadline(self) -> int | None:
        """When what failed is due again; None where nothing failed."""
        due = [self._retry] if self._failed else []
        if self._has_names and self._queue_due:
            due.append(self._queue_due)
        return min(due, default=None)

    def _want(self, name: str, wish: _Shown | None) -> None:
        self._failed.pop(name, None)
        self._wanted[name] = wish

    def _read(self, state: State) -> None:
        with suppress(OSError):
            for file in Path(self._places[state]).iterdir():
                # No rename leaves a name in two directories; the second is a stranger's.
                if file.name in self._shown:
                    file.unlink(missing_ok=True)
                else:
                    self._shown[file.name] = _Shown(state, None)
                    self._changed(file.name)

    def _fulfil(self, name: str, wish: _Shown | None) -> None:
        before = self._shown.get(name)
        if wish == before:
            return
        if wish is None:
            self._remove(name)
            return
        if before is None or before.state is not wish.state:
            self._move(name, before, wish.state)
        self._write(name, wish)
        self._shown[name] = wish

    def _remove(self, name: str) -> None:
        Path(self._places[self._shown[name].state] + name).unlink(missing_ok=True)
        del self._shown[name]
        self._untold.pop(name, None)

    def _move(self, name: str, before: _Shown | None, state: State) -> None:
        if not os.path.isdir(self._places[state]):  # noqa: PTH112 - a Path takes six times as long
            places.make(Path(self._places[state]))
        if before is not None:
            # If somebody removed it, it is written anew.
            with suppress(FileNotFoundError):
                os.rename(self._places[before.state] + name, self._places[state] + name)  # noqa: PTH104
        self._shown[name] = _Shown(state, None)
        self._changed(name)

    def _write(self, name: str, shown: _Shown) -> None:
        content = (shown.cause or "").encode()
        fd = os.open(
            self._places[shown.state] + name,
            os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
        )
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, content)
            os.ftruncate(fd, len(content))
        finally:
            os.close(fd)

    def _changed(self, name: str) -> None:
        """Only once its file is where it belongs: whoever takes the name then looks for that."""
        if self._queue is not None and self._has_queue:
            self._untold[name] = None

    @property
    def _has_names(self) -> bool:
        return bool(self._untold) or not self._has_queue

    def _queue_some(self, now: int, most: int) -> int:
        """Queue some of the names for the units that follow a peer; give how many."""
        self._queue_due = 0
        if not self._has_queue:
            self._has_queue, self._untold = True, dict.fromkeys(self._shown)
        before = len(self._untold)
        try:
            for _ in range(min(most, len(self._untold))):
                name = next(iter(self._untold))
                self._enqueue(name)
                del self._untold[name]
        except FileNotFoundError:
            self._has_queue, self._untold = False, {}
            self._queue_due = now + RETRY
            return 0
        except OSError:
            self.errors += 1
            self._queue_due = now + RETRY
        queued = before - len(self._untold)
        if not self._untold:
            self._untold = {}
        return queued

    def _enqueue(self, name: str) -> None:
        """Neither waits nor follows a link, as to open a file might: the group may write there."""
        if self._queue is not None:
            with suppress(FileExistsError):
                os.mknod(self._queue / name, stat.S_IFREG | 0o644)
