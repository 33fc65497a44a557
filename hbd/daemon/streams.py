"""Paths that are asked over connections: opened when a heartbeat finds none, held, and read."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.connected import Connected
from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.core.stream import KeepAliveSession
from hbd.net.descriptors import claim
from hbd.net.stream import Stream
from hbd.net.tcp import KeepAlive, spelled
from hbd.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Collection
    from ssl import SSLContext

    from hbd.core.address import Address
    from hbd.core.fleet import Fleet
    from hbd.core.model import PeerSettings, Timing, TlsOptions
    from hbd.core.path import Path
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.tcp import End

SYN_PATIENCE: Final = 1 * SECOND
"""A connection that is not there by then is begun anew: the kernel would repeat its SYN only now,
and with twice the patience each time."""

READ_LIMIT: Final = 1 << 20
"""Octets read for each heartbeat: who sends without end has to wait, not we to work."""

NO_WITNESS: Final = {
    Cause.CONNECT_TIMEOUT,
    Cause.KEEPALIVE_FAILED,
    Cause.HOST_UNREACHABLE,
    Cause.NET_UNREACHABLE,
    Cause.REJECTED,
}
"""Ends that our own side may have caused."""


class Wiring(NamedTuple):
    """What only another connection can change."""

    target: Address
    interface: str | None
    source: str | None
    dscp: int | None
    tls: TlsOptions | None


@dataclass(slots=True, eq=False)
class Link:
    """A connection of a path."""

    path: Connected
    stream: Stream
    wiring: Wiring
    begun: int
    """Monotonic."""
    unread: int = READ_LIMIT
    """How many octets are read before the next heartbeat."""
    watched: tuple[bool, bool] | None = None
    """For what the poller watches it: to read, to write."""
    opened: int | None = None
    has_spoken: bool = False
    """Whether any octets have come."""
    acknowledged: int = 0
    """When the peer's kernel had last acknowledged something, as told of."""


class Streams:
    """The connections of all paths."""

    def __init__(self, fleet: Fleet, clock: Clock, poller: Poller) -> None:
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._links: dict[Connected, Link] = {}
        self._in_question: dict[Connected, None] = {}
        """Those whose kernel we are about to ask again."""
        self._contexts: dict[str | None, SSLContext] = {}
        self._descriptors: Final = claim()
        """From this one on they are not for us."""

    # -- asking -------------------------------------------------------------------------------

    def send(self, path: Connected) -> int | None:
        """Send a heartbeat, over a new connection where there is none; or give an errno of ours."""
        link = self._links.get(path)
        if link is not None:
            self.notice(path)
            if self._is_usable(link):
                link.unread = READ_LIMIT
            else:
                self._drop(link)
                link = None
        if link is None:
            return self._open(path)
        self._write(link, self._compose(path))
        return None

    def _compose(self, path: Connected) -> bytes:
        if not path.is_askable:
            self._in_question[path] = None
        return self._fleet.compose(path, self._clock.now(), self._clock.wall())

    def _is_usable(self, link: Link) -> bool:
        path, stream = link.path, link.stream
        if link.wiring != _wiring(path) or path.is_exhausted:
            return False
        return stream.is_connected or self._clock.now() - link.begun < SYN_PATIENCE

    def notice(self, path: Connected) -> None:
        """Say what a connection on which an answer was missed shows of the peer."""
        link = self._links.get(path)
        if link is None or not path.is_missing:
            return
        info, where = link.stream.acknowledged(), spelled(link.wiring.target)
        if info is None:
            path.bad = Fact(Cause.CONNECT_TIMEOUT, f"no answer to SYN from {where}")
        elif path.is_askable and info.unacked == 0:
            if path.bad is None or path.bad.cause is not Cause.BAD_REPLY:
                rest = "answers nothing" if link.stream.is_open else "completes no TLS handshake"
                words = f"{where} acknowledges what we send and {rest}"
                self._fleet.broken(path, Fact(Cause.HUNG, words), witness=True)
        elif info.last_ack_age_ns >= path.timing.timeout:
            age = info.last_ack_age_ns / SECOND
            words = f"{where} has acknowledged nothing for {age:.1f} s"
            path.bad = Fact(Cause.KEEPALIVE_FAILED, words)

    def _open(self, path: Connected) -> int | None:
        settings = path.peer.settings
        try:
            tls = self._context(settings.tls)
        except OSError as error:
            self._compose(path)
            path.bad = Fact(Cause.TLS, f"ca: {settings.tls and settings.tls.ca}: {error}")
            return None
        wiring = _wiring(path)
        stream = Stream(
            wiring.target,
            interface=wiring.interface,
            source=wiring.source,
            dscp=wiring.dscp,
            tls=tls,
            server_name=(settings.tls and settings.tls.name) or path.address,
            keepalive=_keep_alive(settings.timing),
            user_timeout_ms=_user_timeout_ms(settings.timing),
        )
        refusal = stream.start()
        first = path.stream.opened()
        octets = first + self._compose(path)
        if stream.fileno() >= self._descriptors:
            refusal = errno.EMFILE
        if refusal is not None:
            stream.close()
            return refusal
        link = self._links[path] = Link(path, stream, wiring, self._clock.now())
        self._write(link, octets)
        return None

    def _context(self, options: TlsOptions | None) -> SSLContext | None:
        if options is None:
            return None
        if options.ca not in self._contexts:
            # OpenSSL and its Python take five megabytes: only who uses TLS pays for it.
            from hbd.net.tls import tls_context  # noqa: PLC0415

            self._contexts[options.ca] = tls_context(options.ca)
        return self._contexts[options.ca]

    def _write(self, link: Link, octets: bytes) -> None:
        if octets:
            end = link.stream.write(octets)
            if end is not None:
                self._end(link, end)
                return
        self._watch(link)

    def _watch(self, link: Link) -> None:
        watched = read, write = link.unread > 0, link.stream.wants_write
        if watched == link.watched:
            return
        link.watched = watched
        fd, hear = link.stream.fileno(), lambda: self._hear(link)
        self._poller.watch(fd, hear, read=read, write=write, first=True)

    # -- being answered -----------------------------------------------------------------------

    def _hear(self, link: Link) -> None:
        path, now = link.path, self._clock.now()
        progress = link.stream.on_ready()
        if progress.opened:
            link.opened = now
            path.left(now)
        if progress.octets:
            link.has_spoken = True
            link.unread -= len(progress.octets)
            step = path.stream.feed(progress.octets)
            for answer in step.answers:
                self._fleet.answered(path, answer, now)
            if step.stray is not None:
                path.bad = step.stray
            if step.fault is not None:
                self._lose(link, step.fault)
                return
            if step.write:
                path.left(now)
                self._write(link, step.write)
        if self._links.get(path) is not link:
            return
        if progress.end is not None:
            self._end(link, progress.end)
        else:
            self._watch(link)

    def look(self) -> None:
        """Look whether those were acknowledged that are asked by our kernel alone."""
        for path in list(self._in_question):
            link = self._links.get(path)
            if path.asked is None or link is None:
                del self._in_question[path]
            elif link.opened is not None:
                self._look(link, link.opened)

    def _look(self, link: Link, opened: int) -> None:
        path, now = link.path, self._clock.now()
        info = link.stream.acknowledged()
        held_by = opened + path.timing.timeout // 2
        if info is None or now < held_by or not isinstance(path.stream, KeepAliveSession):
            return  # one that is closed as soon as it is open is not held
        # To the millisecond: the same moment must not look like a later one.
        at = now - info.last_ack_age_ns
        if at - link.acknowledged <= path.timing.timeout // 2 and link.acknowledged:
            return
        link.acknowledged = at
        del self._in_question[path]
        for answer in path.stream.acknowledged():
            self._fleet.answered(path, answer._replace(rtt=info.rtt_ns), max(at, held_by))

    # -- ends ---------------------------------------------------------------------------------

    def _end(self, link: Link, end: End) -> None:
        words = end.words
        if end.cause in (Cause.CLOSED, Cause.RESET):
            words += f" at {moment(self._clock.wall())}"
            if not link.has_spoken and link.path.is_askable:
                words += ", before it had said anything"
        self._lose(link, Fact(end.cause, words))

    def _lose(self, link: Link, fact: Fact) -> None:
        path = link.path
        self._drop(link)
        if fact.cause is Cause.SEND_BLOCKED:
            path.send_error = fact
        else:
            self._fleet.broken(path, fact, witness=fact.cause not in NO_WITNESS)

    def _drop(self, link: Link, *, orderly: bool = False) -> None:
        self._links.pop(link.path, None)
        self._in_question.pop(link.path, None)
        self._poller.unwatch(link.stream.fileno())
        if link.stream.is_open:
            # Also to who hangs: it may read on one day, and is not to take us for dead.
            link.stream.write(link.path.stream.closing())
        if orderly and link.stream.is_open:
            link.stream.close()
        else:
            link.stream.abort()

    def keep_only(self, paths: Collection[Path]) -> None:
        """Close the connections of paths that are no more, and those whose settings are others."""
        kept = set(paths)
        self._contexts.clear()  # their files may be others by now
        for path, link in list(self._links.items()):
            if path not in kept or (path.is_stale and self._needs_another(link)):
                self._drop(link, orderly=True)
        for one in kept:
            if isinstance(one, Connected):
                one.is_stale = one.needs_another = False

    def _needs_another(self, link: Link) -> bool:
        path = link.path
        timing = path.peer.settings.timing
        link.stream.adopt(_keep_alive(timing), _user_timeout_ms(timing))
        return path.needs_another or link.wiring != _wiring(path)

    def close(self) -> None:
        """Say goodbye where there is a word for it."""
        for link in list(self._links.values()):
            self._drop(link, orderly=True)


def _wiring(path: Connected) -> Wiring:
    settings: PeerSettings = path.peer.settings
    assert path.target is not None  # noqa: S101 - nothing is asked without
    return Wiring(path.target, settings.interface, settings.source, settings.dscp, settings.tls)


def _keep_alive(timing: Timing) -> KeepAlive:
    """The kernel asks as we would: in whole seconds."""
    return KeepAlive(_seconds(timing.interval), _seconds(timing.timeout), timing.retries + 1)


def _seconds(span: int) -> int:
    return max(-(-span // SECOND), 1)


def _user_timeout_ms(timing: Timing) -> int:
    """What was sent is given up when we would; also what keep-alive asks (tcp(7))."""
    return timing.detection // 1_000_000
