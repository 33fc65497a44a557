"""The story: what is done to whom, and what has to be seen then."""

from __future__ import annotations

import secrets
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hbd.demo.stage import Stage, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

DB: Final = "127.0.0.11"
WEB: Final = ("127.0.0.21", "127.0.0.22")
FAR: Final = "127.0.0.23"
LINE: Final = "127.0.0.31"
LINE_OUT: Final = "127.0.0.32"
MONITOR: Final = "127.0.0.41"

MEASURED_BY: Final = {"interval": "100ms", "timeout": "80ms", "retries": 2, "rise": 2}

CAST: Final = f"""\
Three hbd run on this machine, each with a directory of its own: "monitor", and
two that answer its heartbeats, "db" and "web". No root, no /etc/hbd.yaml, no
network but loopback.
  monitor watches db   at {DB}, both with the same key
                  web  at {WEB[0]} and {WEB[1]}: two paths to one machine
                  far  at {LINE}: a line leads from there to web, which
                       comes first (via: web)
Heartbeats go every 100 ms here; a peer is down when it missed one and two
retransmissions."""

NOT_SHOWN: Final = """\
What loopback cannot show, because it has no cable, router or firewall of its own:
  own-link, own-uplink, no-route   a fault of this machine's link, switch or routes
  send-blocked, own-stall          its firewall, or no processor time
  host-unreachable, net-unreachable, routing-loop
                                   what routers, or the last hop, answer
  rejected, mtu, one-way           firewalls, and MTU or routes that differ by direction
  silent                           a host that is off: here the host is this one, and answers
  unresolved                       a name that does not resolve would be asked of the real DNS
Peers of other kinds (tcp, mqtt, bfd, plain) have causes of their own: hbd(8), PROTOCOLS."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A state that has to be told of a peer, with one of these causes; None is no cause."""

    peer: str
    state: str
    causes: tuple[str | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class Scene:
    """One step: what is told of it, what is done, and what has to be seen."""

    title: str
    act: Callable[[], object]
    seen: tuple[Seen, ...]
    explain: str = ""
    """The peer that is to be explained."""


class Play:
    """Who takes part, and what can be done to them."""

    def __init__(self, stage: Stage) -> None:
        self.stage: Final = stage
        self.port: Final = free_port([DB, *WEB, FAR, LINE, MONITOR])
        self._keys: Final = {"fleet": {"file": stage.write_key(secrets.token_hex(32))}}

    def begin(self) -> None:
        """Start everybody; the monitor last."""
        self.stage.configure("db", self._daemon([DB], [self._watched("monitor", MONITOR)]))
        self._let_web_listen(*WEB, FAR)
        self.stage.configure("monitor", self._daemon([MONITOR], self._peers()))
        self.stage.lay_line(LINE, FAR, LINE_OUT, self.port)
        for name in ("db", "web", "monitor"):
            self.stage.start(name)

    def _peers(self) -> list[dict[str, Any]]:
        web = {"name": "web", "address": [*WEB], "port": self.port, "source": MONITOR}
        far = {**self._watched("far", LINE), "via": "web", "max_rtt": "20ms", "max_loss": "5%"}
        return [self._watched("db", DB), web, far]

    def _watched(self, name: str, address: str) -> dict[str, Any]:
        source = DB if name == "monitor" else MONITOR
        return {
            "name": name, "address": address, "port": self.port, "source": source, "key": "fleet"
        }  # fmt: skip

    def _daemon(self, listen: list[str], peers: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "listen": [f"{address}:{self.port}" for address in listen],
            "accept": ["127.0.0.0/8"],
            "keys": self._keys,
            "start_grace": "0s",
            "defaults": MEASURED_BY,
            "peers": peers,
        }

    def _let_web_listen(self, *addresses: str) -> None:
        visitor = {"name": "visitor", "key": "fleet", "expect": "1h"}  # known by its key alone
        self.stage.configure("web", self._daemon([*addresses], [visitor]))

    def _reload_web(self, *addresses: str) -> None:
        self._let_web_listen(*addresses)
        self.stage.client("web").call("Reload")

    def _monitor(self, *words: str) -> Callable[[], object]:
        return lambda: self.stage.command("monitor", *words)

    def _signal(self, name: str, number: signal.Signals) -> Callable[[], object]:
        return lambda: self.stage.send(name, number)

    def _line(self, manner: str) -> Callable[[], object]:
        return lambda: self.stage.make_line(manner)

    def scenes(self) -> tuple[Scene, ...]:
        """Give all of it, in order."""
        far_up, web_up, db_up = Seen("far", "up"), Seen("web", "up"), Seen("db", "up")
        good = Scene("The line is as before.", self._line("good"), (far_up,))
        return (
            Scene("All are started, and answer.", self.begin, (db_up, web_up, far_up)),
            Scene(
                "An operator works on db: hbd pause db --reason 'new disk'",
                self._monitor("pause", "db", "--reason", "new disk"),
                (Seen("db", "paused", ("paused",)),),
            ),
            Scene("The new disk is in: hbd resume db", self._monitor("resume", "db"), (db_up,)),
            Scene(
                "The line to far takes 40 ms longer, but far has max_rtt: 20ms.",
                self._line("slow"),
                (Seen("far", "degraded", ("slow",)),),
                "far",
            ),
            good,
            Scene(
                "Something on that line alters replies: they are not what the key signed.",
                self._line("altering"),
                (Seen("far", "down", ("auth",)),),
                "far",
            ),
            good,
            Scene(
                "Another program answers there, in words of its own.",
                self._line("foreign"),
                (Seen("far", "down", ("bad-reply",)),),
                "far",
            ),
            good,
            Scene(
                "web stops listening on its second address; the first still answers.",
                lambda: self._reload_web(WEB[0], FAR),
                (Seen("web", "degraded", ("path-down",)),),
                "web",
            ),
            Scene("web listens there again.", lambda: self._reload_web(*WEB, FAR), (web_up,)),
            Scene(
                "db hangs: its process is stopped by SIGSTOP, its host is well.",
                self._signal("db", signal.SIGSTOP),
                (Seen("db", "down", ("filtered",)),),
                "db",
            ),
            Scene("db goes on.", self._signal("db", signal.SIGCONT), (db_up,)),
            Scene(
                "web crashes (SIGKILL). The way to far leads through it: far is not blamed.",
                self._signal("web", signal.SIGKILL),
                (
                    Seen("web", "down", ("port-closed",)),
                    Seen("far", "unreachable", ("parent-down",)),
                ),
                "web",
            ),
            Scene("web is started again.", lambda: self.stage.start("web"), (web_up, far_up)),
            Scene(
                "One reply in four is lost on the line to far, but far has max_loss: 5%.",
                self._line("lossy"),
                (Seen("far", "degraded", ("lossy",)),),
                "far",
            ),
            Scene(
                "db is stopped on purpose (SIGTERM) and says goodbye. After 5 s it has left.",
                self._signal("db", signal.SIGTERM),
                (Seen("db", "left", ("goodbye",)),),
                "db",
            ),
        )
