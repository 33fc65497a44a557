"""What entries come to: whose state when, whatever was lost, late, repeated or told twice."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.core.model import SECOND, State
from hbd.report.history.figures import figures, peer_figures
from hbd.report.history.timeline import Why, history
from tests.report.history.telling import DAY, HOUR, MINUTE, TEN, Telling

END = TEN + 10 * HOUR
KNOWN = ("up", "down", "degraded", "unreachable", "paused", "left", "unknown")


@pytest.fixture
def hbd():
    """One that was started at ten with db1, which came up a second later."""
    telling = Telling()
    telling.start(TEN, "db1")
    telling.change(TEN + SECOND, "db1", "up")
    return telling


def track(hbd, until=END, *, is_watched=True):
    return history(hbd.entries, until, is_watched=is_watched).peers["db1"]


def seen(hbd, since=TEN, until=END, *, is_watched=True):
    """The timeline as (seconds since ten, state or why nobody watched)."""
    spans = peer_figures("db1", track(hbd, until, is_watched=is_watched), since, until).spans
    assert all(one.end == other.begin for one, other in pairwise(spans))
    assert (spans[0].begin, spans[-1].end) == (since, until)
    return [((span.begin - TEN) // SECOND, span.state or span.cause) for span in spans]


def test_an_outage_lasts_from_verdict_to_verdict(hbd):
    """Down is from the verdict of down to that of up."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + HOUR + 5 * MINUTE, "db1", "up")
    assert seen(hbd) == [(0, "unknown"), (1, "up"), (3600, "down"), (3900, "up")]


def test_what_was_told_last_was_so(hbd):
    """Where nobody knows whether hbd watches on: an outage that ended has, one that began has."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    began = figures(history(hbd.entries, END, is_watched=False), TEN, END, []).peers[0]
    assert [(outage.since, outage.is_over) for outage in began.outages] == [(TEN + HOUR, False)]
    hbd.change(TEN + HOUR + 5 * MINUTE, "db1", "up")
    ended = figures(history(hbd.entries, END, is_watched=False), TEN, END, []).peers[0]
    [outage] = ended.outages
    assert (outage.is_over, outage.until) == (True, TEN + HOUR + 5 * MINUTE)


def test_before_the_first_entry_nothing_is_known(hbd):
    """Whatever the first snapshot says of since when: who knows if anybody watched."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.entries.clear()
    hbd.snapshot(TEN + 2 * HOUR)
    assert seen(hbd) == [(0, Why.NOT_TOLD), (7200, "down")]


def test_a_quiet_peer_is_known_by_a_snapshot_before_the_span(hbd):
    """Of the span itself nothing need be told."""
    assert seen(hbd, TEN + HOUR, TEN + 2 * HOUR) == [(3600, "up")]


def test_nobody_watches_between_stop_and_start(hbd):
    """A restart is a gap; the state from before it goes on after."""
    hbd.stop(TEN + HOUR)
    hbd.start(TEN + 2 * HOUR, "db1")
    watch = history(hbd.entries, END, is_watched=True).watch.spans
    assert [span.state for span in watch] == [None, State.UP, None, State.UP]
    assert seen(hbd) == [(0, "unknown"), (1, "up"), (3600, Why.NOT_RUNNING), (7200, "up")]


def test_a_crash_is_told_by_the_next_start(hbd):
    """From the last stored moment on nobody watched, though no entry told of the end."""
    hbd.crash(TEN + HOUR)
    hbd.start(TEN + 2 * HOUR, "db1")
    assert seen(hbd)[2:] == [(3600, Why.NOT_RUNNING), (7200, "up")]


def test_after_a_crash_with_nothing_stored_the_last_entry_counts(hbd):
    """Where the new process knows nothing of the old one, its last entry was its last sign."""
    hbd.snapshot(TEN + HOUR)
    hbd.start(TEN + 2 * HOUR, "db1", knows_when=False)
    assert seen(hbd)[2:] == [(3600, Why.NOT_RUNNING), (7200, "up")]


def test_what_was_told_after_the_last_stored_moment_was_watched(hbd):
    """With a disk that takes nothing the stored moment is old; an entry is better proof."""
    hbd.reload(TEN + MINUTE, "db1", "db2")
    hbd.crash(TEN + HOUR)
    hbd.change(TEN + 90 * MINUTE, "db2", "down", "silent")
    hbd.start(TEN + 2 * HOUR, "db1", "db2")
    assert seen(hbd)[2:] == [(5400, Why.NOT_RUNNING), (7200, "up")]


def test_without_the_entry_of_a_stop_its_snapshot_tells(hbd):
    """And without that of a start, whatever is told of peers."""
    hbd.stop(TEN + HOUR)
    hbd.entries.pop()
    assert seen(hbd, is_watched=False)[2:] == [(3600, Why.NOT_RUNNING)]
    hbd.start(TEN + 2 * HOUR, "db1")
    del hbd.entries[-2]
    assert seen(hbd)[2:] == [(3600, Why.NOT_RUNNING), (7200, "up")]
    watch = history(hbd.entries, END, is_watched=True).watch.spans
    assert [(span.state, span.lasted // HOUR) for span in watch[-2:]] == [(None, 0), (State.UP, 8)]
    hbd.stop(TEN + 3 * HOUR)
    hbd.change(TEN + 4 * HOUR, "db1", "down", "silent")
    assert seen(hbd)[4:] == [(10800, Why.NOT_RUNNING), (14400, "down")]


def test_a_silent_end_is_not_taken_for_uptime(hbd):
    """Who is not known to run now was watching until the last entry only."""
    hbd.snapshot(TEN + HOUR)
    assert seen(hbd, is_watched=False)[1:] == [(1, "up"), (3600, Why.NOT_TOLD)]


def test_a_peer_that_is_removed_is_watched_no_more(hbd):
    """From the reload on; a new name begins with it."""
    hbd.reload(TEN + HOUR, "db2")
    told = history(hbd.entries, END, is_watched=True)
    assert seen(hbd)[2:] == [(3600, Why.NOT_LISTED)]
    (before, after) = peer_figures("db2", told.peers["db2"], TEN, END).spans
    assert (before.cause, after.state) == (Why.NOT_LISTED, State.UNKNOWN)
    assert after.begin == TEN + HOUR


def test_a_peer_that_was_removed_while_hbd_was_stopped(hbd):
    """It is missing in the snapshot of the start."""
    hbd.stop(TEN + HOUR)
    hbd.start(TEN + 2 * HOUR, "db2")
    assert seen(hbd)[2:] == [(3600, Why.NOT_RUNNING), (7200, Why.NOT_LISTED)]
    hbd.reload(TEN + 3 * HOUR, "db1", "db2")
    assert seen(hbd)[4:] == [(10800, "unknown")]


def test_a_part_of_a_snapshot_removes_nobody(monkeypatch, hbd):
    """Only all parts together are the list of all peers."""
    monkeypatch.setattr("hbd.report.snapshot.SNAPSHOT_LIMIT", 200)
    names = [f"peer{n}" for n in range(50)]
    hbd.reload(TEN + HOUR, *names, "db1")
    last = hbd.entries.pop()  # in which db1 is
    assert "db1" in last.news.text
    assert seen(hbd)[2:] == []
    hbd.entries.append(last)
    hbd.reload(TEN + 2 * HOUR, *names)
    hbd.entries.pop()
    assert seen(hbd)[2:] == []


def test_a_lost_entry_is_made_up_for_by_the_next_one(hbd):
    """The next change says what was before it, and for how long."""
    hbd.change(TEN + HOUR, "db1", "down", "silent", untold=True)
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    assert seen(hbd)[1:] == [(1, "up"), (3600, "down"), (7200, "up")]


def test_a_lost_entry_is_made_up_for_by_a_snapshot(hbd):
    """A snapshot says since when a state is there."""
    hbd.change(TEN + HOUR, "db1", "down", "silent", untold=True)
    hbd.snapshot(TEN + 3 * HOUR)
    assert seen(hbd)[1:] == [(1, "up"), (3600, "down")]


def test_a_snapshot_that_is_older_than_what_was_told_changes_nothing(hbd):
    """In the same turn of the daemon a change may follow what the snapshot saw, at one moment."""
    hbd.snapshot(TEN + HOUR + SECOND)
    hbd.change(TEN + HOUR, "db1", "paused", "paused")
    assert seen(hbd)[1:] == [(1, "up"), (3600, "paused")]


def test_a_better_known_cause_is_the_cause_of_the_whole_outage(hbd):
    """The state does not begin anew; the last cause is the best known."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + HOUR + 3 * SECOND, "db1", "down", "host-unreachable", evidence=("FAILED",))
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    (_, _, down, _) = track(hbd).spans[1:]
    assert (down.cause, down.lasted) == ("host-unreachable", HOUR)
    assert down.told.evidence == "FAILED"


def test_who_fell_with_its_parent_was_unreachable_all_along(hbd):
    """Down, and then unreachable: the parent had been silent since before."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + HOUR + 2 * SECOND, "db1", "unreachable", "parent-down")
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    told = peer_figures("db1", track(hbd), TEN, END)
    assert State.DOWN not in told.times
    assert told.times[State.UNREACHABLE] == HOUR
    (outage,) = told.outages
    assert (outage.state, outage.cause) == (State.UNREACHABLE, "parent-down")


def test_a_stall_longer_than_a_detection_is_unknown(hbd):
    """What is shorter hides nothing, nor what was late a little in many turns."""
    hbd.stall(TEN + HOUR, 2 * SECOND)
    hbd.stall(TEN + 2 * HOUR, 10 * SECOND, in_pieces=True)
    assert seen(hbd)[1:] == [(1, "up")]
    hbd.stall(TEN + 3 * HOUR, 10 * SECOND)
    assert seen(hbd)[1:] == [(1, "up"), (10790, "unknown"), (10800, "up")]


@pytest.mark.parametrize("untold", [False, True])
def test_nobody_watches_a_sleep(hbd, untold):
    """Told of by an entry; or else the clocks tell how long it was, though not when."""
    hbd.snapshot(TEN + HOUR)
    hbd.sleep(TEN + 90 * MINUTE, TEN + 3 * HOUR, untold=untold)
    hbd.snapshot(TEN + 3 * HOUR + SECOND)
    if untold:
        assert seen(hbd)[1:] == [(1, "up"), (3600, Why.NOT_TOLD), (9000, "up")]
    else:
        assert seen(hbd)[1:] == [(1, "up"), (5400, Why.SUSPENDED), (10800, "up")]


def test_a_clock_that_was_ahead_and_set_back(hbd):
    """An outage at its true time, not one that begins tomorrow and never ends."""
    hbd.clock_error = DAY
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.clock_error = 0
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    assert seen(hbd)[1:] == [(1, "up"), (3600, "down"), (7200, "up")]


def test_a_clock_that_was_behind_at_boot(hbd):
    """The time that the clock leapt over is nobody's uptime."""
    hbd.reboot(TEN + HOUR)
    hbd.clock_error = -HOUR
    hbd.start(TEN + 4 * HOUR, "db1", knows_when=False)
    hbd.clock_error = 0
    hbd.snapshot(TEN + 5 * HOUR)
    told = peer_figures("db1", track(hbd), TEN + 3 * HOUR, END)
    assert told.times["unwatched"] == HOUR


def test_entries_of_an_outage_across_the_edges_of_the_span(hbd):
    """It counts by what lies in the span, and is told with its real beginning and end."""
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + 3 * HOUR, "db1", "up")
    told = peer_figures("db1", track(hbd), TEN + 2 * HOUR, TEN + 150 * MINUTE)
    (outage,) = told.outages
    assert (outage.since, outage.until, outage.is_over) == (TEN + HOUR, TEN + 3 * HOUR, True)
    assert (outage.within, outage.lasted) == (30 * MINUTE, 2 * HOUR)
    assert told.availability == 0
    assert told.begun == 0


# -- whatever happens -----------------------------------------------------------------------------


class Life:
    """A random life of hbd and three peers; what was true is noted beside what is told."""

    def __init__(self, seed):
        self.dice = Random(seed)  # noqa: S311 - the same in each run
        self.hbd = Telling()
        self.names = ["a", "b", "c"]
        self.truth = {}
        self.now = TEN
        self.is_running = True
        self.hbd.start(self.now, *self.names)
        self.note()

    def note(self):
        for name in ("a", "b", "c"):
            is_seen = self.is_running and name in self.names
            state = self.hbd.peers[name][0].value if is_seen else None
            self.truth.setdefault(name, []).append((self.now, state))

    def live(self, steps):
        for _ in range(steps):
            self.now += self.dice.randrange(1, HOUR)
            act = self.dice.choice([self.change] * 8 + [self.restart, self.reload, self.snapshot])
            act()
            self.note()
        self.now += SECOND
        return self

    def change(self):
        name = self.dice.choice(self.names)
        before = self.hbd.peers[name][0]
        states = [one for one in KNOWN if one != before]
        if before is State.DOWN:
            states.remove("unreachable")
        self.hbd.change(
            self.now, name, self.dice.choice(states), "silent", delay=self.dice.randrange(HOUR)
        )

    def restart(self):
        if self.dice.random() < 0.5:
            self.hbd.stop(self.now)
        else:
            self.hbd.crash(self.now)
        self.is_running = False
        self.note()
        self.now += self.dice.randrange(1, HOUR)
        self.is_running = True
        self.hbd.start(self.now, *self.names)

    def reload(self):
        self.names = self.dice.choice([["a", "b", "c"], ["a", "b"], ["b", "c"], ["c"]])
        self.hbd.reload(self.now, *self.names)

    def snapshot(self):
        self.hbd.snapshot(self.now)

    def times(self, name):
        """True nanoseconds by state, in whole microseconds as entries are."""
        found = {}
        marks = [*self.truth[name], (self.now, None)]
        for (begin, state), (end, _) in pairwise(marks):
            key = state or "unwatched"
            found[key] = found.get(key, 0) + end // 1000 - begin // 1000
        return {key: time for key, time in found.items() if time}


@given(st.integers(0, 2**32), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_every_moment_is_counted_once_and_as_it_was(seed, steps):
    """Of a random life the figures are those of what happened, whoever was late by an hour."""
    life = Life(seed).live(steps)
    told = figures(history(life.hbd.entries, life.now, is_watched=True), TEN, life.now)
    for peer in told.peers:
        assert sum(peer.times.values()) == life.now - TEN
        counted = {str(state): time for state, time in peer.times.items() if time}
        true = life.times(peer.name)
        assert counted.keys() == true.keys()
        for state, time in counted.items():
            assert abs(time - 1000 * true[state]) < 1000 * (steps + 1)  # of microseconds cut off


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_neither_order_nor_repetition_matters(seed, dice):
    """Entries in any order, some of them twice, come to the same history."""
    life = Life(seed).live(30)
    once = history(life.hbd.entries, life.now, is_watched=True)
    for _ in range(5):
        life.hbd.again(life.now, dice.randrange(len(life.hbd.entries)))
    entries = life.hbd.entries
    dice.shuffle(entries)
    assert history(entries, life.now, is_watched=True) == once


@given(st.integers(0, 2**32), st.sets(st.integers(0, 60)), st.integers(0, 10 * HOUR))
@settings(max_examples=40, deadline=None)
def test_the_parts_add_up_whatever_is_lost(seed, lost, later):
    """However many entries are missing: each moment of any span is counted once."""
    life = Life(seed).live(30)
    entries = [one for number, one in enumerate(life.hbd.entries) if number not in lost]
    since, until = TEN + later, TEN + later + 3 * HOUR
    told = figures(history(entries, until, is_watched=False), since, until)
    for peer in [*told.peers, told.watch]:
        assert sum(peer.times.values()) == until - since
        assert all(one.end == other.begin for one, other in pairwise(peer.spans))
