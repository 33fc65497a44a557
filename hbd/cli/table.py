"""The table of `hbd status`, and figures in words."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.cli.sparkline import NARROWEST, WIDEST, sparkline
from hbd.cli.terminal import BLUE, CYAN, GREEN, MAGENTA, RED, YELLOW, clean, pad, width_of
from hbd.report.answer import can_be_forged, why
from hbd.report.words import WORST_FIRST, duration, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.cli.question import Question
    from hbd.cli.terminal import Terminal

COLOURS: Final = {
    "up": GREEN,
    "degraded": YELLOW,
    "down": RED,
    "unreachable": MAGENTA,
    "unknown": CYAN,
    "left": BLUE,
    "paused": BLUE,
}
GAP: Final = 2
"""Columns between two of the table."""


def ago(since: str, now: datetime | None = None) -> str:
    """Say how long a moment in ISO 8601 is past: `3d 4h`."""
    past = (now or datetime.now(UTC)) - datetime.fromisoformat(since)
    return duration(int(past.total_seconds()) * 1_000_000_000)


def local(since: str) -> str:
    """Give a moment in ISO 8601 as the journal shows it: local time, to the second."""
    return datetime.fromisoformat(since).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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


# -- columns --------------------------------------------------------------------------------------


class Column(NamedTuple):
    """One of the table."""

    title: str
    least: int
    """So narrow it may become before it is left out."""
    cell: Callable[[dict[str, Any], datetime], str]
    is_telling: Callable[[dict[str, Any]], Any] = bool
    """It is shown if this is so of any peer."""


def _state(peer: dict[str, Any], _: datetime) -> str:
    return f"{peer['state']}{' ~' if peer['flapping'] else ''}{'?' if peer['restored'] else ''}"


def _protocol(peer: dict[str, Any], _: datetime) -> str:
    return str(peer["protocol"]) + (" !" if can_be_forged(peer) else "")


def _addresses(peer: dict[str, Any], _: datetime) -> str:
    return clean(", ".join([path["address"] for path in peer["paths"]]))


def _labels(peer: dict[str, Any], _: datetime) -> str:
    return clean(" ".join(starmap("{}={}".format, peer.get("labels", {}).items()))) or "-"


WHOLE: Final = 100
"""It is shown as it is, or not at all: half a figure is another one."""

STATE: Final = Column("STATE", 8, _state)
CAUSE: Final = Column("CAUSE", 10, lambda peer, _: why(peer) or "-")
RECENT: Final = Column(
    "RECENT", NARROWEST, lambda peer, _: peer.get("recent") or "-", lambda peer: peer.get("recent")
)
COLUMNS: Final = (
    Column("PEER", 10, lambda peer, _: clean(peer["name"])),
    STATE,
    CAUSE,
    Column("SINCE", WHOLE, lambda peer, now: ago(peer["since"], now)),
    Column("RTT", WHOLE, lambda peer, _: milliseconds(peer["rtt_ms"]["last"])),
    Column("LOSS", WHOLE, lambda peer, _: percent(peer["loss_percent"])),
    RECENT,
    Column("PROTOCOL", WHOLE, _protocol, lambda peer: peer["protocol"] != "stamp"),
    Column("ADDRESS", 13, _addresses),
    Column("LABELS", 12, _labels, lambda peer: peer.get("labels")),
)
IMPORTANCE: Final = ("PEER", *("STATE", "CAUSE", "SINCE", "RECENT", "LOSS", "RTT", "ADDRESS"))
"""Where there is no room for all, what matters less goes first, and what is not named here."""
ROOMY: Final = 60
"""From this width on states and causes are shown whole."""
GROWTH: Final = ("STATE", "CAUSE", "PEER", "ADDRESS", "RECENT", "LABELS")
"""Where there is room left, it goes to these, in this order."""


def _widths(natural: dict[str, int], least: dict[str, int], room: int | None) -> dict[str, int]:
    """Give the columns that fit, and how wide they are."""
    if room is None:
        return natural
    if room >= ROOMY:
        least |= {column.title: WHOLE for column in (STATE, CAUSE)}
    widths: dict[str, int] = {}
    room += GAP
    for title in dict.fromkeys((*IMPORTANCE, *natural)):
        if title not in natural:
            continue
        width = min(least[title], natural[title])
        if widths and room < width + GAP:
            break
        widths[title] = width
        room -= width + GAP
    if room < 0:
        return {title: max(width + room, 1) for title, width in widths.items()}
    for title in GROWTH:
        more = natural[title] - widths[title] if title in widths else 0
        if title == RECENT.title and room < more:
            continue  # nothing between the two widths divides a hundred
        widths[title] = widths.get(title, 0) + min(more, room)
        room -= min(more, room)
    return {title: width for title, width in widths.items() if width}


# -- the table ------------------------------------------------------------------------------------


def table(
    peers: list[dict[str, Any]], terminal: Terminal, now: datetime | None = None
) -> list[str]:
    """Put peers into lines that fit the terminal, its header first, the worst peers before others.

    `now` is when that was so; times are counted up to it.
    """
    now = now or datetime.now(UTC)
    peers = sorted(peers, key=lambda peer: _rank(peer["state"]))
    columns = [column for column in COLUMNS if not peers or any(map(column.is_telling, peers))]
    texts = {column.title: [column.cell(peer, now) for peer in peers] for column in columns}
    natural = {
        title: max(len(title), *map(width_of, cells)) if cells else len(title)
        for title, cells in texts.items()
    }
    if RECENT.title in natural:
        natural[RECENT.title] = WIDEST
    widths = _widths(natural, {column.title: column.least for column in columns}, terminal.width)
    shown = [column for column in columns if column.title in widths]
    cells = [_cells(column, texts[column.title], widths, terminal, peers) for column in shown]
    return [(" " * GAP).join(line).rstrip() for line in zip(*cells, strict=True)]


def _rank(state: str) -> int:
    """Give the place of a state; one that only a later hbd knows comes first."""
    return WORST_FIRST.index(state) if state in WORST_FIRST else -1


def _cells(
    column: Column,
    texts: list[str],
    widths: dict[str, int],
    terminal: Terminal,
    peers: list[dict[str, Any]],
) -> list[str]:
    """Give a column, its title first, each cell of its width."""
    width = widths[column.title]
    head = pad(terminal.cut(column.title, width), width)
    if column is RECENT:
        drawn = [sparkline(text, width, terminal) if text != "-" else "-" for text in texts]
        return [head, *(text if text != "-" else pad(text, width) for text in drawn)]
    cells = [pad(terminal.cut(text, width), width) for text in texts]
    if column is STATE:
        codes = (COLOURS.get(peer["state"], CYAN) for peer in peers)
        cells = [terminal.paint(cell, code) for cell, code in zip(cells, codes, strict=True)]
    return [head, *cells]


class Page(NamedTuple):
    """What is shown of an answer."""

    rows: list[str]
    """The table, and how many more there are where not all were told; none where nobody is."""
    words: str
    """How many are in which state, and what the signs in the table mean."""

    def lines(self, terminal: Terminal) -> list[str]:
        """Give all of it."""
        words = wrapped(self.words, terminal)
        return [*self.rows, "", *words] if self.rows else words

    def few_lines(self, terminal: Terminal) -> list[str]:
        """Give as much as a small screen has room for."""
        return [*self.rows, terminal.cut(self.words, terminal.width)]


def page(
    status: dict[str, Any], question: Question, terminal: Terminal, now: datetime | None = None
) -> Page:
    """Put an answer into lines; AskError where there is no such peer."""
    peers, counts = status["peers"], question.counts(status)
    total, asked = sum(status["summary"].values()), sum(counts.values())
    if question.states and not asked:
        return Page([], question.nobody(in_words(status["summary"])))
    rows = table(peers, terminal, now)
    if asked > len(peers):
        more = f"{terminal.ellipsis} and {asked - len(peers):,} more"
        rows.append(terminal.cut(more, terminal.width))
    of_all = f" (of {total})" if total != asked else ""
    return Page(rows, in_words(counts) + of_all + signs(peers))


def wrapped(text: str, terminal: Terminal) -> list[str]:
    """Break a text between words so that it fits."""
    if terminal.width is None or width_of(text) <= terminal.width:
        return [text]
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if width_of(longer) <= terminal.width:
            lines[-1] = longer
        else:
            lines.append(terminal.cut(word, terminal.width))
    return [line for line in lines if line]


def signs(peers: list[dict[str, Any]]) -> str:
    """Say what the signs in the table mean."""
    text = ""
    if any(peer["restored"] for peer in peers):
        text += "; ? from before the start, no verdict since"
    if any(peer["flapping"] for peer in peers):
        text += "; ~ flapping"
    if any(map(can_be_forged, peers)):
        text += "; ! unauthenticated"
    return text
