"""What strangers may send to a daemon that runs, and what they get for it."""

import contextlib
import socket
import struct
import time

import pytest
from topology import ADDRESS, Daemon, Fake, peer, peers

pytestmark = [pytest.mark.root, pytest.mark.slow]

MONITOR = {"4": "10.1.0.1", "6": "fd01::1"}
HEARTBEAT = struct.pack("!IQHH28x", 7, 0xE8FE6F80 << 32, 0x0001, 0x1234)


def checksum(octets):
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{len(octets) // 2}H", octets)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload):
    """Give an IPv4 packet."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    check = struct.pack("!H", checksum(head + ends))
    return head[:10] + check + ends + payload


def udp(source, destination, payload):
    """Give a UDP datagram of IPv4, which needs no checksum."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def forge(host, packet):
    """Send an IPv4 packet as it is."""
    with host.inside():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with contextlib.closing(raw):
        raw.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


def forge_refusal(host, returned, port, to_port):
    """Send the monitor an ICMP port unreachable for a datagram that it may have sent."""
    inner = ipv4(MONITOR["4"], ADDRESS["a4"], 17, udp(port, to_port, returned))
    inner += bytes(len(inner) % 2)
    message = struct.pack("!BBHI", 3, 3, 0, 0) + inner
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    forge(host, ipv4(ADDRESS["a4"], MONITOR["4"], 1, message))


def test_a_forged_mtu_stops_no_heartbeat(lab):
    """The kernel is made to believe in a narrow path by whoever knows two addresses; hbd is not."""
    echo = struct.pack("!BBHHH", 0, 0, 0, 7, 7)
    message = struct.pack("!BBHHH", 3, 4, 0, 0, 576)
    message += ipv4(MONITOR["4"], ADDRESS["a4"], 1, echo)
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    with lab.watch([peer("a4", size=1400), peer("b4")]) as monitor:
        since = monitor.all_up().count()
        forge(lab.hosts["b"], ipv4(ADDRESS["b4"], MONITOR["4"], 1, message))
        time.sleep(0.1)
        assert "mtu 576" in lab.monitor.run("ip", "route", "get", ADDRESS["a4"])
        before = monitor.status("a4")["received"]
        time.sleep(2)
        assert monitor.status("a4")["received"] > before
        assert monitor.count() == since
    lab.monitor.ip("route flush cache")


def test_a_forged_icmp_error_changes_nothing(lab):
    """An ICMP error counts only with a heartbeat in it that was sent and not answered."""
    host, port = lab.hosts["a"], 8003
    watched = [peer("a4", port=port), peer("b4")]
    with Fake(host, ADDRESS["a4"], port, lambda _: None) as fake, lab.watch(watched) as monitor:
        monitor.told("a4", state="down", cause="filtered")
        since = monitor.count()
        heartbeat, (_, sender) = fake.requests[-1]
        wrong_time = heartbeat[:11] + bytes([heartbeat[11] ^ 1]) + heartbeat[12:]
        wrong_number = bytes([heartbeat[0] ^ 1]) + heartbeat[1:]
        for forged in (wrong_time, wrong_number, heartbeat[:8], b"", HEARTBEAT, bytes(600)):
            forge_refusal(host, forged, sender, port)
        forge_refusal(host, heartbeat, sender, port + 1)
        time.sleep(0.3)
        assert monitor.status("a4")["cause"] == "filtered"
        assert monitor.status("b4")["state"] == "up"
        assert monitor.count() == since
        # The same hand with the true octets is believed: it did arrive.
        forge_refusal(host, fake.requests[-1][0], sender, port)
        monitor.told("a4", since, cause="port-closed")


def replies(opened, seconds=0.3):
    """Take what comes within so long."""
    opened.settimeout(seconds)
    got = []
    with contextlib.suppress(TimeoutError):
        while True:
            got.append(opened.recv(70_000))
    return got


def opened_in(host, family=socket.AF_INET):
    with host.inside():
        return socket.socket(family, socket.SOCK_DGRAM)


def dropped(lab, name):
    return lab.daemons[name].status()["reflector"]["dropped"]


def test_what_comes_from_a_reflectors_port_is_not_answered(lab):
    """Two reflectors and a spoofed datagram between them: no packet follows it, no loop begins."""
    rule = "udp sport 862 udp dport 862 counter"
    for name in "ac":
        lab.hosts[name].block("output", rule, table="count")
    spoofed = ipv4(ADDRESS["c4"], ADDRESS["a4"], 17, udp(862, 862, HEARTBEAT))
    before = dropped(lab, "a").get("loop", 0)
    forge(lab.hosts["b"], spoofed)
    lab.daemons["a"].until(lambda: dropped(lab, "a").get("loop", 0) == before + 1)
    time.sleep(0.3)
    for name in "ac":
        counted = lab.hosts[name].run("nft", "list", "table", "inet", "count")
        lab.hosts[name].unblock("count")
        assert "packets 0 " in counted


@pytest.mark.parametrize("spoofed", ["10.11.0.255", "255.255.255.255", "224.0.0.1"])
def test_a_spoofed_group_is_not_answered(lab, spoofed):
    """No reply goes to a broadcast or multicast address that claims to have asked."""
    host = lab.hosts["a"]
    host.block("output", f"ip daddr {spoofed} udp sport 862 counter", table="count")
    forge(lab.hosts["b"], ipv4(spoofed, ADDRESS["a4"], 17, udp(4000, 862, HEARTBEAT)))
    time.sleep(0.1)
    counted = host.run("nft", "list", "table", "inet", "count")
    host.unblock("count")
    assert "packets 0 " in counted


@pytest.mark.parametrize("group", ["10.11.0.255", "255.255.255.255", "224.0.0.1", "ff02::1"])
def test_a_heartbeat_to_many_is_not_answered(lab, group):
    """What is sent to a group or a whole subnet is counted and not answered."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    before = dropped(lab, "a").get("multicast", 0)
    with contextlib.closing(opened_in(lab.hosts["b"], family)) as sender:
        with lab.hosts["b"].inside():
            scope = socket.if_nametoindex("uplink")
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"uplink")
        sender.sendto(HEARTBEAT, (group, 862, 0, scope) if ":" in group else (group, 862))
        assert replies(sender) == []
    assert dropped(lab, "a").get("multicast", 0) == before + 1


@pytest.mark.parametrize("version", ["4", "6"])
def test_no_reply_is_longer_than_its_request(lab, version):
    """A reply has the length of its request; what is no request has none."""
    family = socket.AF_INET6 if version == "6" else socket.AF_INET
    lengths = (0, 1, 13, 14, 43, 44, 45, 48, 60, 112, 113, 500, 1452, 1473, 9000)
    with contextlib.closing(opened_in(lab.hosts["b"], family)) as sender:
        for length in lengths:
            request = (HEARTBEAT + bytes(length))[:length]
            sender.sendto(request, (ADDRESS[f"a{version}"], 862))
            got = [len(reply) for reply in replies(sender, 0.05)]
            assert got == ([length] if 44 <= length <= 1452 else [])


UNPRIVILEGED = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all,+net_bind_service",
    "--ambient-caps=-all,+net_bind_service",
    "--bounding-set=-all,+net_bind_service",
)


def test_nothing_needs_root(lab):
    """Nobody, with CAP_NET_BIND_SERVICE alone, answers on port 862 and finds every cause."""
    watched = [
        *peers("d4", "d6"),
        peer("closed4", ADDRESS["d4"], port=9),
        peer("closed6", ADDRESS["d6"], port=9),
        peer("off4", "10.2.0.77"),
        peer("off6", "fd02::77"),
        peer("bound", ADDRESS["d4"], interface="uplink"),
        peer("marked", ADDRESS["d6"], dscp=46),
        peer("nowhere", "198.51.100.1"),
    ]
    with lab.stopped("f"):
        host = lab.hosts["f"]
        for kind in ("ipv4", "ipv6"):
            host.sysctl(f"{kind}.neigh.uplink.retrans_time_ms", 20)
        listening = {"listen": ["0.0.0.0:862", "[::]:862"], "accept": "any"}
        with Daemon(host, UNPRIVILEGED, peers=watched, **listening) as daemon:
            for name in ("d4", "d6", "bound", "marked"):
                daemon.told(name, state="up")
            for version in "46":
                daemon.told(f"closed{version}", state="down", cause="port-closed")
                daemon.told(f"off{version}", state="down", cause="host-unreachable")
            assert daemon.told("nowhere", state="unknown")["HBD_CAUSE"] == "no-route"
            with lab.watch(peers("f4", "f6")) as monitor:
                monitor.all_up()
            weather = [e["MESSAGE"] for e in daemon.entries() if e["HBD_EVENT"] == "weather"]
            assert all("is watched by peer" in words for words in weather), weather
