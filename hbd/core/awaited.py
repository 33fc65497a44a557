"""Heartbeats that were sent and have no reply yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hbd.core.inquiry import Probe
    from hbd.core.session import Session


class Heartbeat(NamedTuple):
    """One that was sent and has no reply yet."""

    sent: int
    sent_real: int
    """Monotonic, for the RTT."""
    token: int
    probe: Probe | None = None
    """It was sent for the sake of evidence, and is missed by nobody."""
    missed: bool = False
    """Its timeout is over."""

    def is_in_time(self, now: int, timeout: int) -> bool:
        """Whether a reply that came now would be in time."""
        return self.probe is None and now - self.sent < timeout


class Awaited(dict[int, Heartbeat]):
    """Those of one path by their sequence number, the oldest first."""

    __slots__ = ()

    def answered(self, sequence: int) -> None:
        """No reply to this one is awaited any more."""
        del self[sequence]
        if not self:
            self.clear()  # or it would keep the room of those that were in it

    def miss(self, sequence: int | None) -> None:
        """The timeout of this one is over."""
        heartbeat = None if sequence is None else self.get(sequence)
        if sequence is not None and heartbeat is not None:
            sent, sent_real, token, probe, _ = heartbeat
            self[sequence] = Heartbeat(sent, sent_real, token, probe, missed=True)

    @property
    def are_all_missed(self) -> bool:
        """Whether no timeout runs any more: what is answered yet comes late."""
        return all(heartbeat.missed for heartbeat in self.values())

    def in_time(self, now: int, timeout: int) -> list[int]:
        """Give those that may still be answered in time."""
        return [s for s, heartbeat in self.items() if heartbeat.is_in_time(now, timeout)]

    def forget(self, sequence: int, oldest: int | None) -> None:
        """Before this one is sent: keep none that leaves the window, nor any sent before `oldest`.

        None: as old as may be.
        """
        while self:
            first = next(iter(self))
            is_recent = first > sequence - WINDOW
            if is_recent and (oldest is None or self[first].sent >= oldest):
                return
            del self[first]

    def forget_up_to(self, sequence: int) -> None:
        """Keep those after it."""
        for before in [number for number in self if number <= sequence]:
            del self[before]

    def returned(self, payload: bytes, session: Session) -> Iterator[tuple[int, Heartbeat]]:
        """Give those whose beginning an ICMP error brings back."""
        return (
            (sequence, heartbeat)
            for sequence, heartbeat in self.items()
            if session.recognises(payload, sequence, heartbeat.token)
        )


NOTHING: Final = Awaited()
"""What paths of which all is answered may have together, as long as nobody adds to it."""
