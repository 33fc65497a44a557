"""A reflector on a host of several addresses and interfaces.

peer -- 10.1.0.0/24, fd01::/64 -- host
"""

import contextlib
import errno
import socket

import pytest
from namespaces import as_nobody, gather

from hbd.core.model import Leaving
from hbd.net.reflecting import ReflectorSocket
from hbd.net.resolver import Resolver
from hbd.net.sender import SenderSocket

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("way")]

ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - the promises are about them


class Lab:
    """The two hosts above; the reflector listens on all addresses of its family."""

    def __init__(self, net, family):
        self.peer, self.host = net.host("peer"), net.host("host")
        net.link(
            (self.peer, "uplink", ["10.1.0.9/24", "fd01::9/64"]),
            (self.host, "uplink", ["10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64"]),
        )
        with self.host.inside():
            self.reflector = ReflectorSocket(ANY[family], 862)
            self.interface = socket.if_nametoindex("uplink")
        with self.peer.inside():
            self.sender = SenderSocket(family)
            self.scope = socket.if_nametoindex("uplink")

    def close(self):
        self.reflector.close()
        self.sender.close()


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture
def lab(net, family):
    with contextlib.closing(Lab(net, family)) as made:
        yield made


def asked(lab, address):
    """Send one heartbeat to an address and return the request that arrives."""
    destination = (address, 862, 0, 0) if ":" in address else (address, 862)
    assert lab.sender.send(b"heartbeat", destination) is None
    [request] = gather(lab.reflector.receive, lab.reflector, 1)
    return request


def test_every_address_replies_as_itself(lab, family):
    """Each address of the host answers for itself, the first one and the others."""
    prefix = "10.1.0." if family == socket.AF_INET else "fd01::"
    for address in (f"{prefix}2", f"{prefix}1"):
        request = asked(lab, address)
        assert (request.destination, request.interface) == (address, lab.interface)
        assert request.is_unicast
        assert lab.reflector.send(b"reply", request)
        [reply] = gather(lab.sender.receive, lab.sender, 1)
        assert reply[1][0] == address


@pytest.mark.parametrize("family", [socket.AF_INET6], ids=["ipv6"])
@pytest.mark.parametrize("source", [None, "fd01::9"])
def test_a_link_local_address_replies_as_itself(lab, source):
    """A heartbeat to a link-local address is answered from it, whatever address it came from."""
    lab.sender.close()
    with lab.peer.inside():
        lab.sender = SenderSocket(socket.AF_INET6, Leaving(source=source))
    with lab.host.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.connect(("fe80::1", 9, 0, lab.interface))
        address = probe.getsockname()[0]
    assert lab.sender.send(b"heartbeat", (address, 862, 0, lab.scope)) is None
    [request] = gather(lab.reflector.receive, lab.reflector, 1)
    assert request.destination == address
    assert lab.reflector.send(b"reply", request)
    [reply] = gather(lab.sender.receive, lab.sender, 1)
    assert reply[1] == (address, 862, 0, lab.scope)


def test_what_was_not_sent_to_us_alone_is_marked(lab, family):
    """A datagram to a whole subnet or a group is no unicast request."""
    if family == socket.AF_INET:
        lab.sender._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        request = asked(lab, "10.1.0.255")
        assert request.destination == "10.1.0.255"
    else:
        lab.sender.send(b"heartbeat", ("ff02::1", 862, 0, lab.scope))
        [request] = gather(lab.reflector.receive, lab.reflector, 1)
        assert request.destination == "ff02::1"
    assert not request.is_unicast


def test_the_ttl_says_how_far_it_came(lab, family):
    """The TTL of a request is the one it arrived with."""
    level, option = (
        (socket.IPPROTO_IP, socket.IP_TTL)
        if family == socket.AF_INET
        else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    )
    lab.sender._socket.setsockopt(level, option, 77)
    assert asked(lab, "10.1.0.1" if family == socket.AF_INET else "fd01::1").ttl == 77


def test_a_second_of_others_heartbeats_fits(lab, family):
    """With the privilege to, the buffer holds 5,000 requests while we are held up."""
    address = "10.1.0.1" if family == socket.AF_INET else "fd01::1"
    destination = (address, 862, 0, 0) if family == socket.AF_INET6 else (address, 862)
    for _ in range(5000):
        assert lab.sender.send(bytes(112), destination) is None
    assert len(gather(lab.reflector.receive, lab.reflector, 5000)) == 5000
    assert lab.reflector.drops() == 0


def test_a_blocked_reply_is_counted(lab, family):
    """What our own firewall keeps from going out is a count, and the next reply goes."""
    request = asked(lab, "10.1.0.1" if family == socket.AF_INET else "fd01::1")
    lab.host.block("output", "udp sport 862 drop")
    assert not lab.reflector.send(b"reply", request)
    assert not lab.reflector.send(b"reply", request)
    lab.host.unblock()
    assert lab.reflector.unsent == {"EPERM": 2}
    assert lab.reflector.send(b"reply", request)


def test_a_peer_that_closed_its_socket_harms_no_other(lab, family):
    """An ICMP error for a reply reaches no other peer's request or reply."""
    address = "10.1.0.1" if family == socket.AF_INET else "fd01::1"
    request = asked(lab, address)
    gone = request._replace(source=(request.source[0], 9, *request.source[2:]))
    for _ in range(10):
        assert lab.reflector.send(b"to nobody", gone)
        assert lab.reflector.send(b"reply", request)
        assert asked(lab, address).datagram == b"heartbeat"
    assert len(gather(lab.sender.receive, lab.sender, 10)) == 10
    assert not lab.reflector.unsent


@pytest.mark.parametrize("family", [socket.AF_INET], ids=["ipv4"])
def test_a_privileged_port_needs_its_privilege(lab):
    """Nobody may answer on a high port, and is refused a low one with EACCES."""

    def bound(port):
        return ReflectorSocket("10.1.0.1", port).receive(1)

    with lab.host.inside():
        assert as_nobody(lambda: bound(8620)) == []
        with pytest.raises(PermissionError) as caught:
            as_nobody(lambda: bound(863))
    assert caught.value.errno == errno.EACCES


def test_a_name_without_a_network_has_the_resolvers_words(net):
    """A name that cannot be resolved is answered with the reason."""
    with net.host("alone").inside():
        resolver = Resolver(threads=1)
        assert resolver.request("nobody.invalid", 862)
        [answer] = gather(lambda _: resolver.answers(), resolver, 1, seconds=10.0)
    resolver.close()
    assert answer.addresses == ()
    assert "name" in answer.error.lower()
