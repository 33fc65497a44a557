"""What the daemon answers, read by a program that may be of another version."""

from __future__ import annotations

from typing import Any, NoReturn


class NoDaemonError(Exception):
    """Nobody answers at the control socket."""


class TooLongError(NoDaemonError):
    """More is asked at once than a daemon reads."""


class OtherVersionError(NoDaemonError):
    """What answers is a daemon, but not as this program knows them."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the daemon's answer has no {what}: it is of another version than this program;"
            " sudo systemctl restart hbd"
        )


class Told(dict[str, Any]):
    """An object of an answer: OtherVersionError for what is not in it."""

    def __missing__(self, key: str) -> NoReturn:
        raise OtherVersionError(repr(key))


def why(peer: dict[str, Any]) -> str:
    """Give the cause of a peer where it says more than the state."""
    return peer["cause"] if peer["cause"] not in (None, peer["state"]) else ""


def can_be_forged(peer: dict[str, Any]) -> bool:
    """Whether a peer proves nothing at all, not even that it gets what we send."""
    return peer["protocol"] == "plain" and not peer["authenticated"]
