"""`hbd explain`: why a peer is in its state."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, ask, complain, declare, verdict
from hbd.cli.table import ago, can_be_forged, directions, local, milliseconds, percent, why

if TYPE_CHECKING:
    from argparse import Namespace

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
    """Put the answer into lines for people."""
    peer = answer["peer"]
    lines = [_head(peer), "", f"  {answer['meaning']}"]
    if peer["evidence"]:
        lines += ["", "Evidence:", *(f"  {fact}" for fact in peer["evidence"])]
    lines += [
        "",
        "Paths:",
        *(f"  {_path(path, peer['way'])}" for path in peer["paths"]),
        "",
        *_figures(peer),
    ]
    via = f"; via {peer['via']}" if peer["via"] else ""
    lines.append(f"Judged: {answer['judged']}{via}")
    if can_be_forged(peer):
        lines.append("Unauthenticated: whoever sends from its address can pass for this peer")
    if answer["advice"]:
        lines += ["", f"What to do: {answer['advice']}"]
    return lines


def _head(peer: dict[str, Any]) -> str:
    cause = f": {why(peer)}" if why(peer) else ""
    restored = ", from before the start of hbd, no verdict since" if peer["restored"] else ""
    flapping = ", flapping" if peer["flapping"] else ""
    since = f"since {local(peer['since'])} ({ago(peer['since'])})"
    return f"{peer['name']} is {peer['state']}{cause}, {since}{restored}{flapping}"


def _figures(peer: dict[str, Any]) -> list[str]:
    if peer["way"] != "asked":
        return [f"Heartbeats: {peer['sent']} sent, {peer['received']} received"]
    rtt = peer["rtt_ms"]
    answered = f"{peer['received']} answered, {peer['late']} of them late"
    mean, p99 = milliseconds(rtt["mean"]), milliseconds(rtt["p99"])
    loss = percent(peer["loss_percent"]) + directions(peer)
    return [
        f"Heartbeats: {peer['sent']} sent, {answered}, {peer['duplicate']} duplicates",
        f"Of the last 100: loss {loss}, RTT {mean} (p99 {p99})",
    ]


def _path(path: dict[str, Any], way: str) -> str:
    target = path["target"]
    where = f" ({target})" if target not in (None, path["address"]) else ""
    cause = f", {path['cause']}" if path["cause"] else ""
    by = f", by {path['egress']}" if path["egress"] else ""
    last = _last(path["last_reply_s_ago"], way)
    return f"{path['address']}{where}: {path['state']}{cause}{last}{by}"


def _last(seconds: float | None, way: str) -> str:
    if way == "unwatched":
        return ""
    did, ever = ("reply", "answered") if way == "asked" else ("heard", "heard")
    if seconds is None:
        return f", never {ever} since the start"
    return f", last {did} {seconds:.1f} s ago"
