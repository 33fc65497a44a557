"""Timestamps and Error Estimates of STAMP (RFC 8762 4.2.1, RFC 8186 2, RFC 4656 4.1.2).

A stamp is a 64-bit integer: 32 bits of seconds, then 32 bits of either 1/2^32 s (NTP) or
nanoseconds (PTPv2, truncated). The Z bit of the Error Estimate beside it says which.
"""

from __future__ import annotations

from typing import Final

SECOND: Final = 1_000_000_000
WORD: Final = 1 << 32
STAMPS: Final = WORD * WORD
"""So many there are."""
ERA: Final = WORD * SECOND
"""Nanoseconds until the seconds of a stamp begin anew: NTP's do on 2036-02-07."""

NTP_EPOCH: Final = -2_208_988_800 * SECOND
"""1900-01-01 as Unix time, nanoseconds."""

SYNCHRONISED: Final = 0x8000
PTP: Final = 0x4000
UNKNOWN_ERROR: Final = 0x3FFF
"""The largest error that can be said, of a clock that nothing is known about."""

_LARGEST_SCALE: Final = 63
_MULTIPLIER: Final = 0xFF


def ntp_from_unix(unix_ns: int) -> int:
    """Stamp a moment, nanoseconds since 1970; the era is lost."""
    return (unix_ns - NTP_EPOCH << 32) // SECOND % STAMPS


def unix_from_ntp(stamp: int, near_ns: int) -> int:
    """Read an NTP stamp as nanoseconds since 1970, in the era nearest to `near_ns`."""
    return _unfold(NTP_EPOCH + _nanoseconds(stamp), near_ns)


def ptp_from_unix(unix_ns: int) -> int:
    """Stamp a moment, nanoseconds since 1970, as truncated PTPv2.

    UTC is written, not TAI, as the programs do that were seen to send it.
    """
    seconds, nanoseconds = divmod(unix_ns, SECOND)
    return (seconds % WORD) << 32 | nanoseconds


def unix_from_ptp(stamp: int, near_ns: int) -> int:
    """Read a PTPv2 stamp as nanoseconds since 1970, in the era nearest to `near_ns`."""
    seconds, nanoseconds = divmod(stamp, WORD)
    return _unfold(seconds * SECOND + nanoseconds, near_ns)


def elapsed(earlier: int, later: int, *, ptp: bool) -> int:
    """Count the nanoseconds between two stamps; negative if `later` is the earlier one."""
    convert = unix_from_ptp if ptp else unix_from_ntp
    begin = convert(earlier, 0)
    return convert(later, begin) - begin


def error_estimate(error_ns: int, *, synchronised: bool) -> int:
    """Encode an error, rounded up, as 16 bits with Z=0; the multiplier is never 0."""
    units = max(1, -(-error_ns * WORD // SECOND))
    scale = max(0, units.bit_length() - 8)
    multiplier = -(-units >> scale)
    if multiplier > _MULTIPLIER:  # rounding up made it 256
        scale, multiplier = scale + 1, multiplier // 2
    flag = SYNCHRONISED if synchronised else 0
    if scale > _LARGEST_SCALE:
        return flag | UNKNOWN_ERROR
    return flag | scale << 8 | multiplier


def is_synchronised(estimate: int) -> bool:
    """Read S: the clock follows UTC by an external source."""
    return bool(estimate & SYNCHRONISED)


def is_ptp(estimate: int) -> bool:
    """Read Z: the stamps that go with this estimate are PTPv2, not NTP."""
    return bool(estimate & PTP)


def multiplier(estimate: int) -> int:
    """Return what must not be 0 (RFC 4656 4.1.2)."""
    return estimate & _MULTIPLIER


def _nanoseconds(stamp: int) -> int:
    # To the nearest, so that a moment comes back exactly: a nanosecond is more than four units.
    return (stamp * SECOND + WORD // 2) >> 32


def _unfold(moment: int, near_ns: int) -> int:
    return moment + (near_ns - moment + ERA // 2) // ERA * ERA
