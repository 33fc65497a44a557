"""hbd on the wire as tshark and scapy read it, and hbd with scapy at the other end."""

import contextlib
import shutil
import socket
import struct
import subprocess
import time

import pytest
from topology import Fake

pytestmark = [pytest.mark.root, pytest.mark.slow]

HERE = {"4": "10.99.0.1", "6": "fd99::1"}
THERE = {"4": "10.99.0.2", "6": "fd99::2"}
REFLECTOR = {"listen": ["0.0.0.0:862", "[::]:862"], "accept": "any"}
NTP_ERA = 2_208_988_800

FIELDS = (
    "ip.src",
    "ipv6.src",
    "ip.ttl",
    "ipv6.hlim",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "twamp.test.seq_number",
    "twamp.test.mbz1",
    "twamp.test.sender_seq_number",
    "twamp.test.sender_ttl",
    "twamp.test.error_estimate.multiplier",
)


def decoded(frames, directory):
    """Let tshark read Ethernet frames; give a mapping of fields for each datagram of port 862."""
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for frame in frames:
        capture += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    file = directory / "live.pcap"
    file.write_bytes(capture)
    command = ["tshark", "-r", file, "-d", "udp.port==862,twamp.test", "-Y", "udp.port==862"]
    listed = [part for field in FIELDS for part in ("-e", field)]
    told = run(*command, "-T", "fields", "-E", "occurrence=f", *listed)
    malformed = run(*command, "-Y", "_ws.malformed or _ws.expert.severity >= 0x600000")
    rows = (line.split("\t") for line in told.splitlines())
    return [dict(zip(FIELDS, row, strict=True)) for row in rows], malformed


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_what_we_send_and_reply(pair, tmp_path):
    """Heartbeats and replies of two hbds are well-formed STAMP with sequence, SSID and TTL."""
    pair.run(pair.there, **REFLECTOR).ready()
    watched = [{"name": f"p{version}", "address": THERE[version]} for version in "46"]
    end = pair.capture()
    pair.run(pair.here, peers=watched).all_up()
    time.sleep(1.5)
    packets, malformed = decoded(end(), tmp_path)
    assert malformed == ""
    for source in (HERE["4"], HERE["6"]):
        sent = [p for p in packets if source in (p["ip.src"], p["ipv6.src"])]
        there = THERE["6" if ":" in source else "4"]
        replies = [p for p in packets if there in (p["ip.src"], p["ipv6.src"])]
        assert len(sent) >= 6
        assert len(sent) - len(replies) in (0, 1)
        assert [int(p["twamp.test.seq_number"]) for p in sent] == list(range(len(sent)))
        assert {p["udp.dstport"] for p in sent} == {"862"} == {p["udp.srcport"] for p in replies}
        assert {p["ip.ttl"] or p["ipv6.hlim"] for p in sent + replies} == {"255"}
        (ssid,) = {p["twamp.test.mbz1"] for p in sent + replies}
        assert int(ssid, 0) != 0
        for request, reply in zip(sent, replies, strict=False):
            assert reply["twamp.test.sender_seq_number"] == request["twamp.test.seq_number"]
            assert reply["twamp.test.sender_ttl"] == "255"
            assert reply["udp.length"] == request["udp.length"]
            assert int(reply["twamp.test.error_estimate.multiplier"], 0) > 0
        # Stateful: the reflector numbers its replies itself.
        assert [int(p["twamp.test.seq_number"]) for p in replies] == list(range(len(replies)))


@pytest.fixture(scope="module")
def stamp():
    return pytest.importorskip("scapy.contrib.stamp")


def now():
    return time.time() + NTP_ERA


@pytest.mark.parametrize("version", ["4", "6"])
def test_scapy_is_answered(pair, stamp, version):
    """Each heartbeat that scapy builds gets the reply that RFC 8762 and RFC 8972 ask for."""
    pair.run(pair.there, **REFLECTOR).ready()
    family = socket.AF_INET6 if version == "6" else socket.AF_INET
    with pair.here.inside():
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with contextlib.closing(sender):
        sender.settimeout(2)
        for sequence in range(7, 12):
            padding = stamp.STAMPTestTLV(flags=0x80, type=1, len=4, value=b"abcd")
            unknown = stamp.STAMPTestTLV(flags=0x80, type=99, len=2, value=b"xy")
            request = stamp.STAMPSessionSenderTestUnauthenticated(
                seq=sequence,
                ts=now(),
                err_estimate=stamp.ErrorEstimate(S=1, scale=10, multiplier=3),
                ssid=0x1234,
                tlv_objects=[padding, unknown],
            )
            sent = bytes(request)
            sender.sendto(sent, (THERE[version], 862))
            octets = sender.recv(2048)
            reply = stamp.STAMPSessionReflectorTestUnauthenticated(octets)
            assert len(octets) == len(sent)
            assert (reply.seq_sender, reply.ssid) == (sequence, 0x1234)
            assert reply.seq == sequence - 7
            assert octets[28:38] == sent[4:14]
            assert reply.ttl_sender in (64, 255)
            assert 0 <= reply.ts - reply.ts_rx < 1
            assert abs(reply.ts_rx - now()) < 2
            first, second = reply.tlv_objects
            assert (octets[44], first.type, first.value) == (0, 1, b"abcd")
            assert (octets[52], second.type, second.value) == (0x80, 99, b"xy")


def reflecting(stamp):
    """Give a reflector made of scapy's fields, which hold times as floats."""

    def reply(request):
        asked = stamp.STAMPSessionSenderTestUnauthenticated(request)
        return bytes(
            stamp.STAMPSessionReflectorTestUnauthenticated(
                seq=asked.seq,
                ts=now(),
                err_estimate=stamp.ErrorEstimate(S=0, scale=10, multiplier=3),
                ssid=asked.ssid,
                ts_rx=now(),
                seq_sender=asked.seq,
                ts_sender=asked.ts,
                err_estimate_sender=asked.err_estimate,
                ttl_sender=255,
                tlv_objects=[],
            )
        )

    return reply


@pytest.mark.parametrize("version", ["4", "6"])
def test_scapy_keeps_a_peer_up(pair, stamp, version):
    """A reflector of scapy is up with `echo_timestamp: off`, else the evidence names that key."""
    watched = [
        {"name": name, "address": THERE[version], "port": port, "echo_timestamp": echo}
        for name, port, echo in (
            ("exact", 8001, "on"),
            ("rounded", 8002, "off"),
            ("off", 8003, "on"),
        )
    ]
    answer = reflecting(stamp)

    def exact(request):
        octets = answer(request)
        return octets[:28] + request[4:12] + octets[36:]

    with contextlib.ExitStack() as stack:
        for port, reply in ((8001, exact), (8002, answer), (8003, answer)):
            stack.enter_context(Fake(pair.there, THERE[version], port, reply))
        patient = {"interval": "1s", "timeout": "1s", "retries": 1}  # scapy is slow
        monitor = pair.run(pair.here, peers=watched, defaults=patient)
        for name in ("exact", "rounded"):
            monitor.told(name, state="up")
        refused = monitor.told("off", state="down", cause="bad-reply")
        assert "echo_timestamp: off" in refused["HBD_EVIDENCE"]
        for name in ("exact", "rounded"):
            status = monitor.status(name)
            assert (status["state"], status["late"], status["duplicate"]) == ("up", 0, 0)
            assert status["sent"] - status["received"] <= 1
        pair.close()
