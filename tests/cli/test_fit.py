"""The table in terminals of all kinds and sizes."""

import io
import os
import pty
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.cli.live import Known, _clock, frame
from hbd.cli.question import Question
from hbd.cli.sparkline import sparkline
from hbd.cli.table import page
from hbd.cli.terminal import Terminal, clean, pad, terminal_of, width_of
from hbd.report.words import WORST_FIRST

NOW = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
ALL = Question([], {}, [])
COLOUR = re.compile(r"\x1b\[[0-9]+m")


def peer(name, state="up", **more):
    figures = {"last": 0.213, "min": 0.1, "mean": 0.2, "p99": 0.4, "max": 0.5}
    return {
        "name": name,
        "state": state,
        "cause": {"down": "host-unreachable", "unreachable": "parent-down"}.get(state),
        "since": (NOW - timedelta(days=3, hours=4)).isoformat(),
        "flapping": False,
        "restored": False,
        "protocol": "stamp",
        "authenticated": False,
        "loss_percent": 12.5,
        "rtt_ms": figures,
        "paths": [{"address": "2001:db8:1111:2222:3333:4444:5555:6666"}],
        "labels": {"site": "ams"},
        "recent": 90 * "." + 10 * "x",
        **more,
    }


def status(*peers, **more):
    counts = {state: sum(peer["state"] == state for peer in peers) for state in WORST_FIRST}
    return {"node": "here", "peers": list(peers), "summary": counts, **more}


MIXED = status(*(peer(f"peer-{state}", state) for state in reversed(WORST_FIRST)))


def lines(answer, terminal, question=ALL):
    return page(answer, question, terminal, NOW).lines(terminal)


def bare(line):
    return COLOUR.sub("", line)


@pytest.mark.parametrize("width", [*range(1, 140), 200])
def test_no_line_is_wider_than_the_terminal(width):
    """However narrow it is, and with colours, long names, wide letters and signs of all kinds."""
    odd = peer("x" * 100, "down", flapping=True, restored=True, labels={"a": "日本語" * 9})
    answer = status(*MIXED["peers"], odd, peer("p", protocol="plain"))
    for terminal in (Terminal(width, has_colour=True), Terminal(width, has_blocks=False)):
        assert all(width_of(bare(line)) <= width for line in lines(answer, terminal))


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (None, "PEER STATE CAUSE SINCE RTT LOSS RECENT ADDRESS LABELS"),
        (200, "PEER STATE CAUSE SINCE RTT LOSS RECENT ADDRESS LABELS"),
        (100, "PEER STATE CAUSE SINCE RTT LOSS RECENT ADDRESS"),
        (80, "PEER STATE CAUSE SINCE RTT LOSS RECENT"),
        (70, "PEER STATE CAUSE SINCE LOSS RECENT"),
        (60, "PEER STATE CAUSE SINCE RECENT"),
        (40, "PEER STATE CAUSE SINCE"),
        (35, "PEER STATE CAUSE"),
        (20, "PEER STATE"),
        (5, "PEER"),
    ],
)
def test_columns_go_in_the_order_of_what_they_tell(width, titles):
    """Who, what, why and since when stay the longest."""
    assert lines(MIXED, Terminal(width))[0].split() == titles.split()


def test_figures_are_shown_whole_or_not_at_all():
    """Half a figure would be another one."""
    for width in range(1, 200):
        head, *rows = lines(MIXED, Terminal(width))[:8]
        for title, text in (("SINCE", "3d 4h"), ("LOSS", "12.5 %"), ("RTT", "0.213 ms")):
            if title in head.split():
                assert all(text in row for row in rows)


def test_the_worst_come_first():
    """In the order in which one looks for them, each with its colour where that is wanted."""
    _, *rows = lines(MIXED, Terminal(200, has_colour=True))[:8]
    assert [row.split()[0] for row in rows] == [f"peer-{state}" for state in WORST_FIRST]
    assert "\x1b[31mdown " in rows[0]
    assert not any("\x1b" in row for row in lines(MIXED, Terminal(200)))


def test_columns_that_tell_nothing_are_not_there():
    """Without labels, other protocols and heartbeats of ours there is nothing to show of them."""
    told = peer("a", labels={}, recent="")
    assert lines(status(told), Terminal())[0].split() == [
        *("PEER", "STATE", "CAUSE", "SINCE", "RTT", "LOSS", "ADDRESS"),
    ]
    assert lines(status(told), Terminal(), ALL)[1].split()[-2:] == [
        "%",
        "2001:db8:1111:2222:3333:4444:5555:6666",
    ]


def test_controls_of_others_are_shown_and_not_obeyed():
    r"""What a label or an address has of terminal controls stands there as \x1b."""
    odd = peer("a", labels={"x": "\x1b[2J\u202e\n\x9b"}, paths=[{"address": "\x1b]0;x\x07"}])
    text = "\n".join(lines(status(odd), Terminal()))
    assert re.sub(r"[^\x00-\x1f\x7f-\x9f\u202e]", "", text) == "\n" * 3
    assert r"\x1b[2J\u202e\n\x9b" in text


@given(st.text(), st.integers(1, 30))
def test_what_is_cut_fits(text, width):
    """A text is cut to at most its width, by what its letters take, and padded to exactly it."""
    shown = clean(text)
    for terminal in (Terminal(), Terminal(has_blocks=False)):
        cut = terminal.cut(shown, width)
        assert width_of(pad(cut, width)) == width
        assert cut == shown or width_of(shown) > width


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ü", 1), ("ﬀ", 1), ("🙂", 2), ("", 0)],
)
def test_letters_take_the_columns_they_take(text, width):
    """Those of East Asia and emoji take two, combining accents none."""
    assert width_of(text) == width


@pytest.mark.parametrize(
    ("recent", "width", "blocks", "ascii_"),
    [
        (100 * ".", 20, "▁" * 20, "." * 20),
        (100 * "x", 10, "█" * 10, "X" * 10),
        ("....." + "...s." + "....x", 20, " " * 17 + "▁▃▅", " " * 17 + ".sx"),
        ("...xx" + ".xxxx" + "xxxx-", 20, " " * 17 + "▆▇█", " " * 17 + "xxX"),
        ("x" + 10 * ".", 10, " " * 8 + "█▁", " " * 8 + "X."),
        ("-----", 20, " " * 19 + "·", " " * 19 + "-"),
    ],
)
def test_the_line_of_heartbeats(recent, width, blocks, ascii_):
    """The higher the worse, the newest to the right, and in ASCII where that is all there is."""
    assert sparkline(recent, width, Terminal()) == blocks
    assert sparkline(recent, width, Terminal(has_blocks=False)) == ascii_
    assert bare(sparkline(recent, width, Terminal(has_colour=True))) == blocks


def test_the_summary_says_of_how_many():
    """Filters show some, and the summary says of how many; where nobody is left it says so."""
    down = Question([], {}, ["down", "left"])
    answer = {**status(peer("a", "down")), "selected": MIXED["summary"]}
    answer["summary"] = MIXED["summary"]
    assert lines({**answer, "peers": []}, Terminal(), down)[-1] == "2 peers: 1 down, 1 left (of 7)"
    up = status(peer("a"))
    assert lines({**up, "selected": up["summary"], "peers": []}, Terminal(), down) == [
        "no peer is down or left; 1 peer: 1 up",
    ]


# -- the screen of --watch ------------------------------------------------------------------------


def known(answer, lost=""):
    return Known(answer, NOW, _clock() - 5_500_000_000, lost)


@pytest.mark.parametrize("height", range(1, 40))
def test_a_frame_fits_the_screen(height):
    """Of many the worst are shown, and how many more there are: never more lines than fit."""
    peers = [peer("bad", "down"), *(peer(f"p{n}") for n in range(50))]
    answer = status(*peers)
    answer["selected"] = answer["summary"] | {"up": 9_999}
    for lost in ("", "no daemon answers at /run/hbd/io.hbd"):
        shown = frame(known(answer, lost), ALL, Terminal(70, height, has_colour=True))
        assert len(shown) <= height
        assert all(width_of(bare(line)) <= 70 for line in shown)
        if height >= 8:
            (more,) = [line for line in map(bare, shown) if line.startswith("…")]
            rows = sum(re.match(r"p\d|bad", line) is not None for line in map(bare, shown))
            assert more == f"… and {10_000 - rows:,} more"
            assert len(shown) == height
            assert rows > 0


def test_a_frame_says_how_old_it_is():
    """Of an answer of this moment, of an old one, and of one that there will be no other than."""
    fresh = known(status(peer("a")))._replace(clock=_clock())
    assert frame(fresh, ALL, Terminal(80))[0].endswith("(now)")
    assert frame(known(status(peer("a"))), ALL, Terminal(80))[0].endswith("(5s ago)")
    top, *rest = frame(known(status(peer("a")), "gone"), ALL, Terminal(80, has_colour=True))
    assert re.match(r"\x1b\[31mhbd has not answered since \d\d:\d\d:00 \(5s\): gone;", top)
    assert all(line.startswith("\x1b[2m") for line in rest if line)


# -- what a terminal can --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "colour", "blocks"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "linux"}, True, False),
        ({"TERM": "xterm", "LC_ALL": "C", "LANG": "en_US.UTF-8"}, True, False),
        ({"TERM": "xterm", "LC_CTYPE": "de_DE.utf8", "LANG": "C"}, True, True),
        ({"TERM": "xterm", "LANG": "de_DE.ISO-8859-1"}, True, False),
    ],
)
def test_what_the_terminal_can(environ, colour, blocks):
    """Colours and blocks are used where terminal, locale and user allow it."""
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stream:  # noqa: PTH123 - it has no path
        terminal = terminal_of(stream, environ)
    os.close(master)
    assert terminal == Terminal(80, 24, colour, blocks)  # a pty has no size until it is given


def test_a_file_has_no_width_and_no_colour():
    """Where output is no terminal, lines are whole."""
    assert terminal_of(io.TextIOWrapper(io.BytesIO(), "utf-8"), {"TERM": "xterm"}) == Terminal()
    latin = io.TextIOWrapper(io.BytesIO(), "latin-1")
    assert terminal_of(latin, {}) == Terminal(has_blocks=False)
