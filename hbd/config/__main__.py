"""Loads a configuration in a process of its own: `python3 -m hbd.config FILE`, for `hbd run`.

A big file takes longer to read than a heartbeat may be late, and a daemon that never reads YAML
itself is smaller by three megabytes. What comes out is a pickle of Loaded or of the problems.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace

from hbd import __version__
from hbd.config.files import load
from hbd.config.model import ConfigError, Loaded, Problem


def outcome(file: str) -> Loaded | list[Problem]:
    """Load the file, or give all that is wrong with it."""
    try:
        return replace(load(file), timing_places={})  # for people, not for the daemon
    except ConfigError as error:
        return error.problems


if __name__ == "__main__":
    # The version first: after an upgrade the daemon that asks may be older than this code.
    sys.stdout.buffer.write(__version__.encode() + b"\n")
    pickle.dump(outcome(sys.argv[1]), sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
