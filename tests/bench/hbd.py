"""The real daemon, as a user runs it, watching any number of peers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from hbd.report.client import Client, NoDaemonError
from tests.daemon import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.network.namespaces import Namespace

SERVICE: Final = Path(__file__).parents[2] / "packaging" / "hbd.service"

PATIENCE: Final = 300.0
"""Seconds that the start with a very big configuration may take."""

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - directories of random names are made there
"""As /run is, where hbd.service has its runtime directory."""

LOOKS: Final = 8
"""So often it is counted what has no reply: thousands are on their way at any moment."""

MAIN: Final = """
from hbd.cli.main import main
raise SystemExit(main())
"""


class Counts(NamedTuple):
    """Of all peers together, since they are watched."""

    sent: int
    received: int
    lost: int


class Hbd(running.Daemon):
    """An `hbd run` in a namespace, while it is entered; nothing is left of it afterwards.

    A peer is its settings; `keys` are the other keys of the configuration, as YAML. `program` is
    Python that goes before what `python -m hbd` does, for who wants to see more than a user does.
    `as_service`: it is scheduled as hbd.service has it.
    """

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        peers: Sequence[dict[str, str]],
        *,
        as_service: bool = False,
        program: str = "",
        **keys: str,
    ) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="hbd-", dir=directory)))
        where = IN_MEMORY if IN_MEMORY.is_dir() else directory
        self._run = tempfile.TemporaryDirectory(prefix="hbd-bench-", dir=where)
        (self.directory / "run").symlink_to(self._run.name)
        self.host = host
        self.peers = peers
        self._as_service = as_service
        nicely = ["nice", "-n", _of_service("Nice")] if as_service else []
        words = ["-c", program + MAIN] if program else ["-m", "hbd"]
        self._words = ["setpriv", "--pdeathsig=KILL", *nicely, sys.executable, *words, "run"]
        self.started_in = 0.0
        """Seconds until its control socket answered."""
        self.client = Client(self.directory / "run/io.hbd", timeout=120.0)
        # Compiled once, as an installed hbd is, but not into the tree.
        del self.environment["PYTHONDONTWRITEBYTECODE"]
        self.environment["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")
        self._keys = {"listen": "[]", "start_grace": "10s"} | keys
        self.write(peers)

    def write(self, peers: Sequence[dict[str, str]]) -> None:
        """Write the configuration with these peers, as people write it."""
        self.file.write_text("".join(self._lines(peers)))

    def _lines(self, peers: Sequence[dict[str, str]]) -> Iterator[str]:
        for name, text in self._keys.items():
            yield f"{name}: {text}\n"
        yield "peers:\n" if peers else "peers: []\n"
        for number, settings in enumerate(peers):
            yield f"  - name: {_name(number)}\n"
            for key, value in settings.items():
                yield f"    {key}: {value}\n"

    # -- its life -----------------------------------------------------------------------------

    def launch(self, **_: Any) -> Self:
        with self.log.open("ab") as log, self.host.inside():
            # The child inherits the namespace of this thread, and dies with it.
            self.process = subprocess.Popen(
                [*self._words, "--config", str(self.file), "--log=json"],
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    def __enter__(self) -> Self:
        began = time.monotonic()
        self.launch()
        try:
            running.until(self.answers, PATIENCE)
        except BaseException:
            self.__exit__()
            raise
        self.started_in = time.monotonic() - began
        if self._as_service:
            command = shlex.split(_of_service("ExecStartPost").lstrip("-+"))
            environment = {**os.environ, "MAINPID": str(self.pid)}
            subprocess.run(command, env=environment, check=False)  # as there, it may be refused
        return self

    def __exit__(self, *_: object) -> None:
        """End it as a power cut does: thousands of goodbyes take their time."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None
        self._run.cleanup()
        shutil.rmtree(self.directory)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_real_time(self) -> bool:
        return os.sched_getscheduler(self.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR

    # -- what it says -------------------------------------------------------------------------

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.summary()
        except NoDaemonError:
            return False
        return True

    def summary(self) -> dict[str, int]:
        """Count the peers in each state: cheap for the daemon, as one at most is shown."""
        shown = [_name(number) for number in range(len(self.peers))[:1]]
        return self.client.call("Status", peers=shown)["summary"]

    def all_are(self, state: str, seconds: float = 30.0) -> int:
        """Wait until all peers are in a state, or time is over; give how many are."""
        deadline = time.monotonic() + seconds
        while (found := self.summary()[state]) < len(self.peers) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def counts(self) -> Counts:
        """Count heartbeats, replies and losses so far.

        What has no reply at any of some moments is lost; what is on its way at one is not.
        """
        least: dict[str, int] = {}
        for _ in range(LOOKS):
            views = self.status()["peers"]
            for view in views:
                name, unanswered = view["name"], view["sent"] - view["received"]
                least[name] = min(least.get(name, unanswered), unanswered)
            lost = sum(least.values())
            if not lost:
                break
            time.sleep(0.4)
        return Counts(
            sent=sum(view["sent"] for view in views),
            received=sum(view["received"] for view in views),
            lost=lost,
        )


def _name(number: int) -> str:
    return f"peer-{number}"


def _of_service(key: str) -> str:
    """Give what hbd.service says there."""
    found = re.search(rf"^{key}=(.*)$", SERVICE.read_text(), re.MULTILINE)
    assert found, key
    return found[1]
