"""A socket that hears what a service tells systemd, and when."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class Ear:
    """Takes the place of systemd at NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def times(self, words: str) -> list[float]:
        """Give when a line was heard, seconds of the monotonic clock."""
        return [at for at, message in self._heard if words in message.splitlines()]

    def _listen(self) -> None:
        # Descriptors that come along to be stored are closed again.
        while message := self._socket.recv(4096):
            self._heard.append((time.monotonic(), message.decode()))

    def __enter__(self) -> Self:
        self._socket.bind(str(self.path))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()
        self.path.unlink()
