"""What the detector says happened, as journal entries: the words, the fields and the priorities.

`event_id` is 128 random bits in hexadecimal, given by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.events import (
    FlappingChanged,
    Restarted,
    Stalled,
    StateChanged,
    Storm,
    Woke,
)
from hbd.core.model import Cause, State, Way
from hbd.report.causes import explanation, told
from hbd.report.compose import Fields, compose, usec
from hbd.report.entry import Entry, Priority
from hbd.report.explanation import commands
from hbd.report.kinds import Kind
from hbd.report.words import duration, peers_in_words

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings

PRIORITIES: Final = {
    State.DOWN: Priority.ERR,
    State.UNREACHABLE: Priority.WARNING,
    State.DEGRADED: Priority.WARNING,
    State.UP: Priority.NOTICE,
    State.LEFT: Priority.NOTICE,
    State.UNKNOWN: Priority.INFO,
    State.PAUSED: Priority.INFO,
}

TROUBLES: Final = frozenset(State) - {State.UP, State.PAUSED}

OWN_FAULTS: Final = frozenset(
    {Cause.SEND_BLOCKED, Cause.OWN_LINK, Cause.NO_ROUTE, Cause.OWN_UPLINK, Cause.OWN_STALL}
)


COMMAND_LENGTH: Final = 120
"""journalctl before 2022 inserts fields of at most 256 octets into the catalog's text."""


class UpWords(NamedTuple):
    """Of a peer that is up: at first, again, and again without trouble; hold {source} and {of}."""

    first: str
    again: str
    well: str


ANSWERS: Final = UpWords("first reply{of}", "{source} answers", "{source} answers as it should")
UP_WORDS: Final = {
    Way.TOLD: UpWords(
        "first heartbeat{of}",
        "heartbeats come{of}",
        "heartbeats come{of} as they should",
    ),
    Way.AGREED: UpWords(
        "BFD session with {source}",
        "BFD session with {source}",
        "BFD session with {source} as it should be",
    ),
}


def entry_of(event: FlappingChanged | Storm | Stalled | Woke | Restarted, event_id: str) -> Entry:
    """The entry of an event that needs no more than itself to be told."""
    match event:
        case FlappingChanged():
            return flapping_changed(event, event_id)
        case Storm():
            return storm(event, event_id)
        case Stalled():
            return stalled(event, event_id)
        case Woke():
            return woke(event, event_id)
        case Restarted():
            return restarted(event, event_id)


def state_changed(event: StateChanged, event_id: str, settings: PeerSettings) -> Entry:
    """A peer's new state, or the better known cause of the one it has."""
    explained = explanation(event.state, event.cause, settings)
    return compose(
        Kind.STATE,
        _state_priority(event),
        _state_message(event, settings),
        event_id=event_id,
        since=event.since,
        fields=(
            ("HBD_PEER", event.peer),
            ("HBD_STATE", event.state.value),
            ("HBD_PREVIOUS_STATE", event.previous.value),
            ("HBD_CAUSE", event.cause),
            ("HBD_PREVIOUS_CAUSE", event.previous_cause),
            ("HBD_ADDRESS", event.address),
            ("HBD_DURATION_USEC", usec(event.duration)),
            ("HBD_DETECTION_USEC", usec(event.detection)),
            ("HBD_RTT_USEC", usec(event.rtt)),
            ("HBD_LOSS_PERCENT", None if event.loss is None else f"{100 * event.loss:.1f}"),
            ("HBD_MEANING", explained.meaning),
            ("HBD_ADVICE", explained.advice),
            ("HBD_APART", explained.apart or "nothing."),
            ("HBD_COMMANDS", _next(event, settings)),
        ),
        labels=event.labels,
        evidence=event.evidence,
    )


def _next(event: StateChanged, settings: PeerSettings) -> str:
    """What to type next, one command a line."""
    row = explanation(event.state, event.cause, settings)
    ready = commands(row, settings, event.address)
    short = [command for command in ready if len(command) <= COMMAND_LENGTH]
    return "\n".join(short) or f"hbd explain {event.peer}"


def _state_priority(event: StateChanged) -> Priority:
    first_up = event.state is State.UP and _was_never_known(event)
    from_the_start = event.state is State.UNKNOWN and event.previous_cause is None
    better_known = event.is_refinement and not from_the_start
    if event.quiet or better_known or first_up:
        return Priority.INFO
    if event.state is State.UNKNOWN and event.cause in OWN_FAULTS:
        return Priority.WARNING
    return PRIORITIES[event.state]


def _state_message(event: StateChanged, settings: PeerSettings) -> str:
    if event.state is State.UP:
        return f"{event.peer} {_up_words(event, settings)}"
    told = _told(event, settings)
    if event.is_refinement and event.previous_cause is not None and not event.first:
        return f"{event.peer} is still {event.state}: {told}"
    verb = "has" if event.state is State.LEFT else "is"
    return f"{event.peer} {verb} {event.state}: {told}{_past(event)}"


def _told(event: StateChanged, settings: PeerSettings) -> str:
    """The cause in words, with what is known of this case."""
    return told(
        explanation(event.state, event.cause, settings),
        settings,
        event.address,
        event.evidence,
        loss=event.loss,
        rtt=event.rtt,
    )


def _up_words(event: StateChanged, settings: PeerSettings) -> str:
    words = UP_WORDS.get(settings.way, ANSWERS)
    source = _source(event, settings)
    known = {"source": source or "it", "of": f" from {source}" if source else ""}
    if _was_never_known(event):
        return f"is up: {words.first.format(**known)}{_past(event)}"
    how = words.well if event.previous is State.DEGRADED else words.again
    return f"is up again: {how.format(**known)}{_past(event)}"


def _was_never_known(event: StateChanged) -> bool:
    return event.previous is State.UNKNOWN and event.first


def _source(event: StateChanged, settings: PeerSettings) -> str | None:
    """The address in question; a peer known by its key alone has none."""
    return event.address if settings.addresses else None


def _past(event: StateChanged) -> str:
    is_first = _was_never_known(event) and event.previous_cause is not Cause.UNRESOLVED
    if event.is_refinement or is_first:
        return ""
    is_bare = event.previous_cause is None or event.previous is State.PAUSED
    why = "" if is_bare else f" ({event.previous_cause})"
    was = "it had left for" if event.previous is State.LEFT else f"was {event.previous} for"
    return f"; {was} {duration(event.duration)}{why}"


def flapping_changed(event: FlappingChanged, event_id: str) -> Entry:
    """A peer began or ceased to flap."""
    name = event.peer
    if event.flapping:
        message = f"{name} is flapping: it changes its state again and again (now {event.state});"
        message += f" see journalctl HBD_PEER={name}"
    else:
        changes = f"{event.changes} change{'s' * (event.changes != 1)}"
        message = f"{name} is steady again ({event.state}) after {changes}"
    return compose(
        Kind.FLAPPING,
        Priority.WARNING if event.flapping and not event.quiet else Priority.INFO,
        message,
        event_id=event_id,
        since=event.since,
        fields=(
            ("HBD_PEER", name),
            ("HBD_STATE", event.state.value),
            ("HBD_FLAPPING", int(event.flapping)),
            ("HBD_COUNT", event.changes),
        ),
        labels=event.labels,
    )


def storm(event: Storm, event_id: str) -> Entry:
    """Many peers changed together."""
    return compose(
        Kind.STORM,
        _storm_priority(event),
        _storm_message(event),
        event_id=event_id,
        since=event.since,
        fields=(
            ("HBD_STATE", event.state.value),
            ("HBD_CAUSE", event.cause),
            ("HBD_COUNT", event.count),
            ("HBD_COMMON", event.common),
        ),
        evidence=event.evidence,
    )


def _storm_priority(event: Storm) -> Priority:
    if event.over:
        return Priority.INFO
    return Priority.ERR if event.cause in OWN_FAULTS else PRIORITIES[event.state]


def _storm_message(event: Storm) -> str:
    together = f"{peers_in_words(event.count)} {_state_of(event.count, event.state)}"
    if event.over:
        return f"storm over: {together}, in common {event.common}"
    if event.cause is None:
        hint = "; look there first" if event.state in TROUBLES else ""
        return f"storm: {together} at once, in common {event.common}{hint}"
    words = explanation(event.state, event.cause).words
    fact = f" ({event.evidence[0]})" if event.evidence else ""
    told = words.format(on="", service="", loss="", rtt="", fact=fact, proof=fact)
    return f"storm: {together} at once, in common {event.common}: {told}"


def _state_of(count: int, state: State) -> str:
    one = count == 1
    if state is State.LEFT:
        return "has left" if one else "have left"
    return f"{'is' if one else 'are'} {state}"


def stalled(event: Stalled, event_id: str) -> Entry:
    """We did not run, or not as often as we should."""
    long = duration(event.duration)
    what = f"did not run for {long}"
    if event.in_pieces:
        what = f"was late by {long} in all, a little in many turns"
    message = f"hbd {what}: deadlines were moved, no peer is judged by it"
    fields: Fields = (
        ("HBD_DURATION_USEC", usec(event.duration)),
        ("HBD_IN_PIECES", 1 if event.in_pieces else None),
    )
    return compose(
        Kind.STALL, Priority.INFO, message, event_id=event_id, since=event.since, fields=fields
    )


def woke(event: Woke, event_id: str) -> Entry:
    """The machine was suspended."""
    message = f"this machine was suspended for {duration(event.duration)}: start_grace begins anew"
    fields: Fields = (("HBD_DURATION_USEC", usec(event.duration)),)
    return compose(
        Kind.WAKE, Priority.INFO, message, event_id=event_id, since=event.since, fields=fields
    )


def restarted(event: Restarted, event_id: str) -> Entry:
    """A peer answered all along, but as another incarnation."""
    kind, priority = Kind.RESTARTED, Priority.INFO
    message = f"{event.peer} was restarted: {event.address} answers as a new incarnation"
    if event.returned:
        kind, priority = Kind.SHARED, Priority.WARNING
        message = f"{event.peer} is several machines: at {event.address} they answer in turn"
    fields: Fields = (
        ("HBD_PEER", event.peer),
        ("HBD_ADDRESS", event.address),
        ("HBD_INCARNATION", event.incarnation),
    )
    return compose(
        kind,
        priority,
        message,
        event_id=event_id,
        since=event.since,
        fields=fields,
        labels=event.labels,
    )
