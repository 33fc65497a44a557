"""The arithmetic of the advisor; tests/simulation/advised.py holds it against the detector."""

from dataclasses import replace

import pytest

from hbd.core.advisor import (
    ONE_A_YEAR,
    ORDINARY,
    Advice,
    Chances,
    Measured,
    advise,
    false_downs_a_day,
)
from hbd.core.model import MILLISECOND, SECOND, Timing
from hbd.core.spans import roomy

HALF = 500 * MILLISECOND
HOUR = 3_600 * SECOND
USUAL = Timing()


def measured(*rounds, retries=3, **others):
    return Measured(HALF, retries, rounds, **others)


def all_alike(chance):
    return Chances(chance, chance, chance)


@pytest.mark.parametrize(
    ("chances", "timing", "a_day"),
    [
        (all_alike(0.0), USUAL, 0),
        (all_alike(0.02), USUAL, 0.01455),  # the figure of the rule
        (all_alike(0.02), replace(USUAL, interval=10 * SECOND), 0.001455),
        (Chances(0.01, 0.5, 0.9), replace(USUAL, retries=0), 872.7),
        (Chances(0.01, 0.5, 0.9), replace(USUAL, retries=1), 445.4),
        (Chances(0.01, 0.5, 0.9), USUAL, 362.2),
        # Every tenth second fails and takes four more: a third fewer than without these.
        (all_alike(0.1), replace(USUAL, retries=0), 6_400),
        # All is lost: down and up again all day, a probe and `rise` timeouts each time.
        (all_alike(1.0), replace(USUAL, interval=10 * SECOND, rise=4), 86_400 / 21.5),
    ],
)
def test_false_downs_a_day(chances, timing, a_day):
    """Rounds a day, times the chance that all of one is missed."""
    assert false_downs_a_day(chances, timing) == pytest.approx(a_day, rel=1e-3)


@pytest.mark.parametrize(
    ("rounds", "retries", "chances"),
    [
        # Independent: each as likely as the first, however few were missed twice.
        ((98_000, 1_960, 40), 3, (0.02, 0.02, 0.02)),
        ((98_000, 2_000), 3, (0.02, 0.02, 0.02)),
        ((9_800, 200), 0, (0.02, 0.02, 0.02)),
        # Bursts: what follows a miss is as it was seen to be,
        ((980_000, 12_000, 5_000, 2_000, 1_000), 3, (0.02, 0.4, 0.364)),
        # further ones than were asked are taken as the last one that was,
        ((980_000, 12_000, 8_000), 1, (0.02, 0.4, 0.4)),
        # and one by one with a few bursts among them is both.
        ((980_000, 19_000, 400, 200, 400), 3, (0.02, 0.05, 0.625)),
        # Nothing was missed: less than one of that many.
        ((10_000,), 3, (0.00005, 0.00005, 0.00005)),
        # Two in a row of twelve are no burst yet.
        ((588, 11, 1), 3, (0.0208, 0.0549, 0.0499)),
    ],
)
def test_chances_of_what_was_counted(rounds, retries, chances):
    """Three chances from the rounds, by how many of their heartbeats were missed."""
    assert measured(*rounds, retries=retries).chances(HALF) == pytest.approx(chances, rel=0.02)


def test_late_replies_are_missed_until_the_timeout_is_longer():
    """All that was missed came after 600 ms: 700 ms would miss none of it, 600 ms all."""
    late = measured(9_000, 1_000, overdue=2_000, slowest=600 * MILLISECOND)
    assert late.late == pytest.approx(1, abs=0.002)
    assert late.chances(HALF).first == pytest.approx(0.1, rel=0.01)
    assert late.chances(600 * MILLISECOND).first == pytest.approx(0.1, rel=0.01)
    assert late.chances(700 * MILLISECOND).first == pytest.approx(0.0001, rel=0.01)


def test_what_is_late_ends_its_round():
    """Only what was lost at first can be missed twice; loss itself avoids nobody."""
    half = measured(9_000, 1_000, overdue=500, slowest=600 * MILLISECOND)
    assert half.chances(HALF) == pytest.approx((0.1, 0.025, 0.05), rel=0.01)
    assert half.chances(SECOND) == pytest.approx((0.05, 0.025, 0.05), rel=0.01)


def test_replies_that_were_late_once_are_late_with_the_same_timeout():
    """Fast replies of late do not make unseen what was measured with this very timeout."""
    once = measured(9_000, 1_000, overdue=1_000, slowest=10 * MILLISECOND)
    assert once.chances(HALF).first == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("rounds", "is_enough"),
    [((), False), ((9_999,), False), ((10_000,), True), ((90, 9), False), ((90, 4, 6), True)],
)
def test_little_is_not_enough(rounds, is_enough):
    """Ten rounds that missed something, or ten thousand; else nothing is concluded."""
    assert measured(*rounds).is_enough is is_enough


@pytest.mark.parametrize(
    ("timing", "retries"),
    [
        (USUAL, None),
        (replace(USUAL, retries=2), None),
        (replace(USUAL, retries=1), 2),
        (replace(USUAL, retries=0), 2),
        (Timing(200 * MILLISECOND, 100 * MILLISECOND), None),
        (Timing(50 * MILLISECOND, 25 * MILLISECOND, 2), None),
        (Timing(60 * SECOND, SECOND, 1), None),
        (Timing(HOUR, SECOND, 0), 1),
    ],
)
def test_ordinary_loss_asks_for_retries_and_not_for_more(timing, retries):
    """Unmeasured, no more than one retry is unsafe at most intervals; the defaults never are."""
    for known in (None, measured(500, 9)):
        advice = advise(timing, known)
        assert (None if advice is None else advice.better) == (
            None if retries is None else replace(timing, retries=retries)
        )


def test_measured_loss_overrules_the_ordinary():
    """On a network that was seen to lose nothing one retry is enough; none is never."""
    clean = measured(1_000_000, retries=1)
    assert advise(replace(USUAL, retries=1), clean) is None
    assert advise(replace(USUAL, retries=0), clean).better == replace(USUAL, retries=2)


def test_smallest_setting_that_expects_one_a_year():
    """At 2 % independent loss four retries do, at 2 % in bursts fourteen; one fewer does not."""
    for rounds, retries in (((98_000, 1_960, 40), 4), ((9_800, 120, 50, 20, 10), 14)):
        known = measured(*rounds)
        expected, better, then = advise(USUAL, known)
        assert better == replace(USUAL, retries=retries)
        assert expected == false_downs_a_day(known.chances(HALF), USUAL)
        assert then == false_downs_a_day(known.chances(HALF), better) <= ONE_A_YEAR
        fewer = replace(better, retries=retries - 1)
        assert false_downs_a_day(known.chances(HALF), fewer) > ONE_A_YEAR


def test_advice_that_was_followed_is_not_given_again():
    """The better setting needs no advice, be it by the same measurement or by none."""
    for known in (
        measured(98_000, 1_960, 40),
        measured(9_000, 700, 250, 50, overdue=1_300, slowest=600 * MILLISECOND),
    ):
        better = advise(USUAL, known).better
        assert advise(better, known) is None
        assert advise(better) is None


def test_late_replies_alone_are_no_danger():
    """They are life: where half of all are late and none lost, one retry is enough."""
    late = measured(5_000, 5_000, retries=1, overdue=10_000, slowest=900 * MILLISECOND)
    assert advise(replace(USUAL, retries=1), late) is None


def test_longer_timeout_only_for_late_replies():
    """Where most of what was missed came late, the timeout is to be longer, with room."""
    rounds = (9_000, 700, 250, 50)
    slow = {"slowest": 600 * MILLISECOND}
    mostly = advise(USUAL, measured(*rounds, overdue=1_300, **slow)).better
    assert mostly.timeout == roomy(600 * MILLISECOND) == 900 * MILLISECOND
    partly = advise(USUAL, measured(*rounds, overdue=400, **slow)).better
    assert partly.timeout == HALF
    assert partly.retries > mostly.retries


def test_timeout_stays_within_the_interval():
    """No timeout longer than the interval is advised, however slow replies are."""
    slow = measured(0, 900, 100, overdue=2_000, slowest=2 * SECOND)
    assert advise(USUAL, slow).better.timeout == SECOND


def test_fast_replies_make_no_timeout_shorter():
    """A timeout is never advised to be shorter than it is."""
    late = measured(0, 900, 100, overdue=2_000, slowest=10 * MILLISECOND)
    assert advise(USUAL, late).better.timeout == HALF


def test_no_setting_does():
    """Where what is missed goes on and on, no number of retries is enough."""
    advice = advise(USUAL, measured(99_000, 0, 0, 0, 1_000))
    assert advice.better is None
    assert advice.then > ONE_A_YEAR


def test_ordinary_is_one_in_a_thousand():
    """What is assumed is what the manual says."""
    assert all_alike(0.001) == ORDINARY
    assert isinstance(advise(replace(USUAL, retries=0)), Advice)
