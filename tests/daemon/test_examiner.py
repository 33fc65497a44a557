"""How paths leave is looked up when there is time; but overload is no reason not to, it ends it."""

import pytest

from hbd.core.model import SECOND
from hbd.daemon.examiner import EXAMINED, Examiner
from hbd.net.clock import Clock
from hbd.net.routes import Routes
from tests.daemon.fleets import fleet_of

MANY = EXAMINED + 50


@pytest.fixture
def fleet():
    fleet = fleet_of(MANY)
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
