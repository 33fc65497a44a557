"""Addresses, prefixes, host names, and where to listen, from text."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from hbd.config.model import Listen
from hbd.config.nodes import place
from hbd.config.values import Mistake, shown, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.config.nodes import Scalar

Prefix = IPv4Network | IPv6Network

BROADCAST: Final = IPv4Address("255.255.255.255")

_HOST = re.compile(r"(?:(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.?")
# After WHATWG URL, "ends in a number": the resolver of libc would read such a name as an address.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_WITH_PORT = re.compile(r"\[([^\]]*)\]:([0-9]+)|([^:]*):([0-9]+)")
_BRACKETS = re.compile(r"\[(.*)\]")
_LISTEN = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")


def address(scalar: Scalar) -> str:
    """Give the address of a path in its usual form, or a host name as written."""
    text = word(scalar)
    number = numeric(text)
    if number is not None:
        _check_unicast(number)
        return str(number)
    _check_form(text)
    if _NUMERIC_END.fullmatch(text):
        raise Mistake(
            f"{shown(text)} is no IPv4 address; write four numbers from 0 to 255 "
            "without leading zeros",
        )
    if len(text) > 253 or not _HOST.fullmatch(text):  # noqa: PLR2004 - RFC 1035 3.1
        words = f"{shown(text)} is neither an address nor a host name"
        raise Mistake(f"{words}; write for instance 10.0.0.11, fd00::11 or db1.example.org")
    return text


def numeric(text: str) -> IPv4Address | IPv6Address | None:
    """Give the IP address that `text` is, None if it is none."""
    try:
        number = ipaddress.ip_address(text)
    except ValueError:
        return None
    scope = getattr(number, "scope_id", None)
    return number if scope is None or _is_scope(scope) else None


def _is_scope(text: str) -> bool:
    return text.isprintable() and re.fullmatch(r"[^\s/:%]{1,15}", text) is not None


def _check_form(text: str) -> None:
    """Refuse what is plainly meant as an address but written with more or less."""
    ported = _WITH_PORT.fullmatch(text)
    if ported:
        bare, port = ported[1] or ported[3], ported[2] or ported[4]
        raise Mistake(
            f"{shown(text)} holds a port; write {shown(bare)} here and port: {shown(port)}"
        )
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed:
        raise Mistake(f"{shown(text)} has brackets; write {shown(bracketed[1])}")
    if "/" in text:
        raise Mistake(f"{shown(text)} is no address; write one address without / and prefix length")
    if ":" in text:
        raise Mistake(
            f"{shown(text)} is no IPv6 address; write for instance fd00::11 or fe80::1%eth0"
        )
    if not text.isascii():
        raise Mistake(f"{shown(text)} is not ASCII; write the host name in its xn-- form")


def _check_unicast(number: IPv4Address | IPv6Address) -> None:
    if number.is_multicast:
        raise Mistake(f"{number} is a multicast address; write the address of one machine")
    if number.is_unspecified:
        raise Mistake(f"{number} is no machine's address; write 127.0.0.1 or ::1 for this one")
    if number == BROADCAST:
        raise Mistake(f"{number} is the broadcast address; write the address of one machine")
    mapped = number.ipv4_mapped if isinstance(number, IPv6Address) else None
    if mapped:
        raise Mistake(f"{number} is an IPv4 address in IPv6 form; write {mapped}")


def with_interface(address: str, interface: str) -> str:
    """Give a link-local address its interface; Mistake where it names another."""
    number = numeric(address)
    if not isinstance(number, IPv6Address) or not number.is_link_local:
        return address
    if number.scope_id not in {None, interface}:
        words = f"{address} is on another interface than interface: {interface}"
        raise Mistake(f"{words}; write the same in both, or one of them")
    return f"{address.partition('%')[0]}%{interface}"


def is_link_local_without_scope(text: str) -> bool:
    """Say whether `text` means another machine on each link."""
    number = numeric(text)
    return isinstance(number, IPv6Address) and number.is_link_local and number.scope_id is None


def source(scalar: Scalar) -> str:
    """Give one of this machine's own addresses."""
    text = word(scalar)
    number = numeric(text)
    if number is None:
        raise Mistake(
            f"{shown(text)} is no address; write one of this machine's, `ip addr` lists them"
        )
    _check_unicast(number)
    return str(number)


def listening(port: int) -> Callable[[Scalar], Listen]:
    """Make a reader of `ADDRESS:PORT`, an IPv6 address in brackets; `port` is for examples."""

    def read(scalar: Scalar) -> Listen:
        text = word(scalar)
        match = _LISTEN.fullmatch(text)
        if not match:
            raise Mistake(f"{shown(text)} is no address with port; {_with_port(text, port)}")
        number = numeric(match[1] or match[2])
        wanted = IPv6Address if match[1] else IPv4Address
        if not isinstance(number, wanted):
            family = "IPv6" if match[1] else "IPv4"
            raise Mistake(f"{shown(text)} holds no {family} address; {_for_instance(port)}")
        if number.is_multicast or number == BROADCAST:
            words = f"{shown(text)} is no address of this machine"
            raise Mistake(f"{words}; write 0.0.0.0:{port} for all")
        if not 1 <= int(match[3]) <= 65535:  # noqa: PLR2004 - the ports of UDP and TCP
            raise Mistake(f"{shown(text)} has port {match[3]}; write a port from 1 to 65535")
        return Listen(str(number), int(match[3]), place(scalar))

    return read


def _with_port(text: str, port: int) -> str:
    number = numeric(text.strip("[]"))
    if isinstance(number, IPv4Address):
        return f"write {number}:{port}"
    if isinstance(number, IPv6Address):
        return f"write [{number}]:{port}"
    return _for_instance(port)


def _for_instance(port: int) -> str:
    return f"write for instance 0.0.0.0:{port} or [::]:{port}"


def prefix(scalar: Scalar) -> Prefix:
    """Read a prefix; a bare address is one of its full length."""
    text = word(scalar)
    if "%" in text:
        raise Mistake(
            f"{shown(text)} has an interface; write the prefix without % and what follows"
        )
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        words = "write peers, any or a list of prefixes such as [10.0.0.0/8]"
        raise Mistake(f"{shown(text)} is no prefix; {words}") from None
    bare = text.split("/")[0]
    words = f"has bits beyond its length; write {meant}, or {bare} for one address"
    raise Mistake(f"{shown(text)} {words}")
