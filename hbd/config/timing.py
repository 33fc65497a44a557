"""interval, timeout, retries and rise: of `defaults:` and of a peer, as its protocol has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hbd.config.protocols import is_sent_nothing
from hbd.config.values import HOUR, duration, show_duration, whole
from hbd.core.model import MILLISECOND, MOST_RETRIES, SECOND, Timing

if TYPE_CHECKING:
    from hbd.config.section import Section
    from hbd.core.model import Expectation

TIMING_KEYS: Final = ("interval", "timeout", "retries", "rise")

INTERVAL: Final = duration(50 * MILLISECOND, HOUR)
TIMEOUT: Final = duration(10 * MILLISECOND, HOUR)
RETRIES: Final = whole(0, MOST_RETRIES)
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


def read_timing(
    section: Section, protocol: str, defaults: Timing, expect: Expectation | None
) -> Timing:
    """Read a peer's timing: when it is asked, sent to or, where only that is, waited for."""
    timing = _read_asking(section, defaults)
    if expect is not None and is_sent_nothing(section):
        return replace(timing, interval=expect.interval, timeout=expect.interval // 2)
    if protocol == "tcp" and section.node("send") is None:
        return _keep_alive(section, defaults, timing)
    return timing


def agreed_timing(section: Section, defaults: Timing, multiplier: int) -> Timing:
    """Read the timing of BFD: detection after `multiplier` intervals (RFC 5880 6.8.4)."""
    interval = section.one("interval", INTERVAL, defaults.interval)
    return Timing(interval, timeout=interval, retries=multiplier - 1, rise=1)


def _keep_alive(section: Section, defaults: Timing, timing: Timing) -> Timing:
    """Round up to what TCP_KEEPIDLE and TCP_KEEPINTVL count in; warn where that was written."""
    rounded = replace(timing, interval=_seconds(timing.interval), timeout=_seconds(timing.timeout))
    usual = Timing()
    half = section.node("interval") is not None
    chosen = {"interval": defaults.interval != usual.interval}
    chosen["timeout"] = defaults.timeout != usual.timeout and not half
    for key in ("interval", "timeout"):
        before, after = getattr(timing, key), getattr(rounded, key)
        if before != after and (chosen[key] or section.node(key) is not None):
            words = f"TCP keep-alive counts in whole seconds, {show_duration(before)} is taken as"
            section.report.warn(
                section.at(key), f"{section.title}{key}: {words} {show_duration(after)}"
            )
    return rounded


def _seconds(duration: int) -> int:
    return -(-duration // SECOND) * SECOND


def _read_asking(section: Section, defaults: Timing) -> Timing:
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
