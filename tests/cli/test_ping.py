"""What `hbd ping` tells at its end."""

import pytest

from hbd.cli.ping import Target, _summary, _summary_lines
from hbd.core.model import MILLISECOND

ADDRESS = ("192.0.2.7", 862)


@pytest.mark.parametrize(
    ("uncounted", "shares", "words"),
    [
        ({0: None, 1: None, 4: None}, (None, None), "40 % lost"),
        (
            {0: None, 1: None, 4: 1},
            (25.0, 33.3),
            "40 % lost (25 % on the way there, 33.3 % on the way back)",
        ),
        ({}, (None, None), "100 % lost"),
    ],
    ids=["no count", "a count", "no reply"],
)
def test_loss_is_split_by_direction_where_the_reflector_counts(uncounted, shares, words):
    """The summary says where heartbeats were lost, for programs and for people."""
    rtts = [MILLISECOND] * len(uncounted)
    target = Target("there", ADDRESS, None, uncounted=uncounted, rtts=rtts, sent=5)
    summary = _summary(target)
    assert (summary["loss_out_percent"], summary["loss_in_percent"]) == shares
    assert f"5 heartbeats sent, {len(rtts)} answered, {words}" in _summary_lines(summary)
