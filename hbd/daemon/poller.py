"""Waiting for file descriptors."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH: Final = 64


class Poller:
    """epoll with a callback for each file descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(
        self, fd: int, callback: Callable[[], None], *, read: bool = True, write: bool = False
    ) -> None:
        """Call back whenever fd is readable, or writable; again to change what is waited for."""
        events = (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; one that was closed already has forgotten itself."""
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except (FileNotFoundError, OSError, ValueError):
                return

    def wait(self, nanoseconds: int | None) -> list[int]:
        """Wait at most so long; give the descriptors that are ready."""
        # epoll_wait counts in milliseconds, select in microseconds: it waits for both.
        timeout = None if nanoseconds is None else max(nanoseconds, 0) / 1e9
        select.select([self._epoll], (), (), timeout)
        return [fd for fd, _ in self._epoll.poll(0, _BATCH)]

    def call(self, ready: list[int]) -> None:
        """Call back for each, but for those that were closed by a callback before."""
        for fd in ready:
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback()

    def close(self) -> None:
        self._epoll.close()
