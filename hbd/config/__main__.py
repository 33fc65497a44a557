"""Loads a configuration in a process of its own: `python3 -m hbd.config FILE`, for `hbd run`.

A big file takes longer to read than a heartbeat may be late. What comes out is a pickle of Loaded,
or of the list of problems.
"""

from __future__ import annotations

import pickle
import sys

from hbd.config import ConfigError, Loaded, Problem, load


def outcome(file: str) -> Loaded | list[Problem]:
    """Load the file, or give all that is wrong with it."""
    try:
        return load(file)
    except ConfigError as error:
        return error.problems


if __name__ == "__main__":
    pickle.dump(outcome(sys.argv[1]), sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
