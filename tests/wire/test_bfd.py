"""BFD control packets: ours, those of BIRD and FRR, and any octets."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.wire import bfd, ports
from hbd.wire.bfd import Auth, AuthKind, Diag, Packet, State
from hbd.wire.errors import WireError
from tests.wire.test_dissectors import pcap

SECRET = b"hbdsecret"
CAPTURES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "vectors" / "bfd").glob("*.json"))
}
PACKETS = [
    pytest.param(bytes.fromhex(packet["payload_hex"]), packet["fields"], id=f"{name}-{n}")
    for name, capture in CAPTURES.items()
    for n, packet in enumerate(capture["packets"])
    if "fields" in packet
]
OURS = bytes.fromhex("20e00318471cc65ed007497a0000c3500000c35000000000")
"""Up with Poll, of BIRD."""

words = st.integers(0, bfd.MOST)
numbers = st.integers(1, bfd.MOST)
auths = st.builds(Auth, st.sampled_from(sorted(bfd.SHA1_KINDS)), st.integers(0, 255), words)
secrets = st.binary(min_size=1, max_size=20)
packets = st.builds(
    Packet,
    diag=st.integers(0, 31),
    state=st.sampled_from(State),
    poll=st.booleans(),
    final=st.booleans(),
    control_plane_independent=st.booleans(),
    demand=st.booleans(),
    multiplier=st.integers(1, 255),
    my_discriminator=numbers,
    your_discriminator=numbers,
    desired_min_tx_usec=words,
    required_min_rx_usec=words,
    required_min_echo_rx_usec=words,
    auth=st.none(),
)


def fields_of(packet):
    """Give the decoding that stands beside a capture, as a packet of ours would have it."""
    auth = packet.get("auth")
    if auth is not None:
        sequence = auth["seq"] if auth["type"] in bfd.SHA1_KINDS else 0
        auth = Auth(auth["type"], auth["key_id"], sequence)
    states = {"AdminDown": 0, "Down": 1, "Init": 2, "Up": 3}
    return Packet(
        packet["diag"],
        State(states[packet["state"]]),
        *(packet[flag] == 1 for flag in "PFCD"),
        packet["detect_mult"],
        packet["my_discr"],
        packet["your_discr"],
        packet["desired_min_tx_us"],
        packet["required_min_rx_us"],
        packet["required_min_echo_rx_us"],
        auth,
    )


def altered(at, octet, packet=OURS):
    return packet[:at] + bytes([octet]) + packet[at + 1 :]


# -- captures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("datagram", "fields"), PACKETS)
def test_captured_packet_is_read(datagram, fields):
    """Every field of a packet of BIRD or FRR is what the decoding beside it says."""
    assert bfd.parse(datagram) == fields_of(fields)
    assert bfd.addressee(datagram) == fields["your_discr"]


@pytest.mark.parametrize(("datagram", "fields"), PACKETS)
def test_captured_packet_is_written(datagram, fields):
    """A packet of BIRD or FRR is written the same again, but for authentication we only name."""
    packet = fields_of(fields)
    if packet.auth is None:
        assert bfd.pack(packet) == datagram
    elif packet.auth.kind in bfd.SHA1_KINDS:
        assert bfd.pack(packet, SECRET) == datagram
    else:
        with pytest.raises(ValueError, match="SHA1"):
            bfd.pack(packet, SECRET)


@pytest.mark.parametrize("name", ["bfd_bird_auth_sha1", "bfd_bird_auth_msha1"])
def test_captured_hashes_verify(name):
    """BIRD's SHA1 verifies with its secret, not with another one nor with a bit turned."""
    for packet in CAPTURES[name]["packets"]:
        datagram = bytes.fromhex(packet["payload_hex"])
        assert bfd.verifies(datagram, SECRET)
        assert not bfd.verifies(datagram, b"hbdsecrets")
        for at in range(len(datagram)):
            if at != 3:  # Length says how much is covered, and parse() has looked at it
                assert not bfd.verifies(altered(at, datagram[at] ^ 1, datagram), SECRET)


def test_captured_echo_is_no_control_packet():
    """FRR's echo packets are refused by their version."""
    for packet in CAPTURES["bfd_frr_echo_packets"]["packets"]:
        with pytest.raises(WireError, match="version"):
            bfd.parse(bytes.fromhex(packet["payload_hex"]))


# -- rules ----------------------------------------------------------------------------------------

SHA1 = bfd.pack(bfd.parse(OURS)._replace(auth=Auth(4, 7, 1)), SECRET)
MD5 = OURS[:1] + b"\xe4\x03\x30" + OURS[4:] + bytes([2, 24, 7]) + bytes(21)
BROKEN = {
    "nothing": (b"", "short"),
    "short": (OURS[:23], "short"),
    "version 0": (altered(0, 0x00), "version"),
    "version 2": (altered(0, 0x40), "version"),
    "length 23": (altered(3, 23), "length"),
    "length 0": (altered(3, 0), "length"),
    "length 25 with A": (altered(3, 25, SHA1), "length"),
    "length 25": (altered(3, 25), "truncated"),
    "cut off": (SHA1[:51], "truncated"),
    "multiplier": (altered(2, 0), "multiplier"),
    "multipoint": (altered(1, 0xC1), "multipoint"),
    "my discriminator": (OURS[:4] + bytes(4) + OURS[8:], "discriminator"),
    "none of yours, Up": (OURS[:8] + bytes(4) + OURS[12:], "your-discriminator"),
    "none of yours, Init": (
        altered(1, 0x80, OURS[:8] + bytes(4) + OURS[12:]),
        "your-discriminator",
    ),
    "SHA1 of 27": (altered(25, 27, SHA1), "auth-length"),
    "SHA1 of 29": (altered(25, 29, SHA1 + b"x"), "auth-length"),
    "SHA1 beyond Length": (altered(3, 51, SHA1), "auth-length"),
    "MD5 beyond Length": (altered(25, 25, MD5), "auth-length"),
    "MD5 of 1": (altered(25, 1, MD5), "auth-length"),
    "no section": (altered(3, 26, MD5), "auth-length"),
}


@pytest.mark.parametrize(("datagram", "reason"), BROKEN.values(), ids=BROKEN)
def test_broken_packet_is_refused(datagram, reason):
    """Each rule of RFC 5880 6.8.6 that needs no session has its word."""
    with pytest.raises(WireError) as error:
        bfd.parse(datagram)
    assert error.value.reason == reason


@pytest.mark.parametrize("second", [0x40, 0x00])
def test_down_without_your_discriminator_is_read(second):
    """Down and AdminDown may come from one that has not heard us yet."""
    packet = bfd.parse(altered(1, second, OURS[:8] + bytes(4) + OURS[12:]))
    assert (packet.your_discriminator, packet.state) == (0, second >> 6)


@pytest.mark.parametrize("length", [2, 3, 24])
def test_other_authentication_is_named(length):
    """Of authentication that is not SHA1 the type is read, and the key id where there is one."""
    packet = bfd.parse(altered(25, length, MD5))
    assert packet.auth == Auth(AuthKind.KEYED_MD5, 7 if length > 2 else 0)


def test_what_follows_the_packet_is_ignored():
    """Octets behind Length change nothing, nor does SHA1 cover them."""
    assert bfd.parse(OURS + b"more") == bfd.parse(OURS)
    assert bfd.parse(SHA1 + b"more") == bfd.parse(SHA1)
    assert bfd.verifies(SHA1 + b"more", SECRET)


def test_hash_covers_all_of_the_length():
    """Where Length goes beyond the section, SHA1 covers what is there."""
    longer = altered(3, 54, SHA1) + b"ab"
    assert bfd.parse(longer).auth == Auth(4, 7, 1)
    assert not bfd.verifies(longer, SECRET)
    signed, tail = longer[:32], longer[52:]
    signed_longer = signed + bfd._hash(signed, SECRET, tail) + tail
    assert bfd.verifies(signed_longer, SECRET)
    assert not bfd.verifies(signed_longer[:-1] + b"c", SECRET)


@pytest.mark.parametrize(
    ("auth", "secret"),
    [(None, SECRET), (Auth(4), None), (Auth(AuthKind.METICULOUS_MD5), SECRET)],
)
def test_secret_and_section_go_together(auth, secret):
    """A section without a secret, a secret without a section and other kinds are not written."""
    with pytest.raises(ValueError, match="SHA1"):
        bfd.pack(bfd.parse(OURS)._replace(auth=auth), secret)


def test_addressee_is_read_alone():
    """Your Discriminator is 0 where there is none, None where no packet is that short."""
    assert bfd.addressee(OURS) == 0xD007497A
    assert bfd.addressee(OURS[:8] + bytes(4) + OURS[12:]) == 0
    assert bfd.addressee(OURS[:23]) is None


# -- properties -----------------------------------------------------------------------------------


@given(packets)
def test_packet_comes_back(packet):
    """What is written is read again, in 24 octets."""
    datagram = bfd.pack(packet)
    assert len(datagram) == 24
    assert bfd.parse(datagram) == packet


@given(packets, auths, secrets)
def test_authenticated_packet_comes_back(packet, auth, secret):
    """What is written with a secret is read again, in 52 octets, and verifies with no other."""
    packet = packet._replace(auth=auth)
    datagram = bfd.pack(packet, secret)
    assert len(datagram) == 52
    assert bfd.parse(datagram) == packet
    assert bfd.verifies(datagram, secret)
    other = bytes([secret[0] ^ 1]) + secret[1:]
    assert not bfd.verifies(datagram, other)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\x20" + tail))
def test_any_octets_give_a_packet_or_an_error(datagram):
    """Strangers' octets are a packet or a WireError; what is a packet can be asked for its hash."""
    try:
        packet = bfd.parse(datagram)
    except WireError:
        return
    assert packet.my_discriminator > 0
    assert packet.multiplier > 0
    if packet.auth is not None and packet.auth.kind in bfd.SHA1_KINDS:
        assert not bfd.verifies(datagram, SECRET)


@given(st.sampled_from([p.values[0] for p in PACKETS]), st.integers(0, 51), st.integers(0, 255))
def test_altered_packets_give_a_packet_or_an_error(datagram, at, octet):
    """A real packet with any octet changed is a packet or a WireError."""
    with suppress(WireError):
        bfd.parse(altered(min(at, len(datagram) - 1), octet, datagram))


# -- as others read us ----------------------------------------------------------------------------

WRITTEN = [
    bfd.pack(
        Packet(
            diag=diag,
            state=state,
            poll=poll,
            final=final,
            control_plane_independent=False,
            demand=False,
            multiplier=3,
            my_discriminator=0x12345678,
            your_discriminator=0 if state is State.DOWN else 0x9ABCDEF0,
            desired_min_tx_usec=1_000_000,
            required_min_rx_usec=50_000,
            auth=auth,
        ),
        None if auth is None else SECRET,
    )
    for state, diags in {
        State.ADMIN_DOWN: [Diag.ADMIN_DOWN],
        State.DOWN: [Diag.NONE, Diag.EXPIRED, Diag.SIGNALED_DOWN],
        State.INIT: [Diag.NONE],
        State.UP: [Diag.NONE],
    }.items()
    for diag in diags
    for poll, final in [(False, False), (True, False), (False, True)]
    for auth in [None, Auth(AuthKind.KEYED_SHA1, 7, 8), Auth(AuthKind.METICULOUS_SHA1, 7, 9)]
]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("port", [ports.BFD, ports.BFD_MULTIHOP])
def test_tshark_reads_our_packets(tmp_path, port):
    """tshark finds every field of every kind of packet, and has nothing to complain of."""
    capture = tmp_path / "bfd.pcap"
    capture.write_bytes(pcap(*WRITTEN, ports=(50_000, port)))
    names = ["version", "diag", "sta", "flags.p", "flags.f", "flags.a", "detect_time_multiplier"]
    names += ["message_length", "my_discriminator", "your_discriminator"]
    names += ["desired_min_tx_interval", "required_min_rx_interval"]
    names += ["required_min_echo_interval", "auth.type", "auth.key", "auth.seq_num"]
    fields = [option for name in names for option in ("-e", f"bfd.{name}")]
    run = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-T", "fields", *fields, "-e", "_ws.expert"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = run.stdout.splitlines()
    assert len(rows) == len(WRITTEN)
    for row, datagram in zip(rows, WRITTEN, strict=True):
        *found, complaint = row.split("\t")
        packet = bfd.parse(datagram)
        assert complaint == ""
        assert [int(value, 0) for value in found if value] == [
            1,
            packet.diag,
            packet.state,
            packet.poll,
            packet.final,
            packet.auth is not None,
            3,
            len(datagram),
            0x12345678,
            packet.your_discriminator,
            1_000_000,
            50_000,
            0,
            *(packet.auth or ()),
        ]


@pytest.mark.slow
def test_scapy_reads_our_packets():
    """scapy finds the fields of our packets where we put them."""
    scapy = pytest.importorskip("scapy.contrib.bfd")
    for datagram in WRITTEN[::3]:
        ours, theirs = bfd.parse(datagram), scapy.BFD(datagram)
        assert (theirs.version, theirs.diag, theirs.sta) == (1, ours.diag, ours.state)
        assert (theirs.my_discriminator, theirs.your_discriminator) == (
            ours.my_discriminator,
            ours.your_discriminator,
        )
        assert theirs.min_tx_interval == ours.desired_min_tx_usec
        assert bytes(theirs) == datagram
