"""The entries of hbd as the journal has them, and of nobody else.

Anybody may write fields like ours into the journal, but not those that journald adds itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hbd.core.model import MICROSECOND, SECOND
from hbd.report.history.told import Receipt, Told, message_ids, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DIRECTORIES: Final = ("/var/log/journal", "/run/log/journal")
MACHINE_ID: Final = "/etc/machine-id"
SYSTEM: Final = "system.journal"

SLACK: Final = 26 * 3_600 * SECOND
"""A snapshot is at most a day older than what follows; and entries may come late."""

SUPPRESSED: Final = "a596d6fe7bfa4994828e72309e95d61e"
"""The kind of entry by which journald says that it dropped some (sd-messages.h)."""
JOURNALD: Final = "systemd-journald.service"

BEYOND: Final = 1_000
"""So many in a row that came too late, or are damaged, are the end: single ones may bear the time
of a clock that was wrong."""

CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    name: lambda value: value
    for name in ("__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "__CURSOR")
}
"""All else is text."""

STEP: Final = 1_000
"""Entries from one word of progress to the next."""


class NoAccessError(Exception):
    """There is a journal, and this user may not read it."""


class NoJournalError(Exception):
    """There is none."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Whose entries are ours."""

    name: str = "hbd.service"
    user: int | None = None
    """The user in whose systemd it runs; None: the system's."""

    def matches(self) -> dict[str, str]:
        """Give the fields that journald vouches for."""
        if self.user is None:
            return {"_SYSTEMD_UNIT": self.name}
        return {"_SYSTEMD_USER_UNIT": self.name, "_UID": str(self.user)}


class Reading:
    """Reads entries one after the other, and counts those that are not as ours are."""

    def __init__(self, unit: Unit, progress: Callable[[int], None] = lambda _: None) -> None:
        """`progress` is called with how many have been read."""
        self.unreadable = 0
        self.read = 0
        self.suppressed = 0
        """Entries that journald did not take, by its rate limit."""
        self.last: Receipt | None = None
        """Of the entry that came last."""
        self._unit: Final = unit
        self._progress: Final = progress

    def entries(self, since: int, until: int) -> Iterator[Told]:
        """Give what came between two moments of the wall clock, and a little before and after.

        NoAccessError where the journal may not be read, NoJournalError where there is none.
        """
        check_access(self._unit)
        for fields, receipt in self._fields(since - SLACK, until + SLACK):
            self.read += 1
            if self.read % STEP == 0:
                self._progress(self.read)
            self.last = receipt
            try:
                yield told(fields, receipt)
            except ValueError:
                self.unreadable += 1

    def _fields(self, since: int, until: int) -> Iterator[tuple[dict[str, str], Receipt]]:
        from systemd import journal  # noqa: PLC0415 - a library that only reports need

        with journal.Reader(journal.LOCAL_ONLY) as reader:
            for name, value in self._unit.matches().items():
                reader.add_match(**{name: value})
            for message_id in message_ids():
                reader.add_match(MESSAGE_ID=message_id)
            reader.add_disjunction()
            reader.add_match(MESSAGE_ID=SUPPRESSED)
            reader.add_match(_SYSTEMD_UNIT=JOURNALD)
            reader.converters = CONVERTERS
            reader.seek_realtime(max(since, 0) // MICROSECOND)
            beyond = 0
            for fields, receipt in self._received(reader):
                beyond = beyond + 1 if receipt.wall > until else 0
                if beyond == BEYOND:
                    return
                if beyond:
                    continue
                if fields.get("MESSAGE_ID") == SUPPRESSED:
                    self._count_suppressed(fields)
                else:
                    yield _texts(fields), receipt

    def _received(self, reader: Any) -> Iterator[tuple[dict[str, Any], Receipt]]:
        """Give what is whole; what is damaged, as after a loss of power, is counted.

        Much of it in a row is the end: nobody can say whether it ever moves on.
        """
        damaged = 0
        while damaged < BEYOND:
            try:
                fields = reader.get_next()
                receipt = _receipt(fields) if fields else None
            except (OSError, LookupError, TypeError, ValueError):
                damaged += 1
                self.unreadable += 1
                continue
            if receipt is None:
                return
            damaged = 0
            yield fields, receipt

    def _count_suppressed(self, fields: Mapping[str, Any]) -> None:
        """Of which unit stands in the message alone, by its name or its control group."""
        unit = str(fields.get("MESSAGE", "")).rpartition(" ")[2].rpartition("/")[2]
        if unit == self._unit.name:
            with suppress(ValueError):
                self.suppressed += int(fields.get("N_DROPPED", 0))


def check_access(unit: Unit) -> None:
    """Tell whether the journal can be read, for it opens without a word where it cannot."""
    found = False
    for directory in _directories():
        try:
            files = [file.name for file in directory.iterdir()]
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise NoAccessError(str(directory)) from error
        wanted = SYSTEM if unit.user is None else f"user-{unit.user}.journal"
        file = directory / (wanted if wanted in files else SYSTEM)
        if file.name not in files:
            continue
        found = True
        if not os.access(file, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise NoAccessError(str(file))
    if not found:
        raise NoJournalError


def _directories() -> list[Path]:
    try:
        machine = Path(MACHINE_ID).read_text().strip()
    except OSError:
        return []
    return [Path(directory) / machine for directory in DIRECTORIES]


def _receipt(fields: Mapping[str, Any]) -> Receipt:
    real, _ = fields["__MONOTONIC_TIMESTAMP"]
    return Receipt(
        boot=fields["_BOOT_ID"],
        wall=fields["__REALTIME_TIMESTAMP"] * MICROSECOND,
        real=real * MICROSECOND,
        process=int(fields["_PID"]),
    )


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}
