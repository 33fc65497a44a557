"""Base packets of both modes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.wire import ntp, stamp
from hbd.wire.auth import Key
from hbd.wire.errors import WireError
from hbd.wire.ntp import SECOND

KEY = Key(bytes(range(32)))
T1, T2, T3 = (ntp.ntp_from_unix(1_700_000_000 * SECOND + ms * 1_000_000) for ms in (0, 3, 5))

u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
estimates = u16.filter(lambda estimate: estimate & 0xFF)
tlvs = st.binary(max_size=60)


def reply_to(request, **changes):
    fields = {
        "sequence": 7,
        "timestamp": T3,
        "estimate": 0x8F83,
        "receive_timestamp": T2,
        "ttl": 61,
    }
    return stamp.pack_reply(request, **fields | changes)


@given(u32, u64, estimates, u16, tlvs)
def test_request_survives(sequence, timestamp, estimate, ssid, region):
    """A request is read as it was written, in both modes."""
    fields = (sequence, timestamp, estimate, ssid, region)
    request = stamp.Request(*fields)
    opened = stamp.pack_request(*fields)
    signed = stamp.pack_request_auth(*fields, key=KEY)
    assert (len(opened), len(signed)) == (44 + len(region), 112 + len(region))
    assert stamp.parse_request(opened) == request == stamp.parse_request_auth(signed, KEY)
    assert (stamp.ssid(opened), stamp.estimate(opened)) == (ssid, estimate)


@given(
    st.fixed_dictionaries(
        {"sequence": u32, "timestamp": u64, "estimate": u16, "receive_timestamp": u64}
    ),
    st.integers(0, 255),
    st.tuples(u32, u64, estimates, u16, tlvs),
)
def test_reply_survives(own, ttl, request):
    """A reply is as long as its request and is read as it was written, in both modes."""
    expected = stamp.Reply(
        **own | {"receive_timestamp": own["receive_timestamp"] or None},
        ssid=request[3] or None,
        sender_sequence=request[0],
        sender_timestamp=request[1],
        sender_estimate=request[2],
        sender_ttl=ttl or None,
        tlvs=request[4],
    )
    opened = stamp.pack_request(*request)
    signed = stamp.pack_request_auth(*request, key=KEY)
    reply = stamp.pack_reply(opened, ttl=ttl, **own)
    signed_reply = stamp.pack_reply(signed, ttl=ttl, key=KEY, **own)
    assert (len(reply), len(signed_reply)) == (len(opened), len(signed))
    assert stamp.parse_reply(reply) == expected == stamp.parse_reply_auth(signed_reply, KEY)


@given(st.binary(max_size=300), st.booleans())
def test_any_octets_are_a_value_or_a_wire_error(datagram, signed):
    """Strangers' octets are read or refused with WireError; nothing else comes out."""
    if signed and len(datagram) >= 96:
        datagram = datagram[:96] + KEY.sign(datagram[:96]) + datagram[96:]
    with suppress(WireError):
        assert stamp.parse_request(datagram).tlvs == datagram[44:]
    with suppress(WireError):
        assert stamp.parse_request_auth(datagram, KEY).tlvs == datagram[112:]
    with suppress(WireError):
        assert (stamp.dwell(stamp.parse_reply(datagram)) or 0) in range(3600 * SECOND + 1)
    with suppress(WireError):
        assert (stamp.dwell(stamp.parse_reply_auth(datagram, KEY)) or 0) in range(3600 * SECOND + 1)


@pytest.mark.parametrize("size", [0, 1, 43])
def test_request_of_less_than_44_octets_is_short(size):
    """A request of 43 octets is short, one of 44 is not."""
    request = stamp.pack_request(1, T1, 1, 0)
    stamp.parse_request(request)
    with pytest.raises(WireError, match="short"):
        stamp.parse_request(request[:size])


@pytest.mark.parametrize("estimate", [0x0000, 0x8F00, 0x4000])
def test_multiplier_of_0_is_corrupt(estimate):
    """A request whose multiplier is 0 is corrupt in both modes, whatever else its estimate says."""
    with pytest.raises(WireError, match="multiplier"):
        stamp.parse_request(stamp.pack_request(1, T1, estimate, 0))
    with pytest.raises(WireError, match="multiplier"):
        stamp.parse_request_auth(stamp.pack_request_auth(1, T1, estimate, 0, key=KEY), KEY)


def test_each_octet_of_a_signed_base_counts():
    """One flipped bit anywhere in the 112 octets, those that must be zero too, fails the HMAC."""
    signed = stamp.pack_request_auth(1, T1, 1, 5, key=KEY)
    for octet in range(112):
        spoilt = bytearray(signed)
        spoilt[octet] ^= 0x10
        with pytest.raises(WireError, match="hmac"):
            stamp.parse_request_auth(bytes(spoilt), KEY)
        with pytest.raises(WireError, match="hmac"):
            stamp.parse_reply_auth(bytes(spoilt), KEY)


def test_wrong_key_and_short_packets_are_refused():
    """A packet signed with another key fails, and one of 111 octets is short whatever its key."""
    signed = stamp.pack_request_auth(1, T1, 1, 5, key=Key(b"another"))
    for parse in (stamp.parse_request_auth, stamp.parse_reply_auth):
        with pytest.raises(WireError, match="hmac"):
            parse(signed, KEY)
        with pytest.raises(WireError, match="short"):
            parse(signed[:111], KEY)


@pytest.mark.parametrize("size", [38, 40, 41, 43, 44])
def test_reply_of_38_octets_is_enough(size):
    """Replies may end after the Session-Sender Error Estimate; from 41 octets on they say a TTL."""
    whole = reply_to(stamp.pack_request(1, T1, 0x8001, 5))
    reply = stamp.parse_reply(whole[:size])
    assert (reply.sender_sequence, reply.sender_timestamp, reply.sender_estimate) == (1, T1, 0x8001)
    assert reply.sender_ttl == (61 if size >= 41 else None)
    assert reply.tlvs == b""
    with pytest.raises(WireError, match="short"):
        stamp.parse_reply(whole[:37])


def test_reply_may_be_longer_than_44_octets():
    """What follows the base packet is the reply's TLVs, whatever it is."""
    assert stamp.parse_reply(reply_to(stamp.pack_request(1, T1, 1, 5)) + b"xyz").tlvs == b"xyz"


def test_zero_says_nothing():
    """SSID, Receive Timestamp and Session-Sender TTL of 0 are of a reflector without them."""
    reply = stamp.parse_reply(reply_to(stamp.pack_request(1, T1, 1, 0), receive_timestamp=0, ttl=0))
    assert (reply.ssid, reply.receive_timestamp, reply.sender_ttl) == (None, None, None)
    assert stamp.dwell(reply) is None


@pytest.mark.parametrize("region", [b"", b"1234567", b"123456789"])
def test_tlvs_of_another_length_are_a_mistake_of_ours(region):
    """A reply longer or shorter than its request cannot be written."""
    request = stamp.pack_request(1, T1, 1, 5, b"12345678")
    with pytest.raises(ValueError, match="octets to a request of 52"):
        reply_to(request, tlvs=region)
    with pytest.raises(ValueError, match="octets to a request of 120"):
        stamp.pack_reply(
            stamp.pack_request_auth(1, T1, 1, 5, b"12345678", key=KEY),
            sequence=1,
            timestamp=T3,
            estimate=1,
            receive_timestamp=T2,
            ttl=1,
            tlvs=region,
            key=KEY,
        )


def dwell_of(receive_timestamp, timestamp, estimate=1):
    request = stamp.pack_request(1, T1, 1, 0)
    return stamp.dwell(
        stamp.parse_reply(
            reply_to(
                request,
                timestamp=timestamp,
                receive_timestamp=receive_timestamp,
                estimate=estimate,
            )
        )
    )


def test_dwell_is_counted_in_the_reflectors_format():
    """T3 - T2 is read as NTP or as PTP as the reply's Z bit says, not the request's."""
    assert abs(dwell_of(T2, T3) - 2_000_000) <= 1
    assert dwell_of(T3, T3) == 0
    begin = 1_700_000_000 * SECOND + 999_999_000
    ptp = [ntp.ptp_from_unix(begin), ntp.ptp_from_unix(begin + 2_000_000)]
    assert dwell_of(*ptp, estimate=0x4001) == 2_000_000
    assert dwell_of(*ptp, estimate=0x0001) != 2_000_000


def test_dwell_that_cannot_be_is_none():
    """Time that ran backwards, or more than an hour, is a reflector's mistake and no dwell."""
    begin = 1_700_000_000 * SECOND
    hour = 3600 * SECOND
    stamps = [ntp.ntp_from_unix(begin + ns) for ns in (0, -1, hour, hour + 1)]
    assert dwell_of(stamps[0], stamps[1]) is None
    assert dwell_of(stamps[0], stamps[2]) == hour
    assert dwell_of(stamps[0], stamps[3]) is None
