"""`hbd keygen`: a new key, and how to give it to both ends."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import declare

if TYPE_CHECKING:
    from argparse import Namespace

OCTETS: Final = 32

EPILOG: Final = """\
The key goes to standard output, what to do with it to standard error.

example, on one machine; then copy the file to the other over a safe way:
  hbd keygen | sudo install -m 0400 -o hbd /dev/stdin /etc/hbd.d/fleet.key
"""

ADVICE: Final = """\
The key, one line and nothing else, belongs into a file on both machines:
  /etc/hbd.d/fleet.key, owner hbd, mode 0400
and name it in /etc/hbd.yaml on both:
  keys: {fleet: {file: /etc/hbd.d/fleet.key}}
  peers:
    - {name: db1, address: 10.0.0.11, key: fleet}
Then on both: hbd check && systemctl reload hbd
To change a key, put the new one on a second line everywhere, then make it the
first line, then remove the old one, with systemctl reload hbd after each step
(systemctl restart hbd, where the file is a credential of systemd's).
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    declare(subparsers, "keygen", "Print a new key, and how to give it to both ends.", EPILOG)


def run(_arguments: Namespace) -> int:
    """Print both."""
    sys.stdout.write(secrets.token_hex(OCTETS) + "\n")
    sys.stdout.flush()
    sys.stderr.write(ADVICE)
    return os.EX_OK
