"""The benchmark: hbd side by side with other programs, in one run on one machine.

    python -m tests.bench [--quick] [--only NAME...] [--runs N] [--json FILE]

Needs root: all traffic stays in network namespaces of its own. Figures are printed beside their
goals; none is a failure, as machines differ. Ratios are of programs that were measured in turn.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from hbd.report.answer import NoDaemonError
from tests.bench import machine, table
from tests.bench.lab import Lab
from tests.bench.rows import QUICK, ROWS
from tests.network import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Measure what was asked for; 0, or 77 where it cannot be done here."""
    arguments = _arguments()
    if reason := namespaces.why_not():
        print(f"bench: {reason}", file=sys.stderr)
        return os.EX_NOPERM
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    description = list(machine.description())
    print("\n".join([*(f"* {line}" for line in description), "", *table.head()]), flush=True)
    rows: list[table.Row] = []
    with Lab(quick=arguments.quick, runs=arguments.runs, say=_say) as lab:
        for name in arguments.only or (QUICK if arguments.quick else ROWS):
            for row in _measured(name, lab):
                rows.append(row)
                print(row.line(), flush=True)
    if arguments.json:
        table.write(arguments.json, description, rows)
    return os.EX_SOFTWARE if any("failed" in row.facts for row in rows) else os.EX_OK


def _measured(name: str, lab: Lab) -> Iterator[table.Row]:
    """Give the rows of a name; one that cannot be had takes none of the others with it."""
    _say(name)
    try:
        yield from ROWS[name](lab)
    except (AssertionError, OSError, NoDaemonError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield table.Row(name, "not measured", "-", "-", remarks=why, facts={"failed": why})


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="few peers, short looks: for CI")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--runs", type=int, help="how often programs take turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
