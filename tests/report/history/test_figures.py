"""What timelines come to: availability, outages, means, causes, and who is worst."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.core.model import SECOND, State
from hbd.report.history.drawing import BINS, parts
from hbd.report.history.figures import figures
from hbd.report.history.shape import shape
from hbd.report.history.text import percent
from hbd.report.history.timeline import Span, Why, history
from tests.report.history.telling import DAY, HOUR, MINUTE, TEN, Telling

END = TEN + 10 * HOUR


def hbd_with(*names):
    hbd = Telling()
    hbd.start(TEN, *names)
    for name in names:
        hbd.change(TEN, name, "up")
    return hbd


def counted(hbd, *names, since=TEN, until=END):
    return figures(history(hbd.entries, END, is_watched=True), since, until, names)


def outage(hbd, name, begin, lasted, *why):
    cause, state = why or ("silent", "down")
    hbd.change(TEN + begin, name, state, cause)
    hbd.change(TEN + begin + lasted, name, "up")


def test_availability_leaves_out_what_is_not_known():
    """Two hours down and two up of ten: the six paused, left and own fault count for nothing."""
    hbd = hbd_with("db1")
    outage(hbd, "db1", HOUR, 2 * HOUR)
    outage(hbd, "db1", 4 * HOUR, 2 * HOUR, "paused", "paused")
    outage(hbd, "db1", 6 * HOUR, 2 * HOUR, "goodbye", "left")
    hbd.change(TEN + 8 * HOUR, "db1", "unknown", "own-uplink")
    (peer,) = counted(hbd).peers
    assert peer.availability == 0.5
    assert {state: time // HOUR for state, time in peer.times.items()} == {
        "up": 2, "down": 2, "paused": 2, "left": 2, "unknown": 2,
    }  # fmt: skip
    assert len(peer.outages) == 1


def test_unreachable_is_not_held_against_the_peer():
    """It is told apart, and counts in a figure of its own."""
    hbd = hbd_with("db1")
    outage(hbd, "db1", HOUR, HOUR, "parent-down", "unreachable")
    hbd.change(TEN + 5 * HOUR, "db1", "paused", "paused")
    (peer,) = counted(hbd).peers
    assert (peer.availability, peer.reachability) == (1.0, 0.8)
    assert (peer.begun, peer.mtbf, peer.mttr) == (0, None, None)
    assert len(peer.outages) == 1


def test_a_parent_that_falls_after_a_sleep_excuses_nothing_before():
    """db1 was down by its own fault for hours; only what follows the sleep is laid on gw."""
    hbd = hbd_with("db1", "gw")
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.sleep(TEN + 4 * HOUR, TEN + 6 * HOUR)
    awake = TEN + 6 * HOUR
    hbd.change(awake + 2 * SECOND, "gw", "down", "silent")
    hbd.change(awake + 2 * SECOND, "db1", "unreachable", "parent-down")
    (peer,) = counted(hbd, "db1").peers
    assert peer.times == {
        "up": HOUR, "down": 3 * HOUR, "unwatched": 2 * HOUR, "unreachable": 4 * HOUR,
    }  # fmt: skip
    assert peer.availability == 1 / 4


def test_of_a_peer_that_is_never_judged_no_share_is_told():
    """Neither 0 nor 100 %."""
    hbd = Telling()
    hbd.start(TEN, "db1")
    (peer,) = counted(hbd).peers
    assert peer.availability is None
    assert counted(hbd).availability is None
    assert shape(counted(hbd))["peers"][0]["availability_percent"] is None


def test_mean_times():
    """MTBF is time there for each outage that began, MTTR the mean of those that were over."""
    hbd = hbd_with("db1")
    outage(hbd, "db1", HOUR, 10 * MINUTE)
    outage(hbd, "db1", 3 * HOUR, 20 * MINUTE)
    hbd.change(TEN + 9 * HOUR, "db1", "down", "silent")
    (peer,) = counted(hbd).peers
    assert peer.begun == 3
    assert peer.mtbf == (9 * HOUR - 30 * MINUTE) // 3
    assert peer.mttr == 15 * MINUTE
    assert peer.longest == HOUR
    assert [each.is_over for each in peer.outages] == [True, True, False]


def test_what_is_over_later_is_no_repair_yet():
    """Nor is an outage told of in which no part of the span lies."""
    hbd = hbd_with("db1")
    outage(hbd, "db1", HOUR, 10 * MINUTE)
    outage(hbd, "db1", 3 * HOUR, 2 * HOUR)
    (peer,) = counted(hbd, until=TEN + 4 * HOUR).peers
    assert peer.mttr == 10 * MINUTE
    (peer,) = counted(hbd, since=TEN + 2 * HOUR, until=TEN + 150 * MINUTE).peers
    assert peer.outages == ()


def test_a_stall_at_the_beginning_of_an_outage_is_no_downtime():
    """It began then all the same."""
    hbd = hbd_with("db1")
    outage(hbd, "db1", HOUR, 10 * MINUTE)
    hbd.stall(TEN + HOUR + MINUTE, 2 * MINUTE)
    (peer,) = counted(hbd).peers
    (found,) = peer.outages
    assert (found.since, found.lasted) == (TEN + HOUR, 9 * MINUTE)


def test_an_outage_goes_on_until_the_peer_is_seen_again():
    """Our own fault, a pause or a restart in the middle makes no second outage of it."""
    hbd = hbd_with("db1")
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + 2 * HOUR, "db1", "unknown", "own-uplink")
    hbd.change(TEN + 3 * HOUR, "db1", "down", "silent")
    hbd.stop(TEN + 4 * HOUR)
    hbd.start(TEN + 5 * HOUR, "db1")
    hbd.change(TEN + 6 * HOUR, "db1", "up")
    (peer,) = counted(hbd).peers
    (found,) = peer.outages
    assert (found.since, found.until, found.is_over) == (TEN + HOUR, TEN + 6 * HOUR, True)
    assert found.lasted == found.down == 3 * HOUR


def test_an_outage_ends_with_a_goodbye_and_not_with_a_removal():
    """Who left was there to say so; who was taken off the list may be down still."""
    hbd = hbd_with("db1", "db2")
    for name in ("db1", "db2"):
        hbd.change(TEN + HOUR, name, "down", "silent")
    hbd.change(TEN + 2 * HOUR, "db1", "left", "goodbye")
    hbd.reload(TEN + 2 * HOUR, "db1")
    ends = {peer.name: peer.outages[0] for peer in counted(hbd).peers}
    assert (ends["db1"].is_over, ends["db2"].is_over) == (True, False)
    assert ends["db1"].lasted == ends["db2"].lasted == HOUR


def test_a_removed_peer_is_no_part_of_what_follows():
    """In a span in which it was not on the list it is not told of, unless it is asked for."""
    hbd = hbd_with("db1", "db2")
    hbd.reload(TEN + HOUR, "db1")
    later = {"since": TEN + 2 * HOUR, "until": END}
    assert [peer.name for peer in counted(hbd, **later).peers] == ["db1"]
    (asked,) = counted(hbd, "db2", **later).peers
    assert asked.times == {"unwatched": 8 * HOUR}


def test_the_worst_come_first_and_those_behind_them_after():
    """By their own downtime; then who was unreachable, then who was degraded."""
    hbd = hbd_with("well", "behind", "gw", "slow")
    outage(hbd, "gw", HOUR, HOUR)
    outage(hbd, "behind", HOUR, 2 * HOUR, "parent-down", "unreachable")
    outage(hbd, "slow", HOUR, HOUR, "slow", "degraded")
    assert [peer.name for peer in counted(hbd).peers] == ["gw", "behind", "slow", "well"]


def test_causes_by_their_time():
    """Each cause with its outages, its peers and its time in the span, the longest first."""
    hbd = hbd_with("db1", "db2")
    outage(hbd, "db1", HOUR, 10 * MINUTE, "port-closed", "down")
    outage(hbd, "db1", 2 * HOUR, 10 * MINUTE, "port-closed", "down")
    outage(hbd, "db2", HOUR, HOUR)
    told = counted(hbd).causes
    assert [(each.cause, each.outages, each.peers, each.lasted) for each in told] == [
        ("silent", 1, 1, HOUR),
        ("port-closed", 2, 1, 20 * MINUTE),
    ]


def test_the_cause_of_an_outage_of_which_no_entry_came():
    """The next entry has it."""
    hbd = hbd_with("db1")
    hbd.change(TEN + HOUR, "db1", "down", "silent", untold=True)
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    (peer,) = counted(hbd).peers
    assert [each.cause for each in peer.outages] == ["silent"]


def test_an_outage_from_before_all_entries():
    """It began when the first snapshot says; what nobody can vouch for is not in the figures."""
    hbd = hbd_with("db1")
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.entries.clear()
    hbd.snapshot(TEN + 5 * HOUR)
    (peer,) = counted(hbd).peers
    (found,) = peer.outages
    assert (found.since, found.within, found.lasted) == (TEN + HOUR, 5 * HOUR, 9 * HOUR)
    assert peer.times == {"unwatched": 5 * HOUR, "down": 5 * HOUR}


def test_flapping_is_counted_and_ends_with_hbd():
    """How often and for how long; a new process has forgotten it."""
    hbd = hbd_with("db1")
    hbd.flap(TEN + HOUR, "db1", on=True)
    hbd.flap(TEN + 2 * HOUR, "db1", on=False)
    hbd.flap(TEN + 3 * HOUR, "db1", on=True)
    hbd.stop(TEN + 4 * HOUR)
    (peer,) = counted(hbd).peers
    assert (peer.flapping, peer.flapped) == (2, 2 * HOUR)


def test_flapping_ends_where_the_peer_is_removed():
    """Nobody has seen it flap since, not even once it is listed again."""
    hbd = hbd_with("db1", "db2")
    hbd.flap(TEN + HOUR, "db1", on=True)
    hbd.reload(TEN + 2 * HOUR, "db2")
    hbd.reload(TEN + 4 * HOUR, "db1", "db2")
    peer = next(peer for peer in counted(hbd).peers if peer.name == "db1")
    assert (peer.flapping, peer.flapped) == (1, HOUR)


def test_a_span_holds_its_own_storms_stalls_and_starts():
    """What befell hbd before it is not in it."""
    hbd = hbd_with("db1")
    hbd.storm(TEN + HOUR, 40)
    hbd.storm(TEN + 3 * HOUR, 50)
    for at in (HOUR, 3 * HOUR, 4 * HOUR):
        hbd.stall(TEN + at, MINUTE, in_pieces=at == 4 * HOUR)
    told = counted(hbd, since=TEN + 2 * HOUR)
    assert [storm.peers for storm in told.storms] == [50]
    assert (told.starts, told.stalls) == (0, 2)
    assert (counted(hbd).starts, counted(hbd).stalls) == (1, 3)


def test_shares_are_rounded_down_and_not_further():
    """57 of 100 are 57 %, though not in binary; 100 % is said only where nothing is missing."""
    assert [percent(n / 100) for n in range(1, 100)] == [f"{n}.000 %" for n in range(1, 100)]
    assert [percent(share) for share in (1 - 1e-12, 0.999_999, 1.0)] == ["99.999 %"] * 2 + ["100 %"]


STATES = (*State, None)


@given(st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 30 * DAY)), min_size=1))
@settings(max_examples=60, deadline=None)
def test_a_picture_shows_every_failure(told):
    """However short it was; and it has no more parts than it has room for."""
    spans, begin = [], 0
    for state, lasted in told:
        spans.append(Span(begin, begin + lasted, state, Why.NOT_TOLD))
        begin += lasted
    shown = parts(spans)
    assert sum(part.width for part in shown) == BINS
    assert [part.first for part in shown] == [
        sum(part.width for part in shown[:number]) for number in range(len(shown))
    ]
    states = {part.state for part in shown}
    if State.DOWN in {span.state for span in spans}:
        assert "down" in states


@pytest.mark.parametrize("lasted", [SECOND, 30 * DAY])
def test_a_picture_of_one_state_is_one_part(lasted):
    """Whatever the span."""
    assert parts([Span(TEN, TEN + lasted, State.UP)]) == [(0, BINS, "up")]
