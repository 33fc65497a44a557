"""How paths leave is looked up when there is time; but overload is no reason not to, it ends it."""

from random import Random

import pytest

from hbd.core.fleet import Fleet
from hbd.core.model import SECOND, PeerSettings
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from hbd.daemon.examiner import EXAMINED, Examiner
from hbd.net.clock import Clock
from hbd.net.routes import Routes
from hbd.net.sockaddr import octets_of

MANY = EXAMINED + 50


@pytest.fixture
def fleet():
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
    fleet.apply([PeerSettings(f"p{n}", (f"127.1.{n // 250}.{n % 250 + 1}",)) for n in range(MANY)])
    for path in paths_of(fleet):
        fleet.resolved(path, ((path.address, 862),))
    return fleet


@pytest.fixture
def examiner(fleet):
    routes = Routes()
    yield Examiner(fleet, Clock(), routes, lambda _: None)
    routes.close()


def paths_of(fleet):
    return [path for peer in fleet.peers.values() for path in peer.paths]


def known(fleet):
    """Count those of which it is known how they leave."""
    return sum(path.egress is not None for path in paths_of(fleet))


def test_all_are_looked_up_where_there_is_time(fleet, examiner):
    for path in paths_of(fleet):
        examiner.want(path)
    now = Clock().now()
    assert examiner.work(now, now + 60 * SECOND) == EXAMINED == known(fleet)
    assert examiner.work(now, None) == MANY - EXAMINED
    assert known(fleet) == MANY
    assert not examiner.has_work
    assert examiner.work(now, None) == 0


def test_a_turn_that_is_late_looks_up_many_that_miss_nothing(fleet, examiner):
    """With one a turn thousands would be asked by themselves for minutes, and so each be late."""
    for path in paths_of(fleet):
        examiner.want(path)
    now = Clock().now()
    assert examiner.work(now - 60 * SECOND, now) == EXAMINED == known(fleet)


def test_a_turn_that_has_just_begun_and_is_late_looks_up_one(fleet, examiner):
    for path in paths_of(fleet):
        examiner.want(path)
    now = Clock().now()
    assert examiner.work(now, now) < EXAMINED
    assert known(fleet) >= 1


def test_who_misses_something_waits_until_there_is_time(fleet, examiner):
    """It is looked at again before its verdict, which is not to be late for it."""
    late, *others = paths_of(fleet)
    late.missed = 1
    examiner.want(late)
    for path in others:
        examiner.want(path)
        path.missed = 1
    now = Clock().now()
    examiner.work(now - 60 * SECOND, now)
    assert known(fleet) <= 1
    while examiner.has_work:
        examiner.work(now, None)
    assert known(fleet) == MANY
