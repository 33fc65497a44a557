"""What `hbd ping` tells at its end."""

import pytest

from hbd.cli.ping import NO_ANSWER, Target, _summary, _summary_lines
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


@pytest.mark.parametrize(
    ("received", "errors", "is_told"),
    [(0, {}, True), (1, {}, False), (0, {"port-closed: ICMP port unreachable": 2}, False)],
    ids=["silence", "a reply", "an error"],
)
def test_silence_says_who_is_answered_at_all(received, errors, is_told):
    """Where nothing at all came back, and only there, the summary says what may be the reason."""
    target = Target("there", ADDRESS, None, rtts=[MILLISECOND] * received, sent=2, errors=errors)
    assert (NO_ANSWER in _summary_lines(_summary(target))) is is_told
