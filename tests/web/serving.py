"""Daemons with an hbd web beside them, and the reflectors that they watch."""

import re
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from reflectors import Reflector
from running import Daemon, until

_numbers = count(1)


class Web:
    """An `hbd web` beside a daemon, at a port that the kernel chose."""

    def __init__(self, daemon, *words, program=("-m", "hbd")):
        self.daemon = daemon
        self.log = daemon.directory / f"web-{next(_numbers)}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "web", "--listen", "127.0.0.1:0", *words],
                cwd="/", env=daemon.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.url = until(self._url, 15)
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def _url(self):
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"hbd web: (http://\S+/)", self.log.read_text())
        return found and found[1]

    def stop(self):
        """End it: nothing of Python's stands in its log, whatever was asked of it."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(15) == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


class Hosts:
    """Reflectors by the name of their host, which can be stopped and started again."""

    def __init__(self, **addresses):
        self._addresses = addresses
        self._running = {}
        for name in addresses:
            self.start(name)

    def start(self, name):
        self._running[name] = Reflector(self._addresses[name]).__enter__()

    def stop(self, name):
        self._running.pop(name).__exit__()

    def close(self):
        for name in list(self._running):
            self.stop(name)


def makers(stack):
    """Give what makes daemons, and hbd webs beside them."""

    def daemon(**configuration):
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hbd-")))
        made = Daemon(directory)
        stack.callback(made.end)
        if configuration:
            made.configure(**configuration)
        return made

    def web(daemon, *words, **options):
        made = Web(daemon, *words, **options)
        stack.callback(made.stop)
        return made

    return daemon, web
