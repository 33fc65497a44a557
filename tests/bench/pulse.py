"""How long the daemon's loop does nothing but one thing, seen from outside."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from hbd.report import varlink
from tests.bench.machine import Took, run_time

if TYPE_CHECKING:
    from tests.bench.hbd import Hbd

PAUSE: Final = 0.0005
"""Seconds between two questions: what holds the loop for less is not looked for."""


class Pulse:
    """Asks the daemon for next to nothing again and again while it is entered.

    It answers in its next turn: the longest that it took is the longest turn, or a little more.
    """

    def __init__(self, hbd: Hbd) -> None:
        self._pid = hbd.pid
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(60)
        self._socket.connect(str(hbd.directory / "run/io.hbd"))
        self._turns: list[Took] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    @property
    def longest(self) -> Took:
        """Of each of both the longest."""
        walls, processors = zip(*self._turns, strict=True)
        return Took(max(walls), max(processors))

    def _go_on(self) -> None:
        question = varlink.request(f"{varlink.SERVICE}.GetInfo", {})
        while not self._is_over.wait(PAUSE):
            began, ran = time.monotonic(), run_time(self._pid)
            self._socket.sendall(question)
            while not self._socket.recv(4096).endswith(varlink.END):
                pass
            self._turns.append(Took(time.monotonic() - began, (run_time(self._pid) - ran) / 1e9))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()
