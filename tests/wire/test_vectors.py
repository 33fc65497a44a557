"""Packets captured from other programs; vectors/README.md says from which."""

import json
from functools import partial
from pathlib import Path

import pytest

from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.auth import Key
from hbd.wire.errors import WireError

VECTORS = {
    path.stem: json.loads(path.read_text())
    for path in sorted(Path(__file__).with_name("vectors").glob("*.json"))
}
KEY = Key(bytes.fromhex("00112233445566778899aabbccddeeff"))
CAPTURES = [
    pytest.param(
        bytes.fromhex(request["udp_payload_hex"]),
        bytes.fromhex(reply["udp_payload_hex"]),
        (request["fields"], reply["fields"]),
        capture["auth"],
        id=f"{name}-{n}",
    )
    for name, capture in VECTORS.items()
    if "packets" in capture
    for n, (request, reply) in enumerate(
        zip(capture["packets"][::2], capture["packets"][1::2], strict=True)
    )
]
EXCHANGES = {
    (name, exchange["case"]): exchange
    for name, matrix in VECTORS.items()
    for exchange in matrix.get("exchanges", [])
}
RFC8762_CLI, STAMP_SUITE = "reflect_matrix_rfc8762cli", "reflect_matrix_stampsuite08"
exchanges = pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=map("-".join, EXCHANGES))


def readers(*, auth):
    if auth:
        return partial(stamp.parse_request_auth, key=KEY), partial(stamp.parse_reply_auth, key=KEY)
    return stamp.parse_request, stamp.parse_reply


def assert_is(packet, fields):
    """Compare what is common to requests and replies with the decoding beside the capture."""
    assert packet.sequence == fields["seq"]
    assert packet.timestamp == int(fields["timestamp"], 16)
    assert packet.estimate == int(fields["error_estimate"], 16)
    assert (packet.ssid or 0) == fields["ssid"]
    if "sender_seq" in fields:
        assert packet.receive_timestamp == int(fields["receive_timestamp"], 16)
        assert packet.sender_sequence == fields["sender_seq"]
        assert packet.sender_timestamp == int(fields["sender_timestamp"], 16)
        assert packet.sender_estimate == int(fields["sender_error_estimate"], 16)
        assert packet.sender_ttl == fields["sender_ttl"]
    found, _ = tlv.split(packet.tlvs)
    assert [(each.flags, each.kind, each.value.hex()) for each in found] == [
        (int(each["flags"], 16), each["type"], each["val"])
        for each in fields.get("tlvs", [])
        if len(each["val"]) == 2 * each["len"]  # the decoding shows one that is cut off, too
    ]


def without_stray_ssid(reply, *, auth):
    """stamp-suite writes the SSID into two octets that must be zero as well."""
    stray = 74 if auth else 38
    return reply[:stray] + bytes(2) + reply[stray + 2 :]


def repeated(reply, request, parsed, *, auth):
    """Write a parsed reply again, by a reflector that takes over the SSID the reply has."""
    ssid = slice(26, 28) if auth else slice(14, 16)
    request = request[: ssid.start] + reply[ssid] + request[ssid.stop :]
    pack = partial(stamp.pack_reply, key=KEY) if auth else stamp.pack_reply
    return pack(
        request,
        sequence=parsed.sequence,
        timestamp=parsed.timestamp,
        estimate=parsed.estimate,
        receive_timestamp=parsed.receive_timestamp,
        ttl=parsed.sender_ttl,
        tlvs=parsed.tlvs,
    )


@pytest.mark.parametrize(("request_", "reply", "fields", "auth"), CAPTURES)
def test_captured_request_is_read_and_written(request_, reply, fields, auth):
    """A captured request is read field by field, its HMAC verifies, and it is written the same."""
    del reply
    parse, _ = readers(auth=auth)
    packet = parse(request_)
    assert_is(packet, fields[0])
    again = (packet.sequence, packet.timestamp, packet.estimate, packet.ssid, packet.tlvs)
    pack = partial(stamp.pack_request_auth, key=KEY) if auth else stamp.pack_request
    assert pack(*again) == request_


@pytest.mark.parametrize(("request_", "reply", "fields", "auth"), CAPTURES)
def test_captured_reply_is_read_and_written(request_, reply, fields, auth):
    """A captured reply is read field by field, its HMAC verifies, and it is written the same."""
    _, parse = readers(auth=auth)
    packet = parse(reply)
    assert_is(packet, fields[1])
    written = repeated(reply, request_, packet, auth=auth)
    covered = 96 if auth else 44  # a stray SSID is under the HMAC, which verified above
    assert written[:covered] == without_stray_ssid(reply, auth=auth)[:covered]
    size = 112 if auth else 44
    assert written[size:] == reply[size:]
    assert 0 < stamp.dwell(packet) < 10_000_000


def test_captured_hmac_tlvs_verify():
    """All HMAC TLVs of the captures verify over Sequence Number and preceding TLVs."""
    verified = 0
    for name in ("stamp_auth_tlvs_hmactlv_stampsuite", "stamp_open_hmactlv_stampsuite"):
        for packet in VECTORS[name]["packets"]:
            datagram = bytes.fromhex(packet["udp_payload_hex"])
            region = datagram[112 if VECTORS[name]["auth"] else 44 :]
            assert tlv.verifies(KEY, packet["fields"]["seq"], region)
            preceding = region[:-20]
            flags = region[-20]
            assert preceding + tlv.sign(KEY, packet["fields"]["seq"], preceding, flags) == region
            verified += 1
    assert verified == 8


@exchanges
def test_request_of_the_matrix_is_read(exchange):
    """Requests of the matrix are read; the short and the corrupt one are refused as such."""
    request = bytes.fromhex(exchange["request_hex"])
    refusal = {"short14": "short", "mult0": "multiplier"}.get(exchange["case"])
    if refusal:
        with pytest.raises(WireError, match=refusal):
            stamp.parse_request(request)
    else:
        packet = stamp.parse_request(request)
        assert request == stamp.pack_request(
            packet.sequence, packet.timestamp, packet.estimate, packet.ssid, packet.tlvs
        )


@exchanges
def test_reply_of_the_matrix_is_read_and_written(exchange):
    """Replies of the matrix are read, and those as long as their request are written the same."""
    if exchange["reply_hex"] is None:
        assert exchange["case"] == "mult0"
        return
    request, reply = (bytes.fromhex(exchange[f"{which}_hex"]) for which in ("request", "reply"))
    packet = stamp.parse_reply(reply)
    assert_is(packet, exchange["reply_fields"])
    if len(request) == len(reply):
        assert repeated(reply, request, packet, auth=False) == without_stray_ssid(reply, auth=False)
    assert hbd_tlv.from_reply(packet.tlvs) is None


def region_of(name, case, which):
    return bytes.fromhex(EXCHANGES[name, case][f"{which}_hex"])[44:]


def cos(value):
    if len(value) != 4:
        raise WireError("length")
    return value


@pytest.mark.parametrize(
    "case",
    [
        "extra_padding_20",
        "experimental_250",
        "private_252_pen32473",
        "cos_dscp46",
        "malformed_len_beyond_end",
        "cos_bad_len3",
        "u_flag_clear_from_sender",
    ],
)
def test_tlvs_are_reflected_as_by_stamp_suite(case):
    """Flags and values come back as from the other RFC 8972 reflector."""
    region = region_of(STAMP_SUITE, case, "request")
    theirs = region_of(STAMP_SUITE, case, "reply")
    assert tlv.reflect(region, {1: bytes, 4: cos}) == theirs[: len(region)]


def test_reply_of_a_reflector_that_only_copies_says_nothing():
    """Of a plain RFC 8762 reflector every TLV comes back U=1, and none is read."""
    for name, case in EXCHANGES:
        if name == RFC8762_CLI and case not in {"mult0", "u_flag_clear_from_sender"}:
            assert tlv.understood_by_reflector(region_of(name, case, "reply")) == []


def test_good_and_bad_hmac_tlvs_of_a_reply():
    """A reflector's own HMAC TLV verifies; where ours failed there, I spoils all of the reply."""
    good, bad = (
        EXCHANGES[STAMP_SUITE, case]["reply_fields"]["seq"]
        for case in ("t250_hmac_ok", "t250_hmac_bad")
    )
    region = region_of(STAMP_SUITE, "t250_hmac_ok", "reply")
    assert tlv.verifies(KEY, good, region)
    assert [each.kind for each in tlv.understood_by_reflector(region)] == [tlv.HMAC]
    region = region_of(STAMP_SUITE, "t250_hmac_bad", "reply")
    assert not tlv.verifies(KEY, bad, region)
    assert tlv.understood_by_reflector(region) == []


def test_ntp_reflector_answers_a_ptp_request():
    """The Z bit is each side's own: NTP stamps in the reply beside the PTP stamp it brings back."""
    reply = stamp.parse_reply(bytes.fromhex(EXCHANGES[RFC8762_CLI, "ptp_z1"]["reply_hex"]))
    assert (ntp.is_ptp(reply.estimate), ntp.is_ptp(reply.sender_estimate)) == (False, True)
    assert reply.sender_timestamp == ntp.ptp_from_unix(1_700_000_000_500_000_000)
