"""Timestamps and Error Estimates."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hbd.wire import ntp
from hbd.wire.ntp import SECOND, WORD

MOMENT = 1_700_000_000 * SECOND + SECOND // 2  # 2023-11-14T22:13:20.5Z
NEW_ERA = 2_085_978_496 * SECOND  # 2036-02-07T06:28:16Z

moments = st.integers(0, 200 * 365 * 86_400 * SECOND)
stamps = st.integers(0, 2**64 - 1)


def test_ntp_stamp_of_a_known_moment():
    """A moment is the NTP stamp that other programs write for it."""
    assert ntp.ntp_from_unix(MOMENT) == 0xE8FE6F80_80000000


def test_ptp_stamp_of_a_known_moment():
    """A moment is the PTPv2 stamp that other programs write for it, in UTC."""
    assert ntp.ptp_from_unix(MOMENT) == 0x6553F100_1DCD6500


def test_era_begins_anew_in_2036():
    """The stamp after the last one of era 0 is 0, and both are read from either side of it."""
    last, first = ntp.ntp_from_unix(NEW_ERA - 1), ntp.ntp_from_unix(NEW_ERA)
    assert (last >> 32, first) == (WORD - 1, 0)
    for near in (NEW_ERA - SECOND, NEW_ERA + SECOND):
        assert ntp.unix_from_ntp(last, near) == NEW_ERA - 1
        assert ntp.unix_from_ntp(first, near) == NEW_ERA


@given(moments, st.integers(-ntp.ERA // 2 + 2, ntp.ERA // 2 - 2))
@example(NEW_ERA, -1)
def test_moment_survives_both_formats(moment, error):
    """A moment comes back to the nanosecond if our clock is right within half an era (68 years)."""
    assert ntp.unix_from_ntp(ntp.ntp_from_unix(moment), moment + error) == moment
    assert ntp.unix_from_ptp(ntp.ptp_from_unix(moment), moment + error) == moment


@given(stamps, moments)
def test_any_stamp_is_a_moment_near_ours(stamp, near):
    """Whatever 64 bits are, they are read as a moment at most half an era away."""
    assert abs(ntp.unix_from_ntp(stamp, near) - near) <= ntp.ERA // 2 + 1
    assert abs(ntp.unix_from_ptp(stamp, near) - near) <= ntp.ERA // 2 + 1


@pytest.mark.parametrize("ptp", [False, True])
def test_elapsed_crosses_the_end_of_the_seconds(ptp):
    """A span over the change of an era is counted as any other, in both directions."""
    stamp = ntp.ptp_from_unix if ptp else ntp.ntp_from_unix
    end = WORD * SECOND if ptp else NEW_ERA
    earlier, later = stamp(end - 3_000_000), stamp(end + 4_000_000)
    assert ntp.elapsed(earlier, later, ptp=ptp) == 7_000_000
    assert ntp.elapsed(later, earlier, ptp=ptp) == -7_000_000


@given(st.integers(0, 2**31 * SECOND))
def test_estimate_is_never_smaller_than_the_error(error):
    """An estimate covers the error, is at most 1/128 (or one unit) larger, and has a multiplier."""
    estimate = ntp.error_estimate(error, synchronised=False)
    units = ntp.multiplier(estimate) << (estimate >> 8)
    assert error * WORD <= units * SECOND
    assert (units - 1) * 128 * SECOND <= error * WORD * 129
    assert ntp.multiplier(estimate) > 0


@pytest.mark.parametrize(
    ("error", "synchronised", "estimate"),
    [
        (0, False, 0x0001),
        (0, True, 0x8001),
        (-5, True, 0x8001),
        (999_000, True, 0x8F83),
        (60, False, 0x0180 + 1),  # 257.7 units: 129 pairs
        (59, False, 0x00FE),
        (10**40, False, 0x3FFF),
        (10**40, True, 0xBFFF),
    ],
)
def test_estimates(error, synchronised, estimate):
    """Errors are written as RFC 4656 4.1.2 says, and what cannot be said is the largest."""
    assert ntp.error_estimate(error, synchronised=synchronised) == estimate


def test_rounding_up_to_256_moves_the_scale():
    """An error that rounds to a multiplier of 256 is written with the next scale."""
    error = 511 * SECOND // WORD + 1  # just above 511 units: 255.5 pairs
    assert ntp.error_estimate(error, synchronised=False) == 0x0280


def test_bits_of_an_estimate():
    """S, Z and multiplier are read from where RFC 8186 2.3 has them."""
    assert [ntp.is_synchronised(bits) for bits in (0x8001, 0x4001)] == [True, False]
    assert [ntp.is_ptp(bits) for bits in (0x8001, 0x4001)] == [False, True]
    assert ntp.multiplier(0x8F83) == 0x83
