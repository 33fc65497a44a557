"""WHEN on the command line means what systemd-analyze timestamp says of it."""

import os
import subprocess
import time
from datetime import UTC, datetime

import pytest

from hbd.cli.moments import moment_of
from hbd.core.model import SECOND

NOW = 1_795_341_612_345_678_000  # Sun 2026-11-22 10:00:12.345678 UTC
DAY = 86_400 * SECOND


@pytest.fixture(autouse=True, params=["UTC", "Europe/Berlin", "America/St_Johns"])
def zone(request, monkeypatch):
    """Of this machine."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def utc(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("now", 0), ("-7d", 7 * DAY), ("-1h30min", 5400 * SECOND), ("-1h 30min", 5400 * SECOND),
        ("2 weeks ago", 14 * DAY), ("-90", 90 * SECOND), ("1.5h ago", 5400 * SECOND),
        ("+1h", -3600 * SECOND), ("-1month", 2_629_800 * SECOND), ("-1y", 31_557_600 * SECOND),
        ("5min left", -300 * SECOND), ("-250ms", SECOND // 4), (" -7d ", 7 * DAY),
    ],
)  # fmt: skip
def test_before_and_after_now(text, ago):
    """Spans as systemd.time has them, months and years in the mean."""
    assert moment_of(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01 10:00:00 UTC", "2026-11-01T10:00:00"),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00"),
        ("2026-11-01 UTC", "2026-11-01T00:00:00"),
        ("26-11-01 10:00 UTC", "2026-11-01T10:00:00"),
        ("Sun 2026-11-01 10:00:00 UTC", "2026-11-01T10:00:00"),
        ("2026-07-01 10:00 Europe/Berlin", "2026-07-01T08:00:00"),
        ("2026-11-01 10:00:00 +0530", "2026-11-01T04:30:00"),
        ("yesterday UTC", "2026-11-21T00:00:00"),
        ("@1793527200", "2026-11-01T10:00:00"),
    ],
)
def test_in_a_zone(text, expected):
    """A zone that is written is used, whatever ours is."""
    assert moment_of(text, NOW) == utc(expected)


@pytest.mark.parametrize(
    "text",
    ["2026-11-01", "2026-07-01 10:00:00", "2026-11-01 10:00",
     "Sunday 2026-11-01", "68-01-02", "2026-11-01 10:00:00.25"],
)  # fmt: skip
def test_as_systemd_has_it(text, zone):
    """In our own zone, in summer and in winter."""
    done = subprocess.run(
        ["systemd-analyze", "timestamp", text],
        env={**os.environ, "TZ": f":{zone}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = next(line for line in done.stdout.splitlines() if "UNIX seconds" in line)
    seconds, _, fraction = told.partition("@")[2].partition(".")
    expected = int(seconds) * SECOND + int(fraction.ljust(9, "0") or 0)
    assert moment_of(text, NOW) == expected


def test_days_begin_at_midnight_here(zone):
    """today, yesterday and a time alone are of our own calendar."""
    today = moment_of("today", NOW)
    assert 0 <= NOW - today < DAY
    assert datetime.fromtimestamp(today / SECOND).astimezone().strftime("%T") == "00:00:00"
    assert today - moment_of("yesterday", NOW) == moment_of("tomorrow", NOW) - today == DAY
    assert moment_of("10:00", NOW) - today == 36_000 * SECOND
    assert zone


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-", "-7x", "7d", "2026-13-01", "2026-02-30", "25:00", "Mon 2026-11-01", "@",
     "2026-11-01 10:00 Mars/Olympus", "-" + "9" * 30 + "d", "today 10:00", "@99999999999999",
     "2026-11-01 10", "-7d ago", "69-01-01 UTC", "٢٠٢٦-11-01"],
)  # fmt: skip
def test_what_is_no_moment_is_an_error_that_helps(text):
    """One that shows what to write."""
    with pytest.raises(ValueError, match=r"is no moment; write .* -7d"):
        moment_of(text, NOW)
