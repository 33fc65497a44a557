"""Entries as the journal gives them: values, or a ValueError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.report.history.figures import figures
from hbd.report.history.timeline import history
from hbd.report.history.told import Receipt, Snapshot, Started, told
from tests.report.history.telling import DETECTION, TEN, Telling

RECEIPT = Receipt("b", TEN, TEN, 1)
STATE = {
    "HBD_EVENT": "state", "HBD_EVENT_ID": "1", "HBD_SINCE": "2026-11-22T10:00:00.000000+00:00",
    "HBD_PEER": "db1", "HBD_STATE": "down", "HBD_PREVIOUS_STATE": "up",
}  # fmt: skip


def test_what_hbd_writes_is_read_back():
    """Each kind of entry, in the values it was made of."""
    hbd = Telling()
    hbd.start(TEN, "db1", "db2")
    hbd.change(TEN, "db1", "down", "silent", evidence=("a", "b"), labels=(("site", "ams"),))
    started, listed, changed = (entry.news for entry in hbd.entries)
    assert started == Started(None, "m1")
    assert isinstance(listed, Snapshot)
    assert [(row.peer, row.state, row.since, row.detection) for row in listed.rows()] == [
        ("db1", "unknown", TEN, DETECTION),
        ("db2", "unknown", TEN, DETECTION),
    ]
    assert (changed.peer, changed.state, changed.cause) == ("db1", "down", "silent")
    assert (changed.evidence, changed.labels) == ("a\nb", (("site", "ams"),))


def test_a_snapshot_of_an_earlier_version():
    """Without the detection a row has four parts."""
    (row,) = Snapshot("daily", 1, '[["db1","up",null,5]]').rows()
    assert (row.peer, row.cause, row.since, row.detection) == ("db1", "", 5_000, None)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"HBD_EVENT": "of the future"}, {"HBD_EVENT_ID": ""}, {"HBD_SINCE": "yesterday"},
        {"HBD_SINCE": "2026-11-22T10:00:00"}, {"HBD_SINCE": "0001-01-01T00:00:00+00:00"},
        {"HBD_STATE": "asleep"}, {"HBD_DURATION_USEC": "-1"}, {"HBD_DURATION_USEC": "9" * 40},
        {"HBD_DURATION_USEC": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_as_ours_is_refused(fields):
    """With a ValueError, which the report counts."""
    assert told(STATE, RECEIPT)
    with pytest.raises(ValueError, match=r"\w"):
        told({**STATE, **fields} if fields else {}, RECEIPT)


@pytest.mark.parametrize("count", ["-1", "9" * 4_300, "many"])
@pytest.mark.parametrize("event", ["lost", "storm", "snapshot"])
def test_a_count_that_is_none_is_refused(event, count):
    """Else a sum of some would have more digits than Python prints."""
    more = {"HBD_OCCASION": "start", "HBD_SNAPSHOT": "[]"}
    fields = {**STATE, **more, "HBD_EVENT": event}
    assert told({**fields, "HBD_COUNT": "3"}, RECEIPT)
    with pytest.raises(ValueError, match=r"\w"):
        told({**fields, "HBD_COUNT": count}, RECEIPT)


ROWS = st.text() | st.sampled_from(
    ["", "[", "{}", "null", "[1]", "[[]]", '[["a"]]', '[["a","up",null,-1]]', "[" * 100_000,
     '[["a","up",null,1e400]]', '[["a","up",null,5,"x"]]', '[["a",["up"],null,5]]']
)  # fmt: skip


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_a_damaged_snapshot_is_counted(text):
    """Whatever it holds: an entry that cannot be read, and no other harm."""
    hbd = Telling()
    hbd.start(TEN, "db1")
    entry = told(
        {**STATE, "HBD_EVENT": "snapshot", "HBD_EVENT_ID": "2", "HBD_OCCASION": "daily",
         "HBD_COUNT": "1", "HBD_SNAPSHOT": text},
        RECEIPT,
    )  # fmt: skip
    past = history([*hbd.entries, entry], TEN + 10**12, is_watched=True)
    assert past.unreadable == 1
    assert [peer.name for peer in figures(past, TEN, TEN + 10**12).peers] == ["db1"]
