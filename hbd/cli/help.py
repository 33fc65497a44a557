"""How help is laid out."""

from __future__ import annotations

import os
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from typing import Any

from hbd.cli.terminal import COLUMNS, standard_output


class Help(RawDescriptionHelpFormatter):
    """As wide as the terminal: to find that out, argparse loads all that packs and unpacks files.

    It does so whenever an option is declared, in each command and in the daemon.
    """

    def __init__(self, prog: str, **layout: Any) -> None:
        super().__init__(prog, width=_columns() - 2, **layout)


class Overview(Help):
    """Help on one screen: a line a command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=14)
        # argparse forgets that commands are indented, and breaks the lines of the longer ones.
        self._action_max_length = 12


def _columns() -> int:
    with suppress(ValueError):
        if (told := int(os.environ.get("COLUMNS", ""))) > 0:
            return told
    return standard_output().width or COLUMNS
