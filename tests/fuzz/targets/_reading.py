"""Reads a configuration from a file, and holds against it what is true of all of them."""

import pickle
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from hbd.config.__main__ import pieces
from hbd.config.files import load
from hbd.config.model import ConfigError, Loaded

KEY = "c0ffee" * 10 + "abcd"
"""A secret that was written where it does not belong."""
LONGEST_MESSAGE = 1_000

_SCRATCH = tempfile.TemporaryDirectory(prefix="hbd-fuzz.")
FILE = Path(_SCRATCH.name, "hbd.yaml")
for _name in ("a.yaml", "b.yaml"):
    FILE.with_name(_name).write_text("- {name: other, address: 192.0.2.9}\n")
FILE.with_name("empty.d").mkdir()
FILE.with_name("loop.yaml").symlink_to("loop.yaml")


def read(octets):
    """Give what is loaded, or None where it is refused."""
    FILE.write_bytes(octets)
    try:
        loaded = load(str(FILE))
    except ConfigError as error:
        _look_at(error.problems, octets)
        return None
    assert isinstance(loaded, Loaded)
    _look_at(loaded.warnings, octets)
    head, *peers, last = [pickle.loads(pickle.dumps(one)) for one in pieces(str(FILE))]  # noqa: S301
    assert head.warnings == loaded.warnings
    assert last == ()
    whole = [
        replace(others, name=name, addresses=where)
        for part in peers
        for name, where, others in part
    ]
    assert tuple(whole) == loaded.configuration.peers
    return loaded


def _look_at(problems, octets):
    lines = len(re.split(rb"\r\n|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9]", octets))
    assert list(problems) == sorted(problems)
    for problem in problems:
        assert Path(problem.file).parent == FILE.parent
        assert problem.column >= 1
        # libyaml ends what does not end with a line of its own.
        assert 1 <= problem.line <= (lines + 1 if problem.file == str(FILE) else 2)
        assert problem.text.isprintable()
        assert len(problem.text) <= LONGEST_MESSAGE
        if "in a circle" not in problem.text:  # of names, which may look like keys
            assert KEY[:16] not in re.sub(r"peer \S+", "", problem.text)
