"""Connections to a peer, over real sockets on loopback."""

import errno
import re
import select
import socket
import struct
import subprocess
import sys
import time

import pytest

from hbd.core.model import Cause, Leaving
from hbd.net import tcp
from hbd.net.stream import WRITE_LIMIT, Stream
from hbd.net.tcp import End, KeepAlive

RESET_AT_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))


@pytest.fixture
def server(family, loopback):
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.bind(loopback(0))
        opened.listen(8)
        opened.settimeout(2)
        yield opened


@pytest.fixture
def closed(family, loopback):
    """A port on which nobody listens, and that nobody is given either."""
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.bind(loopback(0))
        yield opened.getsockname()


@pytest.fixture
def stream_to():
    streams = []

    def started(address, *leaving, **options):
        streams.append(Stream(address, *leaving, **options))
        assert streams[-1].start() is None
        return streams[-1]

    yield started
    for stream in streams:
        stream.close()


def go_on(stream, *, until=lambda _opened, _octets: False):
    """Turn a small loop until the end, or what is waited for; two seconds at most."""
    opened, octets, end = False, b"", None
    deadline = time.monotonic() + 2
    while end is None and not until(opened, octets) and (left := deadline - time.monotonic()) > 0:
        writers = [stream] if stream.wants_write else []
        select.select([stream], writers, [], left)
        progress = stream.on_ready()
        opened, octets, end = opened or progress.opened, octets + progress.octets, progress.end
    return opened, octets, end


def opened(stream):
    assert go_on(stream, until=lambda opened, _: opened) == (True, b"", None)
    return stream


def accept(server):
    accepted, _ = server.accept()
    accepted.settimeout(2)
    return accepted


def test_octets_go_both_ways(server, stream_to):
    """What is written before the connection is open waits for it; what comes is read."""
    stream = stream_to(server.getsockname())
    assert stream.write(b"PING") is None
    assert not stream.is_open
    assert stream.wants_write
    opened(stream)
    assert stream.is_open
    assert not stream.wants_write
    with accept(server) as peer:
        assert peer.recv(100) == b"PING"
        peer.sendall(b"PO")
        peer.sendall(b"NG")
        _, octets, end = go_on(stream, until=lambda _, octets: len(octets) == 4)
        assert (octets, end) == (b"PONG", None)
        stream.write(b"PING")
        assert peer.recv(100) == b"PING"


def test_nothing_to_read_is_no_end(server, stream_to):
    """A call without reason changes nothing, before and after the connection is open."""
    stream = opened(stream_to(server.getsockname()))
    assert stream.on_ready() == (False, b"", None)


def test_a_closed_port_refuses(family, closed, stream_to):
    """RST to our SYN: refused, and by whom."""
    stream = stream_to(closed)
    _, _, end = go_on(stream)
    host = f"[{closed[0]}]" if family == socket.AF_INET6 else closed[0]
    assert end == End(Cause.REFUSED, f"connection refused by {host}:{closed[1]}")
    assert stream.on_ready() == (False, b"", end)
    assert not stream.wants_write
    assert stream.acknowledged() is None


def test_last_words_are_read_before_the_end(server, stream_to):
    """What the peer said before it closed comes first, then that it closed."""
    stream = opened(stream_to(server.getsockname()))
    with accept(server) as peer:
        peer.sendall(b"bye")
    _, octets, end = go_on(stream)
    assert octets == b"bye"
    assert end.cause is Cause.CLOSED
    assert end.words.startswith("closed by ")


def test_a_reset_is_told(server, stream_to):
    """A connection that the peer resets ends as such."""
    stream = opened(stream_to(server.getsockname()))
    with accept(server) as peer:
        peer.setsockopt(*RESET_AT_CLOSE)
    _, octets, end = go_on(stream)
    assert (octets, end.cause) == (b"", Cause.RESET)


def test_a_failed_write_hides_no_last_words(server, stream_to):
    """That a write met a reset is told after what the peer said before, and is not lost."""
    stream = opened(stream_to(server.getsockname()))
    with accept(server) as peer:
        peer.sendall(b"CONNACK 5")
        peer.setsockopt(*RESET_AT_CLOSE)
    for _ in range(2):
        assert stream.write(b"heartbeat") is None
    assert not stream.wants_write
    _, octets, end = go_on(stream)
    assert (octets, end.cause) == (b"CONNACK 5", Cause.RESET)


def test_a_full_backlog_answers_nothing(family, loopback, stream_to):
    """A listener that takes no connections leaves us connecting, without an end."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(loopback(0))
        server.listen(0)
        opened(stream_to(server.getsockname()))
        stream = stream_to(server.getsockname())
        assert select.select([stream], [stream], [], 0.1) == ([], [], [])
        assert stream.on_ready() == (False, b"", None)
        assert not stream.is_connected
        stream.abort()
        assert stream.fileno() == -1


def test_a_writer_is_never_held_up(server, stream_to):
    """To a peer that reads nothing we write until the kernel and our queue are full: hung."""
    stream = opened(stream_to(server.getsockname()))
    written, end = 0, None
    with accept(server) as peer:
        while end is None and written < 64 << 20:
            end = stream.write(bytes(50_000))
            written += 50_000
        assert end.cause is Cause.HUNG
        assert WRITE_LIMIT < len(stream._queue) < WRITE_LIMIT + 50_000
        assert stream.wants_write
        stream.abort()
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: peer.recv(1 << 20), b""))


def test_what_waits_goes_out_when_it_can(server, stream_to):
    """What did not fit is sent as the peer reads, in order and whole."""
    stream = opened(stream_to(server.getsockname()))
    sent, read = 0, 0
    with accept(server) as peer:
        while not stream.wants_write:
            assert stream.write(bytes(WRITE_LIMIT)) is None
            sent += WRITE_LIMIT
        while read < sent:
            read += len(peer.recv(1 << 20))
            assert stream.on_ready().end is None
    assert read == sent
    assert not stream.wants_write


def test_one_call_reads_a_bounded_slice(server, stream_to):
    """A peer that sends much is read a slice at a time; the rest is still there."""
    stream = opened(stream_to(server.getsockname()))
    with accept(server) as peer:
        peer.sendall(bytes(100_000))
        select.select([stream], [], [], 2)
        assert 0 < len(stream.on_ready().octets) <= 16_384
        _, octets, _ = go_on(stream, until=lambda _, octets: len(octets) >= 100_000 - 16_384)
        assert len(octets) == 100_000 - 16_384


def test_nobody_is_answered_by_himself():
    """A connection that our kernel made to itself, for want of a listener, is refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stream = Stream(("127.0.0.1", port))
    with socket.socket() as alone:
        alone.bind(("127.0.0.1", port))
        alone.settimeout(0)
        stream._socket = alone
        alone.connect_ex(("127.0.0.1", port))
        assert alone.getsockname() == alone.getpeername()
        assert stream.on_ready().end == End(
            Cause.REFUSED, f"connection refused by 127.0.0.1:{port}"
        )


def test_patience_is_the_kernels(server, stream_to):
    """Keep-alive and user timeout are set as asked, and may be changed while connected."""
    stream = stream_to(server.getsockname(), keepalive=KeepAlive(7, 3, 4), user_timeout_ms=12_345)

    def option(level, name):
        return stream._socket.getsockopt(level, name)

    def patience():
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        return [option(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]

    assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert patience() == [7, 3, 4, 12_345]
    opened(stream).adopt(KeepAlive(1, 2, 3), 6_000)
    assert patience() == [1, 2, 3, 6_000]


def test_heartbeats_are_marked(family, server, stream_to):
    """The DSCP asked for is that of the socket."""
    stream = stream_to(server.getsockname(), Leaving(dscp=46))
    level, name = (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
        if family == socket.AF_INET6
        else (socket.IPPROTO_IP, socket.IP_TOS)
    )
    assert stream._socket.getsockopt(level, name) == 46 << 2


def test_the_source_is_the_one_asked_for():
    """A connection with a source comes from that address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = Stream(server.getsockname(), Leaving(source="127.0.0.9", interface="lo"))
        assert stream.start() is None
        opened(stream)
        with server.accept()[0] as peer:
            assert peer.getpeername()[0] == "127.0.0.9"
        stream.close()


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"source": "192.0.2.250"}, errno.EADDRNOTAVAIL),
        ({"source": "not an address"}, errno.EADDRNOTAVAIL),
        ({"interface": "hbd-none"}, errno.ENODEV),
    ],
    ids=["foreign source", "no source", "no interface"],
)
def test_what_this_machine_refuses_is_an_errno(options, refusal):
    """What is our own fault is known at once, and is no end of a connection."""
    stream = Stream(("127.0.0.1", 9), Leaving(**options))
    assert stream.start() == refusal
    assert stream.fileno() == -1


def test_a_fault_of_the_program_is_raised(server):
    """A stream that is closed under us is no weather."""
    stream = Stream(server.getsockname())
    stream.start()
    stream._socket.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        stream.on_ready()


def test_the_kernel_tells_of_acknowledgements(server, stream_to):
    """RTT, age of the last acknowledgement and what has none, as ss(8) shows them."""
    stream = opened(stream_to(server.getsockname()))
    with accept(server):
        stream.write(b"heartbeat")
        info = stream.acknowledged()
        assert info.unacked == 0
        assert 0 < info.rtt_ns < 1_000_000_000
        assert 0 <= info.last_ack_age_ns < 1_000_000_000
        port = stream._socket.getsockname()[1]
        shown = subprocess.run(
            ["ss", "-tinH", f"sport = {port}"], capture_output=True, text=True, check=True
        ).stdout
        after = stream.acknowledged()
    rtt_ms = float(re.search(r" rtt:([\d.]+)/", shown)[1])
    assert rtt_ms == info.rtt_ns / 1e6
    # ss writes no lastack of 0 ms
    last_ack_ms = int((re.search(r" lastack:(\d+)", shown) or "00")[1])
    assert info.last_ack_age_ns <= last_ack_ms * 1_000_000 <= after.last_ack_age_ns


@pytest.mark.slow
def test_keep_alive_is_acknowledged_by_the_peers_kernel(server, stream_to):
    """On an idle connection the kernel's probes make the last acknowledgement young again."""
    stream = opened(stream_to(server.getsockname(), keepalive=KeepAlive(1, 1, 2)))
    with accept(server):
        ages, deadline = [], time.monotonic() + 5
        while time.monotonic() < deadline:
            ages.append(stream.acknowledged().last_ack_age_ns)
            if ages[-1] < max(ages) - 500_000_000:
                break
            assert select.select([stream], [], [], 0.05) == ([], [], [])
    assert 900_000_000 < max(ages) < 1_500_000_000
    assert ages[-1] < 200_000_000


@pytest.mark.slow
def test_the_kernel_asks_at_once_when_we_want(server, stream_to):
    """After a second of silence the peer's kernel is asked at once, and then no more."""
    stream = opened(stream_to(server.getsockname(), keepalive=KeepAlive(30, 1, 2)))
    stream.ask()
    with accept(server):
        ages = []
        for wait in (1.2, 0.5):
            time.sleep(wait)
            ages.append(stream.acknowledged().last_ack_age_ns / 1e9)
            stream.rest()
        time.sleep(0.8)
        stream.ask()
        time.sleep(0.1)
        ages.append(stream.acknowledged().last_ack_age_ns / 1e9)
    assert 0.15 < ages[0] < 0.3, "asked when it had been silent for a second"
    assert 0.6 < ages[1] < 0.9, "not asked again"
    assert ages[2] < 0.15, "asked at once"


@pytest.mark.parametrize(
    ("number", "connecting", "cause"),
    [
        (errno.ECONNREFUSED, True, Cause.REFUSED),
        (errno.ETIMEDOUT, True, Cause.CONNECT_TIMEOUT),
        (errno.ETIMEDOUT, False, Cause.KEEPALIVE_FAILED),
        (errno.ECONNRESET, True, Cause.RESET),
        (errno.ECONNRESET, False, Cause.RESET),
        (errno.EPIPE, False, Cause.RESET),
        (errno.EHOSTUNREACH, True, Cause.HOST_UNREACHABLE),
        (errno.EHOSTUNREACH, False, Cause.HOST_UNREACHABLE),
        (errno.ENETUNREACH, True, Cause.NET_UNREACHABLE),
        (errno.EACCES, True, Cause.REJECTED),
        (errno.ENOBUFS, False, Cause.SEND_BLOCKED),
    ],
)
def test_each_error_has_a_cause(number, connecting, cause):
    """What the kernel says of a connection becomes a cause that names the peer."""
    end = tcp.ending(OSError(number, "no matter"), ("10.0.0.1", 1883), connecting=connecting)
    assert end.cause is cause
    assert "10.0.0.1:1883" in end.words


def test_no_cause_for_what_no_connection_can_have():
    """An errno of the program's own making is raised."""
    with pytest.raises(OSError, match="no matter"):
        tcp.ending(OSError(errno.EBADF, "no matter"), ("10.0.0.1", 1883))


def test_addresses_are_spelled_as_they_are_written():
    """IPv6 in brackets, with the name of its interface."""
    assert tcp.spelled(("10.0.0.1", 1883)) == "10.0.0.1:1883"
    assert tcp.spelled(("::1", 1883, 0, 0)) == "[::1]:1883"
    assert tcp.spelled(("fe80::1", 1, 0, socket.if_nametoindex("lo"))) == "[fe80::1%lo]:1"
    assert tcp.spelled(("fe80::1", 1, 0, 99_999)) == "[fe80::1%99999]:1"


def test_nothing_of_tls_is_loaded_without_it():
    """Who has no peers with TLS does not pay five megabytes for it."""
    code = "import sys, hbd.daemon.daemon; sys.exit(bool({'_ssl', '_hashlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
