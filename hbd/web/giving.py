"""Big answers, given in slices: what slow readers keep in memory is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SLICE: Final = 1 << 16
"""Octets that are handed to the connection at once: it copies what it cannot send yet."""
STALLED: Final = 10.0
"""Seconds for which nothing of a slice may be read."""
ROOM: Final = 256 << 20
"""Octets of all answers under way; those who are given the same share it."""


class Giver:
    """Knows what is under way."""

    def __init__(self, room: int = ROOM) -> None:
        self._room: Final = room
        self._readers: Counter[int] = Counter()
        self._octets = 0

    async def answer(
        self, request: web.Request, octets: bytes, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Answer with all of it, or that there is no room."""
        if request.method == "HEAD" or len(octets) <= SLICE:
            return web.Response(body=octets, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_length = len(octets)
        try:
            with self._held(octets):
                await response.prepare(request)
                await self._write(response, octets)
        except NoRoomError:
            words = "too many slow readers\n"
            return web.Response(status=503, text=words, headers={"Retry-After": "5"})
        except (TimeoutError, ConnectionError):
            hang_up(request)
        return response

    async def tell(self, response: web.StreamResponse, octets: bytes) -> None:
        """Add to an answer; NoRoomError, TimeoutError or ConnectionError where that fails."""
        with self._held(octets):
            await self._write(response, octets)

    async def _write(self, response: web.StreamResponse, octets: bytes) -> None:
        for begin in range(0, len(octets), SLICE):
            # Not wait_for: until Python 3.12 it may lose that it was cancelled.
            async with asyncio.timeout(STALLED):
                await response.write(octets[begin : begin + SLICE])

    @contextmanager
    def _held(self, octets: bytes) -> Iterator[None]:
        key, size = id(octets), len(octets)
        if key not in self._readers:
            if self._octets and self._octets + size > self._room:
                raise NoRoomError
            self._octets += size
        self._readers[key] += 1
        try:
            yield
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self._octets -= size


class NoRoomError(Exception):
    """Slow readers keep too much already."""


def hang_up(request: web.Request) -> None:
    """Drop what waits for a reader that does not read."""
    if request.transport is not None:
        request.transport.abort()
