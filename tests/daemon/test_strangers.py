"""The reflector towards those it does not know, and towards octets that mean nothing."""

import random
import resource
import socket
import struct
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from running import MARGIN, PORT, peer, until

from hbd.core.admission import REFUSED
from hbd.core.model import PeerSettings, State
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.report import varlink
from hbd.report.control import CLIENTS, RESERVED
from hbd.wire import stamp
from hbd.wire.auth import Key
from hbd.wire.hbd_tlv import Reason

pytestmark = pytest.mark.slow

REQUEST = bytes(12) + b"\0\1" + bytes(30)


def asking(source, port=0):
    """Give a socket that sends from that address."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((source, port))
    made.settimeout(0.5)
    return made


def ask(made, address, datagram=REQUEST):
    """Send, and give the answer or None."""
    made.sendto(datagram, address)
    try:
        while True:
            answer, source = made.recvfrom(65_535)
            if source == address:
                return answer
    except TimeoutError:
        return None


def key_file(one, secret, name="fleet"):
    """Give the place of a key among a daemon's files."""
    file = one.directory / f"{name}.key"
    file.write_text(secret.hex())
    file.chmod(0o600)
    return file


def dropped(one):
    """Give what the reflector refused, by reason."""
    return one.status()["reflector"]["dropped"]


def test_strangers_are_refused_in_silence_and_told_once(daemon, net):
    """No reply to a source that is not listed; one entry for it, with what to do."""
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"]).start()
    with asking(net(77)) as stranger, asking(net(78)) as other, asking(net(1)) as listed:
        assert ask(stranger, (net(2), PORT)) is None
        for _ in range(20):
            stranger.sendto(REQUEST, (net(2), PORT))
        assert ask(other, (net(2), PORT)) is None
        assert len(ask(listed, (net(2), PORT))) == 44
    assert dropped(one)["unknown-source"] == 22
    assert one.status()["reflector"]["answered"] == 1
    until(lambda: len(one.entries("refused")) == 2)
    first, second = one.entries("refused")
    assert first["MESSAGE"] == f"heartbeats from {net(77)} refused: add it to peers: or accept:"
    assert (first["HBD_ADDRESS"], second["HBD_ADDRESS"]) == (net(77), net(78))
    assert first["PRIORITY"] == "6"


@pytest.mark.parametrize(
    "secrets",
    [(bytes(32), bytes(range(32))), (bytes(32), None)],
    ids=["another key", "a key at one end alone"],
)
def test_two_that_do_not_share_a_key_are_told_so_at_both_ends(daemon, net, secrets):
    """Whose heartbeats are refused for their key is said once, wherever one looks."""
    both, addresses = [daemon(), daemon()], [(net(1), PORT), (net(2), PORT)]
    for one, secret, (here, _), (there, _) in zip(
        both, secrets, addresses, addresses[::-1], strict=True
    ):
        keys, named = {}, {}
        if secret is not None:
            keys, named = {"fleet": {"file": str(key_file(one, secret))}}, {"key": "fleet"}
        peers = [peer("other", there, source=here, **named)]
        one.configure(listen=[f"{here}:{PORT}"], peers=peers, **({"keys": keys} if keys else {}))
        one.start()
    for one, (there, _) in zip(both, addresses[::-1], strict=True):
        until(lambda one=one: dropped(one).get("hmac", 0) > 2)
        until(lambda one=one: one.entries("refused"))
        (entry,) = one.entries("refused")
        assert entry["MESSAGE"].startswith(f"heartbeats from {there} refused: its key is another")


def test_of_very_many_strangers_some_are_told_and_all_are_counted(daemon, net):
    """Sources may be invented: a bounded number is named, of those that ask and those that beat."""
    port = 18_966  # of this test alone: it is listened on at all addresses
    silent = {"name": "board", "address": net(1), "protocol": "plain", "port": port, "expect": "1h"}
    one = daemon(peers=[silent], listen=[f"{net(2)}:{PORT}"]).start()
    number = REFUSED + 300
    for source in range(number):
        with asking(f"127.200.{source // 250}.{1 + source % 250}") as made:
            made.sendto(REQUEST, (net(2), PORT))
            made.sendto(REQUEST, (net(2), port))
    until(lambda: dropped(one).get("unknown-source") == number, 30)
    until(lambda: one.status()["replies_dropped"].get("plain-unknown-source") == number, 30)
    until(lambda: not one.status()["journal"]["waiting"])
    assert len(one.entries("refused")) == 2 * REFUSED


def test_reflectors_are_never_answered(daemon, net):
    """Nothing from a port that reflectors have is answered: two of them would not end."""
    rare = {"interval": "1h", "timeout": "100ms"}
    peers = [peer("a", net(1), **rare)]
    one = daemon(peers=peers, listen=[f"{net(2)}:{PORT}"], accept="any").start()
    with asking(net(1), PORT) as reflector_of_the_peer:
        assert ask(reflector_of_the_peer, (net(2), PORT)) is None
    with asking(net(3), PORT) as of_a_stranger:
        assert ask(of_a_stranger, (net(2), PORT)) is None
    assert dropped(one)["loop"] == 2


@pytest.mark.root
def test_port_862_is_never_answered(daemon, net):
    """A datagram that says it is from a reflector's port gets no answer."""
    one = daemon(peers=[], listen=[f"{net(2)}:{PORT}"], accept="any").start()
    with asking(net(1), 862) as reflector:
        assert ask(reflector, (net(2), PORT)) is None
    assert dropped(one) == {"loop": 1}


def udp(source, destination, payload):
    """Write an IPv4 datagram as anybody can invent it."""
    header = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0)
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0) + addresses
    return ip + header + payload


@pytest.mark.root
def test_a_spoofed_datagram_starts_no_loop(daemon, net):
    """One invented datagram between two daemons that answer anybody stays one datagram."""
    addresses = [(net(1), PORT), (net(2), PORT)]
    daemons = [daemon(peers=[], listen=[f"{net(h)}:{PORT}"], accept="any").start() for h in (1, 2)]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(udp(*addresses, REQUEST), (net(2), 0))
        raw.sendto(udp(addresses[1], addresses[1], REQUEST), (net(2), 0))
        raw.sendto(udp((net(1), 862), addresses[1], REQUEST), (net(2), 0))
    until(lambda: sum(dropped(daemons[1]).values()) == 3)
    assert daemons[0].status()["reflector"] == {"answered": 0, "dropped": {}, "unsent": {}}
    assert daemons[1].status()["reflector"]["answered"] == 0


@pytest.mark.root
def test_a_spoofed_signed_datagram_starts_no_loop(daemon, net):
    """Nor does a key help: a reply between two that share one looks like a request of both."""
    secret, addresses = bytes(range(32)), [(net(1), PORT), (net(2), PORT)]
    both = [daemon(), daemon()]
    for one, (here, _), (there, _) in zip(both, addresses, addresses[::-1], strict=True):
        keys = {"fleet": {"file": str(key_file(one, secret))}}
        peers = [peer("other", there, key="fleet", source=here)]
        one.configure(listen=[f"{here}:{PORT}"], keys=keys, peers=peers)
        one.start()
    for one in both:
        one.wait("other", "up")
    before = [one.states("other") for one in both]
    spoofed = stamp.pack_request_auth(0, 1 << 63, 1, 5, key=Key(secret))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(udp(*addresses, spoofed), (net(2), 0))
        raw.sendto(udp(addresses[1], addresses[1], spoofed), (net(2), 0))
        raw.sendto(udp((net(1), 862), addresses[1], spoofed), (net(2), 0))
    until(lambda: dropped(both[1]) == {"loop": 3})
    assert dropped(both[0]) == {}
    assert [one.states("other") for one in both] == before


@pytest.mark.root
def test_a_spoofed_reply_is_no_life(daemon, reflector, net):
    """Invented replies from a silent peer's address, with all but its timestamp, do not help."""
    asked = reflector(net(1), lambda _: [])
    reflector(net(2))
    one = daemon(peers=[peer("a", net(1)), peer("witness", net(2))]).start()
    one.wait("witness", "up")
    request = until(lambda: asked.requests and asked.requests[-1])
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for sequence in range(40):
            number = struct.pack("!I", sequence)
            ssid = request.datagram[14:16]
            reply = number + bytes(8) + b"\0\1" + ssid + bytes(8) + number + bytes(16)
            raw.sendto(udp((net(1), PORT), request.source, reply), (request.source[0], 0))
            time.sleep(0.02)
    one.wait("a", "down")
    assert one.peer("a")["received"] == 0


def test_a_recorded_heartbeat_is_no_life(daemon, net):
    """A peer known by its key is up while it asks, and down though all that it said is repeated."""
    secret = bytes(range(32))
    one = daemon()
    one.configure(
        listen=[f"{net(2)}:{PORT}"],
        keys={"fleet": {"file": str(key_file(one, secret))}},
        peers=[{"name": "van", "key": "fleet", "expect": "500ms"}],
    )
    one.start()
    session = StampSession(
        PeerSettings("us", (net(2),)),
        Station("van", 7, random.Random(1)),  # noqa: S311 - no secret
        Keys(Key(secret), (Key(secret),)),
    )
    recorded = []

    def is_up():
        recorded.append(session.compose(len(recorded), time.time_ns(), State.UP)[0])
        assert len(ask(van, (net(2), PORT), recorded[-1])) == len(recorded[-1])
        return one.state("van")[0] == "up" and len(recorded) > 5

    with asking(net(77)) as van, asking(net(78)) as elsewhere:
        until(is_up)
        for made in (van, elsewhere) * 20:
            for datagram in recorded:
                made.sendto(datagram, (net(2), PORT))
            time.sleep(0.05)
    one.wait("van", "down")
    assert dropped(one) == {"replay": 40 * len(recorded)}
    assert one.states("van") == ["up", "down"]


def test_garbage_is_counted_and_survived(daemon, reflector, net):
    """Nothing at all, a few octets, 65,507 octets, noise: alive, counted, and still answering."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"], accept="any").start()
    dice = random.Random(5)  # noqa: S311 - the same noise each time
    target = (net(2), PORT)
    with asking(net(9)) as made:
        assert ask(made, target, b"") is None
        assert ask(made, target, bytes(43)) is None
        assert ask(made, target, bytes(65_507)) is None
        assert ask(made, target, bytes(44)) is None  # an Error Estimate with multiplier 0
        for _ in range(500):
            made.sendto(dice.randbytes(dice.randrange(2_000)), target)
            if _ % 50 == 0:
                time.sleep(0.01)
        made.settimeout(0.05)
        while ask(made, target, b"x"):
            pass
        made.settimeout(1)
        assert ask(made, target) is not None
    counts = dropped(one)
    assert counts["short"] >= 3
    assert counts["too-long"] >= 1
    assert counts["multiplier"] >= 1
    one.beats("a")


def test_no_reply_is_longer_than_its_request(daemon, net):
    """Whatever is answered is answered in as many octets."""
    one = daemon(peers=[], listen=[f"{net(2)}:{PORT}"], accept="any").start()
    dice = random.Random(6)  # noqa: S311 - the same requests each time
    answered = 0
    with asking(net(9)) as made:
        for size in (44, 45, 48, 88, 200, 1_000, 1_472):
            for _ in range(5):
                request = REQUEST + dice.randbytes(size - 44)
                reply = ask(made, (net(2), PORT), request)
                answered += reply is not None
                assert reply is None or len(reply) == len(request)
        assert ask(made, (net(2), PORT), REQUEST + bytes(1_429)) is None
    assert answered == 35
    assert dropped(one)["too-long"] == 1


def test_garbage_at_the_control_socket(daemon, net):
    """Noise on the control socket, long lines and clients that hang cost nobody anything."""
    one = daemon(peers=[peer("a", net(1))]).start()
    path = one.directory / "run/io.hbd"
    hanging = []
    for octets in (b"", b"\0", b"{", b"{}\0", b"[]\0", b'{"method": 3}\0', b"\xff" * 100 + b"\0",
                   b'{"method":"io.hbd.Status","parameters":[]}\0', b"x" * 2_000_000,
                   b'{"method":"io.hbd.Pause","parameters":{"peers":"a","duration_usec":-1}}\0',
                   b'{"method":"io.hbd.Status","parameters":{"peers":[1,null]}}\0'):  # fmt: skip
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(2)
        stream.connect(str(path))
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            stream.sendall(octets)
        hanging.append(stream)
    assert one.status()["pid"] == one.process.pid
    assert one.state("a")[0] in ("unknown", "down")
    for stream in hanging:
        stream.close()
    assert path.stat().st_mode & 0o777 == 0o666
    assert one.state("a")[0] != "paused"


def connections(path, most):
    """Connect so often, and never hang up; give all."""
    made = []
    for _ in range(most):
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(0)
        while True:
            try:
                stream.connect(str(path))
                break
            except BlockingIOError:
                time.sleep(0.001)  # the kernel keeps no more of them waiting
        made.append(stream)
    return made


def last_words(stream):
    """Give what a client was told when it was hung up on; None of one that was not."""
    stream.settimeout(0)
    found = b""
    try:
        while octets := stream.recv(4096):
            found += octets
    except BlockingIOError:
        return None
    return found


def hung_up(streams, known):
    """Give those that were told to go, with what they were told."""
    others = [stream for stream in streams if stream not in known]
    return {stream: words for stream in others if (words := last_words(stream)) is not None}


def test_ten_thousand_connections_to_the_control_socket(daemon, reflector, net):
    """All but a few are told at once that it is busy; heartbeats go on, and then it answers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(10_000, most - 500)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked = reflector(net(1))
    timing = {"interval": "200ms", "timeout": "200ms", "retries": 3}
    one = daemon(peers=[peer("a", net(1), **timing)]).start()
    one.wait("a", "up")
    fds = Path(f"/proc/{one.process.pid}/fd")
    before, began, beats = len(list(fds.iterdir())), time.monotonic(), len(asked.requests)
    streams = connections(one.directory / "run/io.hbd", number)
    try:
        kept = CLIENTS + RESERVED
        told = {}
        until(lambda: told.update(hung_up(streams, told)) or len(told) >= number - kept, 30)
        span = time.monotonic() - began
        assert set(told.values()) == {varlink.refusal(varlink.RefusedError("Busy"))}
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    until(one.answers)
    assert one.status()["clients_refused"] >= number - kept
    until(lambda: len(list(fds.iterdir())) <= before + 1)
    until(lambda: len(asked.requests) > beats + 1)  # it may all be over before the next is due
    times = [request.at for request in asked.requests[beats - 1 :]]
    assert len(times) > 0.5 * span / 0.2
    assert max(after - then for then, after in pairwise(times)) < 0.2 + MARGIN
    assert one.peer("a")["loss_percent"] == 0.0
    assert one.states("a") == ["up"]


def test_a_flood_delays_no_heartbeat(daemon, reflector, net):
    """While the reflector is flooded from one source, no peer is called down."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"], accept="any").start()
    one.wait("a", "up")
    end = time.monotonic() + 2
    with asking(net(9)) as made:
        while time.monotonic() < end:
            for _ in range(100):
                made.sendto(REQUEST, (net(2), PORT))
            time.sleep(0.005)
    one.beats("a")
    assert one.entries(peer="a", state="down") == []
    assert dropped(one)["rate"] > 0


def asking_by_key(address, secret, incarnation):
    """Give the session of somebody who asks there with a key, and calls itself so."""
    key = None if secret is None else Keys(Key(secret), (Key(secret),))
    station = Station("van", incarnation, random.Random(1))  # noqa: S311 - no secret
    return StampSession(PeerSettings("us", (address,)), station, key)


def test_a_goodbye_by_another_key_is_not_obeyed(daemon, net):
    """Who is known by a key of its own says nothing for a host without one, at whose address."""
    secret, host = bytes(range(32)), daemon()
    host.configure(peers=[], listen=[f"{net(1)}:{PORT}"], accept="any")
    host.start()
    one = daemon()
    one.configure(
        listen=[f"{net(2)}:{PORT}"],
        keys={"vans": {"file": str(key_file(one, secret))}},
        peers=[peer("host", net(1)), {"name": "van", "key": "vans", "expect": "1h"}],
    )
    one.start()
    one.wait("host", "up")
    with asking(net(77)) as van:
        session = asking_by_key(net(1), None, 7)
        question, _ = session.compose(0, time.time_ns(), State.UP)
        known = session.read(ask(van, (net(1), PORT), question)).incarnation
    session = asking_by_key(net(2), secret, known)
    session.station.leave(Reason.STOP)
    host.kill()
    with asking(net(1)) as spoofing:
        for number in range(10):
            goodbye, _ = session.compose(number, time.time_ns(), State.UP)
            assert ask(spoofing, (net(2), PORT), goodbye)
    one.wait("host", "down", "port-closed", seconds=3)


def test_nobody_else_returns_for_who_has_left(daemon, net):
    """A heartbeat by another key, from where a peer has left, is not of that peer."""
    secret, other, host, one = bytes(range(32)), bytes(range(32, 64)), daemon(), daemon()
    for each, here, there in ((host, net(1), net(2)), (one, net(2), net(1))):
        vans = [{"name": "van", "key": "vans", "expect": "1h"}] if each is one else []
        keys = {"fleet": {"file": str(key_file(each, secret))}}
        if vans:
            keys["vans"] = {"file": str(key_file(each, other, "vans"))}
        peers = [peer("host", there, key="fleet", source=here), *vans]
        each.configure(listen=[f"{here}:{PORT}"], keys=keys, peers=peers)
        each.start()
    for each in (host, one):
        each.wait("host", "up")
    one.beats("host")
    host.stop()
    one.wait("host", "left")
    session = asking_by_key(net(2), other, 7)
    with asking(net(1)) as spoofing:
        for number in range(3):
            heartbeat, _ = session.compose(number, time.time_ns(), State.UP)
            assert ask(spoofing, (net(2), PORT), heartbeat)
    one.wait("van", "up")
    time.sleep(6)  # a host that had returned would be asked anew, and be down by then
    assert one.states("host") == ["up", "left"]
