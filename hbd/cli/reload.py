"""`hbd reload`: makes the daemon read its configuration again and waits for the answer."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask, complain, declare

if TYPE_CHECKING:
    from argparse import Namespace

EPILOG: Final = """\
A bad configuration changes nothing: its mistakes are printed, exit status 78.
This is what systemctl reload hbd runs.

example:
  sudo hbd reload
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    declare(subparsers, "reload", "Make the daemon read its configuration again.", EPILOG)


def run(_arguments: Namespace) -> int:
    """Ask for it and say what changed."""
    try:
        change = ask("Reload")
    except AskError as error:
        return complain(error)
    told = [
        f"{len(names)} {word}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"  # noqa: PLR2004
        for word in ("added", "removed", "changed")
        if (names := change[word])
    ]
    if "JOURNAL_STREAM" in os.environ:
        return os.EX_OK  # for systemctl reload: the daemon's own entries stand in the journal
    for warning in change.get("warnings", ()):  # an hbd before this one told none
        sys.stderr.write(f"hbd: warning: {warning}\n")
    sys.stdout.write(f"configuration reloaded: {'; '.join(told) or 'no peer changed'}\n")
    return os.EX_OK
