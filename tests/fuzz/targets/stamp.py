"""STAMP's packets and TLVs, hbd's own TLV and the stamps of both clocks, as octets."""

from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.auth import Key
from hbd.wire.errors import WireError
from tests.fuzz.seeds import DATAGRAMS

KEY = Key(b"octets of a key")
NOW = 1_700_000_000 * ntp.SECOND
WORDS = hbd_tlv.HbdTlv(hbd_tlv.REFLECTOR, 0, 0, 7, 8, 0, 0, 9).pack()
UNDERSTOOD = {
    tlv.EXTRA_PADDING: bytes,
    hbd_tlv.TYPE: lambda value: WORDS if hbd_tlv.is_ours(value) else None,
}


def seeds():
    return [*DATAGRAMS, *(DATAGRAMS[0][:size] for size in (37, 38, 43))]


def run(octets):
    _request(octets)
    _reply(octets)
    _signed(octets)
    _region(octets)
    _moments(octets)


def _request(octets):
    try:
        found = stamp.parse_request(octets)
    except WireError as error:
        assert error.reason == ("short" if len(octets) < stamp.OPEN_SIZE else "multiplier")
        return
    again = stamp.pack_request(
        found.sequence, found.timestamp, found.estimate, found.ssid, found.tlvs
    )
    assert again == octets[:16] + bytes(28) + octets[44:]
    reply = stamp.pack_reply(
        octets, sequence=1, timestamp=2, estimate=3, receive_timestamp=4, ttl=5
    )
    assert len(reply) == len(octets)
    read = stamp.parse_reply(reply)
    assert (read.sender_sequence, read.sender_timestamp) == (found.sequence, found.timestamp)
    assert (read.sender_estimate, read.ssid or 0) == (found.estimate, found.ssid)


def _reply(octets):
    try:
        found = stamp.parse_reply(octets)
    except WireError as error:
        assert (error.reason, len(octets) < stamp.SHORTEST_REPLY) == ("short", True)
        return
    assert len(octets) >= stamp.SHORTEST_REPLY
    dwell = stamp.dwell(found)
    assert dwell is None or 0 <= dwell <= stamp.LONGEST_DWELL
    assert octets.ljust(stamp.OPEN_SIZE, b"\0").endswith(found.tlvs)


def _signed(octets):
    """What is signed is read and nothing else, whatever it is."""
    for parse in (stamp.parse_request_auth, stamp.parse_reply_auth):
        try:
            parse(octets, KEY)
        except WireError as error:
            assert error.reason == ("short" if len(octets) < stamp.AUTH_SIZE else "hmac")
        else:
            raise AssertionError("nobody can sign but who has the key")
    sealed = bytearray(octets.ljust(stamp.AUTH_SIZE, b"\0"))
    stamp.seal(memoryview(sealed)[: stamp.AUTH_SIZE], KEY)
    sealed = bytes(sealed)
    assert stamp.is_signed(sealed, KEY)
    assert stamp.parse_reply_auth(sealed, KEY).tlvs == sealed[stamp.AUTH_SIZE :]
    assert not stamp.is_sealed(octets, KEY)


def _region(octets):
    found, rest = tlv.split(octets)
    assert b"".join(tlv.pack(one.kind, one.value, one.flags) for one in found) + rest == octets
    reflected = tlv.reflect(octets, UNDERSTOOD)
    answered, left = tlv.split(reflected)
    assert (len(reflected), left[1:]) == (len(octets), rest[1:])
    assert [(one.kind, len(one.value)) for one in answered] == _kinds(found)
    for asked, told in zip(found, answered, strict=True):
        assert told.value in {asked.value, WORDS}
    assert all(one in answered for one in tlv.understood_by_reflector(reflected))
    _ours(octets, reflected)
    _keyed(octets)


def _ours(octets, reflected):
    words = hbd_tlv.from_reply(reflected)
    if words is not None:
        assert words.flags & hbd_tlv.REFLECTOR
        assert words.pack()[:36] in reflected
    try:
        said = hbd_tlv.parse(octets)
    except WireError as error:
        assert error.reason in {"foreign", "length"}
    else:
        assert said.pack() == octets[:36] + bytes(4)
        assert hbd_tlv.says_goodbye(octets) == bool(said.flags & hbd_tlv.GOODBYE)
        assert hbd_tlv.parse(hbd_tlv.with_accepted(octets, said.accepted)) == said


def _keyed(octets):
    """With an HMAC TLV at its end a region is answered in its own form, without one as it is."""
    found, rest = tlv.split(octets)
    assert not tlv.verifies(KEY, 1, octets)
    spoilt = tlv.reflect_signed(octets, UNDERSTOOD, KEY, asked=1, answered=2)
    assert len(spoilt) == len(octets)
    if any(one.kind != tlv.EXTRA_PADDING for one in found):
        assert not tlv.understood_by_reflector(spoilt)
    if rest:
        return
    signed = octets + tlv.sign(KEY, 1, octets)
    is_sound = all(one.kind != tlv.HMAC for one in found)
    assert tlv.verifies(KEY, 1, signed) == is_sound
    if not is_sound:
        return
    reflected = tlv.reflect_signed(signed, UNDERSTOOD, KEY, asked=1, answered=2)
    answered, _ = tlv.split(reflected)
    assert _kinds(answered) == _kinds(tlv.split(signed)[0])
    assert tlv.verifies(KEY, 2, reflected)


def _kinds(tlvs):
    return [(one.kind, len(one.value)) for one in tlvs]


def _moments(octets):
    moment, estimate = int.from_bytes(octets[:8], "big"), int.from_bytes(octets[8:10], "big")
    for read, write in (
        (ntp.unix_from_ntp, ntp.ntp_from_unix),
        (ntp.unix_from_ptp, ntp.ptp_from_unix),
    ):
        unix = read(moment, NOW)
        assert abs(unix - NOW) <= ntp.ERA // 2
        assert read(write(unix), NOW) == unix
    said = ntp.error_estimate(moment, synchronised=bool(estimate & 1))
    assert said <= 0xFFFF
    assert ntp.multiplier(said)
    assert not ntp.is_ptp(said)
