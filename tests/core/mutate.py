"""Break each rule of the core once and see who notices: `python tests/core/mutate.py [NUMBER...]`.

Works on a copy. A rule whose breaking nobody notices needs a test.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.core.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]

ASKING = tuple(
    f"tests/core/test_{name}.py"
    for name in (
        *("asking", "egress", "via", "life_of_a_peer", "stall", "loss", "storm", "figures"),
        *("tight", "one_way", "rounds", "inquiry", "ways", "goodbye"),
        *("timers", "storm_of_many", "via_orders", "volleys_leave"),
    )
)
REFLECTING = (
    *("tests/core/test_familiar.py", "tests/core/test_reflector.py"),
    "tests/core/test_replay.py",
)
SPEAKING = ("tests/core/test_told.py", "tests/core/test_agreed.py")
BFD = ("tests/core/test_bfd_session.py", "tests/core/test_bfd_conversation.py")
VOLLEYS = ("tests/core/test_volleys.py", "tests/core/test_volleys_keyed.py")
LIKELY = {
    "directions.py": ("tests/core/test_directions.py",),
    "window.py": ("tests/core/test_directions.py", *ASKING),
    "told.py": SPEAKING,
    "unwatched.py": SPEAKING,
    "plain.py": SPEAKING,
    "connected.py": ("tests/core/test_connected.py",),
    "awaited.py": ("tests/core/test_awaited.py", *ASKING),
    "inquiry.py": ("tests/core/test_inquiry.py", "tests/core/test_connected.py"),
    **dict.fromkeys(("reflector.py", "familiar.py", "visitors.py", "admission.py"), REFLECTING),
    "replay.py": ("tests/core/test_replay.py",),
    "rate.py": ("tests/core/test_rate.py", "tests/core/test_familiar.py"),
    "advisor.py": ("tests/core/test_advisor.py",),
    **dict.fromkeys(("volley.py", "volleys.py", "replies.py", "form.py"), VOLLEYS),
    **dict.fromkeys(("bfd.py", "bfd_auth.py", "bfd_timing.py"), BFD),
}
"""Who is asked first; all others after them."""

HANG = 60
"""Seconds after which a test never ends: a busy machine is no reason to believe it."""


def tried(number: int) -> str:
    """Break one rule in a copy of the tree and run the tests of the core."""
    name, old, new = MUTATIONS[number]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for part in ("hbd", "tests/core", "tests/simulation"):
            shutil.copytree(ROOT / part, copy / part)
        (copy / "tests/core/test_mutations.py").unlink()  # it only sees that a rule is broken
        for part in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / part, copy / part)
        source = copy / "hbd/core" / name
        text = source.read_text()
        if old and text.count(old) != 1:
            return f"NOT FOUND ONCE ({text.count(old)})"
        source.write_text(text.replace(old, new) if old else text)
        seen_by = failing(copy, LIKELY.get(name, ASKING)) or failing(copy, ["tests/core"])
        return f"noticed by {seen_by}" if seen_by else "NOT NOTICED"


def failing(copy: Path, tests: Iterable[str]) -> str | None:
    """Run these tests of a copy; give the first that fails."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *tests]
    command += ["-m", "not slow", f"--timeout={HANG}"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split()[1] if failed else None


def main() -> int:
    numbers = [int(number) for number in sys.argv[1:]] or range(len(MUTATIONS))
    unnoticed = 0
    with ThreadPoolExecutor(2) as pool:
        for number, words in zip(numbers, pool.map(tried, numbers), strict=True):
            name, old, _ = MUTATIONS[number]
            print(f"{number:3} {name:12} {' '.join(old.split())[:60]:60} {words}", flush=True)
            unnoticed += words.startswith("NOT")
    print(
        f"{len(numbers) - unnoticed} of {len(numbers)} noticed; the first is sound and must not be"
    )
    return unnoticed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
