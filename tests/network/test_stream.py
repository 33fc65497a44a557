"""How connections end when the network, not the peer, is at fault; made for real."""

import select
import socket
import time

import pytest

from hbd.core.model import Cause
from hbd.net.stream import Stream
from hbd.net.tcp import KeepAlive

pytestmark = [pytest.mark.root, pytest.mark.slow]

PORT = 1883
HERE, PEER, NOBODY = (
    {4: "10.9.0.1", 6: "fd09::1"},
    {4: "10.9.0.2", 6: "fd09::2"},
    {4: "10.9.0.3", 6: "fd09::3"},
)


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def version(request):
    return request.param


@pytest.fixture
def hosts(net):
    here, peer = net.host("here"), net.host("peer")
    net.link(
        (here, "uplink", ["10.9.0.1/24", "fd09::1/64"]),
        (peer, "uplink", ["10.9.0.2/24", "fd09::2/64"]),
    )
    return here, peer


@pytest.fixture
def server(hosts, version):
    _, peer = hosts
    with peer.inside():
        opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    opened.bind((PEER[version], PORT))
    opened.listen()
    yield opened
    opened.close()


@pytest.fixture
def stream_from():
    streams = []

    def started(host, address, **options):
        streams.append(Stream((address, PORT) + ((0, 0) if ":" in address else ()), **options))
        with host.inside():
            assert streams[-1].start() is None
        return streams[-1]

    yield started
    for stream in streams:
        stream.abort()


def end_of(stream, seconds=6.0):
    """Wait for the end; return it and how long that took."""
    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        select.select([stream], [stream] if stream.wants_write else [], [], left)
        if (end := stream.on_ready().end) is not None:
            return end, time.monotonic() - began
    raise TimeoutError(f"no end after {seconds} s")


def opened(stream):
    select.select([stream], [stream], [], 2)
    assert stream.on_ready().opened
    return stream


def test_a_silent_connect_ends_with_the_user_timeout(hosts, version, stream_from):
    """A firewall that drops our SYN: connect-timeout, within two seconds of the user timeout."""
    here, peer = hosts
    peer.block("input", f"tcp dport {PORT} drop")
    end, took = end_of(stream_from(here, PEER[version], user_timeout_ms=2_000))
    print(f"\nSYN dropped, user timeout 2 s: {end} after {took:.2f} s")
    assert end.cause is Cause.CONNECT_TIMEOUT
    assert 1.9 < took < 4


def test_a_host_that_is_off_is_unreachable(hosts, version, stream_from):
    """No answer to ARP or ND: host-unreachable, when the kernel has asked three times."""
    here, _ = hosts
    end, took = end_of(stream_from(here, NOBODY[version]))
    print(f"\nno neighbour: {end} after {took:.2f} s")
    assert end.cause is Cause.HOST_UNREACHABLE
    assert "nobody answers ARP or ND" in end.words


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        ("reject with tcp reset", Cause.REFUSED),
        ("reject with icmpx type admin-prohibited", Cause.REJECTED),
        ("reject with icmpx type host-unreachable", Cause.HOST_UNREACHABLE),
        ("reject with icmpx type no-route", Cause.NET_UNREACHABLE),
        ("reject with icmpx type port-unreachable", Cause.REJECTED),
    ],
    ids=["reset", "prohibited", "host", "no route", "port"],
)
def test_a_firewall_that_rejects_is_told(hosts, version, stream_from, rule, cause):
    """An ICMP error or a RST ends connecting, at once, and what it says is the cause."""
    here, peer = hosts
    peer.block("input", f"tcp dport {PORT} {rule}")
    end, took = end_of(stream_from(here, PEER[version]))
    print(f"\n{rule}: {end} after {took:.3f} s")
    assert end.cause is cause
    assert PEER[version][0] in end.words
    assert took < 1


def test_a_firewall_of_our_own_is_no_errno(hosts, version, stream_from):
    """What our own firewall answers in the peer's name comes as the peer's word would."""
    here, _ = hosts
    here.block("output", f"tcp dport {PORT} reject with tcp reset")
    assert end_of(stream_from(here, PEER[version]))[0].cause is Cause.REFUSED


@pytest.mark.usefixtures("server")
def test_a_cut_idle_connection_is_found_by_keep_alive(hosts, version, stream_from):
    """Idle for one second, then two probes a second apart without answer: keepalive-failed."""
    here, peer = hosts
    stream = opened(stream_from(here, PEER[version], keepalive=KeepAlive(1, 1, 2)))
    peer.block("input", f"tcp dport {PORT} drop")
    end, took = end_of(stream)
    print(f"\nidle, 1 s + 2 x 1 s: {end} after {took:.2f} s")
    assert end.cause is Cause.KEEPALIVE_FAILED
    assert 2.9 < took < 4


@pytest.mark.usefixtures("server")
def test_a_cut_busy_connection_is_found_by_the_user_timeout(hosts, version, stream_from):
    """Octets without acknowledgement for the user timeout: keepalive-failed; TCP_INFO saw it."""
    here, peer = hosts
    stream = opened(stream_from(here, PEER[version], user_timeout_ms=1_500))
    peer.block("input", f"tcp dport {PORT} drop")
    stream.write(b"heartbeat")
    assert stream.acknowledged().unacked == 1
    began = time.monotonic()
    select.select([stream], [], [], 6)
    for _ in range(2):  # the first takes the error from the socket, the second finds it closed
        stream.write(b"heartbeat")
    took = time.monotonic() - began
    end = stream.on_ready().end
    print(f"\nbusy, user timeout 1.5 s: {end} after {took:.2f} s")
    assert end.cause is Cause.KEEPALIVE_FAILED
    assert 1.4 < took < 3.5
