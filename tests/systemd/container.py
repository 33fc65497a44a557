"""A Debian 12 with a booted systemd, in a container that is gone afterwards."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "python3-yaml", "python3-systemd", "iproute2",
    "procps", "dma", "python3-aiohttp", "python3-prometheus-client",
)  # fmt: skip
ENVIRONMENT = (
    "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
    "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive",
)  # fmt: skip


def mirror():
    """The Debian mirror that apt is configured with, else the usual one."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lists = Path("/etc/apt/sources.list")
    if sources.exists():
        found = re.search(r"^URIs:\s*(\S+/debian)/?\s*$", sources.read_text(), re.MULTILINE)
    elif lists.exists():
        found = re.search(
            r"^deb\s+(?:\[.*?\]\s+)?(\S+/debian)/?\s", lists.read_text(), re.MULTILINE
        )
    else:
        found = None
    return found[1] if found else "http://deb.debian.org/debian"


def debian():
    """The root directory of a Debian 12, made once and kept in the cache."""
    cache = Path(os.environ.get("HBD_TESTS_CACHE") or Path.home() / ".cache" / "hbd-tests")
    key = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    root = cache / f"bookworm-{key}"
    if root.exists():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bookworm-", dir=cache))
    work.chmod(0o755)
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
             "bookworm", work, mirror()],
            check=True, stdout=subprocess.DEVNULL, timeout=600,
        )  # fmt: skip
        work.rename(root)
    finally:
        if work.exists():
            shutil.rmtree(work)
    return root


@dataclass(frozen=True)
class Container:
    """A booted system; its commands run as root beside its PID 1."""

    leader: int

    def run(self, *command, check=True, timeout=60, **options):
        """The finished process, with text in stdout and stderr; fails with both shown."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", *ENVIRONMENT, *command],
            capture_output=True, text=True, check=False, timeout=timeout, **options,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *command):
        """A process inside; the caller ends it."""
        return subprocess.Popen(
            ["nsenter", "-t", str(self.leader), "-a", *ENVIRONMENT, *command],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def path(self, inside):
        """A file of the container, from outside."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")

    def show(self, unit, *properties):
        """Properties of a unit, by name."""
        out = self.run("systemctl", "show", unit, "-p", ",".join(properties)).stdout
        return dict(line.split("=", 1) for line in out.splitlines())

    def journal(self, *match):
        """What journalctl prints for these arguments."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-q", *match).stdout


def eventually(question, seconds=20.0, pause=0.1):
    """The first true answer; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(pause)
    message = f"not within {seconds} s: {question}"
    raise AssertionError(message)


def init_of(nspawn, log):
    """The PID 1 of the container that nspawn runs, once it has a root of its own.

    Before that its children still see the host's root, which no test may touch.
    """
    assert nspawn.poll() is None, Path(log).read_text(errors="replace")
    for child in Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # a child of the first moments
            is_init = Path(f"/proc/{child}/comm").read_text() == "systemd\n"
            if is_init and not Path(f"/proc/{child}/root").samefile("/"):
                return int(child)
    return None


@contextmanager
def disk(directory):
    """A throw-away copy of the system that can be booted more than once, below that directory."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    try:
        for name in ("upper", "work", "root"):
            (directory / name).mkdir()
        layers = f"lowerdir={debian()},upperdir={directory}/upper,workdir={directory}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", layers, directory / "root"], check=True
        )
        yield directory / "root"
    finally:
        subprocess.run(["umount", "--lazy", "--recursive", directory], check=True)


@contextmanager
def booted(log, root=None):
    """A container with a network of its own, loopback; on that root, or a throw-away copy."""
    name = f"hbd-{os.getpid()}-{time.monotonic_ns() % 100_000}"
    system = ("-D", root) if root else ("-D", debian(), "--volatile=overlay")
    with Path(log).open("wb") as out:
        nspawn = subprocess.Popen(
            ["systemd-nspawn", "-q", *system, f"--machine={name}",
             "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
             "--resolv-conf=off", "--timezone=off", "-b"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            # Also where the host itself mounts cgroup v1.
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )  # fmt: skip
    try:
        machine = Container(eventually(lambda: init_of(nspawn, log)))
        eventually(
            lambda: (
                machine.run("systemctl", "is-system-running", "--wait", check=False).stdout
                in ("running\n", "degraded\n")
            )
        )
        # An installed Debian has this file, a minimal one has not.
        machine.path("/etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        yield machine
        machine.run("systemctl", "poweroff", check=False)
        nspawn.wait(timeout=30)
    finally:
        if nspawn.poll() is None:
            # Its PID 1 takes the whole container with it, and may outlive nspawn itself.
            if leader := init_of(nspawn, log):
                os.kill(leader, signal.SIGKILL)
            nspawn.kill()
            nspawn.wait(timeout=10)
