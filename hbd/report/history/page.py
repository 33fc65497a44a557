"""A report as one page: no script, nothing fetched, to be kept, sent and printed.

All that comes out of the journal is escaped here, in one place: `escaped`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND, Cause, State
from hbd.report.causes import explanation
from hbd.report.history.drawing import LOOKS, PATTERNS, picture, sample
from hbd.report.history.figures import UNWATCHED
from hbd.report.history.style import STYLE
from hbd.report.history.text import (
    local,
    missing,
    not_known,
    percent,
    short,
    times_in_words,
    why,
    why_not,
)
from hbd.report.words import duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hbd.report.history.figures import CauseFigures, Figures, Outage, PeerFigures

FEW: Final = 50
"""So many peers all have a line; of more, those without any trouble have only their names."""
LINES: Final = 500
"""So many peers have a timeline, the worst: more would be too much, for a reader too."""
OUTAGES: Final = 500
"""So many outages are listed: if there are more, the longest."""
FACTS: Final = 4
GAPS: Final = 100
TEXT_LIMIT: Final = 240

MONTHS: Final = 60 * 86_400 * SECOND
DAYS: Final = 2 * 86_400 * SECOND


def page(figures: Figures, made: int) -> Iterator[str]:
    """Give the page in pieces; `made` is the moment, on the wall clock."""
    peers = figures.peers
    lines = [peer for peer in peers if len(peers) <= FEW or not peer.is_quiet]
    others = [] if len(peers) <= FEW else [peer for peer in peers if peer.is_quiet]
    quiet = [peer for peer in others if peer.availability is not None]
    unseen = [peer for peer in others if peer.availability is None]
    yield from _head(figures)
    yield _cards(figures)
    yield _formula()
    yield from _lines(figures, lines)
    yield from _outages(figures)
    yield _causes(figures.causes)
    yield _watch(figures)
    yield from _names("quiet", "Without any outage", "never down, as far as known", quiet)
    yield from _names("unseen", "Not known", "neither seen up nor down in this time", unseen)
    yield _foot(made)


def escaped(text: str) -> str:
    """Give a text that may hold anything, for use between tags and within attributes."""
    return escape(one_line(text, TEXT_LIMIT), quote=True)


# -- the head -------------------------------------------------------------------------------------


def _head(figures: Figures) -> Iterator[str]:
    node = escaped(figures.node) or "this machine"
    span = f"{local(figures.since)} to {local(figures.until)}"
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Availability seen from {node}, {span}</title>\n"
        f"<style>\n{STYLE}</style></head>\n<body>\n{PATTERNS}<main>\n"
        f"<header><h1>Availability seen from {node}</h1>\n"
        f"<p>{_time(figures.since)} to {_time(figures.until)}"
        f' <span class="soft">({_zone(figures.until)}, {duration(figures.until - figures.since)})'
        "</span></p></header>\n"
        f'<nav aria-label="On this page"><ul>{_links(figures)}</ul></nav>\n'
    )


def _links(figures: Figures) -> str:
    there = {"peers": "Peers", "outages": "Outages", "causes": "Causes", "watch": "hbd itself"}
    if not figures.causes:
        del there["causes"]
    return "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in there.items())


def _time(wall: int) -> str:
    when = datetime.fromtimestamp(wall // SECOND, UTC).isoformat()
    return f'<time datetime="{when}">{local(wall)}</time>'


def _zone(wall: int) -> str:
    return f"{datetime.fromtimestamp(wall // SECOND, UTC).astimezone():UTC%z}"


def _cards(figures: Figures) -> str:
    troubled = [peer for peer in figures.peers if not peer.is_quiet]
    outages = sum(len(peer.outages) for peer in troubled)
    down = sum(peer.times.get(State.DOWN, 0) for peer in troubled)
    unwatched = figures.watch.times.get(UNWATCHED, 0)
    cards = [
        ("Peers", f"{len(figures.peers):,}"),
        ("Available", percent(figures.availability)),
        ("Outages", f"{outages:,}"),
        ("Peers with any trouble", f"{len(troubled):,}"),
        ("Down, all peers together", short(down)),
        ("Nobody watched", short(unwatched)),
    ]
    told = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cards)
    return f'<dl class="cards">{told}</dl>\n'


def _formula() -> str:
    return (
        "<p><b>Available</b> is (up + degraded) / (up + degraded + down). Time in which a peer was"
        " unreachable (what lies between was down), unknown, paused, had left or was not watched is"
        " in neither part. An outage lasts until the peer is seen to be there again."
        " <b>MTBF</b>: time there, for each outage that began. <b>MTTR</b>: mean time down of the"
        " outages that were over.</p>\n"
    )


# -- peers ----------------------------------------------------------------------------------------


def _lines(figures: Figures, peers: Sequence[PeerFigures]) -> Iterator[str]:
    yield '<section aria-labelledby="peers">'
    yield '<h2 id="peers">Peers, the worst first</h2>\n'
    if not peers:
        words = "None: no peer had an outage." if figures.peers else "The journal tells of none."
        yield f"<p>{words}</p></section>\n"
        return
    legend = "".join(f"<li>{sample(state)}{look.words}</li>" for state, look in LOOKS.items())
    yield f'<ul class="legend" aria-label="What the bars mean">{legend}</ul>\n'
    yield (
        '<table class="lines" role="table"><thead role="rowgroup"><tr role="row">'
        f"{_headings(('Peer', ''), ('Available', 'n'))}"
        f'<th role="columnheader" scope="col" class="w">{_axis(figures)}</th>'
        f"{_headings(('Outages', 'n'), ('Down', 'n'), ('Unreachable', 'n'), ('Not known', 'n'))}"
        f"{_headings(('MTBF', 'n'), ('MTTR', 'n'))}</tr></thead>"
        '<tbody role="rowgroup">\n'
    )
    for number, peer in enumerate(peers):
        yield _line(peer, has_line=number < LINES)
    yield "</tbody></table>\n"
    if len(peers) > LINES:
        yield f'<p class="soft">The {LINES} worst have a timeline.</p>\n'
    yield "</section>\n"


def _headings(*names: tuple[str, str]) -> str:
    return "".join(
        f'<th role="columnheader" scope="col" class="{kind}">{name}</th>' for name, kind in names
    )


def _axis(figures: Figures) -> str:
    lasted = figures.until - figures.since
    pattern = "%Y-%m-%d" if lasted > MONTHS else "%m-%d" if lasted > DAYS else "%H:%M"
    moments = (figures.since, (figures.since + figures.until) // 2, figures.until)
    told = "".join(
        f"<span>{datetime.fromtimestamp(wall // SECOND, UTC).astimezone():{pattern}}</span>"
        for wall in moments
    )
    return f'<span class="axis">{told}</span>'


def _line(peer: PeerFigures, *, has_line: bool) -> str:
    times = peer.times
    cells = [
        ("Available", percent(peer.availability)),
        ("Outages", _count(peer)),
        ("Down", short(times.get(State.DOWN))),
        ("Unreachable", short(times.get(State.UNREACHABLE))),
        ("Not known", short(not_known(peer))),
        ("MTBF", short(peer.mtbf)),
        ("MTTR", short(peer.mttr)),
    ]
    told = [
        f'<td role="cell" class="n" data-label="{label}">{value}</td>' for label, value in cells
    ]
    drawn = picture(peer.spans, _in_words(peer)) if has_line else ""
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{escaped(peer.name)}{_labels(peer)}</th>'
        f'{told[0]}<td role="cell" class="w">{drawn}</td>{"".join(told[1:])}</tr>\n'
    )


def _count(peer: PeerFigures) -> str:
    flaps = f" <small>(flapping {peer.flapping}x)</small>" if peer.flapping else ""
    return f"{len(peer.outages):,}{flaps}"


def _labels(peer: PeerFigures) -> str:
    if not peer.labels:
        return ""
    told = ", ".join(f"{key}={value}" for key, value in peer.labels)
    return f'<span class="labels">{escaped(told)}</span>'


def _in_words(peer: PeerFigures) -> str:
    """Say what the picture shows."""
    return escaped(f"{peer.name}: {times_in_words(peer)}; causes: {why(peer.outages) or 'none'}")


# -- outages --------------------------------------------------------------------------------------


def _outages(figures: Figures) -> Iterator[str]:
    yield '<section aria-labelledby="outages"><h2 id="outages">Outages, the latest first</h2>\n'
    found = figures.outages()
    if not found:
        yield "<p>None.</p></section>\n"
        return
    shown = _longest(found)
    if len(shown) < len(found):
        yield f"<p>The {len(shown):,} longest of {len(found):,}; hbd report --json has all.</p>\n"
    yield (
        '<table class="outages" role="table"><thead role="rowgroup"><tr role="row">'
        f"{_headings(('Began', ''), ('Lasted', 'n'), ('Peer', ''), ('State', ''))}"
        f'{_headings(("Cause and evidence", ""))}</tr></thead><tbody role="rowgroup">\n'
    )
    for outage in shown:
        yield _outage(outage, figures.since)
    yield "</tbody></table></section>\n"


def _longest(found: list[Outage]) -> list[Outage]:
    if len(found) <= OUTAGES:
        return found
    kept = set(sorted(range(len(found)), key=lambda index: -found[index].within)[:OUTAGES])
    return [outage for index, outage in enumerate(found) if index in kept]


def _outage(outage: Outage, since: int) -> str:
    before = ' <span class="before soft">before this report</span>' if outage.since < since else ""
    goes_on = "" if outage.is_over else " <small>so far</small>"
    state = outage.state.value
    return (
        f'<tr role="row"><td role="cell" class="t" data-label="Began">{_time(outage.since)}'
        f'{before}</td><td role="cell" class="n" data-label="Lasted">'
        f"{duration(outage.lasted)}{goes_on}</td>"
        f'<th role="rowheader" scope="row">{escaped(outage.peer)}</th>'
        f'<td role="cell" class="state {state}" data-label="State">{state}</td>'
        f'<td role="cell" class="wide">{_cause_words(outage)}{_facts(outage)}</td></tr>\n'
    )


def _cause_words(outage: Outage) -> str:
    told = escaped(outage.cause)
    earlier = [escaped(cause) for cause in outage.causes if cause != outage.cause]
    return told + (f' <span class="soft">(first: {", ".join(earlier)})</span>' if earlier else "")


def _facts(outage: Outage) -> str:
    facts = outage.evidence.splitlines()
    if not facts:
        return ""
    told = [f"<li>{escaped(fact)}</li>" for fact in facts[:FACTS]]
    if len(facts) > FACTS:
        told.append(f"<li>and {len(facts) - FACTS} more</li>")
    return f'<ul class="facts">{"".join(told)}</ul>'


# -- causes, hbd itself, and the others -----------------------------------------------------------


def _causes(causes: Sequence[CauseFigures]) -> str:
    if not causes:
        return ""
    most = max(cause.lasted for cause in causes) or 1
    rows = "".join(
        f'<tr><th scope="row">{escaped(each.cause)}</th>'
        f'<td class="state {each.state}">{each.state}</td>'
        f'<td class="n">{each.outages:,}</td><td class="n">{each.peers:,}</td>'
        f'<td class="n">{duration(each.lasted)}</td>'
        f'<td class="share">{_share(each.lasted / most)}</td>'
        f'<td class="meaning">{escaped(_meaning(each))}</td></tr>\n'
        for each in causes
    )
    return (
        '<section aria-labelledby="causes"><h2 id="causes">Causes, by time</h2>\n'
        '<table class="causes"><thead><tr><th scope="col">Cause</th><th scope="col">State</th>'
        '<th scope="col" class="n">Outages</th><th scope="col" class="n">Peers</th>'
        '<th scope="col" class="n">Time</th><th scope="col" class="share">Share</th>'
        f'<th scope="col" class="meaning">Meaning</th></tr></thead><tbody>\n{rows}</tbody></table>'
        "</section>\n"
    )


def _share(share: float) -> str:
    bar = f'<rect class="bar" width="{max(100 * share, 1):.1f}%" height="12"/>'
    return f'<svg class="share-bar" height="16" aria-hidden="true">{bar}</svg>'


def _meaning(cause: CauseFigures) -> str:
    try:
        return explanation(cause.state, Cause(cause.cause)).meaning
    except (ValueError, LookupError):
        return ""


def _watch(figures: Figures) -> str:
    watch = figures.watch
    gaps = [span for span in watch.spans if span.state is not State.UP]
    shown = sorted(gaps, key=lambda span: -span.lasted)[:GAPS]
    rows = "".join(
        f"<tr><td>{_time(span.begin)}</td><td>{_time(span.end)}</td>"
        f'<td class="n">{duration(span.lasted)}</td><td>{escaped(why_not(span.cause))}</td></tr>\n'
        for span in sorted(shown, key=lambda span: span.begin)
    )
    facts = [f"Started {_times(figures.starts)}."]
    if figures.stalls:
        facts.append(f"Did not run for a moment {_times(figures.stalls)}.")
    facts += missing(figures)
    if len(shown) < len(gaps):
        facts.append(f"The {len(shown)} longest of {len(gaps)} times in which nobody watched:")
    table = (
        '<table><caption>When nobody watched</caption><thead><tr><th scope="col">From</th>'
        '<th scope="col">To</th><th scope="col" class="n">Lasted</th><th scope="col">Why</th></tr>'
        f"</thead><tbody>\n{rows}</tbody></table>"
    )
    return (
        '<section aria-labelledby="watch"><h2 id="watch">hbd itself</h2>\n'
        f"<p>{' '.join(facts)}</p>{table if gaps else ''}</section>\n"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _names(name: str, title: str, words: str, peers: Sequence[PeerFigures]) -> Iterator[str]:
    if not peers:
        return
    yield (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>\n'
        f"<p>{len(peers):,} peer{'s' * (len(peers) != 1)}: {words}.</p>\n"
        '<ul class="quiet">\n'
    )
    for peer in sorted(peers, key=lambda peer: peer.name):
        yield f"<li>{escaped(peer.name)}{_unknown_share(peer)}</li>\n"
    yield "</ul></section>\n"


def _unknown_share(peer: PeerFigures) -> str:
    unknown = not_known(peer)
    lasted = peer.spans[-1].end - peer.spans[0].begin
    if 20 * unknown < lasted:
        return ""
    return f' <span class="soft">(not known for {duration(unknown)})</span>'


def _foot(made: int) -> str:
    words = f"hbd report, made {_time(made)}"
    return f'<footer><p class="soft">{words}</p></footer>\n</main></body></html>\n'
