"""The rules between peers: names, keys, what lies between, and how many paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.config.values import shown, suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hbd.config.peers import Entry
    from hbd.config.section import Report

MAX_PATHS: Final = 65_535
SUGGESTIONS: Final = 10
"""To look for a near name takes time that grows with the fleet; ten hints show the way."""


def check_fleet(entries: Sequence[Entry], keys: Collection[str], report: Report) -> None:
    """Report what is wrong between the peers of all files."""
    by_name = _check_names(entries, report)
    _check_keys(entries, keys, report)
    _check_via(by_name, report)
    _check_circles(by_name, report)
    _check_count(entries, report)
    _warn_of_shared_paths(entries, report)


def _check_names(entries: Sequence[Entry], report: Report) -> dict[str, Entry]:
    """Give the first peer of each name."""
    by_name: dict[str, Entry] = {}
    for entry in entries:
        first = by_name.setdefault(entry.settings.name, entry)
        if first is not entry:
            at = first.at("name")
            words = f"this name is already used at {at.file}:{at.line}:{at.column}"
            report.mistake(
                entry.at("name"), f"peer {entry.settings.name}: {words}; rename one of them"
            )
    return by_name


def _check_keys(entries: Sequence[Entry], keys: Collection[str], report: Report) -> None:
    missing = [entry for entry in entries if entry.settings.key not in {None, *keys}]
    for index, entry in enumerate(missing):
        key = shown(entry.settings.key or "")
        hint = suggestion(key, keys) if index < SUGGESTIONS else ""
        words = hint or f"; write below keys: {key}: {{credential: hbd.{key}}}"
        report.mistake(
            entry.at("key"), f"peer {entry.settings.name}: key: no key is named {key}{words}"
        )


def _check_via(by_name: dict[str, Entry], report: Report) -> None:
    hints = 0
    for peer, entry in by_name.items():
        via, at = entry.settings.via, entry.at("via")
        if via is None:
            continue
        if via == peer:
            words = "a peer cannot lie behind itself; name the peer before it, or leave via: out"
            report.mistake(at, f"peer {peer}: via: {words}")
        elif via not in by_name:
            hint = suggestion(via, by_name) if hints < SUGGESTIONS else ""
            hints += 1
            words = hint or "; add it to peers: or leave via: out"
            report.mistake(at, f"peer {peer}: via: no peer is named {shown(via)}{words}")


def _check_circles(by_name: dict[str, Entry], report: Report) -> None:
    """Report each circle of `via` once, at its first peer in the configuration."""
    order = {peer: index for index, peer in enumerate(by_name)}
    settled: set[str] = set()
    for start in by_name:
        walked: dict[str, int] = {}
        at: str | None = start
        while at is not None and at in by_name and at not in settled and at not in walked:
            walked[at] = len(walked)
            at = by_name[at].settings.via
        settled.update(walked)
        if at in walked:
            circle = [*walked][walked[at] :]
            if len(circle) > 1:
                first = circle.index(min(circle, key=order.__getitem__))
                _report_circle([*circle[first:], *circle[:first]], by_name, report)


def _report_circle(circle: list[str], by_name: dict[str, Entry], report: Report) -> None:
    names = [*circle, circle[0]]
    if len(names) > 10:  # noqa: PLR2004 - a line's worth
        names = [*names[:5], "...", *names[-4:]]
    entry = by_name[circle[0]]
    words = f"via: goes in a circle: {' -> '.join(names)}; remove one of these via:"
    report.mistake(entry.at("via"), f"peer {entry.settings.name}: {words}")


def _check_count(entries: Sequence[Entry], report: Report) -> None:
    count = 0
    for entry in entries:
        before, count = count, count + max(1, len(entry.settings.addresses))
        if before <= MAX_PATHS < count:
            words = f"exceeds {MAX_PATHS:,} paths; let a second machine watch the rest"
            report.mistake(entry.place, f"peer {entry.settings.name}: {words}")


def _warn_of_shared_paths(entries: Sequence[Entry], report: Report) -> None:
    first: dict[tuple[str, int, str], Entry] = {}
    for entry in entries:
        peer = entry.settings
        for address in peer.addresses:
            other = first.setdefault((address, peer.port, peer.protocol), entry)
            if other is not entry:
                port = f" port {peer.port}" if peer.port else ""
                words = f"{address}{port} is watched by peer {other.settings.name}, too"
                report.warn(entry.place, f"peer {peer.name}: {words}")
