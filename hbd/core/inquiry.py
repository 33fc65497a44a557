"""What else is asked where heartbeats are missed: evidence for a cause, never a verdict.

Does the host answer anything (ICMP echo, TCP)? Do small heartbeats pass where padded ones do not?
How far do heartbeats get? Each is asked once in a while and at a bounded rate, however many paths
miss; no verdict waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import MILLISECOND, SECOND, Cause
from hbd.core.session import Fact
from hbd.core.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hbd.core.clock import Clock
    from hbd.core.path import Path
    from hbd.core.timers import Timers

SPACING: Final = 50 * MILLISECOND
"""Between probes, whomever they are for;"""
TOGETHER: Final = 5
"""and so many are sent at once: a hundred a second, and each would wake us."""

PATIENCE: Final = 2 * SECOND
"""So long after its last probe an inquiry waits for answers: around the world, and more."""

AGAIN: Final = 60 * SECOND
"""How often a path that stays silent is inquired into."""

AFRESH: Final = 5 * SECOND
"""And how often at the most where somebody asks for it: anybody may."""

FARTHEST: Final = 16
"""So many hops are asked where nothing is known of how far away the host is."""

INITIAL_TTLS: Final = (32, 64, 128, 255)
"""With one of these a datagram begins."""

UNEXPLAINED: Final = frozenset(
    {
        Cause.SILENT,
        Cause.CONNECT_TIMEOUT,
        Cause.KEEPALIVE_FAILED,
        # What only an inquiry shows has to be shown again.
        Cause.FILTERED,
        Cause.MTU,
    }
)
"""Where more may be found out by asking."""


class Method(StrEnum):
    """How evidence is gathered; its value is the words for it."""

    ECHO = "ICMP echo"
    CONNECT = "TCP"
    SMALL = "heartbeats without padding"
    HOP = "heartbeats that are to die on the way"


class Probe(NamedTuple):
    """Send this now, and say with `fleet.found(...)` what becomes of it."""

    inquiry: Inquiry
    method: Method
    ttl: int | None = None
    """Of a heartbeat that is to die on the way."""

    @property
    def path(self) -> Path:
        """Whom it is to."""
        return self.inquiry.path


class Inquiry(Timer):
    """What probes have shown of one silence of a path; its deadline is its end."""

    __slots__ = ("_asked", "_reply_ttl", "alive", "began", "failed", "hops", "is_closed", "path")

    def __init__(self, path: Path, now: int) -> None:
        super().__init__()
        self.path: Final = path
        self.began: Final = now
        self.alive: dict[Method, str] = {}
        """In words: what the host itself answered,"""
        self.failed: dict[Method, str] = {}
        """and why something could not be asked, or who answered instead."""
        self.hops: dict[int, str] = {}
        """Who answered where a heartbeat was to die."""
        self.is_closed = False
        self._asked: list[Method] = []
        self._reply_ttl = path.reply_ttl

    @property
    def is_void(self) -> bool:
        """Whether that silence is over: what was asked in it says nothing of the next one."""
        return not self.path.is_missing or self.began < self.path.first_missed

    def ask(self, probe: Probe, now: int) -> None:
        """Take note that a probe leaves."""
        self.deadline = now + PATIENCE
        if probe.method not in self._asked:
            self._asked.append(probe.method)

    def fact(self) -> Fact | None:
        """Say why heartbeats are missed, where that is known now."""
        if Method.SMALL in self.alive:
            return Fact(Cause.MTU, self.alive[Method.SMALL])
        if self.alive:
            return Fact(Cause.FILTERED, f"{self._life()}, but no heartbeat")
        return None

    def lines(self, cause: Cause) -> Iterator[str]:
        """Give what else is known beside the words on the cause, for the evidence."""
        if cause not in UNEXPLAINED:
            return
        life = self._life()
        if life and cause is not Cause.FILTERED:
            yield life
        yield from self.failed.values()
        if not self.is_closed:
            return
        unanswered = [
            method
            for method in (Method.ECHO, Method.CONNECT)
            if method in self._asked and method not in {**self.alive, **self.failed}
        ]
        if unanswered:
            yield f"no answer to {' nor to '.join(unanswered)}"
        if Method.HOP in self._asked:
            yield self._way()

    def _life(self) -> str:
        others = [words for method, words in self.alive.items() if method is not Method.SMALL]
        return f"the host answers {' and '.join(others)}" if others else ""

    def _way(self) -> str:
        away = hops_away(self._reply_ttl)
        usual = "" if away is None else f"; when the peer answered it was {away} hops away"
        if not self.hops:
            return f"no router on the way answers{usual}"
        last = max(self.hops)
        # They may get farther, and it is the way back that is cut.
        return f"the last router that answers is hop {last} ({self.hops[last]}){usual}"


@cache
def hops_away(ttl: int | None) -> int | None:
    """Count the hops that a datagram took which came with this TTL; None where that is unknown."""
    if ttl is None:
        return None
    return next(initial for initial in INITIAL_TTLS if initial >= ttl) - ttl + 1


class Inquiries(Timer):
    """Inquiries and their probes, one at a time; its deadline is the next probe's."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        send: Callable[[Probe], None],
        refresh: Callable[[Path], None],
    ) -> None:
        """`refresh`: what is known of a silent path is another now."""
        super().__init__()
        self._clock: Final = clock
        self._timers: Final = timers
        self._send: Final = send
        self._refresh: Final = refresh
        self._waiting: OrderedDict[Path, None] = OrderedDict()
        self._open: dict[Path, Inquiry] = {}
        self._probes: Iterator[Probe] = iter(())
        """Of the inquiry begun last."""

    def want(self, path: Path) -> None:
        """Inquire into a path that misses, if more may be found out."""
        if path not in self._waiting and self._is_old(path, AGAIN) and is_worthwhile(path):
            self._waiting[path] = None
            self._wake()

    def want_now(self, path: Path) -> None:
        """Somebody waits for it: before all others."""
        if can_be_asked(path) and self._is_old(path, AFRESH):
            self._waiting[path] = None
            self._waiting.move_to_end(path, last=False)
            self._wake()

    def _is_old(self, path: Path, age: int) -> bool:
        last = self._open.get(path)
        if last is not None:
            # Where much is lost and nothing else is wrong, one silence follows upon another.
            is_urgent = path.is_exhausted or path.missed == path.timing.retries
            return is_urgent and last.is_void
        return path.inquiry is None or self._clock.now - path.inquiry.began >= age

    def is_open(self, path: Path) -> bool:
        """Whether more may become known of it soon."""
        return path in self._open or path in self._waiting

    def _wake(self) -> None:
        if self.deadline is None:
            self.deadline = self._clock.now
            self._timers.schedule(self)

    def advance(self) -> None:
        """Send the next probes."""
        now = self._clock.now
        self.deadline = None
        for _ in range(TOGETHER):
            probe = next(self._probes, None) or self._begin(now)
            if probe is None:
                return
            self.deadline = now + SPACING
            probe.inquiry.ask(probe, now)
            self._timers.schedule(probe.inquiry)
            self._send(probe)

    def _begin(self, now: int) -> Probe | None:
        while self._waiting:
            path, _ = self._waiting.popitem(last=False)
            if not can_be_asked(path):
                continue
            inquiry = self._open[path] = Inquiry(path, now)
            self._probes = _probes(inquiry)
            return next(self._probes)
        return None

    def found(self, probe: Probe, words: str, *, alive: bool) -> None:
        """Take what became of a probe; `alive`: the host itself has answered."""
        inquiry = probe.inquiry
        if inquiry.is_closed:
            return
        (inquiry.alive if alive else inquiry.failed)[probe.method] = words
        if alive:
            self._settle(inquiry)

    def passes_small(self, path: Path, words: str) -> None:
        """A heartbeat without padding is answered."""
        if path in self._open:
            self._open[path].alive[Method.SMALL] = words
            self._settle(self._open[path])

    def reached(self, path: Path, hop: int, router: str) -> None:
        """A router says that a heartbeat has died there, as it was to."""
        if path in self._open:
            self._open[path].hops[hop] = router

    def close(self, inquiry: Inquiry) -> None:
        """Its time is over."""
        inquiry.deadline = None
        inquiry.is_closed = True
        if self._open.get(inquiry.path) is inquiry:
            del self._open[inquiry.path]
            self._settle(inquiry)

    def _settle(self, inquiry: Inquiry) -> None:
        """From now on this is what is known of its path, unless that silence is over."""
        path = inquiry.path
        is_watched = path.deadline is not None  # a reload may have ended that meanwhile
        if is_watched and not inquiry.is_void:
            path.inquiry = inquiry
            self._refresh(path)


def can_be_asked(path: Path) -> bool:
    """Whether the path misses something, and datagrams can leave for it."""
    is_watched = path.deadline is not None and path.target is not None
    return is_watched and path.is_missing and path.send_error is None


def is_worthwhile(path: Path) -> bool:
    """Whether it is not known yet why the path is silent."""
    return path.peer.pause is None and path.failure().cause in UNEXPLAINED


def _probes(inquiry: Inquiry) -> Iterator[Probe]:
    path = inquiry.path
    yield Probe(inquiry, Method.ECHO)
    if not path.peer.settings.is_asked_by_connection:  # else it is asked so all the time
        yield Probe(inquiry, Method.CONNECT)
    if path.is_padded:
        yield Probe(inquiry, Method.SMALL)
    for ttl in range(1, farthest(path)):
        yield Probe(inquiry, Method.HOP, ttl)


def farthest(path: Path) -> int:
    """How many hops away the host is, as far as heartbeats can be sent there that die before."""
    is_on_link = path.egress is None or path.egress.key.gateway is None
    if is_on_link or not path.can_send_short:
        return 0
    return hops_away(path.reply_ttl) or FARTHEST
