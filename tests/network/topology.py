"""A monitor, a router and hosts in namespaces, each host with an hbd of its own.

        one +----------+ north        +--- a  10.11.0.2, fd11::2
      +-----| switch 1 |------ router +--- b  10.11.0.3, fd11::3
    monitor +----------+              +--- c  10.12.0.2, fd12::2 --- e  10.13.0.2, fd13::2
      +-----| switch 2 |------ d  10.2.0.2, fd02::2
        two +----------+------ f  10.2.0.3, fd02::3

The switches are there so that a host can be off without taking our own carrier with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from hbd.core.model import SECOND
from hbd.core.verdicts import ASKED_ANEW
from hbd.report.client import Client, NoDaemonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespaces import Namespace, Network

ROOT: Final = Path(__file__).parents[2]

FAST: Final = {"interval": "200ms", "timeout": "100ms", "retries": 3, "rise": 2}
DETECTION: Final = 0.2 + 4 * 0.1
"""interval + (retries + 1) x timeout, seconds."""
ANEW: Final = ASKED_ANEW / SECOND - 3 * 0.1
"""So much later so fast a path begins anew after a fault of ours, seconds."""
PROBE: Final = 3.0
MARGIN: Final = 0.25
"""What two busy cores may add to a detection time: our own lateness moves deadlines."""
PATIENCE: Final = 10.0

ROUTER: Final = {"4": "10.1.0.254", "6": "fd01::fe"}
ADDRESS: Final = {
    f"{host}{family}": address
    for host, addresses in {
        "a": ("10.11.0.2", "fd11::2"),
        "b": ("10.11.0.3", "fd11::3"),
        "c": ("10.12.0.2", "fd12::2"),
        "e": ("10.13.0.2", "fd13::2"),
        "d": ("10.2.0.2", "fd02::2"),
        "f": ("10.2.0.3", "fd02::3"),
        "r": ("10.1.0.254", "fd01::fe"),
    }.items()
    for family, address in zip("46", addresses, strict=True)
}


def peer(name: str, address: str | list[str] | None = None, **settings: object) -> dict[str, Any]:
    """One peer; `a4` is host a by IPv4."""
    return {"name": name, "address": ADDRESS[name] if address is None else address, **settings}


def peers(*names: str) -> list[dict[str, Any]]:
    return [peer(name) for name in names]


class Daemon:
    """An `hbd run` in a namespace; what it tells can be waited for."""

    def __init__(self, host: Namespace, wrap: tuple[str, ...] = (), **configuration: object):
        self._directory = tempfile.TemporaryDirectory(prefix="hbd-network-")
        self._is_killed = False
        directory = Path(self._directory.name)
        directory.chmod(0o755)
        self.runtime, state = directory / "run", directory / "state"
        for made in (self.runtime, state):
            made.mkdir()
            made.chmod(0o777)
        self.config = directory / "hbd.yaml"
        self.configure(**configuration)
        self._log = directory / "log"
        environment = os.environ | {
            "RUNTIME_DIRECTORY": str(self.runtime),
            "STATE_DIRECTORY": str(state),
        }
        for name in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "LISTEN_FDS", "WATCHDOG_USEC"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "hbd", "run", "--config", str(self.config), "--log=json"]
        with self._log.open("wb") as log, host.inside():
            # The child inherits the namespace of this thread.
            self.process = subprocess.Popen(
                [*wrap, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._entries: list[dict[str, Any]] = []
        self._read = 0
        self._client = Client(self.runtime / "io.hbd", timeout=5.0)

    def configure(self, **configuration: object) -> None:
        """Write the configuration: JSON is YAML."""
        given = {"listen": [], "start_grace": "100ms", "defaults": FAST, "peers": []}
        self.config.write_text(json.dumps(given | configuration))

    def reload(self, **configuration: object) -> None:
        """Have it read another configuration, and wait until it has taken it."""
        since = self.count()
        self.configure(**configuration)
        self.process.send_signal(signal.SIGHUP)
        self.find(lambda entry: entry.get("HBD_EVENT") == "reload", since)

    def ready(self) -> Daemon:
        """Wait until it has started."""
        self.find(lambda entry: entry.get("HBD_EVENT") == "start")
        return self

    def all_up(self) -> Daemon:
        """Wait until every peer is up, and has been asked by its own schedule once."""
        names = {p["name"] for p in json.loads(self.config.read_text())["peers"]}
        self.until(lambda: names <= {n for n, state in self.states().items() if state == "up"})
        time.sleep(0.2)
        return self

    def states(self) -> dict[str, str]:
        """Give the last state told of each peer."""
        return {
            entry["HBD_PEER"]: entry["HBD_STATE"]
            for entry in self.entries()
            if entry.get("HBD_EVENT") == "state"
        }

    def entries(self) -> list[dict[str, Any]]:
        """Give all entries so far."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                # A traceback would be no JSON: it fails the test at once.
                self._entries.append(json.loads(line))
        return self._entries

    def count(self) -> int:
        return len(self.entries())

    def find(
        self, fits: Callable[[dict[str, Any]], bool], since: int = 0, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait for an entry, the first that fits of those from number `since` on."""
        return self.until(
            lambda: next((entry for entry in self.entries()[since:] if fits(entry)), None), seconds
        )

    def told(self, name: str, since: int = 0, seconds: float = PATIENCE, **fields: str) -> Any:
        """Wait for a change of one peer, the first with these HBD_ fields."""
        wanted = {f"HBD_{key.upper()}": value for key, value in fields.items()}
        return self.find(
            lambda entry: (
                entry.get("HBD_EVENT") == "state"
                and entry["HBD_PEER"] == name
                and wanted.items() <= entry.items()
            ),
            since,
            seconds,
        )

    def changes(self, name: str, since: int = 0) -> list[tuple[str, str]]:
        """Give what was told of one peer: states and causes."""
        return [
            (entry["HBD_STATE"], entry.get("HBD_CAUSE", ""))
            for entry in self.entries()[since:]
            if entry.get("HBD_EVENT") == "state" and entry["HBD_PEER"] == name
        ]

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Poll until the condition gives something; give that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, f"hbd ended: {self._log.read_text()}"
            assert time.monotonic() < deadline, f"not in {seconds} s; told: {self._summary()}"
            time.sleep(0.005)
        return found

    def _summary(self) -> str:
        return "\n".join(
            f"{entry['PRIORITY']} {entry['MESSAGE']} {entry.get('HBD_EVIDENCE', '')!r}"
            for entry in self.entries()
        )

    def status(self, name: str | None = None) -> dict[str, Any]:
        """Give what `hbd status --json` does, of one peer where one is named."""
        asked: dict[str, Any] = {} if name is None else {"peers": [name]}
        status = self._client.call("Status", **asked)
        return status if name is None else status["peers"][0]

    def call(self, method: str, **asked: Any) -> dict[str, Any]:
        """Ask it for something else, as a command does."""
        return self._client.call(method, **asked)

    def answers(self) -> bool:
        """Whether its control socket is there."""
        try:
            self.status()
        except NoDaemonError:
            return False
        return True

    def end(self) -> None:
        """End it as systemd does; it must end well, if it was not killed."""
        if self._is_killed:
            self._directory.cleanup()
            return
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            words = self._log.read_text()
            self._directory.cleanup()
        assert code == 0, words

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()
        self._is_killed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Topology:
    """The hosts above; every fault is a context in which it is there."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.monitor, self.router = net.host("m"), net.router("r")
        self.switch = net.host("sw")
        self.hosts = {name: net.host(name) for name in "abdef"}
        self.hosts["c"] = net.router("c")
        self.daemons: dict[str, Daemon] = {}
        self.hosts["r"] = self.router
        for name in ("sw1", "sw2"):
            self._bridge(self.switch, name)
        self._bridge(self.router, "lan", "10.11.0.1/24", "fd11::1/64")
        self.plug_monitor("one")
        self.plug_monitor("two")
        self.monitor.sysctl("ipv4.ping_group_range", "0 2147483647")  # as the package does
        self._plug(self.router, "north", ["10.1.0.254/24", "fd01::fe/64"], self.switch, "sw1")
        for name in "df":
            self._plug_host(name, self.switch, "sw2")
        for name in "ab":
            self._plug_host(name, self.router, "lan")
        for one, far, net_number in (("r", "c", "12"), ("c", "e", "13")):
            self.net.link(
                (
                    self.hosts[one],
                    f"to-{far}",
                    [f"10.{net_number}.0.1/24", f"fd{net_number}::1/64"],
                ),
                (self.hosts[far], "uplink", self._addresses(far)),
            )
        self._route()

    def _bridge(self, host: Namespace, name: str, *addresses: str) -> None:
        host.ip(f"link add {name} type bridge")
        host.sysctl(f"ipv6.conf.{name}.accept_dad", 0)
        for address in addresses:
            host.ip(f"addr add {address} dev {name}{' nodad' if ':' in address else ''}")
        host.ip(f"link set {name} up")

    def _plug(
        self, host: Namespace, interface: str, addresses: list[str], switch: Namespace, bridge: str
    ) -> None:
        port = f"p-{host.name.rpartition('-')[2]}-{interface}"[:15]
        self.net.link((host, interface, addresses), (switch, port, []))
        switch.ip(f"link set {port} master {bridge}")

    def _plug_host(self, name: str, switch: Namespace, bridge: str) -> None:
        self._plug(self.hosts[name], "uplink", self._addresses(name), switch, bridge)

    def _addresses(self, name: str) -> list[str]:
        return [f"{ADDRESS[f'{name}4']}/24", f"{ADDRESS[f'{name}6']}/64"]

    def plug_monitor(self, interface: str) -> None:
        """Give the monitor one of its two uplinks, without routes."""
        number = {"one": 1, "two": 2}[interface]
        addresses = [f"10.{number}.0.1/24", f"fd0{number}::1/64"]
        self._plug(self.monitor, interface, addresses, self.switch, f"sw{number}")
        self.monitor.sysctl(f"ipv6.conf.{interface}.keep_addr_on_down", 1)
        for kind in ("ipv4", "ipv6"):
            self.monitor.sysctl(f"{kind}.neigh.{interface}.retrans_time_ms", 20)

    def route_monitor(self) -> None:
        """What is behind the router goes there; replacing is no mistake."""
        for number in ("11", "12", "13"):
            self.monitor.ip(f"route replace 10.{number}.0.0/16 via 10.1.0.254 dev one")
            self.monitor.ip(f"-6 route replace fd{number}::/64 via fd01::fe dev one")

    def _route(self) -> None:
        self.route_monitor()
        self.router.ip("route add 10.13.0.0/24 via 10.12.0.2")
        self.router.ip("-6 route add fd13::/64 via fd12::2")
        for name in "abcdef":
            self._route_host(name)
        for host in self.hosts.values():
            host.answer_all()
        for device in ("lan", "to-c"):
            for kind in ("ipv4", "ipv6"):
                self.router.sysctl(f"{kind}.neigh.{device}.retrans_time_ms", 20)

    def _route_host(self, name: str) -> None:
        """Its way back to the monitor."""
        number = ADDRESS[f"{name}4"].split(".")[1]
        gateway, gateway6 = f"10.{number}.0.1", f"fd{number:>02}::1"
        self.hosts[name].ip(f"route replace 10.1.0.0/24 via {gateway}")
        self.hosts[name].ip(f"-6 route replace fd01::/64 via {gateway6}")

    # -- daemons ------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start the reflectors of these hosts, and wait for them."""
        for name in names:
            self.daemons[name] = Daemon(
                self.hosts[name], listen=["0.0.0.0:862", "[::]:862"], accept="any"
            )
        for name in names:
            self.daemons[name].ready()

    def stop(self, *names: str) -> None:
        for name in names:
            self.daemons.pop(name).end()

    def watch(self, watched: list[dict[str, Any]], **configuration: object) -> Daemon:
        """Start a monitor of these peers."""
        return Daemon(self.monitor, peers=watched, **configuration)

    def close(self) -> None:
        self.stop(*self.daemons)

    # -- faults -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def stopped(self, *names: str) -> Iterator[None]:
        """Nothing listens on these hosts."""
        self.stop(*names)
        try:
            yield
        finally:
            self.start(*names)

    @contextlib.contextmanager
    def ruled(self, host: Namespace, hook: str, *rules: str) -> Iterator[None]:
        """A firewall with these rules."""
        host.block(hook, "; ".join(rules), table="fault")
        try:
            yield
        finally:
            host.unblock("fault")

    @contextlib.contextmanager
    def off(self, host: Namespace, interface: str = "uplink") -> Iterator[None]:
        """An interface is switched off; neighbours have noticed, as they do after a while."""
        host.ip(f"link set {interface} down")
        self.router.ip("neigh flush dev lan")
        self.router.ip("neigh flush dev to-c")
        try:
            yield
        finally:
            host.ip(f"link set {interface} up")
            self._restore(host)

    def _restore(self, host: Namespace) -> None:
        """IPv6 addresses and routes go with the link."""
        if host is self.monitor:
            self.route_monitor()
            return
        name = host.name.rpartition("-")[2]
        host.ip(f"addr replace {ADDRESS[f'{name}6']}/64 dev uplink nodad")
        self._route_host(name)


class Fake:
    """A UDP socket in a namespace that answers each datagram as a function says, after a while."""

    def __init__(
        self,
        host: Namespace,
        address: str,
        port: int,
        reply: Callable[[bytes], bytes | None],
        delay: float = 0.0,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.inside():
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._socket.settimeout(0.1)
        self.requests: list[tuple[bytes, tuple[Any, ...]]] = []
        """What came, and from where."""
        self.reply = reply
        self.delay = delay
        self._answers: deque[tuple[float, bytes, tuple[Any, ...]]] = deque()
        """When each is due, and to whom."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                self._take(*self._socket.recvfrom(2048))
            while self._answers and self._answers[0][0] <= time.monotonic():
                self._socket.sendto(*self._answers.popleft()[1:])
            due = self._answers[0][0] - time.monotonic() if self._answers else 0.1
            self._socket.settimeout(min(max(due, 0.0001), 0.1))

    def _take(self, request: bytes, source: tuple[Any, ...]) -> None:
        self.requests.append((request, source))
        answer = self.reply(request)
        if answer is not None:
            self._answers.append((time.monotonic() + self.delay, answer, source))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()


def stateless(request: bytes) -> bytes:
    """Answer as a plain stateless reflector does (RFC 8762 4.3.1)."""
    return (
        request[:14] + bytes(2) + request[4:12] + request[:14] + bytes(2) + b"\xff\0\0\0"
    ) + request[44:]
