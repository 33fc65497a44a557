"""TLVs and what both ends do with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.wire import tlv
from hbd.wire.auth import Key
from hbd.wire.errors import WireError
from hbd.wire.tlv import Tlv

KEY = Key(b"secret")

octets = st.integers(0, 255)
tlvs = st.lists(st.builds(Tlv, octets, st.integers(1, 255), st.binary(max_size=20)), max_size=6)


def of_four(value):
    if len(value) != 4:
        raise WireError("length")
    return value[::-1]


def foreign(_value):
    return None


@given(tlvs)
def test_tlvs_survive(written):
    """TLVs are read as they were written, whatever their flags, and nothing is left over."""
    region = b"".join(tlv.pack(each.kind, each.value, each.flags) for each in written)
    assert tlv.split(region) == (written, b"")


@given(st.binary(max_size=80))
def test_any_octets_are_tlvs_and_a_rest(region):
    """Whole TLVs and the rest are the region again, whatever it is."""
    whole, rest = tlv.split(region)
    assert b"".join(tlv.pack(each.kind, each.value, each.flags) for each in whole) + rest == region


@pytest.mark.parametrize(
    "rest",
    [b"\x80", b"\x80\xfa\x00", bytes(24), bytes.fromhex("80fa0003 6162"), b"\x80\x00\x00\x01x"],
    ids=["one octet", "three octets", "zeros", "cut off", "type 0"],
)
def test_reading_ends_where_tlvs_do(rest):
    """A piece of a header, a cut-off TLV and a type of 0 end the reading and are reported."""
    before = tlv.pack(250, b"abc")
    assert tlv.split(before + rest) == ([Tlv(0x80, 250, b"abc")], rest)


def test_understood_loses_u_and_the_rest_keeps_its_value():
    """A reflector clears U where it understands and sets it where not, whatever the sender set."""
    region = tlv.pack(4, b"abcd", 0xFF) + tlv.pack(9, b"xyz", 0x00) + tlv.pack(250, b"foreign", 0)
    assert tlv.split(tlv.reflect(region, {4: of_four, 250: foreign})) == (
        [Tlv(0, 4, b"dcba"), Tlv(0x80, 9, b"xyz"), Tlv(0x80, 250, b"foreign")],
        b"",
    )


def test_not_understood_is_copied_verbatim():
    """TLVs of a sender that a reflector does not know come back octet by octet, U=1."""
    region = tlv.pack(9, b"xyz") + tlv.pack(250, b"a value") + tlv.pack(252, b"")
    assert tlv.reflect(region, {}) == region


def test_wrong_length_is_malformed_and_ends_it():
    """A known type of a wrong length gets M and no U; what follows is copied, flags and all."""
    region = tlv.pack(4, b"abc") + tlv.pack(4, b"abcd")
    assert tlv.reflect(region, {4: of_four}) == tlv.pack(4, b"abc", 0x40) + tlv.pack(4, b"abcd")


@pytest.mark.parametrize(("kind", "flags"), [(4, 0x40), (9, 0xC0)])
def test_length_beyond_the_end_is_malformed(kind, flags):
    """A TLV that is cut off gets M, U too if its type is not known, and keeps its octets."""
    region = tlv.pack(9, b"xy") + tlv.pack(kind, b"abcd", 0)[:-1]
    expected = tlv.pack(9, b"xy") + tlv.pack(kind, b"abcd", flags)[:-1]
    assert tlv.reflect(region, {4: of_four}) == expected


def test_type_0_ends_a_reflectors_work():
    """Nothing from a type of 0 on is touched."""
    region = tlv.pack(4, b"abcd") + bytes(4) + tlv.pack(4, b"abcd", 0xFF)
    assert tlv.reflect(region, {4: of_four})[8:] == region[8:]


@given(st.binary(max_size=200))
def test_reflected_region_is_as_long_as_it_was(region):
    """Whatever the octets, as many come back."""
    assert len(tlv.reflect(region, {1: bytes, 4: of_four, 250: foreign})) == len(region)


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        ((0, 0, 0), [1, 2, 3]),
        ((0, 0x80, 0), [1, 3]),
        ((0, 0x40, 0), [1]),
        ((0, 0xC0, 0), [1]),
        ((0, 0, 0x20), []),
        ((0, 0x40, 0x20), []),
        ((0x80, 0x80, 0x80), []),
        ((0x10, 0, 0), [1, 2, 3]),
    ],
)
def test_what_a_sender_reads(flags, kinds):
    """U is skipped, M ends it, I on any TLV spoils all, and the reserved bits mean nothing."""
    region = b"".join(tlv.pack(n, b"", each) for n, each in enumerate(flags, start=1))
    assert [each.kind for each in tlv.understood_by_reflector(region)] == kinds


@pytest.mark.parametrize("zeros", range(9))
def test_zero_filled_space_says_nothing(zeros):
    """A reflector that fills the space of our TLVs with zeros has said nothing."""
    assert tlv.understood_by_reflector(bytes(zeros)) == []


@given(tlvs.filter(lambda all_: all(each.kind != tlv.HMAC for each in all_)), st.binary(max_size=9))
def test_hmac_tlv_stands_for_all_before_it(written, padding):
    """An HMAC TLV verifies with its key and sequence number, with padding after it or none."""
    region = b"".join(tlv.pack(each.kind, each.value, each.flags) for each in written)
    signed = region + tlv.sign(KEY, 9, region)
    assert tlv.verifies(KEY, 9, signed)
    assert tlv.verifies(KEY, 9, signed + tlv.pack(tlv.EXTRA_PADDING, padding))
    assert not tlv.verifies(KEY, 10, signed)
    assert not tlv.verifies(Key(b"other"), 9, signed)
    assert not tlv.verifies(KEY, 9, signed + tlv.pack(250, padding))
    assert not tlv.verifies(KEY, 9, signed + padding[:3] + b"x")


def test_hmac_tlv_in_front_of_another_spoils_it():
    """There is one HMAC TLV and it is the last, or all comes back with I (RFC 8972 4.8)."""
    region = tlv.sign(KEY, 9, b"") + tlv.pack(250, b"value")
    twice = region + tlv.sign(KEY, 9, region)
    assert not tlv.verifies(KEY, 9, twice)
    answered, rest = tlv.split(tlv.reflect_signed(twice, {}, KEY, asked=9, answered=4))
    assert ([each.flags for each in answered], rest) == ([0xA0, 0xA0, 0xA0], b"")


def test_each_octet_before_an_hmac_tlv_counts():
    """One flipped bit in a TLV, its flags too, or in the HMAC, and it does not verify."""
    region = tlv.pack(250, b"value") + tlv.pack(tlv.EXTRA_PADDING, b"pad")
    signed = region + tlv.sign(KEY, 9, region)
    for octet in [*range(len(region)), *range(len(region) + 4, len(signed))]:
        spoilt = bytearray(signed)
        spoilt[octet] ^= 0x20
        assert not tlv.verifies(KEY, 9, bytes(spoilt))


@pytest.mark.parametrize(
    "region",
    [
        b"",
        bytes(20),
        tlv.pack(1, b"x"),
        tlv.pack(tlv.HMAC, b"x"),
        tlv.pack(250, KEY.sign(bytes(4))),
    ],
    ids=["nothing", "zeros", "padding", "short HMAC", "another type"],
)
def test_no_hmac_tlv_verifies_nothing(region):
    """Without an HMAC TLV nothing is verified, not even by the right octets in another TLV."""
    assert tlv.verifies(KEY, 0, tlv.pack(tlv.HMAC, KEY.sign(bytes(4))))
    assert not tlv.verifies(KEY, 0, region)


@given(st.binary(max_size=80))
def test_any_octets_can_be_asked_for_their_hmac(region):
    """Strangers' octets do not verify, and nothing is raised."""
    assert not tlv.verifies(KEY, 9, region)
    tlv.understood_by_reflector(region)
