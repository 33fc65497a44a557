"""What a row of the tables of causes has, and its commands filled in for one peer."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings, TlsOptions

COMMANDS_LIMIT: Final = 2
TRUSTED: Final = "/etc/ssl/certs/ca-certificates.crt"
HISTORY: Final = "journalctl HBD_PEER={name} --since -1h"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said of a state or a cause."""

    words: str
    """For the message; holds {on}, {service}, {loss}, {rtt}, {fact} and {proof} where they help."""
    meaning: str
    advice: str
    """What to do about it."""
    apart: str = ""
    """What tells the possibilities that remain apart; empty where none remain."""
    commands: tuple[str, ...] = ()
    """What to type next, the most telling first; a command holds names of `blanks`."""


def commands(
    row: Explanation,
    settings: PeerSettings,
    address: str | None = None,
    *,
    target: str | None = None,
    interface: str | None = None,
) -> list[str]:
    """What to type next, ready for a shell; a command that lacks something is left out.

    `address` is the one in question as configured, `target` the IP address that it stands for,
    `interface` ours towards it. What a stranger said goes into no command.
    """
    known = blanks(settings, address, target, interface)
    ready = [command for template in row.commands if (command := _filled(template, known))]
    if row.commands and not ready:
        ready = [HISTORY.format_map(known)]
    return ready[:COMMANDS_LIMIT]


def _filled(template: str, known: dict[str, str]) -> str | None:
    try:
        return template.format_map(known)
    except KeyError:
        return None


def blanks(
    settings: PeerSettings,
    address: str | None = None,
    target: str | None = None,
    interface: str | None = None,
) -> dict[str, str]:
    """By name: what is known of a peer for its commands, each value quoted for the shell."""
    host = address if address in settings.addresses else next(iter(settings.addresses), None)
    number, zone = _number(host, target)
    leaving = settings.leaving
    device = leaving.interface or zone
    source = leaving.interface or leaving.source
    known = {
        "name": settings.name,
        "via": settings.via,
        "host": host,
        "ip": number,
        "port": settings.port or None,
        "open_port": None if settings.key else settings.port,
        "endpoint": host and _endpoint(host, settings.port),
        "size": settings.stamp.size,
        "interface": device or interface,
    }
    quoted = {name: shlex.quote(str(value)) for name, value in known.items() if value is not None}
    options = {"dev": _option("dev", device), "by": _option("-I", source)}
    return quoted | options | _tls_options(settings.tls, host)


def _number(host: str | None, target: str | None) -> tuple[str | None, str | None]:
    """Give the IP address and the interface that it is tied to; None for what is not known."""
    known = target or (host if host and _is_numeric(host) else None)
    number = known.partition("%")[0] if known else None
    return number, (host or "").partition("%")[2] or None


def _is_numeric(host: str) -> bool:
    # The configuration takes no name whose last label is a number.
    return ":" in host or host.rpartition(".")[2].isdigit()


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _option(word: str, value: str | None) -> str:
    return f" {word} {shlex.quote(value)}" if value else ""


def _tls_options(tls: TlsOptions | None, host: str | None) -> dict[str, str]:
    """How openssl s_client and Mosquitto's clients are told what to expect."""
    if tls is None:
        return {"openssl_tls": "", "mosquitto_tls": ""}
    name = tls.name or (host if host and not _is_numeric(host) else None)
    return {
        "openssl_tls": _option("-servername", name) + _option("-CAfile", tls.ca),
        "mosquitto_tls": _option("--cafile", tls.ca or TRUSTED),
    }
