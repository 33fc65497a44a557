"""Waiting for file descriptors."""

from __future__ import annotations

import errno
import select
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLOSED: Final = {errno.EBADF, errno.ENOENT, errno.EPERM}
"""Epoll forgets what is closed; its number may be another's by now, even a plain file's."""


class Poller:
    """epoll with a callback for each file descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._first: set[int] = set()

    def watch(
        self,
        fd: int,
        callback: Callable[[], None],
        *,
        read: bool = True,
        write: bool = False,
        first: bool = False,
    ) -> None:
        """Call back whenever fd is readable, or writable; again to change what is waited for.

        `first`: what is read there is to be known before anything is judged.
        """
        events = (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback
        if first:
            self._first.add(fd)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; one that was closed already has forgotten itself."""
        self._first.discard(fd)
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except ValueError:  # it has no number any more, or epoll itself is closed
                return
            except OSError as error:
                if error.errno not in CLOSED:
                    raise

    def wait(self, nanoseconds: int | None) -> list[int]:
        """Wait at most so long; give the descriptors that are ready."""
        # epoll_wait counts in milliseconds, select in microseconds: it waits for both.
        timeout = None if nanoseconds is None else max(nanoseconds, 0) / 1e9
        if not select.select([self._epoll], (), (), timeout)[0]:
            return []
        return [fd for fd, _ in self._epoll.poll(0, max(len(self._callbacks), 1))]

    def has_later(self, ready: list[int]) -> bool:
        """Whether there are any that need not be read first."""
        return not self._first.issuperset(ready)

    def call(self, ready: list[int], *, first: bool) -> None:
        """Call back for each of one kind, but for those that were closed by a callback before."""
        for fd in ready:
            callback = self._callbacks.get(fd) if (fd in self._first) is first else None
            if callback is not None:
                callback()

    def close(self) -> None:
        self._epoll.close()


class Readable(Protocol):
    """What has a file descriptor."""

    def fileno(self) -> int: ...


Each = TypeVar("Each", bound=Readable)


class Pool(Generic[Each]):
    """Sockets that are read in every turn, whatever woke it: of hundreds, few have something."""

    def __init__(self, poller: Poller) -> None:
        self._poller: Final = poller
        self._epoll: Final = select.epoll()
        self._sockets: dict[int, Each] = {}
        self._wakes = False

    def add(self, one: Each) -> None:
        self._sockets[one.fileno()] = one
        self._epoll.register(one.fileno(), select.EPOLLIN)

    def remove(self, one: Each) -> None:
        """Forget one that is still open."""
        self._epoll.unregister(one.fileno())
        del self._sockets[one.fileno()]

    def wake(self, *, on: bool) -> None:
        """Whether what arrives wakes us, or waits for the next turn."""
        if on is self._wakes:
            return
        self._wakes = on
        if on:
            self._poller.watch(self._epoll.fileno(), _nothing, first=True)
        else:
            self._poller.unwatch(self._epoll.fileno())

    def ready(self) -> Iterator[tuple[Each, bool]]:
        """Give those that have something, and whether an error is among it."""
        if not self._sockets:
            return  # of most that hear what peers send by themselves: spares a call in each turn
        for fd, events in self._epoll.poll(0, len(self._sockets)):
            one = self._sockets.get(fd)
            if one is not None:  # else removed since
                yield one, bool(events & select.EPOLLERR)


def _nothing() -> None:
    """All of a pool are read in every turn."""
