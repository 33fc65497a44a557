"""Names to addresses, never in the way of the loop."""

from __future__ import annotations

import os
import queue
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from hbd.core.address import Address

LIMIT: Final = 65_536
"""Names in question at a time; there are no more paths than that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a name: addresses in the resolver's order, or the resolver's words."""

    name: str
    port: int
    addresses: tuple[Address, ...]
    error: str | None


def numeric(address: str, port: int) -> Address | None:
    """Return the socket address of an IPv4 or IPv6 address, %scope included; None for a name."""
    try:
        # As octets: what a name may be in other alphabets takes memory to know.
        octets, flags = address.encode("ascii"), socket.AI_NUMERICHOST
        found = socket.getaddrinfo(octets, port, type=socket.SOCK_DGRAM, flags=flags)
    except (socket.gaierror, UnicodeError):
        return None
    host, _, *scope = found[0][4]
    return cast("Address", (address if host == address else host, port, *scope))


def resolve(name: str, port: int) -> Answer:
    """Ask the system's resolver, as long as it takes."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)
    except UnicodeError:
        return Answer(name, port, (), "not a possible name")
    except OSError as error:
        return Answer(name, port, (), error.strerror or str(error))
    # Types allow for a Python built without IPv6, which would give raw octets.
    addresses = [cast("Address", address) for _, _, _, _, address in found]
    return Answer(name, port, tuple(dict.fromkeys(addresses)), None)


class Resolver:
    """A few threads that wait for the system's resolver, so that the loop need not.

    A name server that is silent holds up other names, never the loop or the end of the process.
    """

    def __init__(self, threads: int = 4) -> None:
        self._threads = threads
        self._asked: set[tuple[str, int]] = set()
        self._questions: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = threading.Lock()
        self._started = False

    def fileno(self) -> int:
        """Return what becomes readable when there are answers."""
        return self._bell

    def request(self, name: str, port: int) -> bool:
        """Ask for a name, unless it is being asked for; False if too many are: ask later."""
        if (name, port) in self._asked:
            return True
        if len(self._asked) >= LIMIT:
            return False
        self._start()
        self._asked.add((name, port))
        self._questions.put((name, port))
        return True

    def answers(self) -> list[Answer]:
        """Return the answers that have come since the last call."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return []
        answers = [self._answers.get_nowait() for _ in range(self._answers.qsize())]
        self._asked -= {(answer.name, answer.port) for answer in answers}
        return answers

    def close(self) -> None:
        """Let the threads go as they finish; none is waited for."""
        with self._closing:
            os.close(self._bell)
            self._bell = -1
        for _ in range(self._threads):
            self._questions.put(None)

    def _start(self) -> None:
        """Start the threads at the first name: who has only addresses needs none."""
        if not self._started:
            self._started = True
            for number in range(self._threads):
                threading.Thread(target=self._work, name=f"resolver-{number}", daemon=True).start()

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            answer = resolve(*question)
            with self._closing:
                if self._bell < 0:
                    return
                self._answers.put(answer)
                os.eventfd_write(self._bell, 1)
