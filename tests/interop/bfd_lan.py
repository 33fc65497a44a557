"""A router and its BFD neighbours: one hbd that watches nothing else, one with a STAMP peer too.

     alone  10.99.0.1 ---+
     beside 10.99.0.3 ---+ switch +--- router 10.99.0.2, fd99::2
a STAMP reflector .4  ---+
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import live_figures
import programs
import running
from sessions import Change, Neighbour, Router
from topology import Daemon

from hbd.core.model import SECOND
from hbd.report.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from namespaces import Namespace, Network

ALONE, ROUTER, BESIDE, REFLECTOR = (f"10.99.0.{last}" for last in (1, 2, 3, 4))
PORTS: Final = "udp dport { 3784, 4784 }"
PEER: Final = "router"
WITNESS: Final = "reflector"
INTERVAL: Final = "100ms"
DETECTION: Final = 0.3
"""Of three intervals, both ways."""

AHEAD: Final = 0.005
"""What the contract allows beyond it: at the 99th percentile, and a busy machine may add to one."""
BUSY: Final = 0.1
MICROSECOND: Final = 1e-6


class Hbd(running.Daemon):
    """An hbd in a namespace, which can be stopped, killed, frozen and started again."""

    def __init__(self, host: Namespace, directory: Path, *peers: dict[str, Any]) -> None:
        directory.mkdir()
        super().__init__(directory)
        self.host = host
        self.peers = peers
        self._write(peers)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()

    def _write(self, peers: Iterable[dict[str, Any]]) -> None:
        self.configure(peers, defaults={}, start_grace="0s")

    def launch(self, **options: Any) -> Self:
        with self.host.inside():
            return super().launch(**options)

    def keep(self, peers: Iterable[dict[str, Any]]) -> None:
        """Reload with these peers."""
        self._write(peers)
        assert isinstance(self.reload(), dict)

    def change(self, **settings: object) -> None:
        """Reload with other settings of the first peer, for good."""
        self.peers = (self.peers[0] | settings, *self.peers[1:])
        self.keep(self.peers)

    def told(self, since: int, seconds: float = 10.0, **fields: str) -> dict[str, str]:
        """Wait for a change of a peer's state, the first with these fields from this number on."""
        wanted = {f"HBD_{name.upper()}": value for name, value in fields.items()}
        return programs.until(
            lambda: next(
                (entry for entry in self.changes()[since:] if wanted.items() <= entry.items()), None
            ),
            seconds,
            lambda: f"{wanted} in {[summary(entry) for entry in self.changes()[since:]]}",
        )

    def changes(self, name: str | None = None) -> list[dict[str, str]]:
        """Give every change of a peer's state or cause so far, of the first if none is named."""
        wanted = {"HBD_EVENT": "state", "HBD_PEER": name or self.peers[0]["name"]}
        lines = self.log.read_text().rpartition("\n")[0].splitlines()
        return [entry for line in lines if wanted.items() <= (entry := json.loads(line)).items()]

    def up(self, *names: str) -> Self:
        """Wait until these peers, or the first, are up."""
        for name in names or (self.peers[0]["name"],):
            self.wait(name, "up")
        return self

    def up_now(self) -> list[str]:
        """Give the names of the peers that are up."""
        return [view["name"] for view in self.status()["peers"] if view["state"] == "up"]

    def bears(self, seconds: float) -> bool:
        """Whether it says that the first peer is down after so long a silence."""
        words = f"down after {duration(round(seconds * SECOND))} of silence"
        return self.judged().endswith(words)

    def judged(self) -> str:
        return str(self.client.call("Explain", peer=self.peers[0]["name"])["judged"])


def summary(entry: dict[str, str]) -> tuple[str, ...]:
    names = ("HBD_STATE", "HBD_CAUSE", "HBD_EVIDENCE")
    return tuple(entry[name] for name in names if name in entry)


def bfd(name: str = PEER, address: str = ROUTER, **settings: object) -> dict[str, Any]:
    """Configure one BFD peer."""
    return {
        "name": name,
        "address": address,
        "protocol": "bfd",
        "interval": INTERVAL,
    } | settings


@dataclass(frozen=True, slots=True)
class Seat:
    """One of the two hbds, and its address."""

    name: str
    address: str
    hbd: Hbd


class Lan:
    """The hosts above, with both hbds running; the router is not started yet."""

    def __init__(self, net: Network, directory: Path, **settings: object) -> None:
        self._stack = contextlib.ExitStack()
        self._directory = directory
        self.switch = net.host("sw")
        self.switch.ip("link add lan type bridge")
        self.switch.ip("link set lan up")
        self.hosts = {
            name: self._plug(net, name, address)
            for name, address in (
                ("alone", ALONE),
                ("router", ROUTER),
                ("beside", BESIDE),
                ("other", REFLECTOR),
            )
        }
        self.router_host = self.hosts["router"]
        reflector = {"listen": [f"{REFLECTOR}:862"], "accept": "any"}
        self._stack.enter_context(Daemon(self.hosts["other"], **reflector)).ready()
        witness = {"name": WITNESS, "address": REFLECTOR, "interval": "100ms", "timeout": "50ms"}
        self.seats = (
            self._seat("alone", ALONE, bfd(**settings)),
            self._seat("beside", BESIDE, bfd(**settings), witness),
        )
        self.router: Router | None = None

    def _plug(self, net: Network, name: str, address: str) -> Namespace:
        host = net.host(name)
        host.answer_all()
        net.link((host, "eth0", [f"{address}/24"]), (self.switch, name, []))
        self.switch.ip(f"link set {name} master lan")
        return host

    def _seat(self, name: str, address: str, *peers: dict[str, Any]) -> Seat:
        hbd = Hbd(self.hosts[name], self._directory / name, *peers)
        self._stack.callback(hbd.end)
        return Seat(name, address, hbd.start())

    def start(self, kind: Callable[..., Router], **settings: object) -> Router:
        """Start a router that is the neighbour of both, and wait until both are up."""
        neighbours = [Neighbour(seat.address, "eth0") for seat in self.seats]
        self.router = kind(self.router_host, *neighbours, **settings)
        self._stack.enter_context(self.router)
        return self.router

    def up(self) -> None:
        """Wait until both hbds and the router say up."""
        for seat in self.seats:
            seat.hbd.up()
            self.router.sees("up", seat.address)
        self.seats[1].hbd.up(WITNESS)

    def close(self) -> None:
        self._stack.close()

    # -- faults -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def ruled(self, hosts: tuple[str, ...], hook: str, rule: str) -> Iterator[None]:
        """A rule in the firewalls of these hosts."""
        for name in hosts:
            self.hosts[name].block(hook, rule, table="fault")
        try:
            yield
        finally:
            for name in hosts:
                self.hosts[name].unblock("fault")

    def deaf_router(self) -> contextlib.AbstractContextManager[None]:
        """Nothing of BFD reaches the router."""
        return self.ruled(("router",), "prerouting", f"{PORTS} drop")

    def deaf_hbds(self) -> contextlib.AbstractContextManager[None]:
        """Nothing of BFD reaches either hbd."""
        return self.ruled(("alone", "beside"), "prerouting", f"{PORTS} drop")

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """The router's cable is out, at the switch."""
        self.switch.ip("link set router nomaster")
        try:
            yield
        finally:
            self.switch.ip("link set router master lan")

    # -- what both ends say -------------------------------------------------------------------

    def marks(self) -> Marks:
        """Note how much has been told so far."""
        return Marks(
            {seat.name: len(seat.hbd.changes()) for seat in self.seats},
            {seat.name: len(self.router.changes(seat.address)) for seat in self.seats},
            len(self.router.log()),
            time.time(),
        )

    def seen(
        self,
        fault: str,
        since: Marks,
        state: str,
        *causes: str,
        formula: float | None = None,
        router: str | None = None,
    ) -> list[dict[str, str]]:
        """Wait until both hbds say this first of all; note it beside the router's words.

        `causes`: one of these; `formula`: the time to detect that is due, seconds; `router`: what
        the router is to say.
        """
        entries = []
        for seat in self.seats:
            seat.hbd.told(since.hbds[seat.name])
            entry = seat.hbd.changes()[since.hbds[seat.name]]
            cause = entry.get("HBD_CAUSE")
            if (causes, cause) == (("filtered",), "silent"):
                # No verdict waits for evidence; on a busy machine that comes after it.
                cause = seat.hbd.told(since.hbds[seat.name], cause="filtered")["HBD_CAUSE"]
            assert (entry["HBD_STATE"], cause in causes) == (state, True), summary(entry)
            seconds = live_figures.took(entry)
            if formula is not None:
                assert formula <= seconds <= formula + BUSY, (seconds, formula)
            if router is not None:
                self.router.changed(router, since.router[seat.name], seat.address)
            self.note(fault, seat, state, since, cause=cause, seconds=seconds, formula=formula)
            entries.append(entry)
        return entries

    def note(self, fault: str, seat: Seat, state: str, since: Marks, **figures: Any) -> None:
        """Put into the table what one hbd and the router say."""
        peer = type(self.router).__name__
        cause = figures.pop("cause", None)
        words = self.words(seat, since) or "nothing"
        live_figures.note(peer, f"{fault} ({seat.name})", state, cause, other=words, **figures)

    def words(self, seat: Seat, since: Marks) -> str:
        """Give the changes that the router logged of one hbd, with the seconds from then on."""
        changes = self.router.changes(seat.address)[since.router[seat.name] :]
        return ", ".join(_words(change, since.at) for change in changes)

    def complaints(self, since: Marks) -> list[str]:
        """Give what the router had to say of packets since."""
        return self.router.complaints(since.log)

    def agreed(self, seat: Seat, interval: float, detection: float) -> None:
        """Wait until the router sends so often and waits so long; seconds."""
        programs.until(
            lambda: (
                (seen := self.router.session(seat.address)) is not None
                and abs(seen.interval - interval) < MICROSECOND
                and abs(seen.detection - detection) < MICROSECOND
            ),
            words=lambda: (interval, detection, self.router.sessions()),
        )


@dataclass(frozen=True, slots=True)
class Marks:
    """How much each had told at a moment."""

    hbds: dict[str, int]
    router: dict[str, int]
    log: int
    at: float


def _words(change: Change, since: float) -> str:
    reason = f" ({change.reason})" if change.reason else ""
    return f"{change.new}{reason} {change.at - since:+.3f} s"
