"""Long files of one thing over and over: reading takes no more than its share of time."""

import time

from tests.fuzz.draws import Draws, piece
from tests.fuzz.targets._reading import read

LONGEST = 200
SIZE = 1 << 16
PATIENCE = 10
"""Seconds of the processor; what is slow because there is much of it takes one."""


def seeds():
    return [
        bytes([2]) + b"".join(map(piece, parts))
        for parts in (
            (b"", b"[", b""),
            (b"peers:\n", b"- 192.0.2.1\n", b""),
            (b"peers: [", b"{name: a, via: a},", b"]"),
            (b"", b"a: &a b\n", b"c: *a"),
            (b"", b"- &a *a\n", b""),
            (b"{", b'"a\\', b"}"),
            (b"peers: [{name: a, labels: {", b"a: b,", b"}}]"),
            (b"include: [", b"x,", b"]"),
            (b"include: [", b"'*',", b"]"),
            (b"accept: [", b"10.0.0.1/", b"8]"),
            (b"listen: [", b"'0.0.0.0:1',", b"]"),
            (b"peers: ['", b"1.", b"x']"),
            (b"peers: ['", b"[:", b"']"),
            (b"peers: [{name: a, address: [", b"a,", b"]}]"),
            (b'peers: [{name: a, address: b, send: "', b"\\\\x0", b'"}]'),
            (b"keys: {", b"a: b,", b"}"),
            (b"", b"# \r", b""),
            (b"a: |\n", b" \n", b"x"),
            (b"? ", b"? ", b""),
            (b'a: "', b"\\u0041 \n", b'"'),
        )
    ]


def run(octets):
    draws = Draws(octets)
    size = SIZE >> (draws.octet() & 3)
    before, unit, after = draws.piece(), draws.piece(), draws.piece()
    if b"include" in before:
        # Each pattern asks the file system; and what is on this machine is nobody's to read.
        size //= 64
        before, unit, after = (
            part.replace(b"/", b"_").replace(b"..", b"_") for part in (before, unit, after)
        )
    if unit:
        began = time.process_time()
        read(before + unit * (size // len(unit)) + after)
        assert time.process_time() - began < PATIENCE
