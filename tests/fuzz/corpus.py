"""The targets, and what each is given first: its seeds, and what was found to reach more of it."""

from base64 import b64decode, b64encode
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(
    file.stem for file in (HERE / "targets").glob("*.py") if not file.stem.startswith("_")
)

MEASURED = {"volleys": ["hbd.core.volleys", "hbd.core.stamp"]}
"""Where new code is looked for, if not in all of hbd: a slow target is twice as slow for it."""


def target(name):
    """A module: `run(octets)`, which raises what is found; `seeds()`.

    Where it has them: `DICTIONARY`, octets to put in, and `LONGEST`, of an input.
    """
    return import_module(f"tests.fuzz.targets.{name}")


def kept(name):
    file = HERE / "corpus" / f"{name}.txt"
    return [b64decode(line) for line in file.read_text().split()] if file.exists() else []


def keep(name, inputs):
    lines = sorted(
        (b64encode(octets).decode() for octets in inputs), key=lambda one: (len(one), one)
    )
    (HERE / "corpus" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def inputs(name):
    return [*target(name).seeds(), *kept(name)]
