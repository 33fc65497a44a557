"""hbd's own TLV."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.wire import hbd_tlv, tlv
from hbd.wire.errors import WireError
from hbd.wire.hbd_tlv import HbdTlv

u8, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 32, 64))
words = st.builds(HbdTlv, u8, u8, u8, u64, u64, u32, u32, u32)

WORDS = HbdTlv(
    flags=hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL,
    state=hbd_tlv.Seen.UP,
    reason=hbd_tlv.Reason.NONE,
    incarnation=0x1122334455667788,
    node=0x99AABBCCDDEEFF00,
    interval_usec=1_000_000,
    hold_s=30,
    accepted=5,
)


def test_value_octet_by_octet():
    """The 40 octets stand where the table of the format has them."""
    assert WORDS.pack().hex(" ", 4) == (
        "68626431 01030300 11223344 55667788 99aabbcc ddeeff00 000f4240 0000001e 00000005 00000000"
    )


@given(words, u32)
def test_words_survive(said, count):
    """What is said is read, and another count can be put in without unpacking."""
    assert hbd_tlv.parse(said.pack()) == said
    counted = hbd_tlv.with_accepted(said.pack(), 2**32 + count)
    assert hbd_tlv.parse(counted) == replace(said, accepted=count)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b"hbd1\x01".__add__)))
def test_any_value_is_words_or_a_wire_error(value):
    """Strangers' octets are read or refused with WireError; nothing else comes out."""
    with suppress(WireError):
        assert hbd_tlv.parse(value).pack()[:36] == value[:36]


def test_others_use_the_type_too():
    """Another magic or version is foreign at any length; ours of another length is malformed."""
    value = WORDS.pack()
    assert not hbd_tlv.is_ours(b"BER!" + value[4:])
    assert not hbd_tlv.is_ours(value[:4] + b"\x02" + value[5:])
    assert not hbd_tlv.is_ours(b"")
    for wrong in (value[:-1], value + b"\0", value[:5]):
        with pytest.raises(WireError, match="length"):
            hbd_tlv.is_ours(wrong)


def test_reply_of_an_hbd_is_recognised():
    """The words of an hbd reflector are found behind other TLVs."""
    region = tlv.pack(1, b"pad", 0) + tlv.pack(250, WORDS.pack(), 0)
    assert hbd_tlv.from_reply(region) == WORDS


@pytest.mark.parametrize("flags", [0x80, 0x40, 0x20, 0xE0])
def test_reply_with_a_flag_is_not_an_hbds(flags):
    """With U, M or I on it the TLV says nothing."""
    assert hbd_tlv.from_reply(tlv.pack(250, WORDS.pack(), flags)) is None


@pytest.mark.parametrize(
    "region",
    [
        b"",
        bytes(44),
        tlv.pack(250, replace(WORDS, flags=hbd_tlv.STATEFUL).pack(), 0),
        tlv.pack(249, WORDS.pack(), 0),
        tlv.pack(250, WORDS.pack()[:-1], 0),
        tlv.pack(250, b"BER!" + WORDS.pack()[4:], 0),
        tlv.pack(250, WORDS.pack(), 0) + tlv.pack(1, b"", 0x20),
    ],
    ids=["nothing", "zeros", "no R", "another type", "short", "another magic", "I elsewhere"],
)
def test_reply_of_another_reflector_is_not_an_hbds(region):
    """A copy of our own words, zeros, or others' TLVs make no hbd of a reflector."""
    assert hbd_tlv.from_reply(region) is None


@given(st.binary(max_size=120))
def test_any_reply_can_be_asked(region):
    """Strangers' TLVs are read without raising."""
    hbd_tlv.from_reply(region)


def test_node_id_is_64_bits_of_the_name():
    """The same name is the same number on every machine, another one another."""
    assert hbd_tlv.node_id("foobar") == 0x85944171F73967E8  # published test vector
    assert hbd_tlv.node_id("db2") != hbd_tlv.node_id("db1") < 2**64
