"""One client of the control socket: its requests in, its answers out, both bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from hbd.core.model import SECOND
from hbd.report import varlink

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from hbd.report.credentials import Credentials
    from hbd.report.varlink import Request

OUTPUT_LIMIT: Final = 512 * 1024
"""Octets that wait for a slow reader."""
READ_SLICE: Final = 16 * 1024
WRITE_SLICE: Final = 128 * 1024
"""Octets of big answers made in one turn of the loop, for all clients together: it takes two
milliseconds or three."""
REQUESTS_SLICE: Final = 16
"""Requests taken in one, of all of them."""
IDLE: Final = 30 * SECOND
"""How long a client may say nothing whole."""
STALLED: Final = 10 * SECOND
"""How long a client may read nothing of what waits for it."""


class Poller(Protocol):
    """The loop's epoll, level-triggered: it calls back in each turn in which there is something."""

    def watch(self, fd: int, callback: Callable[[], None], *, write: bool = False) -> None:
        """Call back when `fd` is readable or hung up, and with `write` also when it is writable.

        Called again for the same `fd` to change what it is watched for.
        """

    def unwatch(self, fd: int) -> None: ...


class Allowance:
    """What all clients together may take of a turn of the loop; a little each of them gets anyway.

    That little is one request, and one piece of a big answer: so none waits for another's end.
    """

    __slots__ = ("octets", "requests")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Another turn begins."""
        self.octets, self.requests = WRITE_SLICE, REQUESTS_SLICE


@dataclass(frozen=True, slots=True)
class Owner:
    """What a connection tells its server."""

    poller: Poller
    allowance: Allowance
    called: Callable[[Connection, Request], None]
    """A request came; it is to be answered through `answer` or `stream`."""
    touched: Callable[[Connection], None]
    """Something went forward: its deadline begins anew."""
    closed: Callable[[Connection], None]


class Connection:
    """A client; `is_open` is False for ever once it is closed."""

    def __init__(self, stream: socket.socket, credentials: Credentials, owner: Owner) -> None:
        self.credentials = credentials
        self.is_open = True
        self.deadline: int | None = None
        """When it is closed unless something goes forward before; kept by the server."""
        self._socket = stream
        self._owner = owner
        self._in = bytearray()
        self._out = bytearray()
        self._source: Iterator[bytes] | None = None
        """The rest of a big answer, or of many."""
        self._source_is_final = False
        self._followed: frozenset[str] | None = frozenset()
        """The peers of whose changes it is told; None: all."""
        self._busy = False
        """A call is not answered yet: the next one waits, as answers come in order."""
        self._turning = False
        owner.poller.watch(stream.fileno(), self.turn)

    @property
    def patience(self) -> int | None:
        """How long nothing may go forward; None while the next step is the daemon's."""
        if self._out or self._source:
            return STALLED
        return None if self._busy else IDLE

    def turn(self) -> None:
        """Read and write what goes without waiting, a slice of each."""
        self._turning = True
        gone = not self._read()
        self._take_requests()
        self._write()
        self._turning = False
        if gone:
            # What was asked together with the goodbye has just been answered, if it was small.
            self.close()
        self._watch()

    def answer(self, message: bytes, *, final: bool) -> None:
        """Queue an answer; a reader that is too slow for a row of them is dropped."""
        if not self.is_open:
            return
        self._out += message
        if final:
            self._busy = False
        if not final and len(self._out) > OUTPUT_LIMIT:
            self.close()
        elif not self._turning:
            self._write()
            self._watch()

    def stream(self, octets: Iterator[bytes], *, final: bool) -> None:
        """Send a big answer, or many; they are made as fast as they are read."""
        self._source, self._source_is_final = octets, final

    def follow(self, peers: frozenset[str] | None) -> None:
        """Be told of each change of these peers, or of all."""
        self._followed = peers

    def follows(self, peer: str) -> bool:
        return self._followed is None or peer in self._followed

    @property
    def followed(self) -> frozenset[str]:
        """The peers that it follows by their names."""
        return self._followed or frozenset()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._owner.poller.unwatch(self._socket.fileno())
            self._socket.close()
            self._source = None
            self._owner.closed(self)

    def _read(self) -> bool:
        """False once the client has hung up, or is not to be listened to any longer."""
        try:
            octets = self._socket.recv(READ_SLICE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._in += octets
        return bool(octets) and len(self._in) <= varlink.LONGEST

    def _take_requests(self) -> None:
        allowance, has_taken = self._owner.allowance, False
        while self._may_take() and (allowance.requests > 0 or not has_taken):
            allowance.requests -= 1
            has_taken = True
            end = self._in.index(varlink.END)
            message = bytes(self._in[:end])
            del self._in[: end + 1]
            self._take(message)

    def _may_take(self) -> bool:
        """Whether a request is whole, and the answers before it are on their way."""
        return (
            self.is_open
            and not self._busy
            and len(self._out) < WRITE_SLICE
            and varlink.END in self._in
        )

    def _take(self, message: bytes) -> None:
        try:
            request = varlink.parse(message)
        except varlink.RequestError:
            self.close()
            return
        self._busy = not request.oneway
        self._owner.touched(self)
        self._owner.called(self, request)

    def _write(self) -> None:
        if not self.is_open:
            return
        if self._source and len(self._out) < WRITE_SLICE:
            self._make(self._source)
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        self._owner.touched(self)

    def _make(self, source: Iterator[bytes]) -> None:
        """The next slice of what is made while it is sent; an empty piece ends it."""
        allowance = self._owner.allowance
        for piece in source:
            self._out += piece
            allowance.octets -= len(piece)
            if not piece or allowance.octets <= 0 or len(self._out) >= WRITE_SLICE:
                return
        self._source = None
        if self._source_is_final:
            self._busy = False

    def _watch(self) -> None:
        """Another turn is due while something waits that can go on."""
        if self.is_open:
            write = bool(self._out or self._source or self._may_take())
            self._owner.poller.watch(self._socket.fileno(), self.turn, write=write)
