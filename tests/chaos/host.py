"""The daemon as a process in a namespace, with a journald and an sd_notify of this run's own."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from hbd.report.answer import NoDaemonError
from hbd.report.journal import SOCKET
from tests.daemon.running import Daemon

STARTS = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], os.environ | {"LISTEN_PID": str(os.getpid())})
"""
"""Becomes the daemon with a socket that was kept (sd_listen_fds(3))."""
FULL = "size=256k,nr_inodes=64"
"""Of the small file systems: soon full, in both ways."""


class Listener(threading.Thread):
    """A datagram socket that hears, is stuck, or is gone; `hear` gets octets and descriptors."""

    def __init__(self, path, hear):
        super().__init__(name=f"listener {path}", daemon=True)
        self._path, self._hear = Path(path), hear
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._reads = threading.Event()
        self._turn = threading.Lock()
        self.resume()
        self.back()
        self.start()

    def run(self):
        while True:
            self._reads.wait()
            with self._turn:
                if self._socket is not None:
                    self._drain()
            time.sleep(0.001)

    def _drain(self):
        with suppress(BlockingIOError):
            while True:
                datagram, fds, _, _ = socket.recv_fds(self._socket, 1 << 18, 8)
                if not datagram and not fds:
                    return  # shut down
                self._hear(datagram, fds)

    def stick(self):
        """Read nothing until `resume`."""
        self._reads.clear()

    def resume(self):
        self._reads.set()

    def gone(self):
        """Take no more, hear what had come, then be gone."""
        with self._turn:
            self._path.unlink()
            self._socket.shutdown(socket.SHUT_RD)
            self._drain()
            self._socket.close()
            self._socket = None

    def back(self):
        with self._turn:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind(str(self._path))


def parsed(datagram, fds):
    """Give the fields of an entry in the native protocol (systemd: JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    for fd in fds:  # it was too big for a datagram
        with os.fdopen(fd, "rb") as memory:
            memory.seek(0)
            datagram += memory.read()
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + length], datagram[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


class Disk:
    """A small file system that can be filled."""

    def __init__(self, directory):
        self._directory = Path(directory)
        self._is_full = False

    def mount(self):
        self._directory.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", FULL, "tmpfs", self._directory]
        subprocess.run(words, check=True)

    def fill(self):
        self._is_full = True
        with suppress(OSError), (self._directory / "filling").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        for number in range(100):
            with suppress(OSError):
                (self._directory / f"filling{number}").touch()

    def refill(self):
        """Take what was freed since, if it is to be full."""
        if self._is_full:
            self.fill()

    def free(self):
        self._is_full = False
        for file in self._directory.glob("filling*"):
            file.unlink()

    def unmount(self):
        subprocess.run(["umount", self._directory], check=False)


class Host(Daemon):
    """The daemon, and all that it finds around it."""

    def __init__(self, directory, namespace, hear):
        super().__init__(directory)
        self.namespace = namespace
        self.journald = Listener(SOCKET, lambda *heard: hear(parsed(*heard)))
        self.pid1 = Listener("/run/chaos/notify", self._keep)
        self._kept = None
        self.states = directory / "state"
        self.disk, self.runtime = Disk(self.states), Disk(directory / "run")
        self.disk.mount()
        self.runtime.mount()
        self.environment["NOTIFY_SOCKET"] = "/run/chaos/notify"

    def _keep(self, message, fds):
        """Be the store of descriptors: one is all that is ever kept here."""
        for fd in fds:
            if self._kept is not None:
                os.close(self._kept)
            name = message.partition(b"FDNAME=")[2].partition(b"\n")[0].decode()
            self.environment |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
            self._kept = fd

    def launch(self, **_):
        """Start the process as systemd would."""
        self.disk.refill()
        self.runtime.refill()
        command = [sys.executable, "-m", "hbd", "run", "--config", self.file]
        if self._kept is not None:
            command = [sys.executable, "-c", STARTS, str(self._kept), *command]
        with self.log.open("ab") as log, self.namespace.inside():
            status = os.fstat(log.fileno())
            stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            self.process = subprocess.Popen(
                command, cwd="/", env=self.environment | stream, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, pass_fds=[] if self._kept is None else [self._kept],
            )  # fmt: skip

    def start(self):
        """Start the process and wait for an answer, but not for long: it may have no socket."""
        self.launch()
        end = time.monotonic() + 3.0
        while not self.is_well() and time.monotonic() < end:
            time.sleep(0.02)

    def is_well(self):
        """Whether it runs, and can be asked."""
        if self.process.poll() is not None:
            return False
        with suppress(NoDaemonError, OSError):
            return self.client.call("Status")["pid"] == self.process.pid
        return False

    def said(self):
        """Give what the process said beside its entries: nothing, or why it ended."""
        return self.log.read_text()

    def close(self):
        """Leave nothing behind."""
        if self.process is not None:
            self.kill()
        self.disk.unmount()
        self.runtime.unmount()

    def signal(self, name):
        self.process.send_signal(signal.Signals[f"SIG{name}"])

    def limit_descriptors(self, fewer):
        """Let it open none, and have `fewer` too many already; give the limit it had."""
        have = len([*Path(f"/proc/{self.process.pid}/fd").iterdir()])
        before = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (have - fewer, before[1]))
        return before

    def lift_limit(self, limit):
        with suppress(ProcessLookupError):
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, limit)
