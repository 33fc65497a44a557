"""Fleets for what the daemon does with one, on its real clock."""

from random import Random

from hbd.core.fleet import Fleet
from hbd.core.model import PeerSettings
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from hbd.net.clock import Clock
from hbd.net.sockaddr import octets_of


def fleet_of(count):
    """Give one that watches so many peers of our own, none of which is resolved yet."""
    clock, dice = Clock(), Random(1)  # noqa: S311 - the same in each run
    station = Station("here", 1, dice)
    fleet = Fleet(
        now=clock.now(),
        wall=clock.wall(),
        dice=dice,
        session=lambda settings, _: StampSession(settings, station, None),
        start_grace=0,
        tick=1,
        station=station,
        place_of=octets_of,
    )
    fleet.apply([PeerSettings(f"p{n}", (f"127.1.{n // 250}.{n % 250 + 1}",)) for n in range(count)])
    return fleet
