"""The two toys of every tutorial, and boards, with hbd at the other end."""

import contextlib
import signal
import socket
import time
from functools import partial

import pytest
import seen
import toys
from programs import until

pytestmark = [pytest.mark.root, pytest.mark.slow]

HERE, THERE = "10.99.0.1", "10.99.0.2"
HERE6, THERE6 = "fd99::1", "fd99::2"
PORT = 12345
HEARD = {"protocol": "plain", "expect": "300ms", "grace": 2, "rise": 1}
SILENCE = 0.3 * 2
"""grace x expect."""
SENT = {"protocol": "plain", "interval": "200ms"}
REFUSED = (3 + 2) * 0.2
"""Refused at first, `retries` times again, and when the last one is weighed, seconds."""


def peer(name, address=THERE, **settings):
    return {"name": name, "address": address, **settings}


def sent_from(frames, port):
    """The UDP datagrams that left this host from a port."""
    found = []
    for frame in frames:
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            source, udp = frame[26:30], frame[34:]
            if source == socket.inet_aton(HERE) and udp[:2] == port.to_bytes(2, "big"):
                found.append(frame)
    return found


@pytest.mark.parametrize("version", ["4", "6"])
def test_the_receiver_of_tutorials(pair, version):
    """It prints our heartbeats and is unwatched; killed, it is down: port-closed; then back."""
    here, there = (HERE, THERE) if version == "4" else (HERE6, THERE6)
    with toys.receiver(pair.there, there) as receiver:
        monitor = pair.run(pair.here, peers=[peer("toy", there, **SENT)]).ready()
        receiver.find(f"received heartbeat from {here}")
        monitor.told("toy", state="unknown", cause="unwatched")
        since = monitor.count()
        receiver.kill()
        seen.falls(
            monitor, "toy", "port-closed", f"plain: receiver killed, IPv{version}", REFUSED,
            since=since, logged=partial(seen.last, receiver, ""),
        )  # fmt: skip
        lines = receiver.count()
        receiver.start()
        receiver.find("received heartbeat", lines)
        monitor.told("toy", since, state="unknown", cause="unwatched")


@pytest.mark.parametrize("version", ["4", "6"])
def test_the_sender_of_tutorials(pair, version):
    """It is up while it sends; killed or frozen it is down after grace x expect; then back."""
    here, there = (HERE, THERE) if version == "4" else (HERE6, THERE6)
    monitor = pair.run(pair.here, peers=[peer("toy", there, payload="heartbeat", **HEARD)]).ready()
    with toys.sender(pair.there, here, every=0.2) as sender:
        monitor.all_up()
        for end, back, fault in (
            (sender.kill, sender.start, "killed"),
            (sender.freeze, sender.thaw, "frozen"),
        ):
            since = monitor.count()
            end()
            seen.falls(
                monitor, "toy", "filtered", f"plain: sender {fault}, IPv{version}", SILENCE,
                since=since, logged=partial(seen.last, sender, ""),
            )  # fmt: skip
            back()
            seen.rises(monitor, "toy", since)


def test_the_real_pace(pair):
    """A sender with the five seconds of tutorials, and a board of sixty zeros, are up and stay."""
    monitor = pair.run(
        pair.here,
        peers=[
            peer("toy", protocol="plain", expect="5s"),
            peer("board", THERE6, protocol="plain", expect="1s"),
        ],
    ).ready()
    with toys.sender(pair.there, HERE), toys.board(pair.there, HERE6):
        seen.rises(monitor, "board")
        seen.rises(monitor, "toy")
        since = monitor.count()
        time.sleep(6)
        assert monitor.changes("toy", since) == monitor.changes("board", since) == []
        assert monitor.status("board")["received"] >= 5


def test_what_is_heard(pair):
    """The exact text counts, with a line end or zeros behind it; anything where none is given."""
    pair.there.ip("addr add 10.99.0.3/24 dev vb")
    monitor = pair.run(
        pair.here,
        peers=[peer("any", **HEARD), peer("text", "10.99.0.3", payload="I am 7", **HEARD)],
    ).ready()
    with pair.there.inside():
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("10.99.0.3", 0))
    with contextlib.closing(other), toys.board(pair.there, HERE):
        for text in (b"I am 7", b"I am 7\r\n", b"I am 7" + bytes(20), b"I am 7"):
            other.sendto(text, (HERE, PORT))
            time.sleep(0.25)
        assert monitor.states()["text"] == "up"
        since = monitor.count()
        began = time.monotonic()
        while time.monotonic() - began < 2 * SILENCE:
            for text in (b"I am 77", b"i am 7", b"", b"x" * 1400):
                other.sendto(text, (HERE, PORT))
            time.sleep(0.05)
        seen.falls(monitor, "text", "bad-reply", "plain: another text", SILENCE, since=since)
        monitor.told("any", state="up")


def test_nobody_is_answered_and_strangers_are_counted(pair):
    """A plain datagram has no answer on the wire; a stranger's is counted and changes nothing."""
    pair.there.ip("addr add 10.99.0.66/24 dev vb")
    monitor = pair.run(pair.here, peers=[peer("toy", **HEARD)]).ready()
    end = pair.capture()
    with pair.there.inside():
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.bind(("10.99.0.66", 0))
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    with contextlib.closing(stranger):
        for _ in range(50):
            stranger.sendto(b"heartbeat", (HERE, PORT))
        stranger.sendto(b"heartbeat", ("10.99.0.255", PORT))
        counted = until(
            lambda: (d := monitor.status()["replies_dropped"]).get("plain-multicast") and d
        )
        assert counted["plain-unknown-source"] == 50
        assert monitor.states() == {}
    with toys.sender(pair.there, HERE, every=0.1):
        monitor.all_up()
        time.sleep(0.5)
    frames = end()
    assert len(frames) > 50
    assert sent_from(frames, PORT) == []
    udp = [f for f in frames if f[12:14] == b"\x08\x00" and f[23] == 17]
    assert {f[26:30] for f in udp} <= {socket.inet_aton("10.99.0.66"), socket.inet_aton(THERE)}


def test_both_ways(pair):
    """With send: and expect: it is sent to and watched; a deaf one that sends stays up."""
    both = HEARD | {"send": "hello", "interval": "200ms"}
    monitor = pair.run(pair.here, peers=[peer("toy", **both)]).ready()
    with toys.sender(pair.there, HERE, every=0.2) as sender:
        with toys.receiver(pair.there, THERE) as receiver:
            monitor.all_up()
            receiver.find(f"received hello from {HERE}")
        since = monitor.count()
        time.sleep(3 * SILENCE)  # nobody receives, which is refused
        assert monitor.changes("toy", since) == []
        since = monitor.count()
        sender.kill()
        seen.falls(
            monitor, "toy", ("port-closed", "filtered"),  # its kernel refuses once a second
            "plain: both killed, sent to and watched", SILENCE, since=since,
        )  # fmt: skip
        monitor.told("toy", since, cause="port-closed")


def test_our_own_faults_are_nobody_elses(pair):
    """Frozen ourselves, or with our link down, we call nobody down that is only heard."""
    monitor = pair.run(pair.here, peers=[peer("toy", **HEARD)]).ready()
    with toys.sender(pair.there, HERE, every=0.2):
        monitor.all_up()
        since = monitor.count()
        monitor.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        monitor.process.send_signal(signal.SIGCONT)
        time.sleep(2 * SILENCE)
        assert monitor.changes("toy", since) == []
        since = monitor.count()
        pair.here.ip("link set va down")
        seen.falls(
            monitor, "toy", "own-link", "plain: our own link down", SILENCE, since=since,
            state="unknown",
        )  # fmt: skip
        pair.here.ip("link set va up")
        seen.rises(monitor, "toy", since)
