"""The control socket: answers anyone, takes changes from root and group hbd, and never waits."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hbd import __version__
from hbd.core.model import SECOND
from hbd.report import varlink
from hbd.report.call import Answer, Call, Follow, Later, Stream
from hbd.report.connection import Allowance, Connection, Owner, Poller
from hbd.report.credentials import Credentials, credentials_of
from hbd.report.varlink import INTERFACE, SERVICE, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from hbd.report.varlink import JsonObject, Request

CLIENTS: Final = 64
CLIENTS_OF_ONE_USER: Final = 32
"""So that nobody keeps the others out."""
RESERVED: Final = 8
"""Beyond all that, for those who may change something."""
ACCEPT_SLICE: Final = 16
"""New clients in one turn of the loop."""
BACKLOG: Final = 128
ACCEPT_PAUSE: Final = 1 * SECOND
"""When no descriptor is left for another client."""

_DESCRIPTIONS: Final = {
    INTERFACE: varlink.DESCRIPTION,
    SERVICE: varlink.SERVICE_DESCRIPTION,
}


class SocketTakenError(Exception):
    """The control socket cannot be had; the text says why."""


class ControlServer:
    """Serves `methods` (`Status`, …) at `path`; time comes in by `turn`."""

    def __init__(
        self,
        path: Path,
        methods: Mapping[str, Callable[[Call], Answer]],
        poller: Poller,
        group: int | None = None,
    ) -> None:
        """Members of `group` (a gid) may change things. SocketTakenError where `path` is taken."""
        self.refused = 0
        """Clients that found no room."""
        self._path = path
        self._methods = methods
        self._poller = poller
        self._group = group
        self._allowance = Allowance()
        self._owner = Owner(poller, self._allowance, self._called, self._touch, self._forget)
        self._connections: dict[Connection, None] = {}
        self._users: Counter[int] = Counter()
        self._touched: set[Connection] = set()
        self._due: int | None = None
        self._full = False
        """No descriptor is left: new clients wait."""
        self._again: int | None = None
        """Until then."""
        self._socket = _listening(path)
        self._inode = path.stat().st_ino
        poller.watch(self._socket.fileno(), self._accept)

    def turn(self, now: int) -> None:
        """At the end of every turn of the loop: clients that do nothing are dropped."""
        self._allowance.renew()
        for connection in self._touched:
            patience = connection.patience
            connection.deadline = None if patience is None else now + patience
        changed = bool(self._touched)
        self._touched.clear()
        if self._full and self._again is None:
            self._again, changed = now + ACCEPT_PAUSE, True
        due = self._due is not None and now >= self._due
        if due:
            self._drop_idle(now)
            self._accept_again(now)
        if due or changed:
            deadlines = [one.deadline for one in self._connections]
            told = [one for one in (*deadlines, self._again) if one is not None]
            self._due = min(told, default=None)

    def next_deadline(self) -> int | None:
        """When `turn` has something to do though nothing came."""
        return self._due

    def publish(self, peer: str, parameters: JsonObject) -> None:
        """Tell all who follow `peer`."""
        following = [one for one in self._connections if one.follows(peer)]
        if following:
            message = varlink.reply(parameters, continues=True)
            for connection in following:
                connection.answer(message, final=False)

    def removed(self, peers: Collection[str]) -> None:
        """Tell all who follow one of these by its name that there will be nothing more to tell."""
        for connection in list(self._connections):
            gone = connection.followed.intersection(peers)
            if gone:
                connection.follow(frozenset())
                refusal = varlink.refusal(RefusedError("NoSuchPeer", name=min(gone)))
                connection.answer(refusal, final=True)

    def close(self) -> None:
        """Drop every client, and remove the socket if it is still ours."""
        for connection in list(self._connections):
            connection.close()
        if not self._full:
            self._poller.unwatch(self._socket.fileno())
        self._socket.close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _drop_idle(self, now: int) -> None:
        for connection in list(self._connections):
            if connection.deadline is not None and now >= connection.deadline:
                connection.close()

    def _accept_again(self, now: int) -> None:
        if self._again is not None and now >= self._again:
            self._full, self._again = False, None
            self._poller.watch(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPT_SLICE):
            try:
                stream, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._poller.unwatch(self._socket.fileno())
                    self._full = True
                    return
                continue  # The client has gone already.
            self._welcome(stream)

    def _welcome(self, stream: socket.socket) -> None:
        stream.settimeout(0)
        credentials = credentials_of(stream)
        if not self._has_room(credentials):
            self.refused += 1
            _turn_away(stream)
            return
        connection = Connection(stream, credentials, self._owner)
        self._connections[connection] = None
        self._users[credentials.uid] += 1
        self._touch(connection)

    def _has_room(self, credentials: Credentials) -> bool:
        if credentials.may_change(self._group):
            return len(self._connections) < CLIENTS + RESERVED
        return (
            len(self._connections) < CLIENTS and self._users[credentials.uid] < CLIENTS_OF_ONE_USER
        )

    def _touch(self, connection: Connection) -> None:
        self._touched.add(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        self._touched.discard(connection)
        uid = connection.credentials.uid
        self._users[uid] -= 1
        if not self._users[uid]:
            del self._users[uid]

    def _called(self, connection: Connection, request: Request) -> None:
        caller = _Silent() if request.oneway else connection
        try:
            answer = self._answer(connection, request, caller)
        except RefusedError as error:
            caller.answer(varlink.refusal(error), final=True)
            return
        if request.oneway:
            return
        match answer:
            case Later():
                pass
            case Follow():
                connection.follow(answer.peers)
                first = (varlink.reply(one, continues=True) for one in answer.first)
                connection.stream(first, final=False)
            case Stream():
                connection.stream(varlink.whole(answer.pieces), final=True)
            case _:
                connection.answer(varlink.reply(answer), final=True)

    def _answer(
        self, connection: Connection, request: Request, caller: Connection | _Silent
    ) -> Answer:
        interface, _, name = request.method.rpartition(".")
        credentials = connection.credentials
        call = Call(
            name,
            request.parameters,
            request.more,
            credentials,
            credentials.may_change(self._group),
            caller,
        )
        if interface == SERVICE:
            return self._service(call)
        if interface != INTERFACE:
            raise RefusedError(f"{SERVICE}.InterfaceNotFound", interface=interface)
        if name not in self._methods:
            raise RefusedError(f"{SERVICE}.MethodNotFound", method=name)
        return self._methods[name](call)

    def _service(self, call: Call) -> JsonObject:
        if call.method == "GetInfo":
            return {
                "vendor": "hbd",
                "product": "hbd",
                "version": __version__,
                "url": "",
                "interfaces": list(_DESCRIPTIONS),
            }
        if call.method != "GetInterfaceDescription":
            raise RefusedError(f"{SERVICE}.MethodNotFound", method=call.method)
        interface = call.text("interface") or ""
        if interface not in _DESCRIPTIONS:
            raise RefusedError(f"{SERVICE}.InterfaceNotFound", interface=interface)
        return {"description": _DESCRIPTIONS[interface]}


class _Silent:
    """Who asked wants no answer."""

    def answer(self, message: bytes, *, final: bool) -> None: ...


def _turn_away(stream: socket.socket) -> None:
    with stream, suppress(OSError):
        stream.send(varlink.refusal(RefusedError("Busy")))


def _listening(path: Path) -> socket.socket:
    """A socket bound at `path`; a stale one is replaced, one that answers is not."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        # Everybody may ask; who may change something is decided call by call. Not by chmod, which
        # would follow a link that somebody put there since.
        umask = os.umask(0o111)
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
    except (OSError, SocketTakenError) as error:
        listener.close()
        if isinstance(error, SocketTakenError):
            raise
        raise SocketTakenError(f"cannot make {path}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SocketTakenError(f"{path} is there, but no socket: remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            raise SocketTakenError(f"another daemon already listens at {path}") from None
        pid = credentials_of(probe).pid
    raise SocketTakenError(f"another daemon (process {pid}) already answers at {path}")
