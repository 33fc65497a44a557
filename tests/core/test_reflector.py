"""The reflector answers requests, and nothing else."""

from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.core import admission, rate
from hbd.core.address import host_of, is_unicast
from hbd.core.admission import Sender
from hbd.core.model import SECOND
from hbd.core.reflector import Reflector
from hbd.core.station import Station
from hbd.core.visitors import IDLE
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.auth import Key
from hbd.wire.hbd_tlv import HbdTlv, Reason

HERE, PEER, STRANGER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SENDER = (PEER, 50_000)
SENDER6 = ("fd99::2", 50_000, 0, 0)
PORT = 8620
WALL = 1_700_000_000 * SECOND
RECEIVED = WALL - 1_000_000
MALFORMED = tlv.pack(250, b"hbd1\x01 of a wrong length")
WORDS = HbdTlv(0, hbd_tlv.Seen.UP, 0, 77, 78, 1_000_000, 0, 9)
OWN_TLV = tlv.pack(hbd_tlv.TYPE, WORDS.pack())


def request(sequence=0, *, ssid=5, estimate=0x8A03, tlvs=b""):
    return stamp.pack_request(sequence, ntp.ntp_from_unix(WALL), estimate, ssid, tlvs)


def station(incarnation):
    return Station("here", incarnation, Random(1))  # noqa: S311 - to be replayed


def reflecting(*, accepts=lambda _address: True, own=()):
    return Reflector({PORT}, set(own), accepts, station(0xB))


def ask(reflector, datagram=None, **changes):
    """Give the reply to one datagram, a request of the peer's where nothing else is said."""
    reflection = reflect(reflector, datagram, **changes)
    return reflection and reflection.reply


def reflect(reflector, datagram=None, **changes):
    """Give a reflector one datagram, and what it makes of it."""
    given_ = {
        "source": SENDER,
        "destination": HERE,
        "ttl": 61,
        "received": RECEIVED,
        "now": 0,
        "wall": WALL,
    }
    return reflector.answer(request() if datagram is None else datagram, **given_ | changes)


def assert_dropped(reason, datagram=None, reflector=None, **changes):
    reflector = reflector or reflecting()
    assert ask(reflector, datagram, **changes) is None
    assert (reflector.dropped, reflector.answered) == ({reason: 1}, 0)
    assert not reflector.visitors.requests_from
    assert not reflector.visitors.sessions


# The reply


def test_reply_says_what_a_reflector_says():
    """A reply has our times and error, the sender's words, the TTL of the request and its SSID."""
    reflector = reflecting()
    reflector.station.estimate = 0x8F83
    assert stamp.parse_reply(ask(reflector, request(9))) == stamp.Reply(
        sequence=0,
        timestamp=ntp.ntp_from_unix(WALL),
        estimate=0x8F83,
        ssid=5,
        receive_timestamp=ntp.ntp_from_unix(RECEIVED),
        sender_sequence=9,
        sender_timestamp=ntp.ntp_from_unix(WALL),
        sender_estimate=0x8A03,
        sender_ttl=61,
        tlvs=b"",
    )
    assert (reflector.answered, reflector.dropped) == (1, {})


def test_error_of_the_clock_is_not_known_until_it_is_set():
    """A reflector that was told nothing of its clock says the largest error."""
    assert stamp.parse_reply(ask(reflecting())).estimate == 0x3FFF


@pytest.mark.parametrize(("read", "said"), [(None, 255), (1, 1), (255, 255)])
def test_unknown_ttl_is_255(read, said):
    """A TTL that could not be read is said to be 255."""
    assert stamp.parse_reply(ask(reflecting(), ttl=read)).sender_ttl == said


def test_ptp_request_is_answered_in_ntp():
    """The request's format is its own: its estimate comes back with Z=1, ours has Z=0."""
    reply = stamp.parse_reply(ask(reflecting(), request(estimate=0x4001)))
    assert (ntp.is_ptp(reply.estimate), ntp.is_ptp(reply.sender_estimate)) == (False, True)


@pytest.mark.parametrize(
    "region",
    [
        b"x",
        bytes(24),
        tlv.pack(9, b"not understood"),
        tlv.pack(250, b"BER of others"),
        tlv.pack(12, bytes(12)) + tlv.pack(10, bytes(8)),
    ],
    ids=["one octet", "zeros", "unknown type", "others' type 250", "control and return path"],
)
def test_what_is_not_understood_comes_back_verbatim(region):
    """TLVs of others come back octet by octet, U=1; none makes us send elsewhere, or more."""
    assert ask(reflecting(), request(tlvs=region))[44:] == region


def test_padding_and_our_tlv_are_understood():
    """Extra Padding comes back with U=0, hbd's TLV with our words, and a malformed one with M."""
    reflector = reflecting()
    ask(reflector)
    region = tlv.pack(tlv.EXTRA_PADDING, b"pad") + OWN_TLV + MALFORMED
    found, rest = tlv.split(ask(reflector, request(1, tlvs=region))[44:])
    assert [(each.flags, each.kind) for each in found] == [(0, 1), (0, 250), (0x40, 250)]
    assert (found[0].value, found[2].value, rest) == (b"pad", MALFORMED[4:], b"")
    assert hbd_tlv.parse(found[1].value) == HbdTlv(
        flags=hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL,
        state=0,
        reason=0,
        incarnation=0xB,
        node=hbd_tlv.node_id("here"),
        interval_usec=0,
        hold_s=0,
        accepted=2,
    )


def test_who_stops_says_so():
    """A goodbye stands in the next reply, with the count of its session."""
    reflector = reflecting()
    reflector.station.leave(Reason.STOP)
    words = hbd_tlv.from_reply(stamp.parse_reply(ask(reflector, request(tlvs=OWN_TLV))).tlvs)
    bye = hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL | hbd_tlv.GOODBYE
    assert (words.flags, words.reason, words.hold_s, words.accepted) == (bye, 1, 3_600, 1)


def test_another_name_stands_in_the_next_reply():
    """What is said of us follows a reload of `node:`."""
    reflector = reflecting()
    reflector.station.call("other")
    words = hbd_tlv.from_reply(stamp.parse_reply(ask(reflector, request(tlvs=OWN_TLV))).tlvs)
    assert words.node == hbd_tlv.node_id("other")


# Rule 1


@pytest.mark.parametrize("size", [0, 1, 9, 14, 43])
def test_short_datagram_is_dropped(size):
    """Less than 44 octets would be answered with more than was sent: no answer."""
    assert_dropped("short", request()[:size])


# Rule 2


@pytest.mark.parametrize("port", [862, PORT, 7, 13, 17, 19, 37])
def test_what_comes_from_a_reflectors_port_is_dropped(port):
    """From 862, ports we answer on and services that answer anything come replies, not requests."""
    assert_dropped("loop", source=(PEER, port))


def test_what_comes_from_a_known_reflector_is_dropped():
    """Nothing from a reflector's socket address is a request; from other ports of it, it may be."""
    reflector = reflecting(own={(PEER, 50_000), ("fd99::2", 50_000)})
    assert_dropped("loop", reflector=reflector)
    assert ask(reflector, source=SENDER6) is None
    assert ask(reflector, source=(PEER, 50_001))
    assert ask(reflector, source=(STRANGER, 50_000))


def test_our_own_address_is_a_source_like_any_other():
    """A heartbeat of this machine to itself is answered."""
    assert ask(reflecting(), source=(HERE, 50_000))


def test_port_0_is_nobody():
    """A datagram that nobody can be answered to is dropped, or sending the reply would fail."""
    assert_dropped("no-port", source=(PEER, 0))


NOBODY = "0.0.0.0"  # noqa: S104 - nothing is bound to it
MANY = ["224.0.0.1", "239.255.255.255", "255.255.255.255", NOBODY, "ff02::1", "ff0e::1%2", "::"]


@pytest.mark.parametrize("address", MANY)
def test_many_are_neither_asked_nor_answered(address):
    """Neither from nor to a group, a broadcast address or no address is there a heartbeat."""
    scope = (0, 0) if ":" in address else ()
    assert_dropped("multicast", source=(address, 50_000, *scope))
    assert_dropped("multicast", destination=address)


@pytest.mark.parametrize(
    "address",
    [
        *("223.255.255.255", "240.0.0.1", "22.4.0.1", "2.2.4.0", "10.224.0.1", "127.0.0.1"),
        *("ff::1", "ff0::1", "::1", "fe80::1", "2001:db8::ff02:1", "fd00::", "0.0.0.1"),
    ],
)
def test_one_host_is_no_group(address):
    """Addresses of single hosts that look a little like groups are answered."""
    assert is_unicast(address)


@pytest.mark.parametrize("ports", [(862, 862), (862, PORT), (PORT, PORT)])
def test_spoofed_datagram_starts_no_loop(ports):
    """Two reflectors do not answer each other, whatever one datagram claims to come from."""
    addresses = {HERE: (HERE, ports[0]), PEER: (PEER, ports[1])}
    reflectors = {
        host: Reflector({addresses[host][1]}, set(), lambda _: True, station(n))
        for n, host in enumerate(addresses)
    }
    flight = request(tlvs=OWN_TLV)
    to, source = PEER, HERE
    for hops in count():
        flight = ask(reflectors[to], flight, source=addresses[source], destination=to)
        if flight is None or hops == 100:
            break
        to, source = source, to
    assert hops <= 1


def test_known_reflectors_on_ports_of_their_own_do_not_loop():
    """With ports that differ, it is the list of peers' reflectors that ends a loop at once."""
    theirs = ("192.0.2.2", 8621)
    assert_dropped("loop", reflector=reflecting(own={theirs}), source=theirs)


@pytest.mark.parametrize("key", [None, Key(bytes(32))])
def test_what_a_reflector_has_answered_is_no_request(key):
    """Whoever is behind a port that nobody knows: a T2 of these days ends the loop."""
    here, there = reflecting(), reflecting()
    for each in (here, there):
        each.admission.keys = lambda _: () if key is None else (key,)
    asked = request() if key is None else stamp.pack_request_auth(0, 1, 1, 5, key=key)
    reply = ask(here, asked, source=("192.0.2.2", 9_001))
    assert ask(there, reply, source=("192.0.2.1", 9_000), wall=WALL + 3_600 * SECOND) is None
    assert there.dropped == {"loop": 1}
    assert ask(there, reply, source=("192.0.2.1", 9_000), wall=WALL + 90_000 * SECOND) is not None


# Rule 3


def test_stranger_is_refused_in_silence_and_told_about_once():
    """A source that is not listed gets nothing, is counted each time and named once."""
    reflector = reflecting(accepts={PEER}.__contains__)
    assert_dropped("unknown-source", reflector=reflector, source=(STRANGER, 50_000))
    assert reflector.admission.refused() == [STRANGER]
    assert ask(reflector, source=(STRANGER, 50_001)) is None
    assert ask(reflector, source=("192.0.2.4", 50_001)) is None
    assert reflector.dropped == {"unknown-source": 3}
    assert reflector.admission.refused() == ["192.0.2.4"]
    assert reflector.admission.refused() == []
    assert ask(reflector)


def test_number_of_strangers_that_are_named_is_bounded(monkeypatch):
    """Invented sources fill neither memory nor journal."""
    monkeypatch.setattr(admission, "REFUSED", 3)
    reflector = reflecting(accepts=lambda _address: False)
    for n in range(9):
        ask(reflector, source=(f"198.51.100.{n}", 50_000))
    assert len(reflector.admission.refused()) == 3
    ask(reflector, source=("198.51.100.99", 50_000))
    assert reflector.admission.refused() == []
    assert reflector.dropped == {"unknown-source": 10}


def test_reload_changes_who_is_answered_and_ends_no_session():
    """A list of sources that is replaced counts from the next datagram on; sequences go on."""
    reflector = reflecting(accepts={PEER}.__contains__)
    ask(reflector)
    reflector.admission.accepts = {STRANGER}.__contains__
    assert ask(reflector) is None
    assert ask(reflector, source=(STRANGER, 50_000))
    reflector.admission.accepts = {PEER}.__contains__
    assert stamp.parse_reply(ask(reflector)).sequence == 1


def test_scope_is_part_of_a_link_local_address():
    """The same address on two links is two hosts; one without a scope is just itself."""
    assert host_of(("fe80::1", 862, 0, 3)) == "fe80::1%3"
    assert host_of(SENDER6) == "fd99::2"
    assert host_of(SENDER) == PEER
    reflector = reflecting(accepts={"fe80::1%3"}.__contains__)
    assert ask(reflector, source=("fe80::1", 50_000, 0, 3), destination="fe80::2")
    assert ask(reflector, source=("fe80::1", 50_000, 0, 4), destination="fe80::2") is None
    assert list(reflector.visitors.requests_from) == ["fe80::1%3"]
    assert reflector.admission.refused() == ["fe80::1%4"]


# Rule 4


def test_source_is_answered_a_thousand_times_a_second():
    """One source has its burst and then its rate; other sources and addresses of ours theirs."""
    reflector = reflecting()
    answers = [ask(reflector, now=SECOND) for _ in range(1_100)]
    assert answers.count(None) == 100 == reflector.dropped["rate"]
    assert ask(reflector, now=SECOND, source=(PEER, 50_001)) is None
    assert ask(reflector, now=SECOND, source=(STRANGER, 50_000))
    assert ask(reflector, now=SECOND, destination="192.0.2.9")
    assert ask(reflector, now=SECOND + SECOND // 1_000)


def test_all_sources_together_have_a_limit():
    """However many sources there are, there is a rate that all of them share."""
    reflector = reflecting()
    reflector.visitors.buckets = rate.Buckets(overall=rate.Rate(per_second=10, burst=2))
    replies = [ask(reflector, source=(f"198.51.100.{n}", 50_000)) for n in range(5)]
    assert replies.count(None) == 3 == reflector.dropped["overload"]


def test_strangers_take_no_tokens():
    """What is refused for its source costs nothing of what listed sources share."""
    reflector = reflecting(accepts={PEER}.__contains__)
    for n in range(2_000):
        ask(reflector, source=(f"198.51.{n // 250}.{n % 250}", 50_000))
    assert len(reflector.visitors.buckets) == 0


# Rule 6


@pytest.mark.parametrize("estimate", [0x0000, 0x8F00])
def test_multiplier_of_0_is_dropped(estimate):
    """A request whose multiplier is 0 is corrupt."""
    assert_dropped("multiplier", request(estimate=estimate))


# Rule 8


@pytest.mark.parametrize(
    ("source", "destination", "longest"), [(SENDER, HERE, 1472), (SENDER6, "fd99::1", 1452)]
)
def test_longest_request_fits_a_frame(source, destination, longest):
    """A request of a frame is answered in full, one octet more is not answered in fragments."""
    where = {"source": source, "destination": destination}
    assert len(ask(reflecting(), request(tlvs=bytes(longest - 44)), **where)) == longest
    assert_dropped("too-long", request(tlvs=bytes(longest - 43)), **where)
    assert_dropped("too-long", request(tlvs=bytes(65_507 - 44)), **where)


def test_rules_come_in_their_order():
    """A datagram that breaks many rules is counted for the first of them."""
    reflector = reflecting(accepts=lambda _address: False)
    bad = request(estimate=0, tlvs=bytes(2_000))
    ask(reflector, bad[:40], source=("224.0.0.1", 862))
    ask(reflector, bad, source=("224.0.0.1", 862))
    ask(reflector, bad, source=("224.0.0.1", 50_000))
    ask(reflector, bad)
    reflector.admission.accepts = lambda _address: True
    for _ in range(1_001):
        ask(reflector, bad)
    ask(reflector, request(tlvs=bytes(2_000)), source=(STRANGER, 1))
    assert list(reflector.dropped) == [
        "short",
        "loop",
        "multicast",
        "unknown-source",
        "multiplier",
        "rate",
        "too-long",
    ]


# Sessions


def sequences(reflector, asked):
    return [stamp.parse_reply(ask(reflector, **each)).sequence for each in asked]


def test_replies_of_a_session_are_numbered():
    """The sequence numbers of a session's replies count from 0, whatever the requests' are."""
    reflector = reflecting()
    asked = [{"datagram": request(sequence)} for sequence in (5, 9, 9, 2)]
    assert sequences(reflector, asked) == [0, 1, 2, 3]


def test_session_is_address_port_ssid_and_our_address():
    """Each of the four makes another session; an IPv6 one is told apart by its scope too."""
    asked = [
        {},
        {"source": (STRANGER, 50_000)},
        {"source": (PEER, 50_001)},
        {"datagram": request(ssid=6)},
        {"destination": "192.0.2.9"},
        {"source": ("fe80::1", 50_000, 0, 1)},
        {"source": ("fe80::1", 50_000, 0, 2)},
    ]
    assert sequences(reflecting(), asked * 2) == [0] * 7 + [1] * 7


def test_dropped_request_takes_no_number():
    """Sequence numbers count replies, so a sender sees no loss where one was refused."""
    reflector = reflecting()
    ask(reflector)
    ask(reflector, request(estimate=0))
    ask(reflector, request(tlvs=bytes(2_000)))
    assert sequences(reflector, [{}]) == [1]


def test_idle_session_begins_anew():
    """A session is kept for 900 s after its last request and not a nanosecond longer."""
    reflector = reflecting()
    asked = [{"now": now} for now in (0, IDLE, 2 * IDLE, 3 * IDLE + 1)]
    assert sequences(reflector, asked) == [0, 1, 2, 0]


def test_sequence_and_count_wrap():
    """After 2^32 replies numbers and counts go on from 0."""
    reflector = reflecting()
    ask(reflector)
    (session,) = reflector.visitors.sessions.values()
    session.accepted = 2**32 - 1
    replies = [stamp.parse_reply(ask(reflector, request(tlvs=OWN_TLV))) for _ in range(2)]
    assert [reply.sequence for reply in replies] == [2**32 - 1, 0]
    assert [hbd_tlv.from_reply(reply.tlvs).accepted for reply in replies] == [0, 1]


def test_tables_are_bounded(monkeypatch):
    """However many sources are answered, what is remembered of them is bounded, the newest kept."""
    monkeypatch.setattr(rate, "TABLE", 3)
    reflector = reflecting()
    for n in range(9):
        ask(reflector, source=(f"198.51.100.{n}", 50_000), now=n)
    assert reflector.visitors.requests_from == {f"198.51.100.{n}": n for n in (6, 7, 8)}
    assert len(reflector.visitors.sessions) == len(reflector.visitors.buckets) == 3


def test_moment_of_the_last_request_is_kept():
    """For each source it is known when it was last answered, in monotonic time."""
    reflector = reflecting()
    for now in (5, 7):
        ask(reflector, now=now)
    ask(reflector, request(estimate=0), now=9)
    assert reflector.visitors.requests_from == {PEER: 7}


# Any datagram

addresses = st.sampled_from([HERE, PEER, STRANGER, "224.0.0.1"])
sources = st.one_of(
    st.tuples(addresses, st.integers(0, 65_535)),
    st.tuples(
        st.sampled_from(["::1", "fd99::2", "fe80::1"]),
        st.integers(0, 65_535),
        st.just(0),
        st.integers(0, 3),
    ),
)
datagrams = st.one_of(
    st.binary(max_size=120),
    st.binary(max_size=1_500).map(lambda region: request(tlvs=region)),
    st.lists(st.sampled_from([OWN_TLV, MALFORMED, tlv.pack(1, b"x"), bytes(4)]), max_size=4).map(
        lambda parts: request(tlvs=b"".join(parts))
    ),
)


@given(st.lists(st.tuples(datagrams, sources, addresses, st.integers(0, SECOND)), max_size=8))
def test_no_datagram_is_answered_with_more_or_raises(stream):
    """Whatever comes in is dropped and counted once, or answered with exactly as many octets."""
    reflector = reflecting(accepts=lambda address: address != STRANGER)
    for datagram, source, destination, now in stream:
        reply = ask(reflector, datagram, source=source, destination=destination, now=now)
        assert reply is None or len(reply) == len(datagram)
    assert reflector.answered + reflector.dropped.total() == len(stream)


# Keys

FLEET, OTHER = Key(bytes(range(32))), Key(bytes(range(32, 64)))


def signed(key):
    return stamp.pack_request_auth(0, ntp.ntp_from_unix(WALL), 0x8A03, 5, b"", key=key)


@pytest.mark.parametrize(
    ("own", "roaming", "used", "known_by", "is_of_host"),
    [
        ((), {"fleet": (FLEET,)}, FLEET, "fleet", True),
        ((FLEET,), {"fleet": (FLEET,)}, FLEET, "fleet", True),
        ((FLEET,), {"other": (OTHER,)}, OTHER, "other", False),
        ((FLEET,), {"other": (OTHER,)}, FLEET, None, True),
        ((FLEET,), {}, FLEET, None, True),
    ],
)
def test_who_is_known_by_a_key_is_so_behind_another_peers_address(
    own, roaming, used, known_by, is_of_host
):
    """A NAT may show many under the address of one: the key tells whose a request is."""
    reflector = reflecting()
    reflector.admission.keys = lambda _: own
    reflector.admission.roaming = roaming
    assert reflect(reflector, signed(used)).sender == Sender(used, known_by, is_of_host)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_key_that_nobody_has_opens_nothing(accepted):
    """With another key than the peer's, or any where none is accepted, there is no answer."""
    reflector = reflecting(accepts=lambda _: accepted)
    reflector.admission.keys = lambda _: (FLEET,)
    reflector.admission.roaming = {"fleet": (FLEET,)}
    assert ask(reflector, signed(OTHER)) is None
    assert reflector.dropped == {"hmac" if accepted else "unknown-source": 1}


def test_a_peer_whose_key_is_another_is_told_of_once_for_each_key():
    """Keys that differ are told of, not at each heartbeat, and again once ours has changed."""
    reflector = reflecting()
    reflector.admission.keys = lambda _: (FLEET,)
    for _ in range(3):
        assert ask(reflector, signed(OTHER)) is None
    assert ask(reflector, request()) is None
    assert reflector.admission.mistaken() == [PEER]
    assert ask(reflector, signed(OTHER)) is None
    assert reflector.admission.mistaken() == []
    reflector.admission.keys = lambda _: (OTHER,)
    assert ask(reflector, signed(OTHER)) is not None
    assert reflector.admission.mistaken() == []
    assert ask(reflector, signed(FLEET)) is None
    assert reflector.admission.mistaken() == [PEER]
    assert reflector.admission.refused() == []


def test_peers_whose_key_is_another_are_remembered_within_bounds(monkeypatch):
    """Invented sources of signed heartbeats fill neither memory nor journal."""
    monkeypatch.setattr(admission, "REFUSED", 4)
    reflector = reflecting(accepts=lambda _: True)
    for n in range(9):
        ask(reflector, signed(OTHER), source=(f"198.51.100.{n}", 50_000))
    assert len(reflector.admission.mistaken()) == 4
    ask(reflector, signed(OTHER), source=("198.51.100.99", 50_000))
    assert reflector.admission.mistaken() == []


def test_a_signed_heartbeat_where_no_key_is_listed_is_told_of():
    """Where only the other end has a key this end says so, once, and what is open is answered."""
    reflector = reflecting()
    for _ in range(2):
        assert ask(reflector, signed(OTHER)) is None
    assert reflector.dropped == {"hmac": 2}
    assert reflector.admission.mistaken() == [PEER]
    assert ask(reflector) is not None
    assert reflector.admission.mistaken() == []


def test_strangers_are_let_in_by_a_key_alone():
    """Whoever is not accepted is answered if a key that may come from anywhere signed."""
    reflector = reflecting(accepts=lambda _: False)
    reflector.admission.roaming = {"fleet": (FLEET,)}
    assert reflect(reflector, signed(FLEET)).sender == Sender(FLEET, "fleet", is_of_host=False)
    assert ask(reflector, request()) is None
    assert reflector.admission.refused() == [PEER]
