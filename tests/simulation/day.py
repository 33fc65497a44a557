"""One day of three peers, as a person would read it: `python -m tests.simulation.day [SEED]`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from hbd.core.events import FlappingChanged, Stalled, StateChanged, Storm, Woke
from hbd.core.model import MILLISECOND, SECOND, Cause, Limits, Timing
from hbd.core.peer import Pause
from hbd.core.session import Fact
from tests.simulation.world import LAN, START, Link, World, own_link, peer

HOUR = 3_600 * SECOND
MINUTE = 60 * SECOND
MIDNIGHT = 1_699_999_200 * SECOND - 1_699_999_200 * SECOND % (24 * HOUR)


def day(seed: int) -> World:
    """2 % loss each way, and what befalls machines."""
    world = World(seed, start_grace=10 * SECOND, keep=False)
    world.wall_step = MIDNIGHT - world.wall
    gw, db, web = Link(loss=0.01), Link(loss=0.01, spread=MILLISECOND), Link(loss=0.01)
    web2 = Link(loss=0.01, delay=9 * MILLISECOND)
    limits = Limits(max_loss=0.10, max_rtt=50 * MILLISECOND)
    for one, link in (
        (peer("gw", "192.0.2.1"), gw),
        (
            peer("db", "192.0.2.11", via="gw", timing=Timing(200 * MILLISECOND, 100 * MILLISECOND)),
            db,
        ),
        (peer("web", "192.0.2.21", limits=limits), web),
    ):
        world.watch(one, link=link)
    known = [one.settings for one in world.fleet.peers.values()]
    world.at(
        2 * HOUR,
        lambda: world.apply(
            *known[:2], peer("web", "192.0.2.21", "192.0.2.22", limits=limits), link=web2
        ),
    )
    _dead(gw, 3 * HOUR, 90 * SECOND)
    _dead(db, 3 * HOUR, 95 * SECOND)
    _dead(db, 5 * HOUR, 12 * MINUTE)
    world.at(5 * HOUR + 5 * SECOND, lambda: _icmp(world, "db"))
    for link in (gw, db, web, web2):
        _dead(link, 8 * HOUR, 40 * SECOND)
    world.at(9 * HOUR, lambda: world.faults.update({LAN: own_link("eth0")}))
    world.at(9 * HOUR + 20 * SECOND, world.faults.clear)
    world.stalls = [(START + 10 * HOUR, START + 10 * HOUR + 90 * SECOND)]
    world.at(11 * HOUR, lambda: setattr(world, "wall_step", world.wall_step + 3 * SECOND))
    world.at(12 * HOUR, lambda: world.fleet.pause("db", Pause(world.wall + HOUR, "disk", "ann")))
    _dead(db, 12 * HOUR + 5 * MINUTE, 10 * MINUTE)
    world.at(14 * HOUR, lambda: setattr(web, "delay", 40 * MILLISECOND))
    world.at(14 * HOUR + 10 * MINUTE, lambda: setattr(web, "delay", MILLISECOND))
    world.at(15 * HOUR, lambda: setattr(web, "loss", 0.08))
    world.at(15 * HOUR + 10 * MINUTE, lambda: setattr(web, "loss", 0.01))
    _dead(web2, 16 * HOUR, 3 * MINUTE)
    for n in range(10):
        _dead(db, 18 * HOUR + n * 10 * SECOND, 5 * SECOND)
    world.at(20 * HOUR, lambda: world.suspend(HOUR))
    _dead(db, 23 * HOUR, 2 * HOUR)
    world.run(24 * HOUR)
    return world


def _dead(link: Link, begin: int, span: int) -> None:
    link.dead.append((START + begin, START + begin + span))


def _icmp(world: World, name: str) -> None:
    path = world.path(name)
    sequence, heartbeat = list(path.unanswered.items())[-1]
    payload = sequence.to_bytes(4, "big") + heartbeat.token.to_bytes(8, "big")
    fact = Fact(Cause.PORT_CLOSED, f"ICMP port unreachable from {path.target[0]}")
    world.fleet.icmp(path.target, payload, fact, witness=True)


def tell(event) -> str:
    """Put an event as a line."""
    at = datetime.fromtimestamp(event.since / SECOND, UTC).strftime("%d %H:%M:%S.%f")[:-3]
    match event:
        case StateChanged():
            words = _change(event)
        case Storm():
            over = "storm over" if event.over else "storm"
            cause = f" ({event.cause})" if event.cause else ""
            words = f"{over}: {event.count} peers {event.state}{cause}, common: {event.common}"
        case FlappingChanged():
            words = f"{event.peer} {'flaps' if event.flapping else 'flaps no more'}"
            words += f" ({event.changes} changes)"
        case Stalled():
            words = f"we did not run for {event.duration / SECOND:.3f} s"
        case Woke():
            words = f"suspended for {event.duration / SECOND:.0f} s"
        case _:
            words = str(event)
    return f"{at}  {words}"


def _change(event: StateChanged) -> str:
    cause = f" ({event.cause})" if event.cause else ""
    verb = "is still" if event.is_refinement else "is"
    words = f"{event.peer} {verb} {event.state}{cause}"
    words += f"; was {event.previous} for {event.duration / SECOND:.1f} s"
    if event.detection is not None:
        words += f"; detected in {event.detection / SECOND:.3f} s"
    if event.loss is not None:
        words += f"; loss {event.loss:.0%}"
    if event.rtt is not None:
        words += f"; RTT {event.rtt / MILLISECOND:.1f} ms"
    words += "; first" if event.first else ""
    words += "; quiet" if event.quiet else ""
    return "\n      ".join((words, *event.evidence))


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    world = day(seed)
    for event in world.events:
        print(tell(event))
    for one in world.fleet.peers.values():
        for path in one.paths:
            print(
                f"{one.name} {path.address}: {path.state}, sent {path.figures.sent},"
                f" received {path.figures.received}, late {path.figures.late},"
                f" duplicate {path.figures.duplicate}"
            )
    print(dict(world.fleet.dropped))


if __name__ == "__main__":
    main()
