"""Asking the daemon over its control socket, as the commands do; this one waits for answers."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from hbd.report import varlink
from hbd.report.answer import NoDaemonError, Told, TooLongError
from hbd.report.credentials import credentials_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_SECONDS: Final = 60.0
"""A reload of a very big file takes some seconds."""
NO_HBD: Final = "what answers at the control socket is no hbd, or ended in the middle"
_SLICE: Final = 1 << 18


class RemoteError(Exception):
    """The daemon answered with an error."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        """`name` without the interface where it is one of io.hbd: `NoSuchPeer`."""
        self.name = name.removeprefix(f"{varlink.INTERFACE}.")
        self.parameters = parameters
        told = ", ".join(f"{key}={value}" for key, value in parameters.items())
        super().__init__(f"{self.name}: {told}" if told else self.name)


class Client:
    """Asks the daemon at `path`; every call is a connection of its own."""

    def __init__(self, path: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        """`timeout` is in seconds, for connecting and for each answer."""
        self._path = path
        self._timeout = timeout

    def process(self) -> int:
        """Which process the daemon is; NoDaemonError without one."""
        with self._connected() as stream:
            return credentials_of(stream).pid

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer to `Status` or another method of io.hbd.

        NoDaemonError without a daemon, RemoteError where it refuses, PermissionError where the
        socket may not be opened.
        """
        return read(self.octets(method, **parameters))

    def octets(self, method: str, **parameters: object) -> bytes:
        """The same as the JSON text that the daemon made of it: ten megabytes need no reading."""
        with self._connected() as stream:
            try:
                _send(stream, method, parameters, more=False)
                for message in _messages(stream, None):
                    if message.startswith(varlink.BEGIN):
                        return message[len(varlink.BEGIN) : -1]
                    raise _error(read(message))
            except TimeoutError as error:
                raise NoDaemonError(f"the daemon at {self._path} does not answer") from error
        raise NoDaemonError(f"the daemon at {self._path} hung up without an answer")

    def stream(
        self, method: str, *, timeout: float | None = None, **parameters: object
    ) -> Iterator[dict[str, Any]]:
        """Every answer to a call such as `Watch`, until the daemon ends them or the caller stops.

        TimeoutError `timeout` seconds after the call; None waits for ever.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._connected() as stream:
            _send(stream, method, parameters, more=True)
            stream.settimeout(None)
            for answer, continues in _answers(stream, until):
                yield answer
                if not continues:
                    return
        raise NoDaemonError(f"the daemon at {self._path} hung up")

    def _connected(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(self._timeout)
        try:
            stream.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
            stream.close()
            raise NoDaemonError(f"no daemon answers at {self._path}") from error
        except PermissionError:
            stream.close()
            raise
        except OSError as error:  # too long a path, or through a file
            stream.close()
            words = error.strerror or str(error)
            raise NoDaemonError(f"no daemon answers at {self._path}: {words}") from error
        return stream


def _send(stream: socket.socket, method: str, parameters: dict[str, object], *, more: bool) -> None:
    full = method if "." in method else f"{varlink.INTERFACE}.{method}"
    given = {key: value for key, value in parameters.items() if value is not None}
    question = varlink.request(full, given, more=more)
    if len(question) > varlink.LONGEST:
        words = "name fewer peers, or a pattern such as 'db*', and write less"
        raise TooLongError(f"more is asked at once than the daemon reads: {words}")
    try:
        stream.sendall(question)
    except (BrokenPipeError, ConnectionResetError):
        # Turned away: the reason stands in what it sent before.
        return


def _answers(stream: socket.socket, until: float | None) -> Iterator[tuple[dict[str, Any], bool]]:
    """Parameters of each answer, and whether more follow; RemoteError for an error."""
    for message in _messages(stream, until):
        told = read(message)
        if "error" in told:
            raise _error(told)
        yield told.get("parameters") or {}, bool(told.get("continues"))


def _error(told: dict[str, Any]) -> RemoteError:
    name, parameters = told.get("error"), told.get("parameters") or {}
    if not (isinstance(name, str) and isinstance(parameters, dict)):
        raise NoDaemonError(NO_HBD)
    return RemoteError(name, parameters)


def read(octets: bytes) -> dict[str, Any]:
    """Give the object that JSON text stands for; NoDaemonError where it is none."""
    try:
        told = json.loads(octets, object_hook=Told)
    except (ValueError, RecursionError) as error:
        raise NoDaemonError(NO_HBD) from error
    if not isinstance(told, dict):
        raise NoDaemonError(NO_HBD)
    return told


def _messages(stream: socket.socket, until: float | None) -> Iterator[bytes]:
    received: list[bytes] = []
    while octets := _received(stream, until):
        *ends, rest = octets.split(varlink.END)
        for end in ends:
            yield b"".join((*received, end))
            received.clear()
        received.append(rest)


def _received(stream: socket.socket, until: float | None) -> bytes:
    """What came; empty where the daemon hung up."""
    if until is not None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        stream.settimeout(left)
    try:
        return stream.recv(_SLICE)
    except ConnectionResetError:
        return b""
