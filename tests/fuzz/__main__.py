"""`python3 -m tests.fuzz [--seconds 60] [--keep] [NAME...]`: look for inputs that break a promise.

Each target runs in a process of its own, with bounded memory and so many seconds for an input.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import corpus

PATIENCE = 60
"""Seconds that one input may take, on a machine with much else to do,"""
RESIDENT = 1024
"""and megabytes that the process may have."""
LONGEST = 2_048
"""Octets of an input, where a target does not say it."""


EXCEPTION = "=== Uncaught Python exception: ==="


class Run(NamedTuple):
    executions: int
    speed: int
    edges: int
    findings: list[Path]
    words: str
    """What the fuzzer said."""

    @property
    def is_sound(self):
        return bool(self.executions) and not self.findings and EXCEPTION not in self.words

    @property
    def verdict(self):
        files = " ".join(map(str, self.findings))
        return "nothing found" if self.is_sound else files or "broken from the start"


def fuzz(name, seconds, found, learnt, seed=0):
    """Run a target for so long; what breaks it becomes a file in `found`.

    `seed`: of all that is drawn; 0: another one each time.
    """
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.glob(f"{name}-*"))
    with tempfile.TemporaryDirectory(prefix="hbd-fuzz.") as scratch:
        words_file, seeds = Path(scratch, "words"), Path(scratch, "seeds")
        seeds.mkdir()
        for number, octets in enumerate(corpus.inputs(name)):
            (seeds / f"{number:05}").write_bytes(octets)
        words = getattr(corpus.target(name), "DICTIONARY", ())
        words_file.write_text("".join(f'"{_escaped(word)}"\n' for word in words))
        options = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-timeout={PATIENCE}",
            f"-report_slow_units={PATIENCE}",
            f"-rss_limit_mb={RESIDENT}",
            f"-max_len={_longest(name)}",
            f"-artifact_prefix={found}/{name}-",
            "-print_final_stats=1",
            *([f"-dict={words_file}"] if words else []),
        ]
        said = _child(name, *options, str(learnt), str(seeds))
    return Run(
        _last(r"stat::number_of_executed_units: (\d+)", said),
        _last(r"stat::average_exec_per_sec: +(\d+)", said),
        _last(r"cov: (\d+)", said),
        sorted(set(found.glob(f"{name}-*")) - before),
        said,
    )


def keep(name, learnt):
    """Add to the corpus of the tree what reaches more than all that is there."""
    with tempfile.TemporaryDirectory(prefix="hbd-fuzz.") as scratch:
        seeds = Path(scratch)
        for number, octets in enumerate(corpus.target(name).seeds()):
            (seeds / f"seed-{number:05}").write_bytes(octets)
        for number, octets in enumerate(corpus.kept(name)):
            (learnt / f"kept-{number:05}").write_bytes(octets)
        _child(name, "-merge=1", f"-max_len={_longest(name)}", str(seeds), str(learnt))
        fresh = (file for file in seeds.iterdir() if not file.name.startswith("seed-"))
        corpus.keep(name, {file.read_bytes() for file in fresh})


def _longest(name):
    return getattr(corpus.target(name), "LONGEST", LONGEST)


def _child(name, *options):
    command = [sys.executable, "-m", "tests.fuzz.child", name, *options]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=corpus.HERE.parents[1],
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


def _escaped(word):
    return "".join(f"\\x{octet:02x}" for octet in word)


def _last(pattern, said):
    return int((re.findall(pattern, said) or [0])[-1])


def told(run):
    """The exception of a finding and where it was raised; all there is where it is another."""
    _, mark, rest = run.words.partition(EXCEPTION)
    return rest.partition("\n==")[0] if mark else run.words[-2_000:]


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches more")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="for what breaks it")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(corpus.NAMES))
    arguments = parser.parse_args()
    failed = False
    for name in arguments.names or corpus.NAMES:
        with tempfile.TemporaryDirectory(prefix="hbd-fuzz.") as learnt:
            run = fuzz(name, arguments.seconds, arguments.found.absolute(), Path(learnt))
            print(
                f"{name:10} {run.executions:>11,} executions {run.speed:>7,}/s {run.edges:>5} edges"
                f"  {run.verdict}",
                flush=True,
            )
            if not run.is_sound:
                failed = True
                print(told(run), flush=True)
            elif arguments.keep:
                keep(name, Path(learnt))
    sys.exit(failed)


if __name__ == "__main__":
    main()
