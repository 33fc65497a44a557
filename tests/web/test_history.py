"""What hbd web remembers of a peer, and how it is drawn."""

import json
import math
import re
from xml.etree import ElementTree as ET

import pytest

from hbd.web.history import CELLS, LONGEST, Track, length_for
from hbd.web.picture import Picture, span_for
from hbd.web.view import Rtt, View, parsed

HOUR = 60


def view(*, state="up", received=0, loss=0.0, rtt=(0.2, 0.1, 0.3, 0.8, 0.9)):
    told = {
        "name": "db1", "state": state, "cause": None, "since": "2026-11-29T10:00:00.000000+00:00",
        "flapping": False, "restored": False, "protocol": "stamp", "way": "asked",
        "authenticated": False, "via": None, "labels": {}, "evidence": [],
        "paths": [{"address": "10.0.0.11"}],
        "sent": received, "received": received, "late": 0, "duplicate": 0, "loss_percent": loss,
        "rtt_ms": dict(zip(("last", "min", "mean", "p99", "max"), rtt, strict=True)),
    }  # fmt: skip
    return parsed(json.dumps(told).encode())


def test_the_rtt_of_one_reply_is_the_last():
    """Where one reply came between two looks its own RTT counts, not the window's."""
    track = Track(10)
    track.note(view(received=5), 100)
    assert track.note(view(received=6, rtt=(0.4, 0.1, 0.3, 0.8, 0.9)), 100)
    (minute,) = track.minutes(100)
    assert (minute.least, minute.mean, minute.most) == pytest.approx((0.4, 0.4, 0.4))


def test_rtts_of_several_replies_are_the_windows():
    """Where several came, the least and the most of the daemon's window bound the minute."""
    track = Track(10)
    track.note(view(received=5), 100)
    track.note(view(received=9), 100)
    (minute,) = track.minutes(100)
    assert (minute.least, minute.mean, minute.most) == pytest.approx((0.1, 0.3, 0.9))


def test_without_a_reply_there_is_no_rtt():
    """A peer that answers nothing has no RTT in that minute, though the daemon keeps its last."""
    track = Track(10)
    track.note(view(received=5), 100)
    assert not track.note(view(state="down", received=5, loss=100.0), 101)
    before, after = track.minutes(101)
    assert (before.state, after.state) == ("up", "down")
    assert (after.mean, after.loss) == (None, 100.0)


def test_a_minute_has_its_worst_state():
    """Down for a moment is down in the picture, whatever came afterwards."""
    track = Track(10)
    for state in ("up", "down", "degraded", "up"):
        track.note(view(state=state), 100)
    assert track.minutes(100)[0].state == "down"


def test_only_the_last_minutes_are_kept_and_gaps_stay_gaps():
    """The ring forgets what is older than its length; a minute that nobody saw is not there."""
    track = Track(5)
    for minute in (100, 101, 103, 106):
        track.note(view(), minute)
    assert [one.number for one in track.minutes(106)] == [103, 106]
    assert track.minutes(200) == []


def test_a_restart_of_the_daemon_is_no_reply():
    """Counters that begin anew are no heartbeat answered."""
    track = Track(5)
    track.note(view(received=1000), 100)
    assert not track.note(view(received=3), 100)
    assert track.note(view(received=4), 100)


@pytest.mark.parametrize("peers", [0, 1, 10_000, 65_535, 10**6])
def test_the_memory_is_bounded(peers):
    """Of many peers fewer hours are kept, but one at least; of few not more than six."""
    minutes = length_for(peers)
    assert HOUR <= minutes <= LONGEST
    assert minutes * peers <= max(CELLS, HOUR * peers)


def drawn(minutes, *, known=0):
    svg = Picture(minutes, 1000, 1059, known).svg('<"db1">')
    return ET.fromstring(svg), svg  # noqa: S314 - our own


def filled(*numbers, **figures):
    track = Track(200)
    for number in numbers:
        track.note(view(received=0), number)
        track.note(view(**{"received": 1, **figures}), number)
        track.note(view(received=0), number)
    return track.minutes(max(numbers))


def test_a_line_stops_where_nothing_was_measured():
    """Two stretches with a hole between them are two lines."""
    tree, _ = drawn(filled(1010, 1011, 1020, 1021))
    assert len(tree.findall("polyline")) == 2


def test_what_was_before_is_marked():
    """Time before hbd web started is drawn as not known, and only that."""
    tree, _ = drawn(filled(1040), known=1030)
    (before,) = [one for one in tree.iter("rect") if one.get("class") == "before"]
    assert float(before.get("width")) == pytest.approx((720 - 62 - 12) / 2, abs=0.1)
    tree, _ = drawn(filled(1040), known=900)
    assert not [one for one in tree.iter("rect") if one.get("class") == "before"]


def test_the_picture_is_told_in_words_and_escaped():
    """Who cannot see it hears the least and the most; a name is only a name."""
    tree, svg = drawn(filled(1040, rtt=(4.0, 4.0, 4.0, 4.0, 4.0)), known=1000)
    assert tree.get("aria-label") == (
        '<"db1">: RTT from 4 to 4 ms, 4 ms on average, and loss of up to 0 %, within 60 min'
    )
    assert '<"db1">' not in svg
    nothing, _ = drawn([], known=1000)
    assert "no reply was measured" in nothing.get("aria-label")


def test_nothing_is_drawn_outside_of_the_picture():
    """Huge and tiny figures stay within the frame."""
    for most in (0.001, 7.0, 99_999.0):
        tree, _ = drawn(filled(1010, 1059, rtt=(most,) * 5, loss=100.0))
        for line in tree.iter("polyline"):
            for pair in line.get("points").split():
                x, y = map(float, pair.split(","))
                assert 62 <= x <= 708.1
                assert 14 <= y <= 164.1
                assert not math.isnan(y)


def test_a_young_history_is_drawn_large():
    """Half an hour, then one, two, then all that is kept."""
    assert [span_for(known, 360) for known in (1, 30, 31, 120, 121, 999)] == [
        30, 30, 60, 120, 360, 360,
    ]  # fmt: skip


def test_a_row_has_no_more_than_the_table_needs():
    """Figures are rounded, so that noise makes no change; facts of who is up are left out."""
    row = view(rtt=(0.123456, 0.1, 0.2, 0.3, 0.4)).row()
    assert row[:6] == ["db1", "up", "", 1795946400, 0.123, 0.0]
    assert isinstance(view().rtt, Rtt)
    assert isinstance(view(), View)
    assert re.fullmatch(rb"\{.*\}", view().text)
