"""Probes on real sockets: ICMP echo and TCP, for evidence on paths that miss."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.inquiry import PATIENCE
from hbd.daemon.outlet import outlet_of
from hbd.net.connecting import Attempt
from hbd.net.echo import TOKEN_SIZE, EchoSocket
from hbd.report.words import duration

if TYPE_CHECKING:
    from collections.abc import Collection

    from hbd.core.fleet import Fleet
    from hbd.core.inquiry import Probe
    from hbd.core.model import Leaving
    from hbd.daemon.outlet import Outlet
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock

OPEN: Final = 256
"""Attempts and echoes in question at a time: a hundred probes a second, each for two seconds."""

FORBIDDEN: Final = {
    errno.EACCES: "whether it answers ICMP echo is not known: the kernel lets hbd ask nobody"
    " (net.ipv4.ping_group_range; hbd's package sets it)",
    errno.EPERM: "whether it answers ICMP echo is not known: our own firewall refuses to ask",
}


class _Asked(NamedTuple):
    """An echo that was asked for."""

    probe: Probe
    host: str
    at: int


class Inquirer:
    """Sends probes, and tells the fleet what they find."""

    def __init__(self, fleet: Fleet, clock: Clock, poller: Poller) -> None:
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._echoes: dict[Outlet, EchoSocket] = {}
        self._asked: OrderedDict[bytes, _Asked] = OrderedDict()
        self._attempts: OrderedDict[Attempt, int] = OrderedDict()
        """With the moment at which each is given up."""

    def keep_only(self, used: Collection[tuple[Leaving, bool]]) -> None:
        """Close the sockets by which no peer leaves any more."""
        for outlet in [outlet for outlet in self._echoes if outlet.way not in used]:
            self._close_echo(outlet)

    # -- ICMP echo ----------------------------------------------------------------------------

    def echo(self, probe: Probe) -> None:
        """Ask the path's host for an echo."""
        path = probe.path
        if path.target is None:
            return
        outlet = outlet_of(path.peer.settings, path.target)
        token = os.urandom(TOKEN_SIZE)
        try:
            self._echo_socket(outlet).ask((path.target[0], 0, *path.target[2:]), token)
        except OSError as error:
            self._close_echo(outlet)
            words = FORBIDDEN.get(error.errno or 0) or f"no ICMP echo left us: {error.strerror}"
            self._fleet.found(probe, words, alive=False)
            return
        self._asked[token] = _Asked(probe, path.target[0], self._clock.now())
        if len(self._asked) > OPEN:
            self._asked.popitem(last=False)

    def _echo_socket(self, outlet: Outlet) -> EchoSocket:
        echo = self._echoes.get(outlet)
        if echo is None:
            echo = EchoSocket(outlet.family, outlet.leaving)
            self._echoes[outlet] = echo
            self._poller.watch(echo.fileno(), partial(self._hear_echoes, echo))
        return echo

    def _close_echo(self, outlet: Outlet) -> None:
        """It may be bound to what is gone."""
        echo = self._echoes.pop(outlet, None)
        if echo is not None:
            self._poller.unwatch(echo.fileno())
            echo.close()

    def _hear_echoes(self, echo: EchoSocket) -> None:
        now = self._clock.now()
        for _ in range(OPEN):
            reply = echo.receive()
            if reply is None:
                return
            asked = self._asked.get(reply.token)
            if asked is not None and asked.host == reply.host:
                del self._asked[reply.token]
                words = f"ICMP echo ({duration(now - asked.at)})"
                self._fleet.found(asked.probe, words, alive=True)

    # -- TCP ----------------------------------------------------------------------------------

    def connect(self, probe: Probe) -> None:
        """See whether the path's host answers a SYN to the port of its heartbeats."""
        path = probe.path
        if path.target is None:
            return
        self.sweep()
        try:
            attempt = Attempt(path.target, path.peer.settings.leaving)
        except OSError as error:
            words = f"no TCP left us: {error.strerror}"
            self._fleet.found(probe, words, alive=False)
            return
        self._attempts[attempt] = self._clock.now() + PATIENCE
        hear = partial(self._hear, attempt, probe)
        self._poller.watch(attempt.fileno(), hear, read=False, write=True)

    def _hear(self, attempt: Attempt, probe: Probe) -> None:
        outcome = attempt.outcome()
        self._end(attempt)
        self._fleet.found(probe, outcome.words, alive=outcome.is_alive)

    def _end(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt, None)
        self._poller.unwatch(attempt.fileno())
        attempt.close()

    def sweep(self) -> None:
        """Give up what was tried for long enough."""
        now = self._clock.now()
        while self._attempts:
            attempt, until = next(iter(self._attempts.items()))
            if until > now and len(self._attempts) < OPEN:
                return
            self._end(attempt)
