"""Paths that are asked over connections: opened when a heartbeat finds none, held, and read."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.config.octets import read_regular
from hbd.core.connected import KERNEL_SPACING, Connected
from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.core.stream import KeepAliveSession
from hbd.net.descriptors import claim
from hbd.net.stream import Stream
from hbd.net.tcp import COARSE, KeepAlive, spelled
from hbd.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Collection
    from ssl import SSLContext

    from hbd.core.address import Address
    from hbd.core.fleet import Fleet
    from hbd.core.model import Leaving, PeerSettings, Timing, TlsOptions
    from hbd.core.path import Path
    from hbd.core.session import Answer
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.tcp import End, TcpInfo

SYN_PATIENCE: Final = 1 * SECOND
"""A connection that is not there by then is begun anew: the kernel would repeat its SYN only now,
and with twice the patience each time."""

TRIPS: Final = 2
TRIPS_OF_TLS: Final = 4
"""Round trips until the first reply over a new connection."""

READ_LIMIT: Final = 1 << 20
"""Octets read for each heartbeat: who sends without end has to wait, not we to work."""

LARGEST_CA: Final = 4 << 20
"""Octets; all authorities of a system take a quarter of one million."""

NO_WITNESS: Final = {
    Cause.CONNECT_TIMEOUT,
    Cause.KEEPALIVE_FAILED,
    Cause.HOST_UNREACHABLE,
    Cause.NET_UNREACHABLE,
    Cause.REJECTED,
    Cause.ROUTING_LOOP,
}
"""Ends that our own side may have caused, unless the peer itself says so."""


class Wiring(NamedTuple):
    """What only another connection can change."""

    target: Address
    leaving: Leaving
    tls: TlsOptions | None


@dataclass(slots=True, eq=False)
class Link:
    """A connection of a path."""

    path: Connected
    stream: Stream
    wiring: Wiring
    timing: Timing
    """What the kernel's times are made of."""
    greeting: bytes
    begun: int
    """Monotonic, as all that follows."""
    sent: int
    """When the last heartbeat was."""
    unread: int = READ_LIMIT
    """How many octets are read before the next heartbeat."""
    watched: tuple[bool, bool] | None = None
    """For what the poller watches it: to read, to write."""
    opened: int | None = None
    heard: int | None = None
    """When octets last came."""
    asked: int | None = None
    """Since when our kernel asks, without octets of ours."""
    acknowledged: int = 0
    """When the peer's kernel had last acknowledged something, before it was asked."""


class Streams:
    """The connections of all paths."""

    def __init__(self, fleet: Fleet, clock: Clock, poller: Poller) -> None:
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._links: dict[Connected, Link] = {}
        self._in_question: dict[Connected, None] = {}
        """Those whose kernel we are about to ask again."""
        self._hung: dict[Connected, None] = {}
        """Those that take what we send, but have not yet shown that our uplink is sound."""
        self._contexts: dict[str | None, SSLContext] = {}
        self._descriptors: Final = claim()
        """From this one on they are not for us."""

    # -- asking -------------------------------------------------------------------------------

    def send(self, path: Connected) -> int | None:
        """Send a heartbeat, over a new connection where there is none; or give an errno of ours."""
        link = self._links.get(path)
        if link is not None:
            self.notice(path)
            if not self._is_usable(link):
                self._drop(link)
                link = None
        if link is None:
            return self._open(path)
        octets = self._compose(path)
        link.sent, link.unread = self._clock.now(), READ_LIMIT
        if not (octets and link.stream.is_open):
            self._ask_kernel(link)
        self._write(link, octets)
        return None

    def _compose(self, path: Connected) -> bytes:
        if not path.is_askable:
            self._in_question[path] = None
        return self._fleet.compose(path, *self._clock.both())

    def _is_usable(self, link: Link) -> bool:
        path, stream = link.path, link.stream
        if link.wiring != _wiring(path) or path.is_exhausted or _is_forgotten(link):
            return False
        return stream.is_connected or self._clock.now() - link.begun < SYN_PATIENCE

    def _ask_kernel(self, link: Link) -> None:
        """Let the kernel ask where nothing of ours leaves, at the moment when we would."""
        info, now = link.stream.acknowledged(), self._clock.now()
        if info is None:
            return
        if link.asked is None:
            link.asked = now
        link.stream.ask()
        if not link.acknowledged or not isinstance(link.path.stream, KeepAliveSession):
            return
        at, before = now - info.last_ack_age_ns, link.acknowledged
        link.acknowledged = at
        spoke = max(link.heard or 0, at if at - before > COARSE else 0)
        if now - spoke < KERNEL_SPACING:
            # The kernel may not ask in time one that has just spoken, unasked; nor need it.
            self._answered(link, link.path.stream.acknowledged(), info.rtt_ns, spoke)

    def notice(self, path: Connected) -> None:
        """Say what a connection on which an answer was missed shows of the peer."""
        link = self._links.get(path)
        if link is None or not path.is_missing:
            return
        info, where = link.stream.acknowledged(), spelled(link.wiring.target)
        if info is None:
            is_known = path.bad is not None and path.bad.cause is Cause.KEEPALIVE_FAILED
            is_due = self._clock.now() - link.begun >= path.timing.timeout // 2
            if is_due and not is_known:  # else for another's sake, or after the one that it had
                path.misbehaved(Fact(Cause.CONNECT_TIMEOUT, f"no answer to SYN from {where}"))
        elif self._is_hung(link, info):
            if path.bad is None or path.bad.cause is not Cause.BAD_REPLY:
                rest = "answers nothing" if link.stream.is_open else "completes no TLS handshake"
                fact = Fact(Cause.HUNG, f"{where} acknowledges what we send and {rest}")
                is_witness = self._is_witness(link, info)
                if not is_witness:
                    self._hung[path] = None
                self._fleet.broken(path, fact, witness=is_witness)
        elif info.last_ack_age_ns >= path.timing.timeout:
            age = info.last_ack_age_ns / SECOND
            words = f"{where} has acknowledged nothing for {age:.1f} s"
            path.misbehaved(Fact(Cause.KEEPALIVE_FAILED, words))

    def _is_hung(self, link: Link, info: TcpInfo) -> bool:
        """Whether its kernel takes what we send, and its program was to answer."""
        # What was sent just now, for another's sake, is not acknowledged yet.
        is_taken = info.unacked == 0 or info.last_ack_age_ns < link.timing.timeout
        if not is_taken or (link.stream.is_open and not link.path.is_askable):
            return False
        patience = KERNEL_SPACING + link.timing.timeout
        is_ignored = link.asked is not None and self._acknowledged_at(info) < link.asked - COARSE
        return not (is_ignored and info.last_ack_age_ns >= patience)

    def _is_witness(self, link: Link, info: TcpInfo) -> bool:
        """Whether it has acknowledged our last heartbeat, and that after one was missed.

        What it acknowledged before says nothing of our uplink since.
        """
        path, clock = link.path, self._fleet.clock
        missed = self._clock.now() - (clock.now - path.first_missed)
        if path.timing.retries and link.sent < missed - COARSE:
            return False
        return self._acknowledged_at(info) >= link.sent - COARSE

    def _acknowledged_at(self, info: TcpInfo) -> int:
        return self._clock.now() - info.last_ack_age_ns

    def _open(self, path: Connected) -> int | None:
        settings = path.peer.settings
        try:
            tls = self._context(settings.tls)
        except OSError as error:
            self._compose(path)
            self._fleet.send_failed(path, _unreadable(error, settings.tls))
            return None
        wiring = _wiring(path)
        stream = Stream(
            wiring.target,
            wiring.leaving,
            tls=tls,
            server_name=(settings.tls and settings.tls.name) or path.address,
            keepalive=_keep_alive(settings.timing),
            user_timeout_ms=_user_timeout_ms(settings.timing),
        )
        refusal = stream.start()
        path.stream.opened()
        greeting = path.stream.greeting
        octets = greeting + self._compose(path)
        if stream.fileno() >= self._descriptors:
            refusal = errno.EMFILE
        if refusal is not None:
            stream.close()
            return refusal
        now = self._clock.now()
        link = Link(path, stream, wiring, settings.timing, greeting, begun=now, sent=now)
        self._links[path] = link
        self._write(link, octets)
        return None

    def _context(self, options: TlsOptions | None) -> SSLContext | None:
        if options is None:
            return None
        if options.ca not in self._contexts:
            # OpenSSL and its Python take five megabytes: only who uses TLS pays for it.
            from hbd.net.tls import tls_context  # noqa: PLC0415

            trusted = None if options.ca is None else _certificates(options.ca)
            self._contexts[options.ca] = tls_context(trusted)
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
        link.unread -= link.stream.taken
        if progress.octets:
            self._read(link, progress.octets, now)
        if self._links.get(path) is not link:
            return
        if progress.end is not None:
            self._end(link, progress.end)
        else:
            self._watch(link)

    def _read(self, link: Link, octets: bytes, now: int) -> None:
        path = link.path
        link.heard = now
        reading = path.stream.feed(octets)
        info = None if path.is_askable else link.stream.acknowledged()
        self._answered(link, reading.answers, info and info.rtt_ns, now)
        if reading.stray is not None:
            path.misbehaved(reading.stray)
        if reading.fault is not None:
            self._lose(link, reading.fault)
        elif reading.write:
            path.left(now)
            self._write(link, reading.write)

    def _answered(self, link: Link, answers: list[Answer], rtt: int | None, at: int) -> None:
        if link.asked is not None:
            link.asked = None
            link.stream.rest()
        for answer in answers:
            self._fleet.answered(link.path, answer._replace(rtt=rtt), at)

    def look(self) -> None:
        """Look whether our kernel was answered, where it asks or where nobody else answers."""
        for path in list(self._in_question):
            link = self._links.get(path)
            if path.asked is None or link is None:
                del self._in_question[path]
            elif link.opened is not None:
                self._look(link, link.opened)
        for path in list(self._hung):
            link = self._links.get(path)
            info = None if link is None or not path.is_missing else link.stream.acknowledged()
            if link is None or info is None or path.bad is None:
                del self._hung[path]
            elif self._is_hung(link, info) and self._is_witness(link, info):
                del self._hung[path]
                self._fleet.broken(path, path.bad, witness=True)

    def _look(self, link: Link, opened: int) -> None:
        path, now = link.path, self._clock.now()
        info = link.stream.acknowledged()
        held_by = opened + path.timing.timeout // 2
        if info is None or now < held_by or not isinstance(path.stream, KeepAliveSession):
            return  # one that is closed as soon as it is open is not held
        at, before = now - info.last_ack_age_ns, link.acknowledged
        if before and at - before <= COARSE:
            return  # nothing was acknowledged since it was asked
        asked_at_once = before and link.sent - before >= KERNEL_SPACING
        rtt = _finer(info.rtt_ns, at - link.sent) if asked_at_once else info.rtt_ns
        link.acknowledged = at
        del self._in_question[path]
        self._answered(link, path.stream.acknowledged(), rtt, max(at, held_by, link.sent))

    # -- ends ---------------------------------------------------------------------------------

    def _end(self, link: Link, end: End) -> None:
        words = end.words
        if end.cause in (Cause.CLOSED, Cause.RESET):
            words += f" at {moment(self._clock.wall())}"
            if link.heard is None and link.path.is_askable:
                words += ", before it had said anything"
        is_theirs = end.offender == link.wiring.target[0]
        witness = is_theirs or end.cause not in NO_WITNESS
        self._lose(link, Fact(end.cause, words), witness=witness)

    def _lose(self, link: Link, fact: Fact, *, witness: bool = True) -> None:
        path = link.path
        self._drop(link)
        if fact.cause is Cause.SEND_BLOCKED:
            path.send_error = fact
        else:
            self._fleet.broken(path, fact, witness=witness)

    def _drop(self, link: Link, *, orderly: bool = False) -> None:
        self._links.pop(link.path, None)
        self._in_question.pop(link.path, None)
        self._hung.pop(link.path, None)
        self._poller.unwatch(link.stream.fileno())
        if link.stream.is_open:
            # Even to one that hangs: it may read on one day, and is not to take us for dead.
            link.stream.write(link.path.stream.closing())
        if orderly and link.stream.is_open:
            link.stream.close()
        else:
            link.stream.abort()

    def keep_only(self, paths: Collection[Path]) -> None:
        """Close the connections of paths that are no more, and those whose settings are others."""
        kept = set(paths)
        self._contexts.clear()  # the files may be others by now
        for path, link in list(self._links.items()):
            if path not in kept or self._needs_another(link):
                self._drop(link, orderly=True)

    def _needs_another(self, link: Link) -> bool:
        path = link.path
        timing = path.peer.settings.timing
        if timing != link.timing:
            link.timing = timing
            link.stream.adopt(_keep_alive(timing), _user_timeout_ms(timing))
        return path.stream.greeting != link.greeting or link.wiring != _wiring(path)

    def close(self) -> None:
        """Say goodbye where there is a word for it."""
        for link in list(self._links.values()):
            self._drop(link, orderly=True)


def _is_forgotten(link: Link) -> bool:
    """Whether something on the way may have lost the connection: the last attempt is by a new one.

    A firewall that took over from another does not know it, and takes no part of it any more.
    """
    path, timing, info = link.path, link.path.timing, link.stream.acknowledged()
    if info is None or not 1 < timing.retries <= path.missed:  # one late reply shows nothing
        return False
    # Only where a new one is there in time; else what is under way by the old one is all there is.
    trips = TRIPS if link.wiring.tls is None else TRIPS_OF_TLS
    is_near = trips * info.rtt_ns < timing.timeout // 2
    return is_near and info.last_ack_age_ns >= timing.retries * timing.timeout - COARSE


def _wiring(path: Connected) -> Wiring:
    settings: PeerSettings = path.peer.settings
    assert path.target is not None  # noqa: S101 - nothing is asked without
    return Wiring(path.target, settings.leaving, settings.tls)


def _certificates(file: str) -> bytes:
    _, octets = read_regular(file, LARGEST_CA)
    if len(octets) == LARGEST_CA:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), file)
    return octets


def _unreadable(error: OSError, options: TlsOptions | None) -> Fact:
    file = options and options.ca
    words = f"ca: {file}: {error.strerror}; put the authority's certificate there, in PEM,"
    return Fact(Cause.SEND_BLOCKED, f"{words} where hbd may read it, or correct ca:")


def _finer(handshake: int, probe: int) -> int:
    """Give the RTT: of the handshake, to the microsecond, while a later one may be the same.

    A probe's is known in ticks of the kernel only.
    """
    return handshake if abs(probe - handshake) <= COARSE else max(probe, 0)


def _keep_alive(timing: Timing) -> KeepAlive:
    """The kernel asks by itself, in whole seconds, where we have not: else it would anticipate us.

    Then we would have to wait for a second until it asks again.
    """
    idle = timing.interval + timing.timeout
    return KeepAlive(_seconds(idle), _seconds(timing.timeout), timing.retries + 1)


def _seconds(span: int) -> int:
    return max(-(-span // SECOND), 1)


def _user_timeout_ms(timing: Timing) -> int:
    """What was sent is given up when we would; also what keep-alive asks (tcp(7))."""
    return timing.detection // 1_000_000
