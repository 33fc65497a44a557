"""Which signed requests are of now: a recorded one proves nothing of who is there (RFC 8972 6).

STAMP authenticates requests and knows no challenge, so what tells a recorded one is what came
before: its number in its session, and the time and the incarnation of whoever begins a session.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import SECOND
from hbd.core.rate import remember
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

WIDTH: Final = 256
"""So far behind the newest number another may still come: at the shortest interval, 13 seconds."""

FRESH: Final = 60 * SECOND
"""So far the clocks of both ends may be apart where both are said to be right."""

RECENT: Final = 64
"""So many T1s of a session are remembered."""

KNOWN: Final = 1_024
"""So many incarnations of a sender are remembered, the newest: many may share a key."""

_MASK: Final = (1 << WIDTH) - 1


class Standing(Enum):
    """What a request whose MAC is right is good for."""

    NEW = auto()
    DOUBTFUL = auto()
    """It may be recorded: it is answered, which does no harm, and proves nothing."""
    REPLAYED = auto()


class Signed(NamedTuple):
    """What a request says under its MAC."""

    number: int
    sent: int
    """T1, nanoseconds since 1970."""
    is_right: bool
    """Whether the clocks of both ends are said to be synchronised."""
    incarnation: Callable[[], int | None]
    """Gives whose start of a daemon it is of, if it says so."""

    def is_stale(self, wall: int) -> bool:
        """Whether it cannot have been sent now, if both clocks are what they are said to be."""
        return self.is_right and abs(self.sent - wall) > FRESH


@dataclass(slots=True)
class Window:
    """The numbers of a session that have come."""

    highest: int
    newest: int
    """The latest T1."""
    is_believed: bool
    incarnation: int | None = None
    """Of the sender, as soon as it has said it."""
    came: int = 1
    """A bit for each number from the highest downwards."""
    moments: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))
    """The T1s that came last, of whatever run: where several have one session, or somebody on the
    way makes it seem so, numbers tell less than these."""

    @property
    def has_just_begun(self) -> bool:
        """Whether nothing is known but the last number."""
        return self.came == 1

    def takes(self, number: int, sent: int) -> bool:
        """Note a number; False where it has come before, or may have.

        A sender that has begun anew in the same session says so by a later T1.
        """
        ahead = (number - self.highest) % ntp.WORD
        behind = -ahead % ntp.WORD
        if 0 < ahead <= WIDTH:
            self.highest, self.came = number, (self.came << ahead | 1) & _MASK
        elif 0 < behind < WIDTH and not self.came >> behind & 1:
            self.came |= 1 << behind
        elif sent > self.newest:
            self.highest, self.came = number, 1
        else:
            return False
        self.newest = max(self.newest, sent)
        return True


@dataclass(slots=True)
class _Sender:
    newest: int
    incarnations: deque[int] = field(default_factory=lambda: deque(maxlen=KNOWN))


class Guard:
    """Remembers sessions and senders whose requests were signed; strangers add none."""

    def __init__(self, own: int) -> None:
        """`own`: our incarnation."""
        self._own: Final = own
        self._windows: OrderedDict[Hashable, Window] = OrderedDict()
        self._senders: OrderedDict[Hashable, _Sender] = OrderedDict()

    def look(self, who: Hashable, ssid: int, said: Signed, wall: int) -> Standing:
        """Tell what a request of a sender, in one of its sessions, is good for, and note it.

        A session is what the MAC covers: its SSID. From which port it comes anybody may invent.
        """
        session = (who, ssid)
        known = self._windows.get(session)
        if known and said.sent in known.moments:
            return Standing.REPLAYED
        window = known if known and self._is_same_run(known, who, said) else None
        if window is None:
            window = self._begun(known, who, said, wall)
            # Where each run has the same session a recorded one may be ahead of this by number.
            if known and not window.is_believed:
                known.moments.append(said.sent)  # so it is answered once
                return Standing.DOUBTFUL
        elif not window.takes(said.number, said.sent):
            return Standing.REPLAYED
        elif not window.is_believed or window.has_just_begun or _names_its_run(window, said):
            window.is_believed = self._is_of_now(who, said, wall)
            window.incarnation = said.incarnation()
        window.moments.append(said.sent)
        remember(self._windows, session, window)
        if not window.is_believed or said.is_stale(wall):
            return Standing.DOUBTFUL
        sender = self._senders.get(who) or _Sender(min(said.sent, wall))
        # A clock that was ahead and is put right must not be in doubt for as long as it was.
        sender.newest = max(sender.newest, min(said.sent, wall + FRESH))
        remember(self._senders, who, sender)
        return Standing.NEW

    def _begun(self, known: Window | None, who: Hashable, said: Signed, wall: int) -> Window:
        is_believed = self._is_of_now(who, said, wall)
        window = Window(said.number, said.sent, is_believed, said.incarnation())
        if known:
            window.moments = known.moments
        return window

    def _is_same_run(self, window: Window, who: Hashable, said: Signed) -> bool:
        """Tell whether it may be who spoke last in its session, though it speak of an earlier time.

        It may be late, or its clock was put back. Who says nothing of its start, or from whom
        somebody on the way takes that, is believed as far as clocks are apart.
        """
        if said.sent >= window.newest:
            return True
        incarnation, sender = said.incarnation(), self._senders.get(who)
        if incarnation is None or window.incarnation is None:
            return sender is None or sender.newest - said.sent <= FRESH
        return incarnation == window.incarnation

    def _is_of_now(self, who: Hashable, said: Signed, wall: int) -> bool:
        """Tell whether a session was begun now, as far as can be told, and by another than us."""
        incarnation = said.incarnation()
        if incarnation == self._own:
            return False
        sender = self._senders.get(who) or _Sender(min(said.sent, wall))
        is_another = incarnation is not None and incarnation not in sender.incarnations
        if said.sent < sender.newest and not is_another:
            return False
        if incarnation is not None and is_another:
            sender.incarnations.append(incarnation)
        remember(self._senders, who, sender)
        return True


def _names_its_run(window: Window, said: Signed) -> bool:
    """Whether it is said for the first time in a session which start of a daemon it is of."""
    return window.incarnation is None and said.incarnation() is not None
