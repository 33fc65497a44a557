"""What only the daemon itself can tell: it keeps notes, and writes them down when asked to."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

from tests.daemon.running import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.hbd import Hbd

PATIENCE: Final = 10.0

PROGRAM: Final = """
import json, os, signal
notes = {}
def write(*_):
    with open(FILE + ".new", "w") as file:
        json.dump(notes, file)
    os.rename(FILE + ".new", FILE)
signal.signal(signal.SIGUSR1, lambda *_: notes.clear())
signal.signal(signal.SIGUSR2, write)
"""


class Notes:
    """Those of one daemon, that is started with `program`."""

    def __init__(self, file: Path, taken: str) -> None:
        """`taken`: Python that puts what is to be known into the dictionary `notes`."""
        self.file: Final = file
        self.program: Final = f"FILE = {str(file)!r}\n{PROGRAM}{taken}"

    def begin(self, hbd: Hbd) -> None:
        """Forget what was noted until now."""
        hbd.process.send_signal(signal.SIGUSR1)

    def read(self, hbd: Hbd) -> dict[str, Any]:
        """Give what was noted since."""
        self.file.unlink(missing_ok=True)
        hbd.process.send_signal(signal.SIGUSR2)
        until(self.file.exists, PATIENCE)
        return dict(json.loads(self.file.read_text()))
