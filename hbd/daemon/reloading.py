"""A new configuration: read beside the loop, checked whole, then taken over or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.config.model import ConfigError, Loaded, Place, Problem
from hbd.core.model import SECOND
from hbd.daemon import memory
from hbd.daemon.binding import BindError
from hbd.daemon.loading import Loading, Outcome, Reader
from hbd.daemon.teller import new_id
from hbd.report import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.model import PeerSettings
    from hbd.core.roster import Change
    from hbd.daemon.daemon import Daemon

PATIENCE: Final = 50 * SECOND
"""How long the configuration may take to be read; whoever asks waits for 60 s."""

KEPT: Final = 5 * SECOND
"""How long the process that reads is kept for the next: one reload is often soon followed by
another, and its twenty megabytes are not to stay."""

WARNED: Final = 10
"""So many warnings are entries: there may be one for each peer, and heartbeats wait meanwhile."""

Done = tuple["Change", list[str]] | list[str]
"""What changed and the warnings, or the errors for which nothing did."""


class Reloading:
    """Runs one reload at a time; whoever asks meanwhile gets one more, with the newest file."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon: Final = daemon
        self._reader: Reader | None = None
        self._loading: Loading | None = None
        self._taken: tuple[Change, list[str]] | None = None
        """What is in use already, and whose paths are to follow."""
        self._deadline = 0
        """Of the reading; then of the reader."""
        self._wanted = False
        self._waiting: list[Callable[[Done], None]] = []
        self._served: list[Callable[[Done], None]] = []
        self._done = self._refused = 0
        self._last_refused = False

    def counts(self) -> dict[str, int | bool]:
        """How many there were; whoever keeps a list of peers asks anew after one."""
        return {
            "done": self._done,
            "refused": self._refused,
            "last_refused": self._last_refused,
        }

    def want(self, done: Callable[[Done], None] | None = None) -> None:
        """Ask for a reload, also from within a signal; `done` is called with what came of it."""
        self._wanted = True
        if done is not None:
            self._waiting.append(done)

    def work(self, now: int) -> None:
        """Begin what was asked for; give up what takes too long."""
        if self._taken is not None:
            self._complete(*self._taken)
        elif self._loading is not None:
            self._go_on(self._loading, now)
        elif self._wanted:
            self._begin(now)
        elif now >= self._deadline:
            self._end_reader()

    def _go_on(self, loading: Loading, now: int) -> None:
        if self._reader is not None and self._reader.was_gone:
            self._end_reader()
            self._load(now)
            return
        outcome = loading.step()
        if outcome is None and now >= self._deadline:
            self._end_reader()
            words = f"reading it took longer than {PATIENCE // SECOND} s; try again"
            outcome = [Problem(self._daemon.configuration.file, 1, 1, words)]
        if outcome is not None:
            self._loading = None
            self._deadline = now + KEPT
            self._take_over(outcome)

    def _begin(self, now: int) -> None:
        self._wanted = False
        self._served, self._waiting = self._waiting, []
        self._daemon.notifier.reloading(now // 1_000)
        self._load(now)

    def _load(self, now: int) -> None:
        self._loading, self._deadline = None, now + PATIENCE
        file = self._daemon.configuration.file
        try:
            reader = self._ask(file)
        except OSError as error:
            words = f"no process to read it with: {error.strerror}; try again"
            self._refuse([Problem(file, 1, 1, words)])
        else:
            self._loading = Loading(file, reader, self._in_use)

    def _ask(self, file: str) -> Reader:
        """Have the file read by the process that is there, or by a new one."""
        if self._reader is not None:
            if self._reader.ask(file):
                return self._reader
            self._end_reader()
        self._reader = Reader(self._daemon.poller)
        self._reader.ask(file)
        return self._reader

    def _end_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _in_use(self, peer: str) -> PeerSettings | None:
        known = self._daemon.fleet.peers.get(peer)
        return None if known is None else known.settings

    def next_deadline(self) -> int | None:
        if self._loading is not None:
            return 0 if self._loading.has_work else self._deadline
        if self._taken is not None or self._wanted:
            return 0
        return None if self._reader is None else self._deadline

    def cancel(self) -> None:
        """The daemon stops: nothing is taken over any more."""
        self._end_reader()
        if self._taken is not None:
            self._complete(*self._taken)

    def _take_over(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Loaded):
            self._refuse(outcome)
            return
        try:
            change = self._daemon.take_over(outcome.configuration)
        except ConfigError as error:
            self._refuse(error.problems)
        except BindError as error:
            place = error.place or Place(outcome.configuration.file, 1, 1)
            self._refuse([Problem(place.file, place.line, place.column, str(error))])
        else:
            self._taken = change, [str(warning) for warning in outcome.warnings]

    def _refuse(self, problems: list[Problem]) -> None:
        self._refused, self._last_refused = self._refused + 1, True
        errors = [str(problem) for problem in problems]
        self._daemon.refuse(errors)
        self._answer(errors)

    def _complete(self, change: Change, warnings: list[str]) -> None:
        self._taken = None
        self._done, self._last_refused = self._done + 1, False
        daemon = self._daemon
        daemon.take_paths()
        entry = messages.reloaded(new_id(), daemon.clock.wall(), **change._asdict())
        daemon.teller.say(entry)
        for warning in warnings[:WARNED]:
            daemon.teller.warn(warning)
        if len(warnings) > WARNED:
            daemon.teller.warn(f"{len(warnings) - WARNED} more warnings: see hbd check")
        daemon.teller.snapshot("reload")
        memory.settle()
        self._answer((change, warnings))

    def _answer(self, done: Done) -> None:
        self._daemon.notifier.ready()
        for served in self._served:
            served(done)
        self._served = []
