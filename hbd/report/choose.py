"""Which sink: the journal for a service, standard error for a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hbd.report.console import Console
from hbd.report.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hbd.report.entry import Entry
    from hbd.report.sink import Sink

STDERR: Final = 2


def choose(log: str | None, environ: Mapping[str, str], lost: Callable[[int], Entry]) -> Sink:
    """The sink for `--log` (text, json or None); `lost` makes the entry that tells of lost ones."""
    if log is None and _is_journal(STDERR, environ.get("JOURNAL_STREAM", "")):
        return Journal(lost)
    try:
        return Console(lost, STDERR, log or "text")
    except OSError:
        # Started with standard error closed.
        return Console(lost, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), log or "text")


def _is_journal(fd: int, stream: str) -> bool:
    """Whether `fd` is what systemd connected to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
