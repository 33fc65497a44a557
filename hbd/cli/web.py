"""`hbd web`: the status page and the metrics."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import declare
from hbd.report.places import control_socket

if TYPE_CHECKING:
    from argparse import Namespace

DEFAULT: Final = "127.0.0.1:8621"
HIGHEST_PORT: Final = 65_535

PACKAGES: Final = {"aiohttp": "python3-aiohttp", "prometheus_client": "python3-prometheus-client"}

EPILOG: Final = """\
Serves / (live status), /peer/NAME, /metrics (Prometheus), /api/status and
/healthz. It only asks: nothing on it changes anything. There is no password:
whoever reaches the address can read.

Exit status: 0 stopped; 71 the address cannot be had, or a package is missing.

examples:
  hbd web
  hbd web --listen 10.0.0.5:8621 --host mon1.example.net
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "web", "Serve the status page and metrics over HTTP.", EPILOG)
    parser.add_argument(
        "--listen",
        type=endpoint,
        default=DEFAULT,
        metavar="ADDRESS:PORT",
        help=f"where to be asked (default: {DEFAULT})",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name as well; addresses, localhost and the host name need not be said",
    )


def run(arguments: Namespace) -> int:
    """Serve until stopped."""
    try:
        from hbd.web.server import run as serve  # noqa: PLC0415 - no other command needs it
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        needed = " ".join(PACKAGES.values())
        sys.stderr.write(f"hbd: hbd web needs {PACKAGES[error.name]}: apt install {needed}\n")
        return os.EX_OSERR
    host, port = arguments.listen
    try:
        serve(host, port, tuple(arguments.host), control_socket(os.environ))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        sys.stderr.write(
            f"hbd: cannot listen at {host} port {port}: {reason};"
            " give another with --listen ADDRESS:PORT\n"
        )
        return os.EX_OSERR
    return os.EX_OK


def endpoint(text: str) -> tuple[str, int]:
    """Read ADDRESS:PORT, IPv6 in brackets; a type for argparse."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number <= HIGHEST_PORT:
        raise ArgumentTypeError(f"{text} is not ADDRESS:PORT, such as {DEFAULT} or [::1]:8621")
    return host, number
