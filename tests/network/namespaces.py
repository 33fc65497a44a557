"""Network namespaces for tests: hosts, routers and links of our own, always removed again."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pickle
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOBODY: Final = 65534
CLONE_NEWNET: Final = 0x40000000
PATIENCE: Final = 5.0
"""Seconds a process started here may take to end when it is asked to."""

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def gather(take: Callable[[int], list], socket: object, count: int, seconds: float = 2.0) -> list:
    """Take from a socket, as it becomes ready, until so many have come or time is up."""
    gathered = []
    deadline = time.monotonic() + seconds
    while len(gathered) < count and (left := deadline - time.monotonic()) > 0:
        select.select([socket], [], [], left)
        gathered += take(count)
    return gathered


def why_not() -> str | None:
    """Return why namespaces cannot be made here; None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"network namespaces need the program {program}"
    probe = _ip("netns", "add", name := _unique("probe"))
    if probe is None:
        _ip("netns", "del", name)
    return probe and f"no network namespaces here: {probe}"


class Namespace:
    """One host: a network of its own, with what is started in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into the namespace; sockets opened meanwhile stay in it for good."""
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            with Path("/run/netns", self.name).open("rb") as away:
                _setns(away.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def run(self, *command: str) -> str:
        """Run a program inside to its end and return what it printed."""
        return _run("ip", "netns", "exec", self.name, *command)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program inside that ends with the network, if not before."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._processes.append(process)
        return process

    def ip(self, command: str) -> None:
        """Run `ip COMMAND` for this namespace, such as `addr add 10.0.0.1/24 dev a`."""
        _run("ip", "-n", self.name, *command.split())

    def nft(self, rules: str) -> None:
        """Load a ruleset, as `nft -f` reads it."""
        _run("ip", "netns", "exec", self.name, "nft", rules)

    def block(self, hook: str, rule: str, table: str = "block") -> None:
        """Add one rule, such as `udp dport 862 drop`, to a table of that name for unblock()."""
        self.nft(
            f"table inet {table} {{ chain {hook} {{ "
            f"type filter hook {hook} priority 0; {rule}; }}; }}"
        )

    def unblock(self, table: str = "block") -> None:
        self.nft(f"delete table inet {table}")

    def sysctl(self, key: str, value: object) -> None:
        """Set a key of net., such as `ipv4.ip_forward`."""
        with self.inside():
            Path("/proc/sys/net", key.replace(".", "/")).write_text(f"{value}\n")

    def answer_all(self) -> None:
        """Send every ICMP error that is due.

        But those of a route that refuses (none, unreachable, prohibit) of IPv4: of these five at
        once to one source, and one a second from then on, for all namespaces of a machine.
        """
        self.sysctl("ipv4.icmp_ratemask", 0)
        self.sysctl("ipv6.icmp.ratelimit", 0)

    def stop(self) -> None:
        """End what was started here, and the namespace with it."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        _run("ip", "netns", "del", self.name)


class Network:
    """A few namespaces and the links between them; remove() takes all of it away."""

    def __init__(self) -> None:
        self._namespaces: list[Namespace] = []

    def host(self, label: str) -> Namespace:
        """Make a host; the label tells it from others in its unique name."""
        host = Namespace(_unique(label))
        _run("ip", "netns", "add", host.name)
        self._namespaces.append(host)
        host.ip("link set lo up")
        return host

    def router(self, label: str) -> Namespace:
        """Make a host that forwards, and does not hold back ICMP errors."""
        router = self.host(label)
        router.sysctl("ipv4.ip_forward", 1)
        router.sysctl("ipv6.conf.all.forwarding", 1)
        router.answer_all()
        return router

    def link(
        self,
        one: tuple[Namespace, str, Sequence[str]],
        other: tuple[Namespace, str, Sequence[str]],
    ) -> None:
        """Join two hosts by a cable: each end a host, an interface and its ADDRESS/BITS."""
        (host, interface, _), (far, far_interface, _) = one, other
        _run(
            *f"ip link add {interface} netns {host.name} type veth "
            f"peer name {far_interface} netns {far.name}".split()
        )
        for end, name, addresses in (one, other):
            for address in addresses:
                nodad = " nodad" if ":" in address else ""
                end.ip(f"addr add {address} dev {name}{nodad}")
            # The link-local address would be tentative, hence useless, for a second or two.
            end.sysctl(f"ipv6.conf.{name}.accept_dad", 0)
            end.ip(f"link set {name} up")
        for end, name, _ in (one, other):
            _settle(end, name)

    def remove(self) -> None:
        while self._namespaces:
            self._namespaces.pop().stop()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Give a network that is gone afterwards, whatever happens."""
    made = Network()
    try:
        yield made
    finally:
        made.remove()


def as_nobody(work: Callable[[], object], *, root: Path | None = None) -> object:
    """Return what a function returns, or raise what it raises, without any privilege.

    It runs in a child, in the namespace of the caller, and sees no file but below `root`; the
    result must be fit for pickle.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _finish_as_nobody(work, root, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        told = result.read()
    os.waitpid(child, 0)
    if not told:
        raise ChildProcessError("the child ended without a word")
    value, error = pickle.loads(told)  # noqa: S301 - our own child wrote it
    if error is not None:
        raise error
    return value


def _finish_as_nobody(work: Callable[[], object], root: Path | None, writing: int) -> None:
    """Do the work as nobody in a child that was forked for it, and end that child."""
    try:
        if root is not None:
            os.chroot(root)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        told = (work(), None)
    except BaseException as error:  # noqa: BLE001 - the parent raises it again
        told = (None, error)
    os.write(writing, pickle.dumps(told))
    os._exit(0)


def _settle(host: Namespace, interface: str) -> None:
    """Wait until an interface whose cable was just plugged in takes part in IPv6.

    The kernel may leave that for a second (net/core/link_watch.c), unless the link is looked at.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        host.ip(f"link show {interface}")
        with host.inside():
            addresses = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        if any(line.startswith("fe80") and line.split()[-1] == interface for line in addresses):
            return
    raise TimeoutError(f"{interface} of {host.name} is not ready")


def _unique(label: str) -> str:
    return f"hbd-{os.getpid()}-{next(_numbers)}-{label}"


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _ip(*command: str) -> str | None:
    """Run ip; None when it worked, else what it said."""
    done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip() or "ip failed"
