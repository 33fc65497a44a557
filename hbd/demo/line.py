"""A bad line between two addresses of loopback: `python3 -m hbd.demo.line NEAR FAR OWN PORT`.

It passes heartbeats on and replies back, and is told on standard input how badly: `good`,
`slow`, `lossy`, `altering` or `foreign`. It ends when that ends.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections import deque
from typing import Final

SLOW: Final = 0.04
"""Seconds that it adds to a reply."""
LOSSY: Final = 4
"""One reply in so many does not come through."""
ROOM: Final = 1000
"""Datagrams under way at once, at most."""


class Line:
    """Its two ends, and what is under way."""

    def __init__(self, near: str, far: str, own: str, port: int) -> None:
        """Whoever sends to `near` hears what `far` answers; `own` is the address it sends from."""
        self.manner = "good"
        self._far: Final = (far, port)
        self._near: Final = _bound(near, port)
        self._out: Final = _bound(own, 0)
        self._asker: tuple[str, int] | None = None
        self._replies = 0
        self._under_way: deque[tuple[float, bytes]] = deque()

    def run(self) -> None:
        """Pass on until standard input ends."""
        while True:
            left = max(self._under_way[0][0] - time.monotonic(), 0) if self._under_way else None
            ends = [0, self._near.fileno(), self._out.fileno()]
            ready, _, _ = select.select(ends, [], [], left)
            if 0 in ready:
                words = os.read(0, 4096).split()
                if not words:
                    return
                self.manner = words[-1].decode()
            self._pass_on()
            self._pass_back()

    def _pass_on(self) -> None:
        for datagram, asker in _received(self._near):
            self._asker = asker
            _send(self._out, datagram, self._far)

    def _pass_back(self) -> None:
        for datagram, source in _received(self._out):
            self._replies += 1
            is_lost = self.manner == "lossy" and self._replies % LOSSY == 0
            if source == self._far and not is_lost and len(self._under_way) < ROOM:
                due = time.monotonic() + (SLOW if self.manner == "slow" else 0.0)
                self._under_way.append((due, datagram))
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, datagram = self._under_way.popleft()
            if self.manner == "altering":
                datagram = datagram[:-1] + bytes([datagram[-1] ^ 1])
            elif self.manner == "foreign":
                datagram = b"who is there?"
            if self._asker is not None:
                _send(self._near, datagram, self._asker)


def _bound(address: str, port: int) -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.setblocking(False)  # noqa: FBT003 - its only argument
    end.bind((address, port))
    return end


def _received(end: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    datagrams: list[tuple[bytes, tuple[str, int]]] = []
    while len(datagrams) < ROOM:
        try:
            datagrams.append(end.recvfrom(65_535))
        except (BlockingIOError, ConnectionRefusedError):
            break
    return datagrams


def _send(end: socket.socket, datagram: bytes, to: tuple[str, int]) -> None:
    try:
        end.sendto(datagram, to)
    except (BlockingIOError, ConnectionRefusedError):
        return  # lost, as on any line


def main() -> int:
    """Be the line."""
    near, far, own, port = sys.argv[1:]
    Line(near, far, own, int(port)).run()
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
