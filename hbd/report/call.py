"""A request as the daemon's methods see it, and what they may answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hbd.report.varlink import SERVICE, JsonObject, RefusedError, refusal, reply

if TYPE_CHECKING:
    from hbd.report.credentials import Credentials


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
