"""`hbd web`: the status page, the metrics and the JSON over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from hbd.report.client import RemoteError
from hbd.report.notify import Notifier
from hbd.report.words import is_name, one_line
from hbd.web import guard, page
from hbd.web.board import Board
from hbd.web.giving import Giver, NoRoomError, hang_up
from hbd.web.guard import Guard
from hbd.web.metrics import Fleet, is_answering
from hbd.web.watcher import FAILURES, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE: Final = 10.0
"""Seconds without an answer after which the daemon counts as not answering."""
VIEWERS: Final = 64
"""Event streams at a time."""
EXPLANATIONS: Final = 2
"""Questions for an explanation at a time, so that they leave a thread for the figures."""
REST: Final = 0.02
"""Seconds after an explanation in which its place is not given to another: each costs the daemon
half a millisecond, and whoever reaches the page may ask."""
FRESH: Final = 1.0
"""Seconds for which metrics or JSON once made serve others who ask."""
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
LEAVE: Final = 1.0
"""Seconds to finish answers in when we stop."""

STATIC: Final = {
    "hbd.css": "text/css",
    "status.js": "text/javascript",
    "peer.js": "text/javascript",
    "link.js": "text/javascript",
    "hbd.svg": "image/svg+xml",
}


class Site:
    """What is answered under which path."""

    def __init__(self, board: Board, watcher: Watcher, judge: Guard) -> None:
        self._board: Final = board
        self._watcher: Final = watcher
        self._guard: Final = judge
        self._registry: Final = CollectorRegistry()
        self._registry.register(Fleet(board, PATIENCE))
        self._rendering: Final = asyncio.Lock()
        self._rendered: dict[tuple[str, bool, bool], tuple[float, bytes]] = {}
        self._json_made: tuple[float, bytes] = (-FRESH, b"")
        self._giver: Final = Giver()
        self._explaining: Final = asyncio.Semaphore(EXPLANATIONS)
        self._viewers = 0
        static = files("hbd.web") / "static"
        self._static: Final = {name: (static / name).read_bytes() for name in STATIC}

    def application(self) -> web.Application:
        """Give the application, its guard before it."""

        @web.middleware
        async def judge(request: web.Request, handler: guard.Handler) -> web.StreamResponse:
            return await self._guard.judge(request, handler)

        application = web.Application(middlewares=[judge], client_max_size=1024)
        application.on_response_prepare.append(guard.add_safety)
        application.add_routes(
            [
                web.get("/", self._status),
                web.get("/peer/{name}", self._peer),
                web.get("/events", self._events, allow_head=False),
                web.get("/metrics", self._metrics),
                web.get("/api/status", self._json),
                web.get("/healthz", self._health),
                web.get("/static/{name}", self._file),
            ]
        )
        return application

    async def _status(self, _request: web.Request) -> web.Response:
        return _html(page.status())

    async def _peer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        known = self._board.peers.get(name)
        if known is None:
            words = (
                f"There is no such peer: {one_line(name, guard.SHOWN)}"
                if self._board.head
                else _silence(self._board)
            )
            return _html(page.missing(words), 404 if self._board.head else 503)
        try:
            answer = await self._explained(name)
        except RemoteError as error:
            if error.name == "NoSuchPeer":
                return _html(page.missing(f"There is no such peer any more: {name}"), 404)
            answer = None
        trouble = "" if answer is not None else _silence(self._board)
        answer = answer or {"peer": json.loads(known.text)}
        return _html(page.peer(name, answer, self._board, trouble))

    async def _explained(self, name: str) -> dict[str, Any] | None:
        """Give None where the daemon does not answer; RemoteError where it refuses."""
        if self._board.trouble:
            return None  # nobody is to wait for what is known not to come
        await self._explaining.acquire()
        try:
            return await self._watcher.explain(name)
        except RemoteError:
            raise
        except FAILURES:
            return None
        finally:
            asyncio.get_running_loop().call_later(REST, self._explaining.release)

    async def _json(self, request: web.Request) -> web.StreamResponse:
        if not self._board.head:
            text = json.dumps({"error": _silence(self._board)})
            return web.Response(status=503, text=text, content_type="application/json")
        age = self._board.age or 0.0
        made, octets = self._json_made
        if time.monotonic() - made > FRESH:
            octets = self._board.status()
            self._json_made = time.monotonic(), octets
        headers = {"Content-Type": "application/json; charset=utf-8", "Age": str(int(age))}
        return await self._giver.answer(request, octets, headers)

    async def _health(self, _request: web.Request) -> web.Response:
        if is_answering(self._board, PATIENCE):
            return web.Response(text="the daemon answers\n")
        return web.Response(status=503, text=f"{_silence(self._board)}\n")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        return web.Response(body=self._static[name], content_type=STATIC[name], charset="utf-8")

    # -- metrics ------------------------------------------------------------------------------

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        accepted = request.headers.get("Accept", "")
        # A client may invent versions: each would be rendered, and kept, by itself.
        encode, kind = choose_encoder(OPENMETRICS if "openmetrics" in accepted else "")
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        wanted = (kind, packed, is_answering(self._board, PATIENCE))
        async with self._rendering:
            made, octets = self._rendered.get(wanted, (0.0, b""))
            if time.monotonic() - made > FRESH:
                octets = await asyncio.to_thread(self._render, encode, packed=packed)
                self._rendered[wanted] = (time.monotonic(), octets)
        headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
        return await self._giver.answer(request, octets, headers)

    def _render(self, encode: Callable[[CollectorRegistry], bytes], *, packed: bool) -> bytes:
        octets = encode(self._registry)
        return gzip.compress(octets, 1) if packed else octets

    # -- events -------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        peer = request.query.get("peer")
        if peer is not None and not is_name(peer):
            raise web.HTTPBadRequest(text="no name of a peer\n")
        if self._viewers >= VIEWERS:
            return web.Response(status=503, text="too many viewers\n", headers={"Retry-After": "5"})
        self._guard.is_endless(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._viewers += 1
        try:
            await response.prepare(request)
            await self._tell(response, _seen(request), peer)
        except (NoRoomError, TimeoutError, ConnectionError):
            hang_up(request)  # a browser comes back
        finally:
            self._viewers -= 1
        return response

    async def _tell(self, response: web.StreamResponse, seen: int, peer: str | None) -> None:
        while not self._board.is_closed:
            seen, octets = self._board.after(seen, peer)
            if octets:
                await self._giver.tell(response, octets)
            await self._board.wait(seen)


def _seen(request: web.Request) -> int:
    """Give the last message that a viewer who comes back has had."""
    last = request.headers.get("Last-Event-ID", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 16 else -1  # noqa: PLR2004


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")


def _silence(board: Board) -> str:
    age = board.age
    when = "has not answered yet" if age is None else f"answered {age:.0f} s ago for the last time"
    return f"The daemon {when}: {board.trouble or 'waiting'}"


async def serve(host: str, port: int, names: tuple[str, ...], control: Path) -> None:
    """Serve until SIGTERM or SIGINT; OSError where the address cannot be bound."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(guard.complain)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    board, judge = Board(), Guard(names)
    watcher, notifier = Watcher(board, control), Notifier(os.environ)
    runner = web.AppRunner(
        Site(board, watcher, judge).application(),
        logger=guard.logger(),
        access_log=None,
        keepalive_timeout=guard.IDLE,
        max_line_size=guard.LINE,
        max_field_size=guard.LINE,
        max_headers=guard.HEADERS,
        lingering_time=1.0,
    )
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 - since setup
    listener = await loop.create_server(lambda: _welcome(server, judge), host, port)
    address = listener.sockets[0].getsockname()
    sys.stdout.write(f"hbd web: http://{_endpoint(*address[:2])}/\n")
    sys.stdout.flush()
    tasks = {
        asyncio.create_task(watcher.run(notifier.watchdog)),
        asyncio.create_task(judge.sweep(server)),
        asyncio.create_task(stop.wait()),
    }
    notifier.ready()
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    notifier.stopping()
    listener.close()
    board.close()
    for task in rest:
        task.cancel()
    await server.shutdown(LEAVE)
    await runner.cleanup()
    for task in done:
        task.result()  # a bug of ours ends the process, with what it was


def _welcome(server: web.Server, judge: Guard) -> asyncio.Protocol:
    if len(server.connections) >= guard.CONNECTIONS:
        return guard.Refusal()
    return guard.Gate(judge, server())


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(host: str, port: int, names: tuple[str, ...], control: Path) -> None:
    """Run `serve` until it is told to stop."""
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(host, port, names, control))
