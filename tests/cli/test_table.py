"""What `hbd status` and `hbd explain` show of peers of all kinds."""

from datetime import UTC, datetime

import pytest

from hbd.cli.explain import text
from hbd.cli.question import Question
from hbd.cli.table import page
from hbd.cli.terminal import Terminal

NOW = datetime.now(UTC).isoformat()
RTT = {"last": 0.21, "min": 0.1, "mean": 0.2, "p99": 0.4, "max": 0.5}
NO_RTT = dict.fromkeys(RTT)


def peer(name, protocol="stamp", way="asked", *, authenticated=False, address="10.0.0.11"):
    path = {"address": address, "target": None, "state": "up", "cause": None}
    path |= {"egress": None, "last_reply_s_ago": 3.21, "hops": 1}
    return {
        "name": name,
        "state": "up",
        "cause": None,
        "since": NOW,
        "flapping": False,
        "via": None,
        "protocol": protocol,
        "way": way,
        "authenticated": authenticated,
        "evidence": [],
        "restored": False,
        "sent": 9,
        "received": 8,
        "late": 0,
        "duplicate": 0,
        "loss_percent": None,
        "loss_out_percent": None,
        "loss_in_percent": None,
        "rtt_ms": RTT if way == "asked" else NO_RTT,
        "paths": [path],
    }


def answer(peer):
    words = dict.fromkeys(("words", "meaning", "judged", "apart", "advice"), "it is told")
    return {"peer": peer, **words, "commands": []}


def shown(*peers):
    summary = {"up": len(peers), "down": 0}
    status = {"peers": list(peers), "summary": summary}
    return page(status, Question([], {}, []), Terminal()).lines(Terminal())


def test_protocols_are_shown_where_they_differ():
    """There is a column for them as soon as a peer speaks another than STAMP."""
    assert "PROTOCOL" not in shown(peer("a"))[0]
    head, first, second, *_ = shown(peer("a"), peer("b", "mqtt", authenticated=True))
    assert head.split()[-2:] == ["PROTOCOL", "ADDRESS"]
    assert first.split()[-2:] == ["stamp", "10.0.0.11"]
    assert second.split()[-2:] == ["mqtt", "10.0.0.11"]


def test_plain_peers_are_marked_as_unauthenticated():
    """Who proves nothing has a sign, and the sign its meaning, in the table and in explain."""
    lines = shown(peer("a", "plain", "told"), peer("b"))
    assert lines[1].split()[-3:] == ["plain", "!", "10.0.0.11"]
    assert lines[-1] == "2 peers: 2 up; ! unauthenticated"
    assert not any("!" in line for line in shown(peer("a"), peer("b", "tcp")))
    told = text(answer(peer("a", "plain", "told")))
    assert told[-1].startswith("Unauthenticated: whoever sends")


@pytest.mark.parametrize(
    ("way", "last", "figures"),
    [
        ("asked", ", last reply 3.2 s ago", "9 sent, 8 answered, 0 of them late, 0 duplicates"),
        ("told", ", last heard 3.2 s ago", "9 sent, 8 received"),
        ("agreed", ", last heard 3.2 s ago", "9 sent, 8 received"),
        ("unwatched", "", "9 sent, 8 received"),
    ],
)
def test_explain_speaks_of_replies_only_where_they_are_asked_for(way, last, figures):
    """Heartbeats of the peer's own are heard, not answered."""
    lines = text(answer(peer("a", "x", way)))
    assert f"  10.0.0.11: up{last}" in lines
    assert f"Heartbeats: {figures}" in lines


@pytest.mark.parametrize(
    ("loss", "out", "back", "told"),
    [
        (12.0, None, None, "loss 12 %, RTT 0.2 ms"),
        (0.0, 0.0, 0.0, "loss 0 %, RTT 0.2 ms"),
        (12.0, 11.1, 1.1, "loss 12 % (11.1 % on the way there, 1.1 % on the way back), RTT 0.2 ms"),
    ],
)
def test_explain_splits_loss_by_direction_where_that_is_known(loss, out, back, told):
    """Where it was lost stands beside what was lost; nothing does where nothing was or is known."""
    figures = {"loss_percent": loss, "loss_out_percent": out, "loss_in_percent": back}
    lines = text(answer(peer("a") | figures))
    assert told in "\n".join(lines)
