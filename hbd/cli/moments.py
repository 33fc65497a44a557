"""Moments as people write them, after systemd.time(7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hbd.config.values import HOUR, UNITS
from hbd.core.model import MICROSECOND, SECOND
from hbd.report.words import END

DAY: Final = 24 * HOUR
YEAR: Final = 36_525 * DAY // 100

LONG_UNITS: Final = {
    **UNITS,
    **dict.fromkeys(("", "S"), SECOND),
    **dict.fromkeys(("M", "month", "months"), YEAR // 12),
    **dict.fromkeys(("y", "year", "years"), YEAR),
}
"""A number alone is seconds; months and years are means."""

DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

HELP: Final = (
    "write a moment such as -7d, '2 weeks ago', yesterday, 2026-11-01 or '2026-11-01 10:00:00',"
    " as systemd.time(7) has them"
)

_PART: Final = re.compile(r"\s*([0-9]+)(?:\.([0-9]{1,9})[0-9]*)?\s*([A-Za-zµμ]*)")
_DATE: Final = re.compile(
    r"(?:([0-9]{4}|[0-9]{2})-([0-9]{1,2})-([0-9]{1,2}))?(?:(?:^|[ T]+)"
    r"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{1,9}))?)?)?"
)
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")


def moment_of(text: str, now: int) -> int:
    """Read a moment; nanoseconds of the wall clock. ValueError says what to write instead."""
    words = text.strip()
    try:
        found = _relative(words, now)
        found = _absolute(words, now) if found is None else found
    except (ValueError, OverflowError):
        found = None
    if found is None or not 0 <= found < END:
        raise ValueError(f'"{text[:60]}" is no moment; {HELP}')
    return found


def _relative(words: str, now: int) -> int | None:
    if words == "now":
        return now
    if words.startswith("@"):
        return _span(words[1:])
    if words.startswith(("-", "+")):
        span = _span(words[1:])
        return now - span if words[0] == "-" else now + span
    before, _, last = words.rpartition(" ")
    if last not in ("ago", "left"):
        return None
    return now - _span(before) if last == "ago" else now + _span(before)


def _span(words: str) -> int:
    total, at = 0, 0
    while at < len(words.rstrip()):
        part = _PART.match(words, at)
        if part is None or part[3] not in LONG_UNITS:
            raise ValueError
        unit = LONG_UNITS[part[3]]
        fraction = (part[2] or "").ljust(9, "0")
        total += int(part[1]) * unit + int(fraction) * unit // SECOND
        at = part.end()
    if not at:
        raise ValueError
    return total


def _absolute(words: str, now: int) -> int:
    """Read a date, a time or both, in a zone or in ours."""
    words, zone = _zone(words)
    here = _calendar(now, zone)
    if words in DAYS:
        return _wall(_midnight(here + timedelta(days=DAYS[words])), zone)
    weekday, _, rest = words.partition(" ")
    wanted = weekday.lower()[:3] if weekday.isalpha() else ""
    found = _DATE.fullmatch(rest if wanted in WEEKDAYS else words)
    if found is None or not found[0]:
        raise ValueError
    when = _of(found, here)
    if wanted in WEEKDAYS and WEEKDAYS[when.weekday()] != wanted:
        raise ValueError
    return _wall(when, zone)


def _midnight(when: datetime) -> datetime:
    return datetime.combine(when.date(), time())


def _of(found: re.Match[str], here: datetime) -> datetime:
    year, month, day, hour, minute, second, fraction = found.groups()
    when = _midnight(here)
    if year is not None:
        when = when.replace(year=_year(year), month=int(month), day=int(day))
    micro = int((fraction or "").ljust(6, "0")[:6])
    return when.replace(
        hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0), microsecond=micro
    )


def _year(text: str) -> int:
    """Two digits mean 1969 to 2068, as in systemd.time(7)."""
    number = int(text)
    if len(text) > 2:  # noqa: PLR2004 - of all four digits
        return number
    return number + (1900 if number >= 69 else 2000)  # noqa: PLR2004 - as strptime(3) has it


def _zone(words: str) -> tuple[str, tzinfo | None]:
    """Give what stands before the zone, and the zone; None is ours."""
    if words.endswith("Z") and words[:-1].endswith(tuple("0123456789")):
        return words[:-1], UTC
    rest, _, last = words.rpartition(" ")
    if not rest:
        return words, None
    if last.upper() == "UTC":
        return rest, UTC
    offset = _OFFSET.fullmatch(last)
    if offset is not None:
        minutes = 60 * int(offset[2]) + int(offset[3] or 0)
        return rest, timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if "/" in last:
        try:
            return rest, ZoneInfo(last)
        except (ZoneInfoNotFoundError, OSError) as error:
            raise ValueError from error
    return words, None


def _calendar(wall: int, zone: tzinfo | None) -> datetime:
    """Give the calendar's view of a moment, without its zone."""
    return (
        (EPOCH + timedelta(microseconds=wall // MICROSECOND)).astimezone(zone).replace(tzinfo=None)
    )


def _wall(when: datetime, zone: tzinfo | None) -> int:
    aware = when.astimezone() if zone is None else when.replace(tzinfo=zone)
    return (aware - EPOCH) // timedelta(microseconds=1) * MICROSECOND
