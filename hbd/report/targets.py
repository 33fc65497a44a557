"""Starts the targets of peers whose state changed: what hbd-follow.service does, as root.

Queue and state files are written by user hbd, whom nothing here trusts: it takes names of one
form and which of four files there are, removes everything else unread, and has bounds for all.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hbd.core.names import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

QUEUE: Final = Path("/run/hbd-changed")
PEERS: Final = Path("/run/hbd/peers")

SIDE_OF: Final = {"up": "up", "degraded": "up", "down": "down", "unreachable": "down"}
"""Which target goes with a state; what is not listed changes neither."""

SLICE: Final = 500
"""Names in one round, as many as fit well into one command."""
SPACING_S: Final = 0.1
"""Rounds are never closer: of a peer that flips faster only the outcome is seen."""
AGAIN_S: Final = 1.0
"""When systemd did not take an order, or something in the queue cannot be removed."""
TRIES: Final = 30
"""So long systemd may be busy with itself; what it then still refuses is masked or faulty."""

FREELY: Final = 1000
"""While so few targets are loaded (two a peer) all get theirs; then only those a unit follows.

Each costs PID 1 2.4 kB for ever, and about half a millisecond at every daemon-reload.
"""
AT_MOST: Final = 2 * 65_535
"""More peers hbd does not watch."""

UNIT_DIRECTORIES: Final = (
    "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
    "/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached",
    "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
    "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/run/systemd/generator.late",
)  # fmt: skip
"""After systemd.unit(5)."""
LINKS: Final = re.compile(r"hbd-(?:up|down)@(.*)\.target\.(?:wants|requires|upholds|d)")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What systemd says of a target that it knows."""

    is_active: bool
    is_changing: bool
    """A job of it is still to be done."""

    @property
    def is_there_to_stay(self) -> bool:
        """Whether it is active and nothing is about to end that."""
        return self.is_active and not self.is_changing


QUIET: Final = Loaded(is_active=False, is_changing=False)
OTHER: Final = {"up": "down", "down": "up"}
EVERYBODY: Final = ""
"""A unit that is enabled for the template follows every peer."""


def take(queue: int) -> tuple[set[str], int]:
    """Empty the queue; give the names that were in it, and how much could not be removed.

    `queue` is a descriptor of the directory. No more than a slice is taken at a time.
    """
    names: set[str] = set()
    stuck = 0
    with os.scandir(queue) as entries:
        for entry in entries:
            if not _remove(queue, entry.name):
                stuck += 1
            elif NAME.fullmatch(entry.name):
                names.add(entry.name)
            if len(names) == SLICE:
                break
    return names, stuck


def _remove(queue: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=queue)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        with suppress(OSError):
            os.rmdir(name, dir_fd=queue)
            return True
        return False
    return True


def sides(names: Iterable[str], peers: Path = PEERS) -> dict[str, str]:
    """Give the target's side, up or down, of each name whose state has one.

    To be called after the names were taken: what changes later is queued again.
    """
    found: dict[str, str] = {}
    for state, side in SIDE_OF.items():
        with suppress(OSError):
            directory = _opened(peers, state)
            try:
                found.update((name, side) for name in names if _is_there(directory, name))
            finally:
                os.close(directory)
    return found


def _opened(peers: Path, state: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(peers, flags)
    try:
        return os.open(state, flags, dir_fd=above)
    finally:
        os.close(above)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def target(name: str, side: str) -> str:
    """Give the unit's name."""
    return f"hbd-{side}@{name}.target"


def loaded() -> dict[str, Loaded]:
    """Ask systemd for all targets of peers that it knows; OSError where it does not answer."""
    asked = _systemctl(
        "list-units", "--all", "--full", "--output=json", "hbd-up@*.target", "hbd-down@*.target"
    )
    if asked.returncode != 0:
        raise OSError(f"systemctl list-units: {asked.stderr.strip()}")
    return {
        row["unit"]: Loaded(row["active"] == "active", bool(row.get("job")))
        for row in json.loads(asked.stdout or "[]")
    }


def linked(directories: Iterable[str] = UNIT_DIRECTORIES) -> set[str]:
    """Give the names of peers that a unit is enabled for, EVERYBODY among them."""
    found: set[str] = set()
    for directory in directories:
        with suppress(OSError), os.scandir(directory) as entries:
            matches = (LINKS.fullmatch(entry.name) for entry in entries)
            found.update(match[1] for match in matches if match)
    return found


def due(
    wanted: dict[str, str],
    known: dict[str, Loaded],
    followed: Callable[[], set[str]] = linked,
) -> Iterator[str]:
    """Give the targets to be started, of the sides that are wanted.

    One that is active is let alone: to start it again would start anew what it wants and what
    has ended since, a mail at every restart of hbd.
    """
    room, free = AT_MOST - len(known), FREELY - len(known)
    chosen = followed() if 2 * len(wanted) > free else set[str]()
    for name, side in wanted.items():
        ours = known.get(target(name, side))
        other = known.get(target(name, OTHER[side]))
        if ours is not None and ours.is_there_to_stay and other in (None, QUIET):
            continue
        if ours is None and other is None:
            if room <= 0 or (free <= 0 and not chosen & {name, EVERYBODY}):
                continue
            room, free = room - 2, free - 2
        yield target(name, side)


def refusals(wanted: dict[str, str]) -> list[str]:
    """Start what is due without waiting for it; give what systemd says of what it refuses."""
    try:
        targets = list(due(wanted, loaded()))
    except OSError as error:
        return [str(error)]
    if not targets or not _refusal(targets):
        return []
    return [words for one in targets if (words := _refusal([one]))]


def _refusal(targets: list[str]) -> str:
    started = _systemctl("start", "--no-block", "--quiet", *targets)
    return "" if started.returncode == os.EX_OK else started.stderr.strip() or "no reason given"


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - names of peers are of one form
        ["/usr/bin/systemctl", "--no-pager", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def follow(queue: int) -> None:
    """Empty the queue and start what is due, until there is nothing more."""
    wanted: dict[str, str] = {}
    tries = 0
    has_complained = False
    while True:
        names, stuck = take(queue)
        if not names and not wanted and not stuck:
            return
        if stuck and not has_complained:
            has_complained = True
            sys.stderr.write(f"{stuck} directories in {QUEUE} cannot be removed: remove them\n")
        wanted |= sides(names)
        refused = refusals(wanted) if wanted else []
        tries = tries + 1 if refused else 0
        if tries == TRIES:
            sys.stderr.write("".join(f"given up: {words}\n" for words in refused))
        if not refused or tries == TRIES:
            wanted.clear()
            tries = 0
        # What cannot be removed must not hold up what comes beside it.
        time.sleep(AGAIN_S if refused or (stuck and not names) else SPACING_S)


def main() -> int:
    """Open the queue, if there is one, and follow what is in it."""
    try:
        queue = os.open(QUEUE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.EX_OK
    follow(queue)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
