"""The two pages as HTML; all that is not ours is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import time
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from hbd.report.answer import why
from hbd.report.words import WORST_FIRST, duration
from hbd.web.picture import HOUR, Picture, span_for

if TYPE_CHECKING:
    from hbd.web.board import Board

SECOND: Final = 1_000_000_000
MINUTE: Final = 60

HEAD: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/static/hbd.svg">
<link rel="stylesheet" href="/static/hbd.css">
<script type="module" src="/static/{script}"></script>
</head>
"""

STATUS: Final = """\
<body>
<a class="skip" href="#peers">To the peers</a>
<header>
<h1>hbd <span id="node"></span></h1>
<p id="link" class="wait">Waiting for the first figures</p>
</header>
<main>
<noscript><p class="notice">This page is kept up to date by its own script, which is off.
The same is in <a href="/api/status">/api/status</a>, and in the shell: <code>hbd status</code>.
</p></noscript>
<div class="tools" role="group" aria-label="Filter">
<div class="states" id="states" role="group" aria-label="Show these states only">
{buttons}
</div>
<label>Find <input type="search" id="find" autocomplete="off" spellcheck="false"
 placeholder="name, address, cause, label"></label>
</div>
<table id="peers" tabindex="-1">
<caption class="unseen">Peers, the worst first</caption>
<thead><tr><th scope="col">Peer</th><th scope="col">State</th><th scope="col">Why</th>
<th scope="col">Since</th><th scope="col" class="figure">RTT</th>
<th scope="col" class="figure">Loss</th><th scope="col">Address</th></tr></thead>
<tbody></tbody>
</table>
<p id="none" hidden>No peer matches.</p>
<nav class="pages" aria-label="Pages" hidden>
<button type="button" id="previous">Previous</button>
<span id="where"></span>
<button type="button" id="next">Next</button>
</nav>
</main>
<p id="news" class="unseen" role="status" aria-live="polite"></p>
<footer><p>~ flapping &nbsp; ? from before the start, no verdict since &nbsp; ! unauthenticated</p>
<p><a href="/metrics">metrics</a> <a href="/api/status">JSON</a></p></footer>
</body>
</html>
"""

PEER: Final = """\
<body data-peer="{name}">
<header>
<p class="back"><a href="/">All peers</a></p>
<h1>{name}</h1>
<p id="link" class="wait">Waiting for news</p>
</header>
<main>
{sections}
</main>
<p id="news" class="unseen" role="status" aria-live="polite"></p>
</body>
</html>
"""


def status() -> str:
    """The table of all peers; its rows come by the event stream."""
    buttons = "\n".join(
        f'<button type="button" data-state="{state}" aria-pressed="false" class="s-{state}">'
        f'<span class="dot" aria-hidden="true"></span>{state} <span class="count">0</span></button>'
        for state in WORST_FIRST
    )
    head = HEAD.format(title="hbd", script="status.js")
    return head + STATUS.format(buttons=buttons)


def peer(name: str, answer: dict[str, Any], board: Board, trouble: str) -> str:
    """One peer, from an answer to Explain; `trouble` is why it may be out of date."""
    told = answer["peer"]
    title = f"{name}: {told['state']} - hbd"
    known = int((time.time() - board.started) // MINUTE) + 1
    span = span_for(known, board.span)
    sections = (
        _section("verdict", "Verdict", _verdict(answer, trouble)),
        _section("evidence", "Evidence", _listed(told["evidence"])),
        _section("advice", "What to do", _advice(answer)),
        _section("hours", _title_of(span), _drawn(name, board, span)),
        _section("paths", "Paths", _paths(told["paths"])),
        _section("figures", "Figures", _figures(told, answer.get("judged", ""))),
    )
    head = HEAD.format(title=escape(title), script="peer.js")
    return head + PEER.format(name=escape(name), sections="\n".join(filter(None, sections)))


def missing(words: str) -> str:
    """A page that says what is wrong."""
    head = HEAD.format(title="hbd", script="peer.js")
    return (
        f'{head}<body><header><p class="back"><a href="/">All peers</a></p><h1>hbd</h1></header>'
        f'<main><p class="notice">{escape(words)}</p></main></body></html>\n'
    )


def _section(ident: str, title: str, body: str) -> str:
    if not body:
        return ""
    return (
        f'<section id="{ident}" aria-labelledby="{ident}-title">'
        f'<h2 id="{ident}-title">{escape(title)}</h2>{body}</section>'
    )


def _verdict(answer: dict[str, Any], trouble: str) -> str:
    told = answer["peer"]
    state, cause = told["state"], why(told)
    since = datetime.fromisoformat(told["since"])
    flags = [
        *(["flapping"] if told["flapping"] else ()),
        *(["from before the start of hbd, no verdict since"] if told["restored"] else ()),
    ]
    verdict = f'<span class="state s-{escape(state)}">{escape(state)}</span>'
    words = answer.get("words", "")
    line = f"{verdict}: {escape(words)}" if words and state != "up" else verdict
    lead = f"Cause: <code>{escape(cause)}</code>, since" if cause else "Since"
    notice = f'<p class="notice">{escape(trouble)}</p>' if trouble else ""
    return (
        f'{notice}<p class="big">{line}</p>'
        f'<p>{lead} <time datetime="{since.isoformat()}">{since:%Y-%m-%d %H:%M:%S} UTC</time>'
        f"{escape(''.join(f', {flag}' for flag in flags))}</p>"
        f"<p>{escape(answer.get('meaning', ''))}</p>"
    )


def _advice(answer: dict[str, Any]) -> str:
    if answer["peer"]["state"] == "up" and not answer.get("commands"):
        return ""
    apart, advice = answer.get("apart"), answer.get("advice")
    parts = [f"<p>{escape(advice)}</p>"] if advice else []
    if apart:
        parts.append(f"<p><strong>To tell apart:</strong> {escape(apart)}</p>")
    if answer.get("commands"):
        commands = "\n".join(escape(command) for command in answer["commands"])
        parts.append(
            '<p>Next, in a shell:</p><pre tabindex="0" aria-label="Commands">'
            f"<code>{commands}</code></pre>"
        )
    return "".join(parts)


def _listed(facts: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(fact)}</li>' for fact in facts)}</ul>" if facts else ""


def _title_of(minutes: int) -> str:
    count, unit = (minutes, "minute") if minutes <= HOUR // 2 else (minutes // HOUR, "hour")
    return f"The last {unit}" if count == 1 else f"The last {count} {unit}s"


def _drawn(name: str, board: Board, span: int) -> str:
    last = int(time.time() // MINUTE)
    known = int(board.started // MINUTE)
    picture = Picture(board.minutes(name), last - span + 1, last, known)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Picture">'
        f"{picture.svg(name)}</div>"
        "<p class=hint>Times are UTC. hbd web looks at each peer once in one to some seconds; where"
        " several heartbeats came between two looks, RTTs are those of the last 100. What was"
        " before hbd web was started is not known: hbd report has it, from the journal.</p>"
    )


def _paths(paths: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(_where(path))}</th>'
        f'<td><span class="state s-{escape(path["state"])}">{escape(path["state"])}</span></td>'
        f"<td>{escape(path['cause'] or '')}</td><td>{escape(path['egress'] or '')}</td>"
        f'<td class="figure">{_ago(path["last_reply_s_ago"])}</td>'
        f'<td class="figure">{_percent(path["loss_percent"])}</td></tr>'
        for path in paths
    )
    columns = ("Address", "State", "Cause", "By", "Last reply", "Loss")
    head = "".join(
        f'<th scope="col"{" class=figure" if column in columns[-2:] else ""}>{column}</th>'
        for column in columns
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of addresses">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _where(path: dict[str, Any]) -> str:
    address, target = path["address"], path["target"]
    return f"{address}" + (f" ({target})" if target not in (None, address) else "")


def _figures(told: dict[str, Any], judged: str) -> str:
    rtt = told["rtt_ms"]
    labels = ", ".join(f"{key}={value}" for key, value in told["labels"].items())
    pairs = (
        ("Protocol", told["protocol"]),
        ("Judged", judged),
        ("Via", told["via"]),
        ("Labels", labels),
        ("Paused until", told["paused_until"]),
        ("Heartbeats", f"{told['sent']} sent, {told['received']} answered, {told['late']} late"),
        ("Duplicates", str(told["duplicate"]) if told["duplicate"] else None),
        ("Loss of the last 100", _loss(told)),
        (
            "RTT of the last 100",
            None
            if rtt["mean"] is None
            else f"{rtt['min']:.3g} / {rtt['mean']:.3g} / {rtt['p99']:.3g} / {rtt['max']:.3g} ms"
            " (least, mean, p99, most)",
        ),
    )
    rows = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in pairs if value)
    return f"<dl>{rows}</dl>"


def _loss(told: dict[str, Any]) -> str | None:
    if told["loss_percent"] is None:
        return None
    out, back = told["loss_out_percent"], told["loss_in_percent"]
    ways = "" if out is None else f" ({out:g} % on the way there, {back:g} % on the way back)"
    return f"{told['loss_percent']:g} %{ways}"


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return f"{seconds:.1f} s" if seconds < MINUTE else duration(int(seconds) * SECOND)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"
