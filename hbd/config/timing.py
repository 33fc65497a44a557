"""interval, timeout, retries and rise: of `defaults:` and of a peer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hbd.config.values import HOUR, duration, show_duration, whole
from hbd.core.model import MILLISECOND, Timing

if TYPE_CHECKING:
    from hbd.config.section import Section

TIMING_KEYS: Final = ("interval", "timeout", "retries", "rise")

INTERVAL: Final = duration(50 * MILLISECOND, HOUR)
TIMEOUT: Final = duration(10 * MILLISECOND, HOUR)
RETRIES: Final = whole(0, 20)
RISE: Final = whole(1, 20)


def read_defaults(section: Section, inherited: Timing) -> Timing:
    """Read `defaults:`; what it leaves out is as `inherited`."""
    timing = _read(section, inherited)
    if timing.timeout > timing.interval and not section.wrong & {"interval", "timeout"}:
        timeout, interval = show_duration(timing.timeout), show_duration(timing.interval)
        if section.node("timeout") is None:
            half = show_duration(timing.interval // 2)
            text = f"{interval} is shorter than the default timeout {timeout}"
            section.mistake("interval", f"{text}; write timeout: {half} too")
        else:
            _refuse_timeout(section, timeout, interval)
        return replace(timing, timeout=timing.interval // 2)
    return timing


def read_timing(section: Section, defaults: Timing) -> Timing:
    """Read a peer's timing: its own timeout; else half of its own interval; else the default."""
    timing = _read(section, defaults)
    if section.node("timeout") is None:
        own = section.node("interval") is not None
        return replace(timing, timeout=timing.interval // 2) if own else timing
    if timing.timeout > timing.interval and not section.wrong & {"interval", "timeout"}:
        _refuse_timeout(section, show_duration(timing.timeout), show_duration(timing.interval))
    return timing


def _read(section: Section, defaults: Timing) -> Timing:
    return Timing(
        section.one("interval", INTERVAL, defaults.interval),
        section.one("timeout", TIMEOUT, defaults.timeout),
        section.one("retries", RETRIES, defaults.retries),
        section.one("rise", RISE, defaults.rise),
    )


def _refuse_timeout(section: Section, timeout: str, interval: str) -> None:
    if section.node("interval") is None:
        text = f"{timeout} is longer than the default interval {interval}"
        text += f"; write {interval} or less, or an interval: of its own"
    else:
        text = f"{timeout} is longer than interval {interval}; write {interval} or less"
    section.mistake("timeout", text)
