"""Asks the daemon, once for all viewers, and no more than it can give without noticing.

Changes of state come by themselves (Watch). Figures and evidence are asked for in slices: of few
peers all each second, of very many each of them once in half a minute.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hbd.report import varlink
from hbd.report.answer import NoDaemonError
from hbd.report.client import Client, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hbd.web.board import Board

PERIOD: Final = 1.0
"""Seconds between two questions."""
ROUND: Final = 30
"""Every peer is asked about within so many questions."""
FEW: Final = 50
"""So many peers are asked about at once anyway: it takes the daemon 2 ms or 3."""
MANY: Final = 500
"""Names in one question: it has to be shorter than 64 KiB."""
HASTE: Final = 0.25
"""Seconds between questions for the evidence of changes: a storm must not become two."""
TOGETHER: Final = 0.1
"""Seconds in which changes become one message: of a storm there are thousands."""
PATIENCE: Final = 5.0
"""Seconds that an answer may take."""
AGAIN: Final = (1.0, 1.0, 2.0, 5.0)
"""Seconds after which a daemon that did not answer is asked again: the more often, the later."""
ANEW: Final = 10.0
"""So many seconds apart everything is asked for at most, where changes cease to be told."""

FAILURES: Final = (NoDaemonError, RemoteError, OSError, ValueError)
"""What asking may end with; ValueError: it was killed meanwhile, or is of another version."""


class Watcher:
    """Keeps the board up to date; `run` for ever."""

    def __init__(self, board: Board, path: Path) -> None:
        self._board: Final = board
        self._path: Final = path
        self._client: Final = Client(path, timeout=PATIENCE)
        self._urgent: dict[str, float] = {}
        """Peers whose change was told, and when: their evidence is asked for first."""
        self._hurry: Final = asyncio.Event()
        self._changes: list[dict[str, Any]] = []
        """Told and not taken yet."""
        self._names: list[str] = []
        self._next = 0
        self._run: tuple[object, ...] | None = None
        """Which run of the daemon, after which reload; None: all is to be asked anew."""
        self._stream: _Stream | None = None
        self._begun = 0.0

    async def run(self, beat: Callable[[], None]) -> None:
        """Ask and ask again; `beat` is called once in each round."""
        due, failed = time.monotonic(), 0
        while True:
            beat()
            try:
                await self._ask()
                failed = 0
                due = max(due + PERIOD, time.monotonic())
                await self._until(due)
            except FAILURES as error:
                self._run = None
                self._board.fail(_why(error))
                await asyncio.sleep(AGAIN[min(failed, len(AGAIN) - 1)])
                failed += 1

    async def explain(self, peer: str) -> dict[str, Any]:
        """Give the words for the state of a peer, from what the daemon knows already."""
        return await asyncio.to_thread(self._client.call, "Explain", peer=peer, known=True)

    async def _until(self, due: float) -> None:
        """Wait; ask for what has changed meanwhile."""
        while (left := due - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()
            if self._urgent:
                await self._ask_for(list(self._urgent)[:MANY])
                await asyncio.sleep(min(HASTE, max(due - time.monotonic(), 0)))
            else:
                self._hurry.clear()

    async def _ask(self) -> None:
        is_deaf = self._stream is None or self._stream.has_ended
        if self._run is None or (is_deaf and time.monotonic() >= self._begun + ANEW):
            await self._begin()
        else:
            await self._ask_for(self._slice())
        self._board.tick()
        if self._run is not None and self._run != self._of_now():
            self._run = None

    async def _begin(self) -> None:
        """Ask for everything, after the changes have begun to be told."""
        if self._stream is None or self._stream.has_ended:
            self._stream = _Stream(self._path, self._told)
        self._begun = time.monotonic()
        head, texts = await self._answer(None)
        self._board.take(head, texts, whole=True)
        self._run = self._of_now()
        self._names, self._next = list(self._board.peers), 0
        # Their lines may have been written before they changed.
        self._urgent = {name: at for name, at in self._urgent.items() if at > self._begun}

    async def _ask_for(self, names: list[str]) -> None:
        at = time.monotonic()
        try:
            head, texts = await self._answer(names)
        except RemoteError as error:
            if error.name != "NoSuchPeer":
                raise
            self._run = None  # a reload took it away
            self._forget(list(self._urgent))
            return
        # Of what changed while the answer was made, another one tells.
        stale = {name for name, told in self._urgent.items() if told > at}
        asked = zip(names, texts, strict=bool(names))
        self._board.take(head, [text for name, text in asked if name not in stale])
        self._forget([name for name in names if name not in stale])

    def _forget(self, names: list[str]) -> None:
        for name in names:
            self._urgent.pop(name, None)
        if not self._urgent:
            self._hurry.clear()

    async def _answer(self, names: list[str] | None) -> tuple[bytes, list[bytes]]:
        octets = await asyncio.to_thread(self._client.octets, "Status", peers=names)
        head, _, rest = octets.partition(varlink.PEERS)
        lines = rest.split(b"\n")[1:-1]
        return head + b"}", [line.removesuffix(b",") for line in lines if line]

    def _slice(self) -> list[str]:
        size = min(max(FEW, -(-len(self._names) // ROUND)), MANY)
        first, self._next = self._next, self._next + size
        if self._next >= len(self._names):
            self._next = 0
        urgent = list(self._urgent)[:size]
        return list(dict.fromkeys((*urgent, *self._names[first : first + size])))[:MANY]

    def _of_now(self) -> tuple[object, ...]:
        head = self._board.head
        return head.get("pid"), head.get("started"), head.get("reloads", {}).get("done")

    def _told(self, change: dict[str, Any]) -> None:
        if not self._changes:
            asyncio.get_running_loop().call_later(TOGETHER, self._take_changes)
        self._changes.append(change)

    def _take_changes(self) -> None:
        changes, self._changes = self._changes, []
        names = self._board.take_changes(changes)
        if self._run is None:
            names = [name for name in names if name in self._board.peers]  # all is asked for
        self._urgent |= dict.fromkeys(names, time.monotonic())
        if names:
            self._hurry.set()


class _Stream:
    """The changes, read in a thread of its own, as it waits for them without end."""

    def __init__(self, path: Path, told: Callable[[dict[str, Any]], None]) -> None:
        self.has_ended = False
        self._client = Client(path, timeout=PATIENCE)
        self._told = told
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="changes", daemon=True).start()

    def _read(self) -> None:
        # RuntimeError: our own loop has ended.
        with suppress(*FAILURES, RuntimeError):
            for change in self._client.stream("Watch"):
                self._loop.call_soon_threadsafe(self._told, change)
        self.has_ended = True


def _why(error: Exception) -> str:
    if isinstance(error, NoDaemonError | RemoteError):
        return str(error)
    if isinstance(error, PermissionError):
        return "not permitted to open the control socket"
    return f"cannot ask the daemon: {error}"
