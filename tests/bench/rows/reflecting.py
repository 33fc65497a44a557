"""What one answer costs: hbd's reflector against the one in C, asked in turn by the same monitor.

Both wait in the kernel for what comes, and what comes is a burst every tick of the monitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.lab import OTHER_PORT, PORT, Cost, Lab, Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.programs import Monitor
    from tests.bench.table import Row


def reflector(lab: Lab) -> Iterator[Row]:
    peers = 200 if lab.quick else 10_000
    pairs, up = Pairs([], []), peers
    listen = f'["0.0.0.0:{OTHER_PORT}"]'
    with (
        lab.reflector(poll_usec=0) as other,
        lab.hbd(0, listen=listen, accept="any") as hbd,
        lab.monitor(peers) as monitor,
    ):
        for _ in range(lab.runs):
            pairs.ours.append(_asked(lab, monitor, OTHER_PORT, hbd.pid))
            up = min(up, monitor["up"])
            pairs.theirs.append(_asked(lab, monitor, PORT, other.pid))
        lost, refused = monitor["lost"], monitor["refused"]
    yield pairs.row(
        "reflector",
        f"CPU per heartbeat answered, {peers:,} a second",
        "C",
        goal="<= 1.5 x C",
        remarks=f"lost {lost}, refused {refused}",
        facts={"peers": peers, "up": up, "lost": lost + refused},
    )


def _asked(lab: Lab, monitor: Monitor, port: int, pid: int) -> Cost:
    """Let the monitor ask on this port, and look at who answers there."""
    monitor["port"] = port
    monitor.all_up()
    cost = lab.cost(pid, lambda: monitor["received"])
    monitor.pause()
    return cost
