"""Any octets as the file of the store: batches that a daemon can begin with, or damage."""

import json

from hbd.core.fleet import Restored
from hbd.core.model import SECOND, Cause, State
from hbd.core.peer import Pause
from hbd.daemon import status
from hbd.report import entry as entries
from hbd.report.entry import Entry
from hbd.report.ledger import Batch, Contents, in_writing, line, parse
from hbd.report.records import PeerRecord
from hbd.report.snapshot import snapshot
from tests.fuzz.draws import Draws
from tests.report.test_entry import fields_of
from tests.simulation.world import WALL, World, peer

DICTIONARY = [
    *(
        b'{"peers":[',
        b'"forgotten":[',
        b'"entries":[',
        b'"gone":[',
        b'["10.0.0.1","',
        b",null",
        b"]]}",
    ),
    *(f'"{state}",'.encode() for state in State),
    *(f'"{cause}",'.encode() for cause in Cause),
    *(b'"HBD_EVENT_ID"', b'"\\ud800"', b"1e400", b"-1", b"NaN", b"253402300799000000000"),
]
JUNK = (
    *"null true 1 -1 1e400 1.5 NaN [] [[]] {}".split(),
    *('"9"', '""', '"\\ud800"', '"a\\nb"', '{"a":1}', '[1,"",""]', '["a","b","c"]'),
    *("9" * 30, "[" * 3_000 + "]" * 3_000),
)


LONGEST = 800


def seeds():
    told = Entry("10.0.0.1 is down", "0" * 32, 3, (("HBD_EVENT_ID", "1"), ("HBD_SINCE", "2026")))
    records = [
        PeerRecord("10.0.0.1", State.DOWN, Cause.SILENT, WALL),
        PeerRecord("10.0.0.2", State.PAUSED, None, WALL, Pause(WALL + SECOND, "why", "root")),
        PeerRecord("10.0.0.1", State.DEGRADED, Cause.TOO_TIGHT, 0),
    ]
    batches = [Batch({one.name: one}, {"1": told}, ["2"]) for one in records]
    lines = [line(in_writing(batch)) for batch in (*batches, Batch({"10.0.0.1": None}))]
    made = [
        bytes([1, place % 7, junk % 30, junk, place])
        for junk in range(len(JUNK))
        for place in range(9)
    ]
    return [*(b"\0" + each for each in lines), b"\0" + b"".join(lines), *made]


def run(octets):
    draws = Draws(octets)
    text = _made(draws) if draws.octet() & 1 else draws.rest()
    contents = Contents()
    for each in text.split(b"\n"):
        try:
            batch = parse(each)
        except ValueError:
            continue
        written = line(in_writing(batch))
        assert parse(written) == batch
        assert written.count(b"\n") == 1
        contents.add(batch)
    again = Contents()
    for batch in contents.batches():
        again.add(parse(line(in_writing(batch))))
    assert again == contents
    _send(contents)
    _restore(contents)


def _made(draws):
    """A line as it should be, but for one value or two."""
    state, cause = draws.pick(tuple(State)), draws.pick((None, *Cause))
    record = ["10.0.0.1", state, cause, WALL, None]
    entry = ["down", "0" * 32, 3, [["HBD_EVENT_ID", "1"], ["HBD_SINCE", "2026"]]]
    told = {"peers": [record], "forgotten": ["10.0.0.2"], "entries": [entry], "gone": ["2"]}
    places = (
        *((record, at) for at in range(5)),
        *((entry, at) for at in range(4)),
        *((entry[3], 1), (entry[3][0], 0), (entry[3][0], 1)),
        *((told, key) for key in tuple(told)),
        *((told["peers"], 0), (told["entries"], 0), (told["gone"], 0)),
    )
    junk = {}
    while draws and len(junk) < 3:
        value = draws.pick(JUNK)
        into, at = draws.pick(places)
        into[at] = mark = f"junk {len(junk)}"
        junk[json.dumps(mark)] = value
    octets = json.dumps(told)
    for mark, value in junk.items():
        octets = octets.replace(mark, value)
    return octets.encode()


def _send(contents):
    """Entries are sent again, in each form; no value becomes a field of its own."""
    for entry in contents.pending.values():
        assert len(fields_of(entries.native(entry))) == len(entry.pairs())
        assert entries.text_line(entry).count(b"\n") == 1
        assert json.loads(entries.json_line(entry))


def _restore(contents):
    """A fleet begins with what was stored, is asked and told about, and goes on."""
    known = {name: one for name, one in contents.peers.items() if name in {"10.0.0.1", "10.0.0.2"}}
    if not known:
        return
    world = World(1)
    world.watch(peer("10.0.0.1"), peer("10.0.0.2", via="10.0.0.1"), link=None)
    for name, one in known.items():
        world.fleet.restore(name, Restored(one.state, one.cause, one.since, one.pause))
    peers = world.fleet.peers.values()
    for span in (SECOND, 0):
        for one in peers:
            assert json.dumps(status.view(world.fleet, one))
            assert json.dumps(status.explain(world.fleet, one))
        rows = [(one.name, one.state, one.cause, one.since, SECOND) for one in peers]
        assert list(snapshot(lambda: "1", WALL, rows, "start"))
        world.run(span)
