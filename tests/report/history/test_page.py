"""The page: whole by itself, readable by everybody, and of a sane size."""

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hbd.report.history.figures import figures
from hbd.report.history.page import FEW, LINES, OUTAGES, page
from hbd.report.history.shape import written
from hbd.report.history.text import text
from hbd.report.history.timeline import history
from tests.report.history.telling import DAY, HOUR, MINUTE, TEN, Telling

END = TEN + 30 * DAY
EVIL = '"><img src=https://example.net/x onerror=alert(1)><script>alert(1)</script>'
VOID = {"meta", "img", "link", "rect", "path", "circle", "br"}


def fleet(*names, outages=1):
    """Each went down so often, for ten minutes each, one after the other."""
    hbd = Telling()
    hbd.start(TEN, *names, "steady", "unseen")
    for name in (*names, "steady"):
        hbd.change(TEN, name, "up", labels=(("site", EVIL),))
    for number in range(outages):
        at = TEN + (number + 1) * HOUR
        for name in names:
            hbd.change(at, name, "down", "silent", evidence=(EVIL, "nothing came back"))
            hbd.change(at + 10 * MINUTE, name, "up")
    return figures(history(hbd.entries, END, is_watched=True), TEN, END)


def page_of(told):
    return "".join(page(told, END))


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed, in order."""

    def __init__(self, told):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(told)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_needs_nothing_else():
    """No script, no picture, no address to fetch from; every link leads to a part of it."""
    read = Reader(page_of(fleet("db1")))
    assert not {tag for tag, _ in read.tags} & {"script", "img", "link", "iframe", "object"}
    ids = {attrs["id"] for _, attrs in read.tags if "id" in attrs}
    assert {attrs["href"].removeprefix("#") for attrs in read.all("a")} <= ids
    assert not [name for _, attrs in read.tags for name in attrs if name.startswith("on")]
    (style,) = re.findall("<style>(.*?)</style>", page_of(fleet("db1")), re.DOTALL)
    assert not re.findall(r"@import|url\((?!#)", style)
    assert set(re.findall(r"url\(#([a-z]+)\)", style)) <= ids


def test_whatever_the_journal_holds_is_text():
    """Names, labels, evidence and causes stay what they are, in tags and in attributes."""
    told = fleet(EVIL, "\x1b[2Jcontrol\n")
    read = Reader(page_of(told))
    assert any(EVIL[:60] in text for text in read.texts)
    assert not read.all("img")
    assert not read.all("script")
    assert "\x1b" not in page_of(told)
    lines = text(told, colour=False, named=True)
    assert not any("\x1b" in line or "\n" in line for line in lines)


def test_who_does_not_see_it_is_told():
    """Each timeline has words; tables have headings; the language is named."""
    read = Reader(page_of(fleet("db1", "db2")))
    assert read.all("html") == [{"lang": "en"}]
    lines = [attrs for attrs in read.all("svg") if attrs.get("class") == "line"]
    assert [attrs["role"] for attrs in lines] == ["img"] * 4
    words = [attrs["aria-label"] for attrs in lines]
    assert all("down for 10min" in told for told in words[:2])
    assert words[2] == "steady: up for 30d; causes: none"
    assert words[3] == "unseen: unknown for 30d; causes: none"
    assert all(attrs.get("scope") or attrs.get("role") for attrs in read.all("th"))
    others = [attrs for attrs in read.all("svg") if attrs.get("class") != "line"]
    assert all(attrs.get("aria-hidden") == "true" for attrs in others)


def test_a_page_without_any_trouble():
    """It says so, and of many peers it has the names."""
    assert '<h2 id="outages">Outages, the latest first</h2>\n<p>None.</p>' in page_of(fleet())
    told = page_of(fleet(*(f"db{number}" for number in range(FEW)), outages=0))
    assert "no peer had an outage" in told
    assert f"{FEW + 1} peers: never down" in told
    assert "1 peer: neither seen up nor down" in told
    Reader(told)


@pytest.mark.slow
def test_of_very_many_the_worst_are_shown():
    """Ten thousand peers of which a tenth failed twice: under 2 MB, and it says what is missing."""
    names = [f"db{n}.example.net" for n in range(1000)]
    hbd = Telling()
    hbd.start(TEN, *names, *(f"quiet{n}.example.net" for n in range(9000)))
    for name in hbd.peers:
        hbd.change(TEN, name, "up")
    for number in range(2):
        for name in names:
            hbd.change(TEN + (number + 1) * HOUR, name, "down", "silent", evidence=("silent",))
            hbd.change(TEN + (number + 1) * HOUR + MINUTE, name, "up")
    began = time.monotonic()
    told = figures(history(hbd.entries, END, is_watched=True), TEN, END)
    whole = page_of(told)
    print(f"10,000 peers, {len(hbd.entries)} entries: {time.monotonic() - began:.2f} s,"
          f" {len(whole) / 1e6:.1f} MB")  # fmt: skip
    assert len(whole) < 2e6
    read = Reader(whole)
    assert sum(attrs.get("class") == "line" for attrs in read.all("svg")) == LINES
    assert f"The {OUTAGES} longest of 2,000" in whole
    assert whole.count("quiet") > 9000


def test_json_is_a_peer_a_line():
    """One object, with version 1; who is not known has null, not 0."""
    told = "".join(written(fleet("db1")))
    whole = json.loads(told)
    assert whole["version"] == 1
    assert len(told.splitlines()) == 5
    peers = {peer["name"]: peer for peer in whole["peers"]}
    assert peers["db1"]["outages"][0]["evidence"] == [EVIL, "nothing came back"]
    assert peers["db1"]["seconds"]["down"] == 600
    assert peers["unseen"]["availability_percent"] is None
    assert sum(peers["db1"]["seconds"].values()) == 30 * 86_400


def test_the_text_is_the_worst_first():
    """A table; quiet peers beyond ten are counted; the formula stands below."""
    hbd = Telling()
    names = [f"quiet{n:02}" for n in range(30)]
    hbd.start(TEN, "db1", *names)
    for name in hbd.peers:
        hbd.change(TEN, name, "up")
    hbd.change(TEN + HOUR, "db1", "down", "silent")
    hbd.change(TEN + 2 * HOUR, "db1", "up")
    told = figures(history(hbd.entries, END, is_watched=True), TEN, END)
    lines = text(told, colour=False, named=False, note=" (the last 30 days; see --since)")
    assert lines[0].endswith(" (the last 30 days; see --since)")
    assert lines[2].split() == ["PEER", "AVAILABLE", "DOWN", "OUTAGES", "MTBF", "MTTR", "CAUSES"]
    assert re.split("  +", lines[3]) == [
        "db1", "99.861 %", "1h", "1", "29d 23h", "1h", "silent",
    ]  # fmt: skip
    assert "and 20 peers without any outage" in lines
    assert "31 peers: 99.995 % available; 1 outage" in lines
    assert lines[-2].startswith("Available is (up + degraded)")
    named = text(told, colour=True, named=True)
    assert "db1: up for 29d 23h, down for 1h" in named
    assert "\x1b[31m99.861 %" in "\n".join(named)


@pytest.mark.parametrize(
    ("lost", "unreadable", "told"),
    [
        (1, 0, ["1 entry never reached the journal: changes may be missing."]),
        (0, 2, ["2 entries could not be read: changes may be missing."]),
        (0, 0, []),
    ],
)
def test_what_is_missing_is_told_in_the_same_words_everywhere(lost, unreadable, told):
    """On the page and in the terminal, of one entry as of many."""
    counted = replace(fleet("db1"), lost=lost, unreadable=unreadable, stalls=1)
    shown, lines = page_of(counted), text(counted, colour=False, named=False)
    assert [words for words in told if words in shown and words in lines] == told
    assert ("may be missing" in shown) == bool(told)
    assert "Started once. Did not run for a moment once." in shown
