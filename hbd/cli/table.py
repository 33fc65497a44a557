"""The table of `hbd status`, and figures in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from hbd.report.words import duration, in_words

WORST_FIRST: Final = ("down", "unreachable", "degraded", "unknown", "left", "paused", "up")
COLOURS: Final = {
    "up": "32",
    "degraded": "33",
    "down": "31",
    "unreachable": "35",
    "unknown": "36",
    "left": "34",
    "paused": "34",
}
HEADER: Final = ("PEER", "STATE", "CAUSE", "SINCE", "RTT", "LOSS", "PROTOCOL", "ADDRESS")
PROTOCOL: Final = HEADER.index("PROTOCOL")


def ago(since: str) -> str:
    """Say how long a moment in ISO 8601 is past: `3d 4h`."""
    past = datetime.now(UTC) - datetime.fromisoformat(since)
    return duration(int(past.total_seconds()) * 1_000_000_000)


def local(since: str) -> str:
    """Give a moment in ISO 8601 as the journal shows it: local time, to the second."""
    return datetime.fromisoformat(since).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def why(peer: dict[str, Any]) -> str:
    """Give the cause where it says more than the state."""
    return peer["cause"] if peer["cause"] not in (None, peer["state"]) else ""


def milliseconds(value: float | None) -> str:
    """`0.21 ms`, or a dash for what is not known."""
    return "-" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"  # noqa: PLR2004


def percent(value: float | None) -> str:
    """`1.5 %`, or a dash for what is not known."""
    return "-" if value is None else f"{value:g} %"


def directions(figures: dict[str, Any]) -> str:
    """Say where heartbeats were lost, in brackets; nothing where none were or that is not known."""
    if not figures["loss_percent"] or figures["loss_out_percent"] is None:
        return ""
    out, back = percent(figures["loss_out_percent"]), percent(figures["loss_in_percent"])
    return f" ({out} on the way there, {back} on the way back)"


def table(status: dict[str, Any], *, colour: bool) -> list[str]:
    """Put a status into lines, the worst peers first."""
    peers = sorted(status["peers"], key=lambda peer: WORST_FIRST.index(peer["state"]))
    rows = [HEADER, *map(_row, peers)]
    if all(peer["protocol"] == "stamp" for peer in peers):
        rows = [row[:PROTOCOL] + row[PROTOCOL + 1 :] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for index, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colour and index:
            code = COLOURS[peers[index - 1]["state"]]
            cells[1] = f"\x1b[{code}m{cells[1]}\x1b[0m"
        lines.append("  ".join(cells).rstrip())
    return [*lines, "", summary(status)]


def can_be_forged(peer: dict[str, Any]) -> bool:
    """Whether the peer proves nothing at all, not even that it gets what we send."""
    return peer["protocol"] == "plain" and not peer["authenticated"]


def _row(peer: dict[str, Any]) -> tuple[str, ...]:
    state = peer["state"] + (" ~" if peer["flapping"] else "") + ("?" if peer["restored"] else "")
    addresses = ", ".join(path["address"] for path in peer["paths"])
    return (
        peer["name"],
        state,
        why(peer) or "-",
        ago(peer["since"]),
        milliseconds(peer["rtt_ms"]["last"]),
        percent(peer["loss_percent"]),
        peer["protocol"] + (" !" if can_be_forged(peer) else ""),
        addresses,
    )


def summary(status: dict[str, Any]) -> str:
    """`12 peers: 10 up, 1 degraded, 1 down`, and what the signs in the table mean."""
    text = in_words(status["summary"])
    if any(peer["restored"] for peer in status["peers"]):
        text += "; ? from before the start, no verdict since"
    if any(peer["flapping"] for peer in status["peers"]):
        text += "; ~ flapping"
    if any(map(can_be_forged, status["peers"])):
        text += "; ! unauthenticated"
    return text
