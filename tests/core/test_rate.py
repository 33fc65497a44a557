"""Token buckets and bounded tables."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from hbd.core import rate
from hbd.core.model import SECOND
from hbd.core.rate import Buckets, Rate, remember, spend

TEN = Rate(per_second=10, burst=5)
TENTH = SECOND // 10


def taken(moments, limit=TEN):
    """Count the tokens that could be taken at these moments."""
    full_at, count = 0, 0
    for now in moments:
        after = spend(full_at, now, limit)
        if after is not None:
            full_at, count = after, count + 1
    return count


def test_rested_bucket_gives_its_burst_and_not_one_more():
    """After a rest of any length the burst is there at once, and the next token in a tenth."""
    for rest in (0, 3600 * SECOND):
        assert taken([rest] * 100) == 5
        assert taken([rest] * 5 + [rest + TENTH - 1]) == 5
        assert taken([rest] * 5 + [rest + TENTH] * 9) == 6


@given(st.lists(st.integers(0, 20 * SECOND), max_size=300))
def test_bucket_never_gives_more_than_its_rate(moments):
    """In any span there are at most burst + rate x span tokens."""
    moments = sorted(moments)
    assert taken(moments) <= 5 + (moments[-1] - moments[0]) // TENTH if moments else True


def test_steady_stream_at_the_rate_passes():
    """Who keeps to the rate is never refused."""
    assert taken(range(0, 100 * SECOND, TENTH)) == 1000


def test_one_key_takes_nothing_from_another():
    """A key that is too fast is refused alone, and its refusals cost the others nothing."""
    buckets = Buckets(each=TEN, overall=Rate(per_second=10, burst=7))
    assert [buckets.refuses("a", 0) for _ in range(20)].count("rate") == 15
    assert [buckets.refuses("b", 0) for _ in range(3)] == [None, None, "overload"]


def test_all_together_have_a_bucket_too():
    """The sum of many keys is held to the overall rate, and comes back with time."""
    buckets = Buckets(each=TEN, overall=Rate(per_second=10, burst=3))
    assert [buckets.refuses(key, 0) for key in "abcd"] == [None, None, None, "overload"]
    assert buckets.refuses("e", TENTH) is None


def test_table_forgets_what_was_unused_longest(monkeypatch):
    """Beyond its bound a table loses the entry that was set longest ago."""
    monkeypatch.setattr(rate, "TABLE", 2)
    table = OrderedDict()
    for key in "abac":
        remember(table, key, key)
    assert list(table) == ["a", "c"]
