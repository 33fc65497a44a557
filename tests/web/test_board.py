"""What viewers are told, and that it is bounded."""

import asyncio
import json
import time

import pytest

from hbd.web.board import KEPT, KEPT_OCTETS, Board

HEAD = json.dumps({"node": "mon1", "pid": 1, "reloads": {"done": 0}}).encode()


def text(name, state="up", **more):
    told = {
        "name": name, "state": state, "cause": None, "since": "2026-11-29T10:00:00.000000+00:00",
        "flapping": False, "restored": False, "protocol": "stamp", "way": "asked",
        "authenticated": False, "via": None, "labels": {}, "evidence": ["a fact"],
        "paths": [{"address": "10.0.0.11"}],
        "sent": 1, "received": 1, "late": 0, "duplicate": 0, "loss_percent": 0.0,
        "rtt_ms": dict.fromkeys(("last", "min", "mean", "p99", "max"), 0.2),
    }  # fmt: skip
    return json.dumps(told | more).encode()


def change(name, state, since="2026-11-29T11:00:00.000000+00:00"):
    return {"name": name, "state": state, "cause": "silent", "since": since}


def events(octets):
    """Give the events of a stream: (kind, number, what it says)."""
    found = []
    for block in octets.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
    return found


@pytest.fixture
def board():
    """A board that knows two peers."""
    made = Board()
    made.take(HEAD, [text("db1"), text("db2")], whole=True)
    return made


def test_only_what_is_different_is_told(board):
    """An answer that says the same makes no message; one that does not, a row."""
    seen = board.number
    board.take(HEAD, [text("db1"), text("db2")])
    assert board.after(seen) == (seen, b"")
    board.take(HEAD, [text("db1", "down"), text("db2")])
    number, octets = board.after(seen)
    ((kind, at, told),) = events(octets)
    assert (kind, at, [row[:2] for row in told["rows"]]) == ("rows", number, [["db1", "down"]])
    assert told["summary"]["down"] == 1


def test_a_change_is_told_before_its_evidence(board):
    """Many changes are one message; their evidence is to be asked for, that of none is not."""
    seen = board.number
    asked = board.take_changes([change("db1", "down"), change("db2", "down"), change("new", "up")])
    assert sorted(asked) == ["db1", "db2", "new"]
    (event,) = events(board.after(seen)[1])
    assert [(row[0], row[1], row[9]) for row in event[2]["rows"]] == [
        ("db1", "down", ""), ("db2", "down", ""),
    ]  # fmt: skip
    assert json.loads(board.status())["peers"][0]["cause"] == "silent"
    assert board.take_changes([change("db1", "down")]) == []


def test_who_is_gone_is_told(board):
    """A whole answer without a peer takes it away, its history with it."""
    seen = board.number
    board.take(HEAD, [text("db2")], whole=True)
    (event,) = events(board.after(seen)[1])
    assert event[2]["gone"] == ["db1"]
    assert board.minutes("db1") == []


def test_a_viewer_of_one_peer_hears_of_that_one(board):
    """Of others it gets ticks alone."""
    seen = board.number
    board.take(HEAD, [text("db1", "down")])
    board.tick()
    assert [kind for kind, *_ in events(board.after(seen, "db2")[1])] == ["tick"]
    assert [kind for kind, *_ in events(board.after(seen, "db1")[1])] == ["rows", "tick"]


def test_what_is_kept_for_slow_viewers_is_bounded(board):
    """Who is too far behind gets everything anew; nothing is kept for him."""
    seen = board.number
    for number in range(2 * KEPT):
        state = ("up", "down")[number % 2]
        board.take(HEAD, [text("db1", state, labels={"x": "y" * 30_000})])
    assert len(board._messages) <= KEPT
    assert sum(len(one.octets) for one in board._messages) <= KEPT_OCTETS
    ((kind, number, told),) = events(board.after(seen)[1])
    assert (kind, number, len(told["rows"])) == ("all", board.number, 2)


def test_numbers_of_another_run_are_old(board):
    """A viewer who comes back to an hbd web that was restarted gets everything."""
    time.sleep(0.002)
    later = Board()
    later.take(HEAD, [text("db1")], whole=True)
    assert events(later.after(board.number)[1])[0][0] == "all"


@pytest.mark.parametrize("odd", [b"3", b"{}", b"[" * 100_000, text("db1", "asleep", evidence=3)])
def test_what_another_version_tells_is_not_taken(board, odd):
    """It is a ValueError, after which the daemon counts as silent, and changes nothing."""
    number, answered = board.number, board.answered
    with pytest.raises(ValueError, match=r"\w"):
        board.take(HEAD, [text("db1", "down"), odd], whole=True)
    assert (board.number, board.answered, board.peers["db1"].state) == (number, answered, "up")


def test_numbers_that_are_still_to_come_are_of_another_run(board):
    """Where the clock was set back between two runs, a viewer who comes back gets everything."""
    assert events(board.after(board.number + 1_000_000)[1])[0][0] == "all"


@pytest.mark.slow
def test_a_viewer_who_reads_nothing_is_cut_off(board, monkeypatch):
    """After a while without reading its connection is ended, and its place is free."""
    pytest.importorskip("aiohttp", reason="python3-aiohttp is not installed; tests/run.sh does it")
    from aiohttp import web  # noqa: PLC0415 - may be missing

    from hbd.web import giving, server  # noqa: PLC0415

    monkeypatch.setattr(giving, "STALLED", 0.5)

    async def scene():
        site = server.Site(board, None, server.Guard(()))
        runner = web.AppRunner(site.application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert site._viewers == 1
        end = time.monotonic() + 20
        number = 0
        while site._viewers and time.monotonic() < end:
            number += 1
            board.take(HEAD, [text("db1", labels={"x": f"{number}" + "y" * 1_000_000})])
            await asyncio.sleep(0.05)
        assert site._viewers == 0
        writer.transport.abort()
        await runner.cleanup()

    asyncio.run(scene())


@pytest.mark.slow
def test_what_slow_readers_keep_is_bounded(board, monkeypatch):
    """Where those who read nothing keep too much, who comes gets 503; who goes makes room."""
    pytest.importorskip("aiohttp", reason="python3-aiohttp is not installed; tests/run.sh does it")
    from aiohttp import web  # noqa: PLC0415 - may be missing

    from hbd.web import giving, server  # noqa: PLC0415

    monkeypatch.setattr(server, "FRESH", -1.0)

    async def scene():
        site = server.Site(board, None, server.Guard(()))
        site._giver = giving.Giver(room=45 << 20)
        runner = web.AppRunner(site.application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

        writers = []

        async def answered():
            _, port = runner.addresses[0][:2]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            writers.append(writer)
            return (await reader.readuntil(b"\r\n"))[9:12]

        for number in range(2):
            board.take(HEAD, [text("db1", labels={"x": f"{number}" + "y" * (20 << 20)})])
            assert await answered() == b"200"
        board.take(HEAD, [text("db1", labels={"x": "z" * (20 << 20)})])
        assert await answered() == b"503"
        writers[1].transport.abort()
        end = time.monotonic() + 10
        while await answered() != b"200":
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        for writer in writers:
            writer.transport.abort()
        await runner.cleanup()

    asyncio.run(scene())
