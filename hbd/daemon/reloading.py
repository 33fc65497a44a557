"""A new configuration: read beside the loop, checked whole, then taken over or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.config.model import ConfigError, Loaded, Problem
from hbd.core.model import SECOND
from hbd.daemon.binding import BindError
from hbd.daemon.loading import Loading, Outcome
from hbd.daemon.teller import new_id
from hbd.report import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.roster import Change
    from hbd.daemon.daemon import Daemon

PATIENCE: Final = 50 * SECOND
"""How long the configuration may take to be read; whoever asks waits for 60 s."""

Done = tuple["Change", list[str]] | list[str]
"""What changed and the warnings, or the errors for which nothing did."""


class Reloading:
    """Runs one reload at a time; whoever asks meanwhile gets one more, with the newest file."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon: Final = daemon
        self._loading: Loading | None = None
        self._deadline = 0
        self._wanted = False
        self._waiting: list[Callable[[Done], None]] = []
        self._served: list[Callable[[Done], None]] = []

    def want(self, done: Callable[[Done], None] | None = None) -> None:
        """Ask for a reload, also from within a signal; `done` is called with what came of it."""
        self._wanted = True
        if done is not None:
            self._waiting.append(done)

    def work(self, now: int) -> None:
        """Begin what was asked for; give up what takes too long."""
        if self._loading is not None:
            if now >= self._deadline:
                self._loading.cancel()
                words = f"reading it took longer than {PATIENCE // SECOND} s; try again"
                self._finish([Problem(self._daemon.configuration.file, 1, 1, words)])
            return
        if not self._wanted:
            return
        self._wanted = False
        self._served, self._waiting = self._waiting, []
        daemon = self._daemon
        daemon.notifier.reloading(now // 1_000)
        self._deadline = now + PATIENCE
        file = daemon.configuration.file
        try:
            self._loading = Loading(file, daemon.poller, self._finish)
        except OSError as error:
            words = f"no process to read it with: {error.strerror}; try again"
            self._finish([Problem(file, 1, 1, words)])

    def next_deadline(self) -> int | None:
        return None if self._loading is None else self._deadline

    def cancel(self) -> None:
        """The daemon stops: nothing is taken over any more."""
        if self._loading is not None:
            self._loading.cancel()

    def _finish(self, outcome: Outcome) -> None:
        self._loading = None
        done = self._outcome(outcome)
        daemon = self._daemon
        if isinstance(done, list):
            daemon.refuse(done)
        daemon.notifier.ready()
        for served in self._served:
            served(done)
        self._served = []

    def _outcome(self, outcome: Outcome) -> Done:
        if not isinstance(outcome, Loaded):
            return [str(problem) for problem in outcome]
        daemon = self._daemon
        try:
            change = daemon.take_over(outcome.configuration)
        except ConfigError as error:
            return [str(problem) for problem in error.problems]
        except BindError as error:
            return [f"{outcome.configuration.file}:1:1: {error}"]
        daemon.teller.say(
            messages.reloaded(
                new_id(),
                daemon.clock.wall(),
                added=change.added,
                removed=change.removed,
                changed=change.changed,
            )
        )
        daemon.teller.snapshot("reload")
        return change, [str(warning) for warning in outcome.warnings]
