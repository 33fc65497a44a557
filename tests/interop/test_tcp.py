"""TCP servers with each of the usual faults, and clients that must be heard."""

import contextlib
import re
import socket
import time
from functools import partial
from pathlib import Path

import pytest
import seen
import toys
from programs import until

pytestmark = [pytest.mark.root, pytest.mark.slow]

HERE, THERE = "10.99.0.1", "10.99.0.2"
HERE6, THERE6 = "fd99::1", "fd99::2"
DETECTION = 0.2 + 4 * 0.1
"""Of the tests' defaults: interval + (retries + 1) x timeout, seconds."""
KEPT = 1 + 2 * 1
"""The same of a connection that the kernel keeps: whole seconds."""

ASKS = {"protocol": "tcp", "send": r"PING\n", "expect_reply": "PONG"}
KEEPS = {"protocol": "tcp", "interval": "1s", "timeout": "1s", "retries": 1}


def peer(name, port, address=THERE, **settings):
    return {"name": name, "address": address, "port": port, **settings}


def accepted(server):
    """How many connections a server has taken."""
    return sum("accepted" in line.words for line in server.lines())


# -- servers -----------------------------------------------------------------------------------


def test_servers_that_never_were(pair):
    """Each fault that is there from the start has its cause within a detection time."""
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        resetting = start(toys.resetting(pair.there, THERE, 7001))
        closing = start(toys.closing(pair.there, THERE, 7002))
        hanging = start(toys.hanging(pair.there, THERE, 7003))
        start(toys.replying(pair.there, THERE, 7004, b"HTTP/1.1 400 Bad Request"))
        start(toys.replying(pair.there, THERE6, 7005, b"PONG"))
        start(toys.dropping(pair.there, "tcp dport 7007"))
        start(toys.replying(pair.there, THERE, 7008, b"PONG"))
        causes = {
            "reset": "reset", "close": "closed", "hang": "hung", "other": "bad-reply",
            "nobody": "refused", "drop": "connect-timeout", "off": "host-unreachable",
            "kept-reset": "reset", "kept-close": "closed", "kept-nobody": "refused",
        }  # fmt: skip
        monitor = pair.run(
            pair.here,
            peers=[
                peer("reset", 7001, **ASKS),
                peer("close", 7002, **ASKS),
                peer("hang", 7003, **ASKS),
                peer("other", 7004, **ASKS),
                peer("six", 7005, THERE6, **ASKS),
                peer("nobody", 7006, **ASKS),
                peer("drop", 7007, **ASKS),
                peer("off", 7001, "10.99.0.77", **ASKS | {"timeout": "1s", "interval": "1s"}),
                peer("good", 7008, **ASKS),
                peer("kept-reset", 7001, **KEEPS),
                peer("kept-close", 7002, **KEEPS),
                peer("kept-hang", 7003, **KEEPS),
                peer("kept-nobody", 7006, **KEEPS),
            ],
        )
        logs = {
            "reset": resetting, "close": closing, "hang": hanging, "kept-reset": resetting,
            "kept-close": closing,
        }  # fmt: skip
        entries = {}
        for name, cause in causes.items():
            say = partial(seen.last, logs[name], "") if name in logs else str
            words = f"tcp: {name} from the start"
            entries[name] = seen.falls(monitor, name, cause, words, DETECTION, logged=say)
        for name in ("six", "good", "kept-hang"):  # whoever hangs has a kernel that answers
            seen.rises(monitor, name)
        for name in ("reset", "close", "kept-reset", "kept-close"):
            assert re.search(r" at \d{4}-\d\d-\d\dT[\d:.]+", entries[name]["HBD_EVIDENCE"])
        assert "HTTP/1.1 400" in entries["other"]["HBD_EVIDENCE"]
        assert f"{THERE}:7006" in entries["nobody"]["HBD_EVIDENCE"]
        for name in ("six", "good", "kept-hang"):
            assert monitor.changes(name) == [("up", "")]


def test_servers_that_fall(pair):
    """A server that is killed, frozen or cut off has the cause of that, and comes back."""
    ports = {
        "killed": 7001, "kept-killed": 7002, "frozen": 7003, "cut": 7004, "kept-cut": 7005,
        "witness": 7006,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(toys.replying(pair.there, THERE, port, b"PONG"))
            for name, port in ports.items()
        }
        monitor = pair.run(
            pair.here,
            peers=[
                peer(name, port, **(KEEPS if name.startswith("kept") else ASKS))
                for name, port in ports.items()
            ],
        ).all_up()
        since = monitor.count()
        servers["killed"].kill()
        servers["kept-killed"].kill()
        servers["frozen"].freeze()
        with toys.dropping(pair.there, "tcp dport { 7004, 7005 }"):
            for name, cause, fault, formula in (
                ("killed", "refused", "killed, asked", DETECTION),
                ("frozen", "hung", "frozen by SIGSTOP", DETECTION),
                ("cut", "keepalive-failed", "half-open behind DROP, asked", DETECTION),
                ("kept-killed", "refused", "killed, kept alive", KEPT),
                ("kept-cut", "keepalive-failed", "half-open behind DROP, kept alive", KEPT),
            ):
                log = partial(seen.last, servers[name], "")
                seen.falls(monitor, name, cause, f"tcp: {fault}", formula, since=since, logged=log)
            monitor.told("cut", since, state="down", cause="connect-timeout")
        servers["killed"].start()
        servers["kept-killed"].start()
        servers["frozen"].thaw()
        for name in ports:
            if name != "witness":
                seen.rises(monitor, name, since)
        assert monitor.changes("witness", since) == []
        assert monitor.status("cut")["rtt_ms"]["last"] is not None


def test_all_that_hang_are_to_blame(pair):
    """Where all servers freeze at once it is they who hang, not our uplink."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(toys.replying(pair.there, THERE, port, b"PONG"))
            for port in (7001, 7002, 7003)
        ]
        monitor = pair.run(
            pair.here,
            peers=[
                peer("one", 7001, **ASKS),
                peer("two", 7002, **ASKS, retries=1),
                peer("once", 7003, **ASKS, retries=0),
            ],
        ).all_up()
        since = monitor.count()
        for server in servers:
            server.freeze()
        for name, retries in (("one", 3), ("two", 1), ("once", 0)):
            fault = f"tcp: all frozen, retries {retries}"
            seen.falls(monitor, name, "hung", fault, 0.2 + (retries + 1) * 0.1, since=since)


def test_what_was_acknowledged_before_is_no_witness(pair):
    """A server froze and our uplink died after it: what it had acknowledged proves no uplink."""
    with (
        toys.replying(pair.there, THERE, 7001, b"PONG") as frozen,
        toys.replying(pair.there, THERE, 7002, b"PONG"),
    ):
        slow = {"interval": "1s", "timeout": "1s"}
        monitor = pair.run(
            pair.here,
            peers=[
                peer("frozen", 7001, **ASKS, **slow, retries=2),
                peer("other", 7002, **ASKS, **slow),
            ],
        ).all_up()
        since = monitor.count()
        frozen.freeze()
        before = monitor.status("frozen")["sent"]
        until(lambda: monitor.status("frozen")["sent"] > before)
        pair.there.block("input", f"ip saddr {HERE} drop")
        for name in ("frozen", "other"):
            monitor.told(name, since, state="unknown", cause="own-uplink")
        assert "down" not in dict(monitor.changes("frozen") + monitor.changes("other"))


def test_no_retransmission_no_silence(pair):
    """Without retransmissions, too, the cause is that there is no connection, or none any more."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(toys.replying(pair.there, THERE, 7001, b"PONG"))
        stack.enter_context(toys.replying(pair.there, THERE, 7003, b"PONG"))
        stack.enter_context(toys.dropping(pair.there, "tcp dport 7002"))
        monitor = pair.run(
            pair.here,
            peers=[
                peer("cut", 7001, **ASKS, retries=0),
                peer("never", 7002, **ASKS, retries=0),
                peer("witness", 7003, **ASKS),
            ],
        )
        seen.falls(monitor, "never", "connect-timeout", "tcp: DROP, no retries", 0.3)
        seen.rises(monitor, "cut")
        since = monitor.count()
        pair.there.block("input", "tcp dport 7001 drop")
        seen.falls(monitor, "cut", "keepalive-failed", "tcp: cut, no retries", 0.3, since=since)


# -- what it costs -----------------------------------------------------------------------------


def test_no_server_makes_us_busy(pair):
    """Servers that end each connection get a new one no more often than heartbeats are due."""
    with (
        toys.closing(pair.there, THERE, 7001) as closing,
        toys.resetting(pair.there, THERE, 7002) as resetting,
        toys.replying_once(pair.there, THERE, 7003, b"PONG") as once,
        toys.closing(pair.there, THERE, 7004) as greeting,
    ):
        monitor = pair.run(
            pair.here,
            peers=[
                peer("closing", 7001, **ASKS),
                peer("resetting", 7002, **ASKS),
                peer("once", 7003, **ASKS),
                peer("kept", 7004, **KEEPS),
            ],
        )
        monitor.told("closing", state="down", cause="closed")
        monitor.told("resetting", state="down", cause="reset")
        seen.rises(monitor, "once")
        servers = {"closing": closing, "resetting": resetting, "once": once, "kept": greeting}
        before = {name: accepted(server) for name, server in servers.items()}
        began, used = time.monotonic(), cpu(monitor)
        time.sleep(4)
        took = time.monotonic() - began
        rate = {name: (accepted(s) - before[name]) / took for name, s in servers.items()}
        assert cpu(monitor) - used < 0.5
        assert max(rate["closing"], rate["resetting"]) <= 0.6  # one in three seconds
        assert 4 <= rate["once"] <= 6.1  # one an interval, which is shortened by up to a tenth
        assert rate["kept"] <= 1.2
        assert monitor.changes("once") == [("up", "")]


def cpu(monitor):
    """Seconds of processor that a daemon has used."""
    stat = Path(f"/proc/{monitor.process.pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_flood_is_not_read_to_its_end(pair):
    """A server that sends without end has no answer in it, and costs no more than another."""
    with (
        toys.flooding(pair.there, THERE, 7001),
        toys.replying(pair.there, THERE, 7002, b"PONG"),
    ):
        monitor = pair.run(
            pair.here, peers=[peer("flood", 7001, **ASKS), peer("good", 7002, **ASKS)]
        )
        seen.falls(monitor, "flood", "bad-reply", "tcp: a flood, no reply", DETECTION)
        seen.rises(monitor, "good")
        since = monitor.count()
        monitor.configure(peers=[peer("flood", 7001, **KEEPS), peer("good", 7002, **ASKS)])
        monitor._client.call("Reload")
        seen.rises(monitor, "flood", since)
        used = cpu(monitor)
        time.sleep(2)
        assert cpu(monitor) - used < 0.5
        assert monitor.states() == {"flood": "up", "good": "up"}


# -- our own side ------------------------------------------------------------------------------


def test_no_route_is_our_own_fault(pair):
    """With its route gone a peer is unknown, not down, whether it is connected or not."""
    pair.there.ip("addr add 10.77.0.2/32 dev lo")
    with toys.replying(pair.there, "10.77.0.2", 7001, b"PONG"):
        pair.here.ip(f"route add 10.77.0.2/32 via {THERE}")
        monitor = pair.run(
            pair.here,
            peers=[
                peer("asked", 7001, "10.77.0.2", **ASKS),
                peer("kept", 7001, "10.77.0.2", **KEEPS),
            ],
        ).all_up()
        since = monitor.count()
        pair.here.ip("route del 10.77.0.2/32")
        for name, formula in (("asked", DETECTION), ("kept", KEPT)):
            seen.falls(
                monitor, name, "no-route", f"tcp: our route removed, {name}", formula,
                since=since, state="unknown",
            )  # fmt: skip
        pair.here.ip(f"route add 10.77.0.2/32 via {THERE}")
        seen.rises(monitor, "asked", since)
        seen.rises(monitor, "kept", since)
        assert "down" not in dict(monitor.changes("asked") + monitor.changes("kept"))


# -- clients -----------------------------------------------------------------------------------

LISTENS = {"listen_tcp": [f"{HERE}:7007", f"[{HERE6}]:7007"]}
HEARD = {"protocol": "tcp", "expect": "400ms", "grace": 2, "rise": 1}
SILENCE = 0.4 * 2


def client(name, address=THERE, **settings):
    return {"name": name, "address": address, **HEARD, **settings}


def connected(pair, address=THERE, to=HERE):
    """A connection of a client of ours, from an address of the other host."""
    with pair.there.inside():
        return socket.create_connection((to, 7007), timeout=2, source_address=(address, 0))


def is_closed(connection):
    """Whether the other end has closed it."""
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_clients_that_must_be_heard(pair):
    """A client is up while it sends, filtered when it hangs, closed when it goes; and back."""
    monitor = pair.run(
        pair.here,
        peers=[client("four", payload="heartbeat"), client("six", THERE6)],
        **LISTENS,
    ).ready()
    with (
        toys.tcp_client(pair.there, HERE, 7007, every=0.2) as four,
        toys.tcp_client(pair.there, HERE6, 7007, every=0.2),
    ):
        monitor.all_up()
        since = monitor.count()
        four.freeze()
        seen.falls(monitor, "four", "filtered", "tcp: client frozen", SILENCE, since=since)
        four.thaw()
        seen.rises(monitor, "four", since)
        since = monitor.count()
        four.kill()
        told = seen.falls(monitor, "four", "closed", "tcp: client killed", SILENCE, since=since)
        assert re.search(r"closed by .* at \d{4}-\d\d-\d\dT", told["HBD_EVIDENCE"])
        four.start()
        seen.rises(monitor, "four", since)
        assert monitor.changes("six")[-1] == ("up", "")


def test_a_text_in_a_stream(pair):
    """The text of a client counts in pieces and several at once; another text does not."""
    monitor = pair.run(pair.here, peers=[client("one", payload=r"I am\r\n")], **LISTENS).ready()
    with contextlib.closing(connected(pair)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"I", b" a", b"m\r\nI am\r\nI am\r\nI ", b"am\r\n"):
            connection.sendall(piece)
            time.sleep(0.2)
        seen.rises(monitor, "one")
        assert monitor.changes("one") == [("up", "")]
        since = monitor.count()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            connection.sendall(b"You are\r\n")
            time.sleep(0.1)
        told = seen.falls(monitor, "one", "bad-reply", "tcp: client sends another text", SILENCE)
        assert monitor.count() > since
        assert "payload" in told["HBD_EVIDENCE"]


def test_strangers_and_too_many(pair):
    """A stranger's connection is closed at once and counted; of one peer four are kept."""
    pair.there.ip("addr add 10.99.0.66/24 dev vb")
    monitor = pair.run(pair.here, peers=[client("one")], **LISTENS).ready()
    with contextlib.ExitStack() as stack:
        strangers = [
            stack.enter_context(contextlib.closing(connected(pair, "10.99.0.66")))
            for _ in range(20)
        ]
        until(lambda: all(map(is_closed, strangers)))
        until(lambda: monitor.status()["replies_dropped"]["tcp-unknown-source"] == 20)
        assert monitor.states() == {}
        many = []
        for _ in range(50):
            many.append(stack.enter_context(contextlib.closing(connected(pair))))
            many[-1].sendall(b"x")
        until(lambda: [is_closed(one) for one in many] == [True] * 46 + [False] * 4)
        fds = len(list(Path(f"/proc/{monitor.process.pid}/fd").iterdir()))
        assert fds < 40
        for _ in range(10):
            many[-1].sendall(b"x")
            time.sleep(0.1)
        assert monitor.changes("one") == [("up", "")]
        assert monitor.status("one")["received"] > 10


def test_a_client_that_floods(pair):
    """A client that sends without end is up and costs little; its text is found in the flood."""
    peers = [client("one", payload="I am 7")]
    monitor = pair.run(pair.here, peers=peers, **LISTENS).ready()
    flood = (b"x" * 1000 + b"I am 7") * 64
    with contextlib.closing(connected(pair)) as connection:
        connection.settimeout(0)

        def flooded(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    connection.send(flood)
                time.sleep(0.001)

        flooded(1)
        seen.rises(monitor, "one")
        since, used = monitor.count(), cpu(monitor)
        flooded(3)
        assert cpu(monitor) - used < 1.0  # of three seconds, all of which it would take unbounded
        assert monitor.changes("one", since) == []
        connection.close()
        seen.falls(monitor, "one", "closed", "tcp: client floods and goes", SILENCE, since=since)


# -- reload ------------------------------------------------------------------------------------


def reload(monitor, **configuration):
    monitor.configure(**configuration)
    return monitor._client.call("Reload")


def test_reload_changes_a_connection(pair):
    """Another text, port, time, TLS or listener of a reload holds at once, and nobody falls."""
    with (
        toys.replying(pair.there, THERE, 7001, b"PONG") as server,
        toys.replying(pair.there, THERE, 7002, b"PONG\r\n") as other,
        toys.tcp_client(pair.there, HERE, 7007, every=0.2),
    ):
        heard = client("heard")
        monitor = pair.run(pair.here, peers=[peer("one", 7001, **ASKS), heard], **LISTENS).all_up()
        begun = monitor.count()
        assert accepted(server) == 1
        hello = ASKS | {"send": "HELLO"}
        reload(monitor, peers=[peer("one", 7001, **hello), heard], **LISTENS)
        server.find("received b'HELLO'")
        assert accepted(server) == 1
        slow = hello | {"interval": "300ms", "timeout": "150ms"}
        reload(monitor, peers=[peer("one", 7001, **slow), heard], **LISTENS)
        time.sleep(0.5)
        assert accepted(server) == 1
        reload(monitor, peers=[peer("one", 7002, **hello), heard], **LISTENS)
        other.find("received b'HELLO'")
        server.find("closed")
        reload(monitor, peers=[peer("one", 7002, **KEEPS), heard], **LISTENS)
        time.sleep(1.5)
        count = sum("received" in line.words for line in other.lines())
        reload(monitor, peers=[peer("one", 7002, **KEEPS), heard], listen_tcp=f"{HERE}:7008")
        time.sleep(0.5)
        assert count == sum("received" in line.words for line in other.lines())
        with pair.there.inside(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((HERE, 7007), timeout=2)
        # Another port, or asked by the kernel: that is another path, which is new.
        assert {*monitor.changes("one", begun), *monitor.changes("heard", begun)} <= {("up", "")}
        since = monitor.count()
        secret = ASKS | {"tls": "on"}
        reload(monitor, peers=[peer("one", 7002, **secret), heard], listen_tcp=f"{HERE}:7008")
        seen.falls(monitor, "one", "tls", "tcp: TLS to a server without it", DETECTION, since=since)


def test_two_hundred_connections(pair):
    """Two hundred connections to a few servers come up one each, and stay."""
    ports = range(7001, 7005)
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(toys.replying(pair.there, THERE, port, b"PONG")) for port in ports
        ]
        slow = {"interval": "1s", "timeout": "500ms"}
        peers = [peer(f"p{n}", ports[n % 4], **ASKS | slow) for n in range(200)]
        monitor = pair.run(pair.here, peers=peers).all_up()
        time.sleep(2)
        assert sum(map(accepted, servers)) == 200
        assert all(monitor.changes(one["name"]) == [("up", "")] for one in peers)
        since = monitor.count()
        servers[0].kill()
        entries = [
            seen.falls(monitor, f"p{n}", "refused", "tcp: 50 of 200 killed", 3, since=since)
            for n in range(0, 200, 4)
        ]
        del seen.ROWS[-49:]
        assert len(entries) == 50
        assert sum(1 for state in monitor.states().values() if state == "up") == 150
