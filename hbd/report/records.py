"""What is kept of a peer over a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hbd.core.model import Cause, State
from hbd.core.peer import Pause
from hbd.report.words import END


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A peer's state; `since` is the wall clock, nanoseconds since 1970."""

    name: str
    state: State
    cause: Cause | None
    since: int
    pause: Pause | None = None


def to_json(record: PeerRecord) -> list[object]:
    """For the store."""
    return [record.name, record.state, record.cause, record.since, record.pause]


def from_json(value: Any) -> PeerRecord:
    """What `to_json` made; ValueError for anything else."""
    try:
        name, state, cause, since, told = value
        pause = None if told is None else Pause(_moment(told[0]), str(told[1]), str(told[2]))
        return PeerRecord(
            str(name), State(state), None if cause is None else Cause(cause), _moment(since), pause
        )
    except (TypeError, LookupError, OverflowError) as error:
        raise ValueError("not a stored peer") from error


def _moment(value: Any) -> int:
    moment = int(value)
    if not 0 <= moment < END:
        raise ValueError("not a moment")
    return moment
