"""A request as the daemon's methods see it, and what they may answer."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from hbd.report.varlink import SERVICE, JsonObject, RefusedError, refusal, reply

_SO_PEERGROUPS: Final = 59
_GROUPS_OCTETS: Final = 1024
"""Python's getsockopt takes no more: 256 groups."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, by SO_PEERCRED and SO_PEERGROUPS."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def may_change(self, group: int | None) -> bool:
        """Whether it is root, the daemon's own user, or a member of `group`."""
        return self.uid in (0, os.getuid()) or (
            group is not None and (group == self.gid or group in self.groups)
        )


def credentials_of(connection: socket.socket) -> Credentials:
    """Of the process at the other end, as it was when it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, gid = struct.unpack("iII", raw)
    try:
        listed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_OCTETS)
    except OSError:
        # More than 256 groups, or an old kernel: the first group decides.
        listed = b""
    return Credentials(pid, uid, gid, frozenset(struct.unpack(f"{len(listed) // 4}I", listed)))


@dataclass(frozen=True, slots=True)
class Stream:
    """A big answer: the JSON text of its parameters in pieces, made while it is sent."""

    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Later:
    """The daemon keeps the call and answers it by `Call.reply` or `Call.fail`."""


@dataclass(frozen=True, slots=True)
class Follow:
    """The caller is told of each change of `peers`, or of any where that is None."""

    peers: frozenset[str] | None
    first: Iterator[JsonObject]
    """Answers to begin with, made while they are sent."""


Answer = Mapping[str, object] | Stream | Later | Follow


class Caller(Protocol):
    """The connection of a call."""

    def answer(self, message: bytes, *, final: bool) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request of one client."""

    method: str
    """Without the interface: `Status`."""
    parameters: dict[str, Any]
    more: bool
    credentials: Credentials
    may_change: bool
    caller: Caller = field(repr=False)

    def reply(self, parameters: JsonObject) -> None:
        """Answer a call that was put off."""
        self.caller.answer(reply(parameters), final=True)

    def fail(self, name: str, /, **parameters: object) -> None:
        """Answer a call that was put off with an error."""
        self.caller.answer(refusal(RefusedError(name, **parameters)), final=True)

    def require_change(self) -> None:
        """RefusedError unless the caller may change things."""
        if not self.may_change:
            told = "needs root (sudo) or membership in the group hbd"
            raise RefusedError("PermissionDenied", help=told)

    def require_more(self) -> None:
        """RefusedError unless the caller takes several answers."""
        if not self.more:
            raise RefusedError(f"{SERVICE}.ExpectedMore")

    def text(self, name: str) -> str | None:
        """A parameter that is a string, or null; RefusedError for anything else."""
        value = self.parameters.get(name)
        return None if value is None else _checked(name, value, str)

    def number(self, name: str) -> int | None:
        """A parameter that is an integer of 64 bits, or null."""
        value = self.parameters.get(name)
        number = None if value is None else _checked(name, value, int)
        if number is not None and not -(1 << 63) <= number < 1 << 63:
            raise RefusedError(f"{SERVICE}.InvalidParameter", parameter=name)
        return number

    def flag(self, name: str) -> bool:
        """A parameter that is true or false; null is false."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise RefusedError(f"{SERVICE}.InvalidParameter", parameter=name)
        return value is True

    def texts(self, name: str) -> tuple[str, ...]:
        """A parameter that is a list of strings; null is an empty one."""
        values = self.parameters.get(name)
        listed = [] if values is None else _checked(name, values, list)
        return tuple(_checked(name, value, str) for value in listed)

    def mapping(self, name: str) -> dict[str, str]:
        """A parameter that is an object of strings; null is an empty one."""
        values = self.parameters.get(name)
        mapped = {} if values is None else _checked(name, values, dict)
        return {key: _checked(name, value, str) for key, value in mapped.items()}


_Kind = TypeVar("_Kind")


def _checked(name: str, value: object, kind: type[_Kind]) -> _Kind:
    # bool is an int to Python, but not to Varlink.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RefusedError(f"{SERVICE}.InvalidParameter", parameter=name)
    return value
