"""Whether there are more peers on our own links than the kernel's neighbour table holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hbd.net.resolver import numeric
from hbd.net.routes import NoRouteError, Routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.core.address import Address

TABLES: Final = {
    "IPv4": Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3"),
    "IPv6": Path("/proc/sys/net/ipv6/neigh/default/gc_thresh3"),
}


def crowded(addresses: Iterable[str], tables: dict[str, Path] = TABLES) -> list[str]:
    """Say for each address family what to set, where numeric addresses on-link are too many."""
    targets = [target for address in addresses if (target := numeric(address, 1)) is not None]
    warnings = []
    for family, table in tables.items():
        ours = [target for target in targets if (":" in target[0]) == (family == "IPv6")]
        limit = _limit(table)
        if limit is None or len(ours) <= limit:
            continue
        with closing(Routes()) as routes:
            near = sum(_is_near(routes, target) for target in ours)
        if near > limit:
            warnings.append(
                f"{near} {family} peers on our own links, but the kernel keeps {limit} neighbours:"
                f" set net.{family.lower()}.neigh.default.gc_thresh3={2 * near} (sysctl.d)"
            )
    return warnings


def _limit(table: Path) -> int | None:
    try:
        return int(table.read_text())
    except (OSError, ValueError):
        return None


def _is_near(routes: Routes, target: Address) -> bool:
    try:
        route = routes.lookup(target)
    except NoRouteError:
        return False
    return route.gateway is None and not route.is_local
