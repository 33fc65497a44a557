"""One target under the fuzzer, alone in its process: `python -m tests.fuzz.child NAME OPTION...`.

The options are libFuzzer's.
"""

import resource
import shlex
import sys

import atheris

from tests.fuzz.corpus import HERE, MEASURED, target

MEMORY = 2 << 30
"""Octets of address space; who wants more gets a MemoryError, and that is a finding."""


def main():
    name, *options = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with atheris.instrument_imports(include=["hbd"], exclude=_unmeasured(name)):
        run = target(name).run
    # To merge, libFuzzer gives its first argument and the others to a shell.
    again = f"{shlex.quote(sys.executable)} -m tests.fuzz.child {name}"
    atheris.Setup([again, *options], run)
    atheris.Fuzz()


def _unmeasured(name):
    if name not in MEASURED:
        return []
    root = HERE.parents[1]
    files = (file.relative_to(root).with_suffix("") for file in root.glob("hbd/**/*.py"))
    return [".".join(file.parts) for file in files if ".".join(file.parts) not in MEASURED[name]]


if __name__ == "__main__":
    main()
