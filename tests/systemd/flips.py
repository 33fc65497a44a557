"""As user hbd, without a daemon: moves the file of db1 as the daemon would, 1,000 times."""

import random
import sys
import time
from pathlib import Path

from hbd.core.model import State
from hbd.report.files import StateFiles

states = [State(word) for word in sys.argv[1:]]
files = StateFiles(Path("/run/hbd"), Path("/run/hbd-changed"))
dice = random.Random(7)  # noqa: S311 - not a key


def show(state):
    files.show("db1", state, None)
    files.work(time.monotonic_ns())
    if files.has_work or files.errors:
        sys.exit(f"not written: {files.error}")


for number in range(1000):
    show(states[number % len(states)])
    time.sleep(dice.choice((0, 0.001, 0.003, 0.01)))
show(states[-1])
