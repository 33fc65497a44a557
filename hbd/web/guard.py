"""Who may ask what: only questions, only under a name of ours, and only so many at once."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hbd.report.words import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"

CONNECTIONS: Final = 256
IDLE: Final = 10.0
"""Seconds for which a connection may ask nothing whole."""
LONGEST: Final = 60.0
"""Seconds that an answer may take to be read, but for the event stream, which is never done."""
SWEEP: Final = 2.0

LINE: Final = 4096
"""Octets of the request line, and of one header."""
HEADERS: Final = 16 * 1024
WAITING: Final = LINE + HEADERS
"""Octets of requests that may wait on a connection for the answers to others, as those behind an
event stream: aiohttp would keep any number of them, fifty times as big."""
SHOWN: Final = 100
"""Characters of what a stranger named, in an answer."""

# Nothing from elsewhere, nothing written into the page, and the page in nobody's frame.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFETY: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "hbd",
}


class Guard:
    """Judges requests, and ends connections that only take up room."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`names` are those under which we are asked, beside this machine's own."""
        own = socket.gethostname()
        self._names = {name.lower() for name in ("localhost", own, own.partition(".")[0], *names)}
        self._asked: dict[Any, float] = {}
        """When a connection asked last, or was seen first."""
        self._busy: dict[Any, float] = {}
        self._waiting: Counter[Any] = Counter()
        """Octets, by connection."""

    def allows(self, host: str | None) -> bool:
        """Whether a Host header names us; who sends none is no browser.

        A page elsewhere whose name was made to point here (DNS rebinding) comes with its own
        name; an address cannot be rebound.
        """
        if host is None:
            return True
        name = _without_port(host.lower())
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    async def judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what is a question to us; a middleware."""
        connection = request.protocol
        self._waiting[connection] -= min(_size(request), self._waiting[connection])
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        # Not request.host, which without the header asks the DNS, and holds up everybody.
        host = request.headers.get("Host")
        if not self.allows(host):
            text = (
                f"{one_line(host or '', SHOWN)} is no name of this hbd web: ask by its address, or"
                " add the name with --host\n"
            )
            return web.Response(status=421, text=text)
        self._busy[connection] = time.monotonic()
        try:
            return await handler(request)
        finally:
            self._busy.pop(connection, None)
            self._asked[connection] = time.monotonic()

    def takes(self, connection: Any, octets: int) -> bool:
        """Whether so many more may come on a connection now."""
        self._waiting[connection] += octets
        return self._waiting[connection] <= WAITING

    def forget(self, connection: Any) -> None:
        """It has ended."""
        del self._waiting[connection]

    def is_endless(self, request: web.Request) -> None:
        """The answer to this request may take as long as it likes."""
        self._busy[request.protocol] = float("inf")

    async def sweep(self, server: web.Server) -> None:
        """For ever: end connections that say nothing, or read nothing."""
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            open_now = set(server.connections)
            for kept in (self._asked, self._busy):
                for gone in kept.keys() - open_now:
                    del kept[gone]
            for connection in open_now:
                since = self._busy.get(connection)
                if since is None:
                    is_over = now > self._asked.setdefault(connection, now) + IDLE
                else:
                    is_over = now > since + LONGEST
                if is_over and connection.transport is not None:
                    connection.transport.abort()


class Gate(asyncio.Protocol):
    """Stands before a connection of aiohttp's, and ends one on which too much comes."""

    def __init__(self, judge: Guard, inner: asyncio.Protocol) -> None:
        self._guard: Final = judge
        self._inner: Final = inner
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what is not too much."""
        if self._guard.takes(self._inner, len(data)):
            self._inner.data_received(data)
        elif self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._inner.connection_lost(exc)
        self._guard.forget(self._inner)


class Refusal(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up at once."""
        transport.close()


async def add_safety(_: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every answer has."""
    for name, value in SAFETY.items():
        response.headers[name] = value


def logger() -> logging.Logger:
    """Give a log in which strangers' bytes and hung-up connections make no tracebacks."""
    log = logging.getLogger("hbd.web")
    if not log.filters:
        log.addFilter(_is_ours)
    return log


def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what went wrong in the loop, unless aiohttp met what is no request; it hangs up then."""
    error = context.get("exception")
    is_of_reading = "protocol" in context and isinstance(error, ValueError)
    if not (is_of_reading or _is_of_aiohttp(error)):
        loop.default_exception_handler(context)


def _is_of_aiohttp(error: BaseException | None) -> bool:
    """Whether it was raised where aiohttp looks at a request that none of ours has seen yet."""
    files = [
        frame.filename for frame in traceback.extract_tb(error.__traceback__ if error else None)
    ]
    return any("/aiohttp/" in file for file in files) and not any(
        "/hbd/web/" in file for file in files
    )


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    # UnicodeEncodeError: aiohttp repeats an Expect header that is no text.
    strangers = HttpProcessingError | ConnectionError | web.HTTPException | UnicodeEncodeError
    return not isinstance(error, strangers)


def _size(request: web.Request) -> int:
    """Give the octets that it took, as programs write it."""
    line = len(request.method) + len(request.raw_path) + len("  HTTP/1.1\r\n\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
