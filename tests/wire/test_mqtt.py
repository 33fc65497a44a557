"""MQTT 3.1.1 as far as a monitor needs it; section numbers are the standard's."""

import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.wire import mqtt
from hbd.wire.errors import WireError
from hbd.wire.mqtt import ConnAck, Parser, PingResp, Will

WILL = Will("monitor", b"gone", qos=1, retain=False)
CONNECT = mqtt.pack_connect("hbd-1", 10, username="user", password=b"secret", will=WILL)


def read(*pieces):
    """Read pieces with one parser; give the packets and, where it ends so, the reason word."""
    parser, packets = Parser(), []
    try:
        for piece in pieces:
            packets.extend(parser.read(piece))
            assert len(parser._packet) <= Parser.LONGEST
    except WireError as error:
        assert len(parser._packet) <= Parser.LONGEST
        return packets, error.reason
    return packets, None


def test_connect_is_as_in_the_standard():
    """The variable header is the standard's example of 3.1.2, the payload in the order of 3.1.3."""
    assert CONNECT[:2] == bytes([0x10, len(CONNECT) - 2])
    assert CONNECT[2:12] == bytes.fromhex("0004 4D515454 04 CE 000A")
    assert CONNECT[12:] == b"\0\5hbd-1\0\7monitor\0\4gone\0\4user\0\6secret"


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ({}, 0x02),
        ({"username": "u"}, 0x82),
        ({"username": "u", "password": b""}, 0xC2),
        ({"will": Will("t", b"", qos=0, retain=False)}, 0x06),
        ({"will": Will("t", b"", qos=2, retain=True)}, 0x36),
    ],
    ids=["bare", "user", "password", "will", "will-retain"],
)
def test_flags_say_what_follows(words, flags):
    """Each field of the payload has its flag; the session is a clean one always."""
    assert mqtt.pack_connect("", 1, **words)[9] == flags


@pytest.mark.parametrize(
    ("length", "written"),
    [(127, "7F"), (128, "8001"), (16_383, "FF7F"), (16_384, "808001")],
)
def test_remaining_length_is_as_in_the_standard(length, written):
    """The lengths of table 2.4 take the octets that it gives."""
    packet = mqtt.pack_connect("c" * (length - 12), 1)
    assert packet[1:].startswith(bytes.fromhex(written) + b"\0\4MQTT")


def test_what_no_connect_can_say_is_no_connect():
    """A text that is too long for its length, or a password of nobody, is a ValueError."""
    with pytest.raises(ValueError, match="65536 octets"):
        mqtt.pack_connect("c" * 65_536, 1)
    with pytest.raises(ValueError, match="without a user name"):
        mqtt.pack_connect("c", 1, password=b"secret")


def test_heartbeat_and_goodbye_are_as_in_the_standard():
    """PINGREQ and DISCONNECT are the two octets of figures 3.33 and 3.35."""
    assert bytes.fromhex("C000") == mqtt.HEARTBEAT
    assert bytes.fromhex("E000") == mqtt.GOODBYE


@pytest.mark.parametrize("session_present", [0, 1])
@pytest.mark.parametrize("code", range(6))
def test_connack_is_read(code, session_present):
    """The return codes of table 3.1 come through."""
    assert read(bytes([0x20, 2, session_present, code])) == ([ConnAck(code)], None)


def test_packets_come_out_of_any_pieces():
    """Octet by octet or all at once, the packets are the same; nothing is left of them."""
    octets = bytes.fromhex("20020000 D000 D000")
    packets = [ConnAck(0), PingResp(), PingResp()]
    assert read(octets) == read(*(bytes([octet]) for octet in octets)) == (packets, None)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("3003 0001 74", "type"),
        ("4854 5450", "type"),
        ("00", "type"),
        ("D1", "flags"),
        ("2F", "flags"),
        ("2002 0200", "flags"),
        ("2002 0006", "return-code"),
        ("2003", "length"),
        ("D001", "length"),
        ("20FFFFFF7F", "length"),
        ("D080808080", "length"),
    ],
    ids=[
        "a publish",
        "http",
        "reserved type",
        "flags of a pingresp",
        "flags of a connack",
        "acknowledge flags",
        "reserved code",
        "long connack",
        "long pingresp",
        "largest",
        "length of five octets",
    ],
)
def test_what_no_broker_may_send_is_told_by_reason(octets, reason):
    """What is malformed or not for us ends the reading, after the packets before it."""
    assert read(bytes.fromhex("D000" + octets)) == ([PingResp()], reason)


@pytest.mark.parametrize("flags", [0x30, 0x31])
def test_what_a_broker_publishes_to_us_is_skipped(flags):
    """Some subscribe their clients to something; QoS 0 wants no answer, whatever pieces it is."""
    accepted, ping, sent = bytes([0x20, 2, 0, 0]), bytes([0xD0, 0]), b"\0\5topic" + bytes(5_000)
    published = bytes([flags]) + mqtt._remaining_length(len(sent)) + sent
    octets = accepted + published + ping + bytes([0x30, 0]) + ping
    for size in (1, 7, 1_000, len(octets)):
        pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
        assert read(*pieces) == ([ConnAck(0), PingResp(), PingResp()], None)
    assert read(published) == ([], "type")
    assert read(bytes([0x20, 2, 0, 5]) + published) == ([ConnAck(5)], "type")
    for qos in (0x32, 0x34, 0x38):
        assert read(accepted, bytes([qos, 0])) == ([ConnAck(0)], "type")


def test_a_length_may_take_more_octets_than_it_needs():
    """MQTT 3.1.1 does not forbid what MQTT 5 does."""
    assert read(bytes.fromhex("D080808000 208200 0005")) == ([PingResp(), ConnAck(5)], None)


pieces = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"\xd0", b"\0", b"\x20\x02", b"\0\0", b"\x20\x02\0\5", b"\xd0\0\x20"]),
    ),
    max_size=12,
)


@given(pieces)
def test_any_octets_are_packets_or_an_error(octets):
    """Any octets in any pieces read as they do in one; more than a packet is never kept."""
    assert read(*octets) == read(b"".join(octets))


def capture_of(*payloads):
    """Write a capture of TCP segments to port 1883, raw IPv4 packets without checksums."""
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    addresses, sequence = bytes([192, 0, 2, 1, 192, 0, 2, 2]), 1
    for n, payload in enumerate(payloads):
        tcp = struct.pack(">HHIIBBHHH", 50_000, 1883, sequence, 1, 0x50, 0x18, 1_000, 0, 0)
        size = 40 + len(payload)
        ip = struct.pack(">BBHHHBBH8s", 0x45, 0, size, n, 0, 64, 6, 0, addresses)
        capture += struct.pack("<IIII", 0, n, size, size) + ip + tcp + payload
        sequence += len(payload)
    return capture


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_our_packets(tmp_path):
    """tshark finds each field of our CONNECT, then PINGREQ and DISCONNECT, nothing malformed."""
    path = tmp_path / "mqtt.pcap"
    path.write_bytes(capture_of(CONNECT, mqtt.HEARTBEAT, mqtt.GOODBYE))
    names = ["msgtype", "ver", "kalive", "clientid", "willtopic", "willmsg", "username", "passwd"]
    names += ["conflag.cleansess", "conflag.willflag", "conflag.qos", "conflag.retain"]
    fields = [option for name in names for option in ("-e", f"mqtt.{name}")]
    run = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "fields", *fields, "-e", "_ws.malformed"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    connect, ping, disconnect = (line.split("\t") for line in run.stdout.splitlines())
    assert connect[:4] == ["1", "4", "10", "hbd-1"]
    assert connect[4] == "monitor"
    assert connect[5] in ("gone", b"gone".hex())  # text or octets, by its version
    assert connect[6:] == ["user", "secret", "1", "1", "1", "0", ""]
    assert (ping[0], disconnect[0]) == ("12", "14")
    assert not any(ping[1:] + disconnect[1:])
