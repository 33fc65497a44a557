"""Names of paths: resolved in the background, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND
from hbd.core.told import ANYWHERE
from hbd.net.resolver import Resolver, numeric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hbd.core.address import Address
    from hbd.core.fleet import Fleet
    from hbd.core.path import Path
    from hbd.net.resolver import Answer

AGAIN: Final = 60 * SECOND
"""How often a name that resolves is asked for again."""
FIRST_RETRY: Final = 1 * SECOND
"""After a failure; doubled with each up to AGAIN."""

SILENT: Final = 15 * SECOND
"""How often a name that does not answer is asked for again: it may have moved."""

ADDRESSES: Final = 64
"""So many addresses of a name are used: a name server may give four thousand, each time others, and
each has its place in several tables."""

Name = tuple[str, int]


class Names:
    """Which names there are, whose they are and when each is asked for."""

    def __init__(self, fleet: Fleet, resolver: Resolver) -> None:
        self._fleet: Final = fleet
        self._resolver: Final = resolver
        self._paths: dict[Name, list[Path]] = {}
        self._due: dict[Name, int] = {}
        self._retry: dict[Name, int] = {}
        self._next: int | None = None

    def take(self, paths: Iterable[Path], now: int) -> None:
        """Take over the paths there are now; those with numeric addresses are resolved at once."""
        asked = {path for same in self._paths.values() for path in same}
        before, self._paths = self._paths, {}
        for path in paths:
            if path in asked or not (path.targets or path.address == ANYWHERE):
                self._take(path, before)
        self._due = {
            name: self._due.get(name, now) if all(path.targets for path in same) else now
            for name, same in self._paths.items()
        }
        self._retry = {name: span for name, span in self._retry.items() if name in self._paths}
        self._next = min(self._due.values(), default=None)

    def drop(self, paths: Collection[Path]) -> None:
        """These are watched no more: answers for their names say nothing of them."""
        if not paths:
            return
        gone = set(paths)
        left = {
            name: [path for path in same if path not in gone] for name, same in self._paths.items()
        }
        self._paths = {name: same for name, same in left.items() if same}
        self._due = {name: due for name, due in self._due.items() if name in self._paths}

    def _take(self, path: Path, before: Collection[Name]) -> None:
        name = path.address, path.peer.settings.port
        target = None if name in before else numeric(*name)
        if target is not None:
            self._fleet.resolved(path, (target,))
        else:
            self._paths.setdefault(name, []).append(path)

    def next_deadline(self) -> int | None:
        return self._next

    def ask(self, now: int) -> None:
        """Ask for the names that are due."""
        if self._next is None or now < self._next:
            return
        for name, due in self._due.items():
            is_silent = any(path.is_exhausted for path in self._paths[name])
            early = AGAIN - SILENT if is_silent else 0
            if due - early <= now and self._resolver.request(*name):
                self._due[name] = now + AGAIN
        self._next = min((now + SILENT, *self._due.values()))

    def hear(self, now: int) -> bool:
        """Take the resolver's answers; tell whether there were any."""
        answers = self._resolver.answers()
        for answer in answers:
            self._hear_one(answer, now)
        return bool(answers)

    def _hear_one(self, answer: Answer, now: int) -> None:
        name = answer.name, answer.port
        if name not in self._paths:
            return
        if answer.addresses:
            self._retry.pop(name, None)
        else:
            span = min(2 * self._retry.get(name, FIRST_RETRY // 2), AGAIN)
            self._retry[name] = span
            self._due[name] = now + span
            self._next = min(self._due[name], self._next or self._due[name])
        words = f"does not resolve: {_reason(answer)}" if answer.error else None
        for path in self._paths[name]:
            source = path.peer.settings.leaving.source
            usable = tuple(
                address
                for address in answer.addresses
                if source is None or (":" in source) == (":" in address[0])
            )
            if answer.addresses and not usable:
                words = f"has no address of the family of source {source}"
            self._fleet.resolved(path, _few(usable, path.target), words)


def _few(addresses: tuple[Address, ...], target: Address | None) -> tuple[Address, ...]:
    """Give the first of them, with the one that is asked if it is still among them."""
    few = addresses[:ADDRESSES]
    return few if target in few or target not in addresses else (target, *few[:-1])


def _reason(answer: Answer) -> str | None:
    """Why a name has no address; of a link-local one the resolver does not say."""
    interface = answer.name.partition("%")[2]
    return f"this machine has no interface {interface}" if interface else answer.error
