"""`hbd explain`: why a peer is in its state."""

from __future__ import annotations

import json
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask, complain, declare, verdict
from hbd.cli.table import ago, directions, local, milliseconds, percent
from hbd.core.model import SECOND
from hbd.report.answer import can_be_forged, why
from hbd.report.entry import FACT_LIMIT
from hbd.report.words import duration, one_line

if TYPE_CHECKING:
    from argparse import Namespace

WIDTH: Final = 80
A_MINUTE: Final = 60

EPILOG: Final = """\
Exit status: as hbd status.

example:
  hbd explain db1
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(subparsers, "explain", "Say why a peer is in its state.", EPILOG)
    parser.add_argument("peer", metavar="PEER")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: Namespace) -> int:
    """Print all that is known of the peer."""
    try:
        answer = ask("Explain", peer=arguments.peer)
    except AskError as error:
        return complain(error)
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(text(answer)) + "\n")
    return verdict([answer["peer"]["state"]])


def text(answer: dict[str, Any]) -> list[str]:
    """Put the answer into lines for people; commands are never broken, so that they can be copied.

    Of a peer that is up nothing need be explained.
    """
    peer = answer["peer"]
    is_well = peer["state"] == "up"
    parts = [
        _head(answer),
        [] if is_well else _prose(answer["meaning"]),
        _listed("Evidence:", [one_line(fact, FACT_LIMIT) for fact in peer["evidence"]]),
        _listed("Paths:", [_path(path, peer["way"]) for path in peer["paths"]]),
        _measured(answer),
        [] if is_well else _advised(answer),
        ["Next:", *(f"  {command}" for command in answer["commands"])]
        if answer["commands"]
        else [],
    ]
    return [line for part in parts if part for line in ("", *part)][1:]


def _prose(words: str, lead: str = "", indent: str = "") -> list[str]:
    return wrap(
        words,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _labelled(label: str, words: str) -> list[str]:
    return _prose(words, f"{label}: ", "  ")


def _listed(title: str, items: list[str]) -> list[str]:
    lines = (line for item in items for line in _prose(item, "  ", "    "))
    return [title, *lines] if items else []


def _head(answer: dict[str, Any]) -> list[str]:
    peer = answer["peer"]
    restored = ", from before the start of hbd, no verdict since" if peer["restored"] else ""
    flapping = ", flapping" if peer["flapping"] else ""
    since = f"since {local(peer['since'])} ({ago(peer['since'])}){restored}{flapping}"
    if peer["state"] == "up":
        return _prose(f"{peer['name']} is up {since}")
    verb = "has" if peer["state"] == "left" else "is"
    cause = f"Cause: {why(peer)}, {since}" if why(peer) else since.capitalize()
    return [*_prose(f"{peer['name']} {verb} {peer['state']}: {answer['words']}"), *_prose(cause)]


def _measured(answer: dict[str, Any]) -> list[str]:
    peer = answer["peer"]
    lines = _figures(peer)
    via = f"; via {peer['via']}" if peer["via"] else ""
    lines += _labelled("Judged", f"{answer['judged']}{via}")
    if can_be_forged(peer):
        lines += _labelled("Unauthenticated", "whoever sends from its address can pass for it")
    return lines


def _advised(answer: dict[str, Any]) -> list[str]:
    apart = _labelled("To tell apart", answer["apart"]) if answer["apart"] else []
    return apart + _labelled("What to do", answer["advice"])


def _figures(peer: dict[str, Any]) -> list[str]:
    if peer["way"] != "asked":
        return [f"Heartbeats: {peer['sent']} sent, {peer['received']} received"]
    rtt = peer["rtt_ms"]
    answered = f"{peer['received']} answered, {peer['late']} of them late"
    counts = f"Heartbeats: {peer['sent']} sent, {answered}, {peer['duplicate']} duplicates"
    if peer["loss_percent"] is None:
        return [counts]
    known = f"RTT {milliseconds(rtt['mean'])} (p99 {milliseconds(rtt['p99'])})"
    told = known if rtt["mean"] is not None else "no RTT"
    loss = percent(peer["loss_percent"]) + directions(peer)
    return [counts, f"Of the last 100: loss {loss}, {told}"]


def _path(path: dict[str, Any], way: str) -> str:
    target = path["target"]
    where = f" ({target})" if target not in (None, path["address"]) else ""
    cause = f", {path['cause']}" if path["cause"] else ""
    by = f", by {path['egress']}" if path["egress"] else ""
    last = _last(path["last_reply_s_ago"], way)
    hops = f", {path['hops']} hops away" if (path["hops"] or 1) > 1 else ""
    return f"{path['address']}{where}: {path['state']}{cause}{last}{by}{hops}"


def _last(seconds: float | None, way: str) -> str:
    if way == "unwatched":
        return ""
    did, ever = ("reply", "answered") if way == "asked" else ("heard", "heard")
    if seconds is None:
        return f", never {ever} since the start"
    past = f"{seconds:.1f} s" if seconds < A_MINUTE else duration(int(seconds) * SECOND)
    return f", last {did} {past} ago"
