"""Socket addresses, and what they say of a host."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

Address = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as Python gives it: host, port and, for IPv6, flow label and scope id.

The host never carries a %scope: the scope id says it.
"""

_NOT_UNICAST: Final = re.compile(
    r"2(2[4-9]|3\d)\. | ff[0-9a-f]{2}: | (0\.0\.0\.0 | 255\.255\.255\.255 | ::)$", re.VERBOSE
)


def host_of(address: Address) -> str:
    """Give the address, with its scope where it has one: fe80::1 of two links are two hosts."""
    if len(address) == 2 or not address[3]:  # noqa: PLR2004 - an IPv4 socket address
        return address[0]
    return f"{address[0]}%{address[3]}"


@lru_cache(maxsize=4096)
def is_unicast(host: str) -> bool:
    """Tell an address of one host, as the kernel spells it, from multicast and broadcast.

    The broadcast address of a subnet looks like a host's; only the kernel knows it.
    """
    return not _NOT_UNICAST.match(host)
