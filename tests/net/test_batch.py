"""Many datagrams at once, and what a machine that cannot do that does instead: the same."""

import errno
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hbd.net import linux
from hbd.net.sender import SenderSocket
from hbd.net.sockaddr import Destinations, address_of, octets_of

ROOT = Path(__file__).parents[2]

RCVBUF = linux.SO_RCVBUFFORCE if os.geteuid() == 0 else socket.SO_RCVBUF

pytestmark = pytest.mark.usefixtures("way")


def received_by(opened, count):
    """Take so many datagrams from a plain socket, as they come."""
    opened.settimeout(2)
    return [opened.recv(70_000) for _ in range(count)]


@pytest.fixture
def bound(family, loopback):
    """Make plain sockets on ports of their own, gone after the test."""
    made = []

    def make():
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, RCVBUF, 8 << 20)
        opened.bind(loopback(0))
        made.append(opened)
        return opened

    yield make
    for opened in made:
        opened.close()


def test_all_are_sent_in_order(sender, bound):
    """Each datagram goes to its own address, in the order given."""
    here = [bound() for _ in range(7)]
    for first in range(0, 1000, 140):  # as many as any receive buffer has room for
        datagrams = [b"%04d" % number for number in range(first, first + 140)]
        addresses = [opened.getsockname() for opened in here] * 20
        assert sender.send_many(datagrams, addresses) == {}
        for at, opened in enumerate(here):
            assert received_by(opened, 20) == datagrams[at::7]


def test_a_thousand_at_once(sender, bound):
    """A list longer than a call takes is sent in several, and received in several."""
    here = bound()
    datagrams = [b"%04d" % number for number in range(1000)]
    assert sender.send_many(datagrams, [here.getsockname()] * 1000) == {}
    assert received_by(here, 1000) == datagrams


def test_nothing_is_sent(sender, bound):
    """An empty list is sent at once, also after one that was not empty."""
    here = bound().getsockname()
    assert sender.send_many([], []) == {}
    assert sender.send_many([b"heartbeat"], [here]) == {}
    assert sender.send_many([], []) == {}


@pytest.mark.parametrize("seed", range(5))
def test_datagrams_of_any_length(sender, bound, seed):
    """Short ones, empty ones and the longest arrive whole, in order and each for itself."""
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    here = bound()
    lengths = [0, 1, 44, 112, 1472, 1599, 1600, 1601, 2048, 9000, 65_480]
    datagrams = [dice.randbytes(dice.choice(lengths)) for _ in range(60)]
    for first in range(0, 60, 12):
        part = datagrams[first : first + 12]
        assert sender.send_many(part, [here.getsockname()] * 12) == {}
        assert received_by(here, 12) == part
    for length in (0, 44, 112, 0, 44):
        same = [dice.randbytes(length) for _ in range(70)]
        assert sender.send_many(same, [here.getsockname()] * 70) == {}
        assert received_by(here, 70) == same


@pytest.mark.parametrize("length", [65_528, 70_000])
def test_one_that_no_packet_holds_is_refused_alone(sender, bound, length):
    """A datagram too long for UDP is refused by EMSGSIZE, those around it are sent."""
    here = bound()
    datagrams = [b"before", bytes(length), b"after", bytes(length), b"last"]
    refused = sender.send_many(datagrams, [here.getsockname()] * 5)
    assert refused == {1: errno.EMSGSIZE, 3: errno.EMSGSIZE}
    assert received_by(here, 3) == [b"before", b"after", b"last"]


@pytest.mark.parametrize("closed", [1, 2, 5])
def test_who_refuses_costs_no_other_its_heartbeat(sender, bound, free_port, loopback, closed):
    """Of closed and open ports in one list every open one gets its own, and none is refused."""
    here, nobody = bound(), loopback(free_port())
    addresses = [here.getsockname(), *[nobody] * closed] * 40
    datagrams = [b"%d" % number for number in range(len(addresses))]
    assert sender.send_many(datagrams, addresses) == {}
    expected = [d for d, a in zip(datagrams, addresses, strict=True) if a != nobody]
    assert received_by(here, 40) == expected
    assert {error.destination for error in sender.errors(1000)} == {nobody}


def test_a_port_that_cannot_be_is_its_own_error(sender, bound, loopback):
    """Nothing can be sent to port 0: that is told of it, and of no other."""
    here = bound()
    addresses = [here.getsockname(), loopback(0), here.getsockname(), loopback(0)]
    refused = sender.send_many([b"1", b"2", b"3", b"4"], addresses)
    assert refused == {1: errno.EINVAL, 3: errno.EINVAL}
    assert received_by(here, 2) == [b"1", b"3"]


def test_a_fault_of_the_program_is_raised(sender, loopback):
    """Many sends on a closed socket are no weather."""
    sender.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send_many([b"heartbeat"] * 2, [loopback(9)] * 2)


def test_two_sockets_take_turns(family, sender, bound, loopback, gather):
    """What one socket sends and receives is not mixed up with what another does."""
    other, here = SenderSocket(family), bound()
    for turn in range(20):
        one, two = b"one %d" % turn, b"the other %d" % turn
        assert sender.send_many([one] * 3, [loopback(other.port)] * 3) == {}
        assert other.send_many([two] * 2, [loopback(sender.port)] * 2) == {}
        assert other.send_many([one], [here.getsockname()]) == {}
        theirs = gather(sender.receive, sender, 2)
        ours = gather(other.receive, other, 3)
        assert [row[:2] for row in theirs] == [(two, loopback(other.port))] * 2
        assert [row[:2] for row in ours] == [(one, loopback(sender.port))] * 3
    other.close()


def test_who_was_sent_to_is_one_object(sender, reflector, loopback, gather, way):
    """A reply comes from the very address object that was sent to, when many go at once."""
    address = loopback(reflector._socket.getsockname()[1])
    assert sender.send_many([b"heartbeat"] * 2, [address] * 2) == {}
    for request in gather(reflector.receive, reflector, 2):
        reflector.send(b"reply", request)
    sources = [source for _, source, *_ in gather(sender.receive, sender, 2)]
    assert sources == [address] * 2
    if way == "at once":
        assert all(source is address for source in sources)


def test_long_datagrams_take_no_memory_for_long(sender, loopback):
    """What the longest datagrams took is free again when they have been read."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    sender._socket.setsockopt(socket.SOL_SOCKET, RCVBUF, 8 << 20)
    before = None
    for _ in range(3):
        assert sender.send_many([bytes(65_480)] * 50, [loopback(sender.port)] * 50) == {}
        received = sender.receive(256)
        assert received
        assert all(datagram == bytes(65_480) for datagram, *_ in received)
        del received
        before = before or resident()
    assert resident() < before + (1 << 20)


def traffic(dice, family, loopback, targets):
    """Send the same at random to all these: several sources, TTLs and lengths."""
    sources = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(5)]
    lengths = dice.choice([[44], [112, 44], [0, 1, 44, 1600, 1601, 3000, 65_480]])
    option = (0, 2) if family == socket.AF_INET else (41, 16)  # IP_TTL, IPV6_UNICAST_HOPS
    for opened in sources:
        opened.bind(loopback(0))
    for _ in range(dice.choice([1, 3, 20, 40])):
        opened = dice.choice(sources)
        opened.setsockopt(*option, dice.randint(1, 255))
        datagram = dice.randbytes(dice.choice(lengths))
        for target in targets:
            opened.sendto(datagram, target)
    for opened in sources:
        opened.close()


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_read_the_same(family, sender, loopback, one_by_one, seed):
    """Datagrams, sources, TTLs and the order of stamps do not depend on the way they are read."""
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    with one_by_one():
        other = SenderSocket(family)
    before = time.time_ns()
    for _ in range(3):
        traffic(dice, family, loopback, [loopback(sender.port), loopback(other.port)])
        limit = dice.choice([1, 7, 256, 1000])
        ours, theirs = sender.receive(limit), other.receive(limit)
        assert len(ours) == len(theirs) <= limit
        assert [(d, a, ttl) for d, a, _, ttl in ours] == [(d, a, ttl) for d, a, _, ttl in theirs]
        stamps = [stamp for row in zip(ours, theirs, strict=True) for _, _, stamp, _ in row]
        assert stamps == sorted(stamps)
        assert before <= stamps[0] <= stamps[-1] <= time.time_ns()
    other.close()


def test_other_control_messages_are_passed_over(family, sender, loopback, gather):
    """A socket that is told more, and a socket that is told nothing, are read as well."""
    option = (socket.IPPROTO_IP, socket.IP_RECVTOS)
    if family == socket.AF_INET6:
        option = (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS)
    sender._socket.setsockopt(*option, 1)
    for _ in range(2):
        sender.send(b"heartbeat", loopback(sender.port))
    for datagram, source, stamp, ttl in gather(sender.receive, sender, 2):
        assert (datagram, source, ttl) == (b"heartbeat", loopback(sender.port), 255)
        assert abs(stamp - time.time_ns()) < 10**9
    sender._socket.setsockopt(*option, 0)
    sender._socket.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 0)
    sender.send(b"no stamp", loopback(sender.port))
    assert gather(sender.receive, sender, 1) == [(b"no stamp", loopback(sender.port), None, 255)]
    ttl_option = (0, 12) if family == socket.AF_INET else (41, 51)  # IP_RECVTTL, RECVHOPLIMIT
    sender._socket.setsockopt(*ttl_option, 0)
    sender.send(b"nothing", loopback(sender.port))
    assert gather(sender.receive, sender, 1) == [(b"nothing", loopback(sender.port), None, None)]


def test_one_that_is_told_less_in_a_batch(sender, loopback, gather):
    """Control messages are read of each datagram: a batch may have both kinds."""
    for wanted in (1, 0, 1):
        # Stamps are put on when a datagram comes, TTLs when it is read: so both are read at once.
        sender.send(b"%d" % wanted, loopback(sender.port), None if wanted else 7)
    rows = gather(sender.receive, sender, 3)
    assert [(datagram, ttl) for datagram, _, _, ttl in rows] == [
        (b"1", 255),
        (b"0", 7),
        (b"1", 255),
    ]


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 862),
        ("255.255.255.255", 65535),
        ("::1", 862, 0, 0),
        ("fe80::1", 1, 0, 7),
        ("2001:db8::5", 862, 0xFFFFF, 0),
        ("::ffff:192.0.2.1", 862, 0, 0),
    ],
)
def test_an_address_comes_back_from_its_octets(address):
    """Octets and addresses are the same thing."""
    assert address_of(octets_of(address)) == address


def test_an_address_is_spelt_as_the_kernel_does():
    """Whoever is sent to under another spelling is told of under the one that all others have."""
    destinations = Destinations()
    octets = destinations["2001:DB8:0::1", 862, 0, 0]
    assert destinations.sources[octets] == ("2001:db8::1", 862, 0, 0)


def test_a_stranger_is_not_remembered():
    """Only who is sent to takes memory, and only as long as it is sent to."""
    destinations = Destinations()
    destinations.use(3)
    octets = [destinations["192.0.2.1", port] for port in (1, 2, 3)]
    stranger = octets_of(("192.0.2.9", 9))
    assert destinations.sources[stranger] == ("192.0.2.9", 9)
    assert len(destinations) == len(destinations.sources) == 3
    for _ in range(3 * 1000 - 3):
        destinations.use(1)
        assert destinations["192.0.2.1", 1] == octets[0]
    assert len(destinations) == 3
    destinations.use(4)
    assert len(destinations) == len(destinations.sources) == 0


WITHOUT = """
import socket
from hbd.net import batch
from hbd.net.sender import SenderSocket
assert batch.calls() is None
one = SenderSocket(socket.AF_INET)
here = ("127.0.0.1", one.port)
assert one.send_many([b"1", b"2"], [here] * 2) == {}
assert [row[:2] for row in one.receive(9)] == [(b"1", here), (b"2", here)]
"""


@pytest.mark.parametrize("number", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("call", ["sendmmsg", "recvmmsg"])
def test_a_filter_that_refuses_a_call_costs_nothing_else(call, number):
    """Under a seccomp filter that refuses either call, datagrams are sent and read one by one."""
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("impossible here: the numbers of the calls are not known")
    words = [sys.executable, str(ROOT / "tests/refusing.py"), number, call]
    done = subprocess.run(
        [*words, sys.executable, "-c", WITHOUT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
