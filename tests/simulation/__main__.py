"""`python -m tests.simulation [--hours 1e6] [--seed 7] [CLASS...]`: publish the figures."""

from __future__ import annotations

import argparse
import time

from tests.simulation import advised, classes, speaking
from tests.simulation.classes import check

CLASSES = classes.CLASSES | speaking.CLASSES | advised.CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--hours", type=float, default=1e4, help="peer-hours of each class")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("classes", nargs="*", metavar="CLASS", help=", ".join(CLASSES))
    arguments = parser.parse_args()
    for name in arguments.classes or CLASSES:
        begin = time.monotonic()
        tally = CLASSES[name](arguments.seed, arguments.hours)
        print(f"{tally.line()}   {time.monotonic() - begin:.0f} s", flush=True)
        check(tally)


if __name__ == "__main__":
    main()
