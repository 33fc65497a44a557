"""The one loop: all that hbd does, turn by turn."""

from __future__ import annotations

import os
import signal
import socket
from random import Random
from typing import TYPE_CHECKING, Final

from hbd import __version__
from hbd.core.address import host_of
from hbd.core.fleet import Fleet, Restored
from hbd.core.model import MILLISECOND, SECOND
from hbd.core.reflector import Reflector
from hbd.core.station import Station
from hbd.core.told import ANYWHERE
from hbd.daemon import memory
from hbd.daemon.binding import BindError
from hbd.daemon.desk import Desk
from hbd.daemon.goodbyes import Goodbyes
from hbd.daemon.keys import by_host, read_keys, read_passwords, renew, roaming
from hbd.daemon.mirror import Answered, Mirror, accepts
from hbd.daemon.monitor import Monitor
from hbd.daemon.names import Names
from hbd.daemon.poller import Poller
from hbd.daemon.reloading import Reloading
from hbd.daemon.sessions import Sessions
from hbd.daemon.teller import Teller, new_id
from hbd.net.clock import Clock
from hbd.net.resolver import Resolver
from hbd.net.sockaddr import octets_of
from hbd.report import messages
from hbd.report.files import StateFiles
from hbd.report.notify import Notifier, watchdog_interval
from hbd.report.places import changed_queue, runtime_directory, state_directory
from hbd.report.store import Store, StoreTakenError
from hbd.wire import ntp, ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hbd.config.model import Configuration, Listen, Loaded
    from hbd.core.path import Path
    from hbd.core.roster import Change
    from hbd.net.reflecting import ReflectorSocket
    from hbd.report.sink import Sink

TICK: Final = 1 * MILLISECOND
"""Turns are never closer: what is due within one is done in one."""

SUSPENDED: Final = 100 * MILLISECOND
"""A jump of BOOTTIME against MONOTONIC from which the machine was suspended."""

CHORES_SPACING: Final = 60 * SECOND
"""How often it is looked at how well our clock is set, and at what we have forgotten."""

LAST_WORDS: Final = 2 * SECOND
"""How long a stopping daemon waits for the journal to take what it has to say."""


class Daemon:
    """Everything that runs, and the turns in which it does."""

    def __init__(self, loaded: Loaded, sink: Sink, environ: Mapping[str, str]) -> None:
        """Open what needs no privilege; ConfigError for a key, OSError where even that fails."""
        configuration = loaded.configuration
        self.configuration = configuration
        self.clock: Final = Clock()
        self.poller: Final = Poller()
        self.notifier: Final = Notifier(environ)
        self.stopping = False
        self._environ: Final = environ
        self._keys: Final = read_keys(configuration, environ)
        dice = Random(os.urandom(32))  # noqa: S311 - jitter, SSIDs and noise in T1: no key
        name = configuration.node or socket.gethostname()
        self.station: Final = Station(name, int.from_bytes(os.urandom(8), "big"), dice)
        self.started: Final = self.clock.wall()
        self._started_real: Final = self.clock.now()
        passwords = read_passwords(configuration, environ)
        self._sessions: Final = Sessions(self.station, self._keys, passwords)
        self.fleet: Final = Fleet(
            now=self.clock.now(),
            wall=self.clock.wall(),
            dice=dice,
            session=self._sessions,
            start_grace=configuration.start_grace,
            tick=TICK,
            station=self.station,
            place_of=octets_of,
        )
        self.reflector: Final = Reflector((), (), lambda _: False, self.station)
        self._goodbyes: Final = Goodbyes(self.fleet, self.station)
        self.reflector.is_own = self._goodbyes.is_own
        self.mirror: Final = Mirror(
            self.reflector, self.clock, self.poller, heard=self._hear_request
        )
        self.monitor: Final = Monitor(
            self.fleet,
            self.clock,
            self.poller,
            requests_dropped=self.mirror.drops,
            requested_at=self.reflector.visitors.requests_from.get,
        )
        self._resolver: Final = Resolver()
        self.names: Final = Names(self.fleet, self._resolver)
        self._store: Final = Store(state_directory(environ))
        self._runtime: Final = runtime_directory(environ)
        self.teller: Final = Teller(
            self.fleet,
            self.clock,
            self.poller,
            sink=sink,
            store=self._store,
            files=StateFiles(self._runtime, changed_queue(environ)),
            notifier=self.notifier,
            drops=lambda: self.monitor.drops + self.mirror.drops(),
        )
        self.reloading: Final = Reloading(self)
        self.desk: Final = Desk(self, self._runtime)
        self._duties_due = 0
        """When something is to be done that is no heartbeat."""
        self._is_flooded = False
        """More had arrived in the last turn than it could read."""
        self._gap = self.clock.boottime_gap()
        self._chores_done = -CHORES_SPACING
        interval = watchdog_interval(environ)
        self._beat: Final = None if interval is None else interval // 4
        self._next_beat = 0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._loaded: Final = loaded

    # -- start and stop -----------------------------------------------------------------------

    def start(self, kept: dict[str, int]) -> None:
        """Bind, load what was stored, begin; BindError if `listen:` cannot be had.

        `kept` are the sockets that systemd kept for us, by the names we gave them.
        """
        self._bind(kept)
        deaf = self.desk.open()  # first: where another daemon answers, its states are not ours
        configuration = self.configuration
        try:
            stored = self._store.load()
        except StoreTakenError:
            self.desk.close()
            raise
        self.fleet.apply(configuration.peers)
        for name, known in stored.peers.items():
            if name in self.fleet.peers:
                restored = Restored(known.state, known.cause, known.since, known.pause)
                self.fleet.restore(name, restored)
            else:
                self._store.forget(name)
        self.teller.begin()
        self.teller.watch()
        self.teller.again(stored.pending)
        self._say_start(stored.last_moment)
        self.teller.snapshot("start")
        for warning in self._loaded.warnings:
            self.teller.warn(str(warning))
        if stored.error:
            self.teller.warn(stored.error)
        if damaged := self._store.damaged:
            self.teller.warn(messages.damaged(damaged, self._store.file))
        if deaf:
            self.teller.warn(deaf)
        self.take_paths()
        self.poller.watch(self._resolver.fileno(), self._hear_names)
        self._hear_signals()
        self.fleet.clock.skip(*self.clock.both())
        self.notifier.ready()

    def _bind(self, kept: dict[str, int]) -> None:
        listens = self.configuration.listen
        wanted = {stored_name(listen): listen for listen in listens}
        for name, fd in kept.items():
            if name not in wanted:
                os.close(fd)
                self.notifier.remove(name)
        usable = {wanted[name]: fd for name, fd in kept.items() if name in wanted}
        opened = self.mirror.open(listens, usable, self.teller.warn)
        self.mirror.adopt(listens, opened)
        for listen, bound in opened.items():
            if listen not in usable:
                self.notifier.store(bound.fileno(), stored_name(listen))
        ears = self.monitor.ears
        ears.adopt(self.configuration, ears.open(self.configuration, self.teller.warn))

    def _say_start(self, last_moment: int | None) -> None:
        wall = self.clock.wall()
        self.teller.say(
            messages.started(
                new_id(),
                wall,
                version=__version__,
                node=self.station.name,
                peers=len(self.fleet.peers),
                listening=[
                    f"{listen.address} port {listen.port}" for listen in self.mirror.sockets
                ],
                unwatched=None if last_moment is None else max(wall - last_moment, 0),
            )
        )

    def take_over(self, configuration: Configuration) -> Change:
        """Use another configuration from now on; BindError or ConfigError, and nothing changed.

        `take_paths` has to follow, in the next turn: both at once would hold up heartbeats.
        """
        read = read_keys(configuration, self._environ)
        passwords = read_passwords(configuration, self._environ)
        self._listen(configuration)
        self.configuration = configuration
        self.station.call(configuration.node or socket.gethostname())
        self.fleet.start_grace = configuration.start_grace
        replaced = self._sessions.renew(passwords)
        going = self.fleet.going(configuration.peers, replaced)
        self.monitor.farewell(going)
        change = self.fleet.apply(configuration.peers, renew(self._keys, read), replaced)
        # From here on nothing is heard of them: what came of it would be of nobody.
        self.monitor.keep_only(configuration.peers)
        self.names.drop(going)
        self.teller.take_over(change)
        self.desk.take_over(change)
        return change

    def _listen(self, configuration: Configuration) -> None:
        """Listen as this configuration asks; BindError leaves everything as it was.

        A wildcard and one address, or one protocol and another, may follow each other on a port:
        what goes shares it meanwhile (systemd too holds it open for a moment).
        """
        mirror, ears, warn = self.mirror, self.monitor.ears, self.teller.warn
        listens, before = configuration.listen, set(mirror.sockets)
        going = [*mirror.going(listens), *ears.going(configuration)]
        for bound in going:
            bound.share(on=True)
        opened: dict[Listen, ReflectorSocket] = {}
        try:
            opened = mirror.open(listens, {}, warn, shared=bool(going))
            heard = ears.open(configuration, warn, shared=bool(going))
        except BindError:
            for bound in opened.values():
                bound.close()
            for bound in going:
                bound.share(on=False)
            raise
        mirror.adopt(listens, opened)
        ears.adopt(configuration, heard)
        for listen in before.difference(mirror.sockets):
            self.notifier.remove(stored_name(listen))
        for listen, bound in opened.items():
            self.notifier.store(bound.fileno(), stored_name(listen))

    def refuse(self, errors: list[str]) -> None:
        """Say that a new configuration has mistakes, where people look for it."""
        self.teller.say(messages.reload_refused(new_id(), self.clock.wall(), errors))
        first = messages.first_of(errors)
        self.teller.complain(f"reload refused, the old configuration is in use: {first}")

    def take_paths(self) -> None:
        """The paths are others now: resolve them, and answer whom the configuration says."""
        self.monitor.senders.forbidden_ports = {ports.STAMP, *self.reflector.ports}
        self.names.take(self._paths(), self.clock.now())
        self._know_others()

    def _paths(self) -> list[Path]:
        return [path for peer in self.fleet.peers.values() for path in peer.paths]

    def _know_others(self) -> None:
        """Answer whom the configuration says, but never another reflector: they would not end."""
        paths = self._paths()
        self._goodbyes.take(paths)
        targets = [target for path in paths for target in path.targets]
        self.reflector.admission.accepts = accepts(self.configuration.accept, targets)
        self.reflector.own = dict.fromkeys(target[:2] for target in targets)
        keys = by_host(paths, self._keys)
        self.reflector.admission.keys = lambda host: keys.get(host, ())
        self.reflector.admission.roaming = roaming(paths, self._keys)
        self.mirror.familiar.is_heeded = lambda host: bool(self._told_from(host))

    def _told_from(self, host: str) -> tuple[Path, ...]:
        """Give the paths that are told about by requests from an address."""
        return self.fleet.known_by(("stamp", None, host))

    def _hear_request(self, request: Answered) -> None:
        """A heartbeat of another was answered: it may be of a peer that is told about."""
        told: list[Path] = []
        sender, session = request.reflection.sender, request.reflection.session
        if sender.is_of_host:
            told += self._told_from(host_of(request.source))
        if sender.known_by is not None:
            for ssid in (session.ssid, None):
                told += self.fleet.known_by((ANYWHERE, sender.known_by, ssid))
        for path in told:
            self.fleet.heard(path, b"", request.real, source=request.source)
        self._goodbyes.hear(request, told)

    def _hear_signals(self) -> None:
        self._wake_reader.setblocking(False)  # noqa: FBT003 - its only argument
        self._wake_writer.setblocking(False)  # noqa: FBT003 - its only argument
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self.reloading.want())
        self.poller.watch(self._wake_reader.fileno(), self._hear_wake)

    def _hear_wake(self) -> None:
        self._wake_reader.recv(4096)

    def _stop(self) -> None:
        self.stopping = True

    def run(self) -> None:
        """Turn until told to stop, then say so."""
        while not self.stopping:
            self._turn()
        self.notifier.stopping()
        self.monitor.farewell(self._paths())
        self._goodbyes.say(self.monitor.send, self._linger)
        self.monitor.streams.close()
        self.reloading.cancel()
        wall = self.clock.wall()
        self.teller.snapshot("stop")
        self.teller.tell_all()
        ran = self.clock.now() - self._started_real
        self.teller.say(messages.stopped(new_id(), wall, node=self.station.name, ran=ran))
        self.teller.finish(self.clock.now() + LAST_WORDS)
        self.desk.close()

    def _linger(self, span: int) -> None:
        """Only hear and answer for so long."""
        until = self.clock.now() + span
        while (left := until - self.clock.now()) > 0:
            self.monitor.listen(left)
            ready = self.poller.wait(left)
            now, wall = self.clock.both()
            self.fleet.turn(now, wall)
            self.poller.call(ready, first=True)
            self.monitor.drain(now, wall)
            self.monitor.carry_out(self.teller.tell)
            self.poller.call(ready, first=False)

    # -- the turn -----------------------------------------------------------------------------

    def _turn(self) -> None:
        ended = self.clock.now()
        self.fleet.ended(ended)
        patience = self._patience(ended)
        self.monitor.listen(patience)
        ready = self.poller.wait(patience)
        now, wall = self.clock.both()
        self.fleet.turn(now, wall)
        self._look_for_suspension()
        self.poller.call(ready, first=True)
        self._drain(now, wall)
        self.monitor.carry_out(self.teller.tell)
        self._tell_refused(wall)
        if self._has_duties(ready, now):
            self._do_duties(ready, now)

    def _tell_refused(self, wall: int) -> None:
        is_list = isinstance(self.configuration.accept, tuple)  # then who is a peer is not enough
        places = "accept:" if is_list else "peers: or accept:"
        for address in self.reflector.admission.refused():
            self.teller.say(messages.refused_source(new_id(), wall, address, places=places))
        for address in self.reflector.admission.mistaken():
            self.teller.say(messages.refused_key(new_id(), wall, address))
        for protocol, address in self.monitor.ears.refused():
            self.teller.say(messages.refused_source(new_id(), wall, address, protocol))

    def _has_duties(self, ready: list[int], now: int) -> bool:
        """Whether there is anything to do but heartbeats."""
        return (
            now >= self._duties_due
            or self.teller.has_news
            or self.monitor.examiner.has_work
            or self.desk.is_explaining
            or self.poller.has_later(ready)
        )

    def _do_duties(self, ready: list[int], now: int) -> None:
        """Do all that is not heartbeats: most turns have nothing of it."""
        self.poller.call(ready, first=False)
        self.reloading.work(now)
        self.names.ask(now)
        self.fleet.did(self.monitor.examiner.work(now, self.fleet.free_until()))
        self.monitor.carry_out(self.teller.tell)
        self.desk.work(now)
        told = self.teller.work(self.clock.now(), self.fleet.free_until())
        self.fleet.did(told)
        self._do_chores(now)
        self._feed_watchdog(now)
        self._duties_due = self._next_duty()

    def _next_duty(self) -> int:
        """When something of that is to be done though nothing comes."""
        deadlines = [self.names.next_deadline(), *self.teller.deadlines()]
        deadlines += [self.desk.next_deadline(), self.reloading.next_deadline()]
        if self._beat is not None:
            deadlines.append(self._next_beat)
        deadlines.append(self._chores_done + CHORES_SPACING)
        return min(deadline for deadline in deadlines if deadline is not None)

    def _drain(self, now: int, wall: int) -> None:
        """Read before we judge; but a flood that never ends must not silence our heartbeats."""
        is_empty = self.monitor.drain(now, wall)
        if self.mirror.is_behind:
            self.mirror.is_behind = False
            self.fleet.unheard_some()
        if not is_empty and not self._is_flooded:
            self._is_flooded = True
            return
        if not is_empty:
            self.fleet.lost_some()
        self._is_flooded = not is_empty
        self.fleet.advance()

    def _patience(self, now: int) -> int:
        """How long nothing has to be done."""
        fleet = self.fleet.next_deadline()
        if self._is_flooded or self.monitor.examiner.has_work:
            return 0
        due = self._duties_due if fleet is None else min(fleet, self._duties_due)
        return due - now

    def _look_for_suspension(self) -> None:
        gap = self.clock.boottime_gap()
        slept, self._gap = gap - self._gap, gap
        if slept >= SUSPENDED:
            self.fleet.suspended(slept)

    def _hear_names(self) -> None:
        if self.names.hear(self.clock.now()):
            self._know_others()

    def _do_chores(self, now: int) -> None:
        if now - self._chores_done < CHORES_SPACING:
            return
        self._chores_done = now
        memory.tidy()
        self.teller.refresh_status()  # load passes without an event
        synchronised, error = self.clock.synchronised()
        self.station.estimate = ntp.error_estimate(error, synchronised=synchronised)

    def _feed_watchdog(self, began: int) -> None:
        """Feed it last, and only from a turn that was on time: it stands for the whole turn."""
        if self._beat is None:
            return
        now = self.clock.now()
        if now >= self._next_beat and now - began <= self._beat:
            self._next_beat = now + self._beat
            self.notifier.watchdog()


def stored_name(listen: Listen) -> str:
    """Give the name under which systemd keeps a reflector's socket: no colon may be in it."""
    return f"udp-{listen.address.replace(':', '.')}-{listen.port}"
