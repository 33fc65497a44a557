"""What an entry of the journal told, as values; all times are nanoseconds.

The journal holds texts that were true once and are read as a stranger's: an entry that is not as
ours are gives a ValueError, and the report counts it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import MICROSECOND, State
from hbd.report.kinds import KINDS, Kind
from hbd.report.words import END

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LABEL: Final = "HBD_LABEL_"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What journald itself says of an entry: when it came, on both clocks, and from whom."""

    boot: str
    wall: int
    real: int
    """Monotonic, since the machine was booted."""
    process: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A peer's state is another, or the cause of its state is better known."""

    peer: str
    previous: State
    state: State
    cause: str
    """Empty where there is none."""
    lasted: int | None
    """How long the previous state did; of a better known cause, this state until then."""
    address: str = ""
    evidence: str = ""
    detection: int | None = None
    previous_cause: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Flapped:
    """A peer began or ceased to flap."""

    peer: str
    is_flapping: bool


@dataclass(frozen=True, slots=True)
class Started:
    """hbd was started."""

    unwatched: int | None
    """For how long nobody had watched; None where that is not known."""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """hbd was stopped cleanly."""


@dataclass(frozen=True, slots=True)
class Absent:
    """hbd did not run for so long, until the moment of the entry."""

    duration: int
    is_suspend: bool


class Row(NamedTuple):
    """One peer in a snapshot."""

    peer: str
    state: State
    cause: str
    since: int
    detection: int | None
    """How long it takes to notice its silence; None in entries of earlier versions."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of some or all peers."""

    occasion: str
    count: int
    """Of all peers, in this entry and its other parts."""
    text: str
    """Of the rows: many are read, few are wanted at the same time."""

    def rows(self) -> list[Row]:
        """ValueError where they are not as ours are."""
        told = json.loads(self.text)
        if not isinstance(told, list):
            raise ValueError("not a list of peers")  # noqa: TRY004 - one error for all damage
        return [_row(row) for row in told]


@dataclass(frozen=True, slots=True)
class Happened:
    """Any other kind."""

    kind: Kind
    count: int | None = None
    common: str = ""


News = Changed | Flapped | Started | Stopped | Absent | Snapshot | Happened


@dataclass(frozen=True, slots=True)
class Told:
    """One entry."""

    event_id: str
    since: int
    """When it happened, on the wall clock of then."""
    receipt: Receipt
    news: News


def told(fields: Mapping[str, str], receipt: Receipt) -> Told:
    """Give what an entry told; ValueError where it is not one of ours."""
    event_id, event = fields.get("HBD_EVENT_ID"), fields.get("HBD_EVENT")
    if not event_id or not event:
        raise ValueError("not an entry of hbd")
    kind = Kind(event)
    try:
        news = _READ.get(kind, _happened)(fields)
        return Told(event_id, _moment(fields["HBD_SINCE"]), receipt, news)
    except (LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not as an entry {kind} is") from error


def message_ids() -> list[str]:
    """Those of all kinds."""
    return [text.message_id for text in KINDS.values()]


def _changed(fields: Mapping[str, str]) -> Changed:
    return Changed(
        peer=fields["HBD_PEER"],
        previous=State(fields["HBD_PREVIOUS_STATE"]),
        state=State(fields["HBD_STATE"]),
        cause=fields.get("HBD_CAUSE", ""),
        lasted=_span(fields, "HBD_DURATION_USEC"),
        address=fields.get("HBD_ADDRESS", ""),
        evidence=fields.get("HBD_EVIDENCE", ""),
        detection=_span(fields, "HBD_DETECTION_USEC"),
        previous_cause=fields.get("HBD_PREVIOUS_CAUSE", ""),
        labels=tuple(
            (name.removeprefix(LABEL).lower(), value)
            for name, value in sorted(fields.items())
            if name.startswith(LABEL)
        ),
    )


def _flapped(fields: Mapping[str, str]) -> Flapped:
    return Flapped(fields["HBD_PEER"], fields["HBD_FLAPPING"] == "1")


def _started(fields: Mapping[str, str]) -> Started:
    return Started(_span(fields, "HBD_DURATION_USEC"), fields.get("HBD_NODE", ""))


def _stopped(_: Mapping[str, str]) -> Stopped:
    return Stopped()


def _stalled(fields: Mapping[str, str]) -> Absent | Happened:
    if "HBD_IN_PIECES" in fields:  # it ran all along, a little late each time
        return Happened(Kind.STALL)
    return Absent(_span(fields, "HBD_DURATION_USEC") or 0, is_suspend=False)


def _woke(fields: Mapping[str, str]) -> Absent:
    return Absent(_span(fields, "HBD_DURATION_USEC") or 0, is_suspend=True)


def _snapshot(fields: Mapping[str, str]) -> Snapshot:
    return Snapshot(
        fields["HBD_OCCASION"], _number(int(fields["HBD_COUNT"])), fields["HBD_SNAPSHOT"]
    )


def _happened(fields: Mapping[str, str]) -> Happened:
    count = fields.get("HBD_COUNT")
    number = None if count is None else _number(int(count))
    return Happened(Kind(fields["HBD_EVENT"]), number, fields.get("HBD_COMMON", ""))


_READ: Final[Mapping[Kind, Callable[[Mapping[str, str]], News]]] = {
    Kind.STATE: _changed,
    Kind.FLAPPING: _flapped,
    Kind.START: _started,
    Kind.STOP: _stopped,
    Kind.STALL: _stalled,
    Kind.WAKE: _woke,
    Kind.SNAPSHOT: _snapshot,
}


def _row(told: list[object]) -> Row:
    try:
        name, state, cause, since, *more = told
        detection = None if not more or more[0] is None else _number(more[0]) * MICROSECOND
        moment = _number(since) * MICROSECOND
        return Row(str(name), State(str(state)), str(cause or ""), moment, detection)
    except TypeError as error:
        raise ValueError("not a peer in a snapshot") from error


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < END // MICROSECOND:
        raise ValueError("not a number of peers, entries or microseconds")
    return value


def _span(fields: Mapping[str, str], name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else _number(int(value)) * MICROSECOND


def _moment(text: str) -> int:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a moment without its zone")
    return _number((when - _EPOCH) // timedelta(microseconds=1)) * MICROSECOND
