"""A report as lines for a terminal, the worst first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND, State
from hbd.report.history.figures import UNWATCHED
from hbd.report.history.timeline import Why
from hbd.report.words import duration, one_line, peers_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hbd.report.history.figures import Figures, Outage, PeerFigures

HEADER: Final = (
    "PEER", "AVAILABLE", "DOWN", "UNREACHABLE", "DEGRADED", "OUTAGES", "MTBF", "MTTR", "NOT KNOWN",
    "CAUSES",
)  # fmt: skip
OPTIONAL: Final = ("UNREACHABLE", "DEGRADED", "NOT KNOWN")
"""Left out where no peer has any."""
NAME_LIMIT: Final = 100
CAUSES_SHOWN: Final = 2
QUIET_SHOWN: Final = 10
"""Of peers without any trouble the others are counted."""
OUTAGES_SHOWN: Final = 10
GAPS_SHOWN: Final = 5

WORDS: Final = {
    Why.NOT_TOLD: "the journal tells nothing of it",
    Why.NOT_RUNNING: "hbd did not run",
    Why.NOT_LISTED: "not in the configuration",
    Why.SUSPENDED: "this machine was suspended",
    Why.STALLED: "hbd got no processor time",
}
FORMULA: Final = (
    "Available is (up + degraded) / (up + degraded + down). Time in which a peer was",
    "unreachable, unknown, paused, had left or was not watched is in neither part.",
)
COLOURS: Final = {State.DOWN: "31", State.UNREACHABLE: "35", State.DEGRADED: "33"}


def text(figures: Figures, *, colour: bool, named: bool, note: str = "") -> list[str]:
    """Give the lines; `named`: peers were asked for by name, so all of their outages are told.

    `note` follows the span of the report.
    """
    parts = [
        [f"{local(figures.since)} to {local(figures.until)}{note}", ""],
        _table(figures, colour=colour, named=named),
        _times(figures.peers) if named else [],
        _outages(figures, named=named),
        _causes(figures),
        _watch(figures),
        ["", *FORMULA],
    ]
    return [line for part in parts for line in part]


def local(wall: int) -> str:
    """Give a moment as the journal shows it: local time, to the second."""
    return f"{datetime.fromtimestamp(wall // SECOND, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def percent(share: float | None) -> str:
    """`99.95 %`: rounded down, so that 100 % is said only where nothing is missing."""
    if share is None:
        return "-"
    if share >= 1:
        return "100 %"
    # A share is not exact in binary: 0.57 * 100 000 is a little less than 57 000.
    return f"{min(int(round(share * 100_000, 6)), 99_999) / 1_000:.3f} %"


def short(nanoseconds: int | None) -> str:
    """Give a duration, or a dash for none."""
    return duration(nanoseconds) if nanoseconds else "-"


def not_known(peer: PeerFigures) -> int:
    """For how long nothing was known of it, whosever fault that was."""
    return peer.times.get(State.UNKNOWN, 0) + peer.times.get(UNWATCHED, 0)


def _table(figures: Figures, *, colour: bool, named: bool) -> list[str]:
    quiet = [peer for peer in figures.peers if peer.is_quiet]
    hidden = [] if named else quiet[QUIET_SHOWN:]
    left_out = {peer.name for peer in hidden}
    peers = [peer for peer in figures.peers if peer.name not in left_out]
    rows = [HEADER, *map(_row, peers)]
    columns = [
        column
        for column in zip(*rows, strict=True)
        if column[0] not in OPTIONAL or any(cell != "-" for cell in column[1:])
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for index, row in enumerate(zip(*columns, strict=True)):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colour and index:
            cells[1] = _coloured(peers[index - 1], cells[1])
        lines.append("  ".join(cells).rstrip())
    if hidden:
        lines.append(f"and {peers_in_words(len(hidden))} without any outage")
    return [*lines, "", _summary(figures)]


def _coloured(peer: PeerFigures, cell: str) -> str:
    code = next((code for state, code in COLOURS.items() if peer.times.get(state)), "32")
    return f"\x1b[{code}m{cell}\x1b[0m"


def _row(peer: PeerFigures) -> tuple[str, ...]:
    times = peer.times
    return (
        one_line(peer.name, NAME_LIMIT) + (" ~" if peer.flapping else ""),
        percent(peer.availability),
        short(times.get(State.DOWN)),
        short(times.get(State.UNREACHABLE)),
        short(times.get(State.DEGRADED)),
        str(len(peer.outages) or "-"),
        short(peer.mtbf),
        short(peer.mttr),
        short(not_known(peer)),
        why(peer.outages) or "-",
    )


def why(outages: Sequence[Outage]) -> str:
    """`silent, port-closed 2x`: the causes, the most frequent first."""
    counts: dict[str, int] = {}
    for outage in outages:
        counts[outage.cause] = counts.get(outage.cause, 0) + 1
    ordered = sorted(counts, key=lambda cause: (-counts[cause], cause))
    told = [
        one_line(cause, NAME_LIMIT) + (f" {counts[cause]}x" if counts[cause] > 1 else "")
        for cause in ordered[:CAUSES_SHOWN]
    ]
    return ", ".join(told) + (", …" if len(ordered) > CAUSES_SHOWN else "")


def _summary(figures: Figures) -> str:
    outages = sum(len(peer.outages) for peer in figures.peers)
    words = [
        f"{peers_in_words(len(figures.peers))}: {percent(figures.availability)} available",
        f"{outages} outage{'s' * (outages != 1)}" if outages else "no outage",
    ]
    if any(peer.flapping for peer in figures.peers):
        words.append("~ was flapping")
    return "; ".join(words)


def _times(peers: Sequence[PeerFigures]) -> list[str]:
    """Say what the whole span was spent in, peer by peer."""
    return ["", *(f"{one_line(peer.name, NAME_LIMIT)}: {times_in_words(peer)}" for peer in peers)]


def times_in_words(peer: PeerFigures) -> str:
    """`up for 3d 4h, down for 5min`: what there was, and of the flapping how often."""
    told = [
        f"{state} for {duration(lasted)}"
        for state in (*State, UNWATCHED)
        if (lasted := peer.times.get(state, 0))
    ]
    if peer.flapping:
        told.append(f"flapping {peer.flapping}x, for {duration(peer.flapped)}")
    return ", ".join(told)


def _outages(figures: Figures, *, named: bool) -> list[str]:
    outages = figures.outages()
    if not outages:
        return []
    shown = outages if named else outages[:OUTAGES_SHOWN]
    rows = [
        (
            local(outage.since),
            outage_length(outage),
            one_line(outage.peer, NAME_LIMIT),
            outage.state.value,
            one_line(outage.cause, NAME_LIMIT),
        )
        for outage in shown
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, outage in zip(rows, shown, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
        if named:
            lines += [f"      {one_line(fact, 240)}" for fact in outage.evidence.splitlines()]
    title = "Outages, the latest first:"
    if len(shown) < len(outages):
        title = f"The latest {len(shown)} of {len(outages)} outages; name a peer to see all of it:"
    return ["", title, *lines]


def outage_length(outage: Outage) -> str:
    """`5min 3s`, with a sign where it is not known to be over."""
    return duration(outage.lasted) + ("" if outage.is_over else " so far")


def _causes(figures: Figures) -> list[str]:
    if len(figures.causes) < 2:  # noqa: PLR2004 - one needs no table
        return []
    rows = [
        (
            one_line(each.cause, NAME_LIMIT),
            f"{each.outages} outage{'s' * (each.outages != 1)}",
            duration(each.lasted),
            f"of {peers_in_words(each.peers)}",
        )
        for each in figures.causes
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "",
        "Causes:",
        *(
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
    ]


def _watch(figures: Figures) -> list[str]:
    lines = []
    gaps = [span for span in figures.watch.spans if span.state is not State.UP]
    if gaps:
        total = sum(span.lasted for span in gaps)
        lines += ["", f"Nobody watched for {duration(total)} in all:"]
        for span in sorted(gaps, key=lambda span: -span.lasted)[:GAPS_SHOWN]:
            when = f"{local(span.begin)} to {local(span.end)}"
            lines.append(f"  {when}  {duration(span.lasted)}: {why_not(span.cause)}")
        if len(gaps) > GAPS_SHOWN:
            lines.append(f"  and {len(gaps) - GAPS_SHOWN} shorter ones")
    for words in missing(figures):
        lines += ["", words]
    return lines


def missing(figures: Figures) -> list[str]:
    """Say of what was told that it is not in the report."""
    told = []
    if figures.lost:
        told.append(f"{_entries(figures.lost)} never reached the journal: changes may be missing.")
    if figures.unreadable:
        told.append(f"{_entries(figures.unreadable)} could not be read: changes may be missing.")
    return told


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def why_not(cause: str) -> str:
    """Say in words why nobody watched."""
    return next((words for why, words in WORDS.items() if why.value == cause), cause)
