"""What a reflector answers together it answers as it would one by one."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.core import rate
from hbd.core.address import host_of
from hbd.core.arrival import Requests
from hbd.core.familiar import Familiar
from hbd.core.model import MILLISECOND, SECOND
from hbd.core.rate import Buckets, Rate
from hbd.core.reflector import Reflector
from hbd.core.station import Station
from hbd.core.visitors import IDLE
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.auth import Key
from hbd.wire.hbd_tlv import GOODBYE, HbdTlv

STRIDE = 400
PORT = 8620
WALL = 1_700_000_000 * SECOND
HERE, THERE, GROUP = "192.0.2.1", "192.0.2.9", "224.0.0.1"
PEER, OTHER, NAT = "192.0.2.2", "192.0.2.3", "192.0.2.4"
FLEET = Key(bytes(range(32)))
WORDS = HbdTlv(0, hbd_tlv.Seen.UP, 0, 77, 78, 1_000_000, 0, 9)
TOLD = tlv.pack(hbd_tlv.TYPE, WORDS.pack())
LEAVING = tlv.pack(hbd_tlv.TYPE, replace(WORDS, flags=GOODBYE).pack())
OTHERS = tlv.pack(hbd_tlv.TYPE, b"BER".ljust(hbd_tlv.LENGTH, b"\0"))
UNKNOWN = tlv.pack(9, WORDS.pack())
SENDER = (PEER, 50_000)


class Asked:
    """A datagram, and what is known of how it came."""

    def __init__(self, octets, *, source=SENDER, destination=HERE, ttl=61, stamped=WALL - 5_000):
        self.octets = octets
        self.source = source
        self.destination = destination
        self.ttl = ttl
        self.stamped = stamped


def request(region=TOLD, *, sequence=7, ssid=5, estimate=0x8A03):
    return stamp.pack_request(sequence, ntp.ntp_from_unix(WALL) ^ sequence, estimate, ssid, region)


def signed(*, ssid=5):
    return stamp.pack_request_auth(1, ntp.ntp_from_unix(WALL), 0x8A03, ssid, key=FLEET)


def columns(come):
    """Give datagrams as they are received together; what is beyond their ends is of others."""
    octets = (each.octets[:STRIDE].ljust(STRIDE, b"\xfa") for each in come)
    return Requests(
        memoryview(b"".join(octets)),
        STRIDE,
        [len(each.octets) for each in come],
        [repr(each.source).encode() for each in come],
        [each.destination.encode() for each in come],
        [each.stamped for each in come],
        [each.ttl for each in come],
    )


class Side:
    """A reflector, and what is heard of those whom it answers."""

    def __init__(self, buckets=None):
        station = Station("here", 0xB, Random(1))  # noqa: S311 - to be replayed
        self.reflector = Reflector({PORT}, set(), lambda _: True, station)
        if buckets is not None:
            self.reflector.visitors.buckets = buckets
        self.familiar = Familiar(self.reflector)
        self.gone = set()
        self.heard = []
        self.asked = 0
        """How many were answered one by one."""

    def one(self, each, now, wall):
        self.asked += 1
        reflection = self.reflector.answer(
            each.octets,
            source=each.source,
            destination=each.destination,
            ttl=each.ttl,
            received=wall if each.stamped is None else each.stamped,
            now=now,
            wall=wall,
        )
        if reflection is not None:
            self.hear(host_of(each.source), reflection)
        return reflection

    def hear(self, host, reflection):
        """Take note of what the daemon makes of a request; of most it makes nothing."""
        sender, goodbye = reflection.sender, reflection.goodbye
        if sender.is_of_host and self.familiar.is_heeded(host):
            self.heard.append((host, "told"))
        if sender.known_by is not None:
            self.heard.append((host, sender.known_by))
        if goodbye is not None:
            self.heard.append((host, sender.key is not None, goodbye))
            self.gone.add(host)
        elif host in self.gone:
            self.heard.append((host, "returned"))
            self.gone.remove(host)

    def one_by_one(self, come, now=0, wall=WALL):
        reflections = [self.one(each, now, wall) for each in come]
        return [reflection and reflection.reply for reflection in reflections]

    def together(self, come, now=0, wall=WALL):
        def answer_one(at):
            return self.one(come[at], now, wall)

        return self.familiar.answer(columns(come), answer_one, now=now, wall=wall)

    def state(self):
        reflector = self.reflector
        buckets = reflector.visitors.buckets
        return (
            reflector.answered,
            reflector.dropped,
            list(reflector.visitors.requests_from.items()),
            [(key, one.accepted, one.heard) for key, one in reflector.visitors.sessions.items()],
            [(key, one.full_at) for key, one in buckets._buckets.items()],
            buckets._overall_full_at,
            reflector.admission.refused(),
            self.heard,
        )


# Both ways

sources = st.sampled_from(
    [
        SENDER,
        SENDER,
        (PEER, 50_001),
        (OTHER, 50_000),
        (NAT, 50_000),
        (NAT, 50_001),
        (PEER, 862),
        (PEER, PORT),
        (PEER, 0),
        (GROUP, 50_000),
        ("fe80::1", 50_000, 0, 1),
        ("fe80::1", 50_000, 0, 2),
        ("fe80::1", 50_000, 7, 2),
    ]
)
regions = st.sampled_from(
    [TOLD] * 4
    + [b""] * 3
    + [LEAVING, OTHERS, UNKNOWN, TOLD + b"x", TOLD[:-1], TOLD + tlv.pack(1, bytes(4)), bytes(44)]
)
estimates = st.sampled_from([0x8A03] * 6 + [0x3FFF, 0x0001, 0x8A00])
datagrams = st.one_of(
    st.builds(
        request,
        regions,
        sequence=st.integers(0, ntp.WORD - 1),
        ssid=st.sampled_from([5, 5, 5, 6, 0]),
        estimate=estimates,
    ),
    st.sampled_from([signed(), request()[:43], bytes(44), request(bytes(2_000))]),
)
arrivals = st.builds(
    Asked,
    datagrams,
    source=sources,
    destination=st.sampled_from([HERE, HERE, HERE, THERE, GROUP]),
    ttl=st.sampled_from([61, 61, None, 255]),
    stamped=st.one_of(st.none(), st.integers(WALL - SECOND, WALL)),
)


def accept(reflector, hosts):
    reflector.admission.accepts = set(hosts).__contains__


def keyed(host):
    return (FLEET,) if host == PEER else ()


CHOICES = {
    "accepts": [lambda _: True, {PEER, OTHER, "fe80::1%2"}.__contains__, {NAT}.__contains__],
    "ports": [{PORT}, {PORT, 50_001}, set()],
    "own": [set(), {SENDER}, {(NAT, 50_001)}],
    "keys": [lambda _: (), keyed],
    "roaming": [{}, {"fleet": (FLEET,)}],
    "is_heeded": [{PEER}.__contains__, {NAT}.__contains__],
    "estimate": [0x3FFF, 0x8A03],
    "name": ["here", "there"],
}
"""What may be replaced, and by what."""


def replace_rule(side, name, rule):
    """Do so, wherever it is kept."""
    places = side.reflector.admission, side.reflector, side.reflector.station, side.familiar
    if name == "name":
        side.reflector.station.call(rule)
        return
    setattr(next(place for place in places if hasattr(place, name)), name, rule)


changes = st.one_of(
    st.none(),
    st.none(),
    *(st.tuples(st.just(name), st.sampled_from(of)) for name, of in CHOICES.items()),
)
turns = st.lists(
    st.tuples(
        st.sampled_from([0, 0, MILLISECOND, SECOND, SECOND, IDLE, IDLE + 1]),
        changes,
        st.lists(arrivals, min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=12,
)
rates = st.sampled_from(
    [
        (rate.PER_SOURCE, rate.OVERALL),
        (Rate(per_second=2, burst=5), rate.OVERALL),
        (rate.PER_SOURCE, Rate(per_second=5, burst=12)),
        (Rate(per_second=1, burst=3), Rate(per_second=2, burst=9)),
    ]
)


@pytest.mark.parametrize("table", [3, 6, rate.TABLE])
@settings(deadline=None)
@given(turns=turns, limits=rates)
def test_together_is_one_by_one(table, turns, limits):
    """Whatever comes: the same octets go out, and the same is counted, kept and told."""
    single, many = Side(Buckets(*limits)), Side(Buckets(*limits))
    many.reflector.visitors.are_crowded = lambda: True
    now = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate, "TABLE", table)
        for passed, change, come in turns:
            now += passed
            for side in (single, many):
                if change is not None:
                    replace_rule(side, *change)
            wall = WALL + now
            assert many.together(come, now, wall) == single.one_by_one(come, now, wall)
            assert many.state() == single.state()


# Who is familiar


def knowing(*come):
    """Give a side that has answered these, or the usual one."""
    side = Side()
    side.together(come or [Asked(request())])
    side.asked = 0
    return side


def is_familiar(side, octets=None, **how):
    """Whether one more is answered without being asked who it is."""
    before = side.asked
    side.together([Asked(request() if octets is None else octets, **how)])
    return side.asked == before


@pytest.mark.parametrize("region", [TOLD, b""])
@pytest.mark.parametrize("source", [SENDER, ("fe80::1", 50_000, 0, 2)])
def test_who_asks_again_is_familiar(region, source):
    """A second request like the first, of another number and time, is answered at once."""
    side = knowing(Asked(request(region), source=source))
    assert is_familiar(side, request(region, sequence=8), source=source)


def test_what_is_said_of_the_sender_makes_nobody_strange():
    """The state that a sender sees, its estimate and its TTL may be others each time."""
    side = knowing()
    words = tlv.pack(hbd_tlv.TYPE, replace(WORDS, state=hbd_tlv.Seen.DOWN, interval_usec=1).pack())
    assert is_familiar(side, request(words, estimate=0x0102), ttl=3)
    assert is_familiar(side, request(b""))


@pytest.mark.parametrize(
    "how",
    [
        {"source": (PEER, 50_001)},
        {"source": (OTHER, 50_000)},
        {"destination": THERE},
        {"octets": request(ssid=6)},
        {"octets": request(OTHERS)},
        {"octets": request(LEAVING)},
        {"octets": request(TOLD + bytes(4))},
        {"octets": request(estimate=0x8A00)},
        {"octets": request()[:16] + b"random  " + request()[24:]},
    ],
)
def test_what_is_not_as_usual_is_looked_at(how):
    """Another session, other TLVs, a goodbye and what is to be dropped are no usual request."""
    assert not is_familiar(knowing(), **how)


@pytest.mark.parametrize("name", ["ports", "own", "accepts", "keys", "is_heeded"])
def test_other_rules_make_all_strangers(name):
    """When it is decided otherwise who may ask, or who is heeded, it is decided of everybody."""
    side = knowing()
    replace_rule(side, name, CHOICES[name][-1])
    assert not is_familiar(side)


@pytest.mark.parametrize("name", ["estimate", "name", "roaming"])
def test_other_words_make_nobody_a_stranger(name):
    """Our words, our clock's error and the keys of others are nothing to who needs none."""
    side = knowing()
    replace_rule(side, name, CHOICES[name][-1])
    assert is_familiar(side)


def test_who_is_heeded_stays_a_stranger():
    """Each request of a host that is told about by them is told of."""
    side = Side()
    side.familiar.is_heeded = {PEER}.__contains__
    side.together([Asked(request())] * 3)
    assert side.heard == [(PEER, "told")] * 3


@pytest.mark.parametrize("roaming", [{}, {"fleet": (FLEET,)}])
def test_who_needs_a_key_stays_a_stranger(roaming):
    """A key that was used once opens nothing to what is not signed, whatever its SSID."""
    side = Side()
    side.reflector.admission.keys = keyed
    side.reflector.admission.roaming = roaming
    unsigned = [Asked(request(ssid=ssid)) for ssid in (0, 5)]
    assert side.together([Asked(signed()), *unsigned])[1:] == [None, None]
    assert side.asked == 3


def test_after_a_goodbye_all_are_strangers():
    """Whoever asks next from a host that has said goodbye is told of: it is back."""
    other = Asked(request(ssid=6))
    side = knowing(Asked(request()), other)
    side.together([other, Asked(request(LEAVING)), other, other])
    assert [what[1] for what in side.heard] == [False, "returned"]
    assert side.asked == 2


def test_the_familiar_are_held_to_the_overall_rate():
    """Where there are not enough tokens for all that came together, the last ones get none."""
    side = Side(Buckets(rate.PER_SOURCE, Rate(per_second=1, burst=3)))
    side.together([Asked(request())])
    replies = side.together([Asked(request())] * 4)
    assert [reply is None for reply in replies] == [False, False, True, True]
    assert side.reflector.dropped == {"overload": 2}
    assert None not in side.together([Asked(request())] * 2, 2 * SECOND)


def test_an_idle_session_begins_anew():
    """Who was unheard for longer than a session is kept is counted from 0."""
    side = knowing()
    for now, number in ((IDLE, 1), (2 * IDLE, 2), (3 * IDLE + 1, 0)):
        [reply] = side.together([Asked(request())], now)
        assert stamp.parse_reply(reply).sequence == number


def test_who_is_forgotten_is_familiar_no_more(monkeypatch):
    """No more is remembered of the familiar than of all others."""
    monkeypatch.setattr(rate, "TABLE", 2)
    side = knowing(*(Asked(request(ssid=ssid)) for ssid in range(9)))
    assert len(side.reflector.visitors.familiar) == 2
    assert [is_familiar(side, request(ssid=ssid)) for ssid in (8, 7, 6)] == [True, True, False]


def test_a_bucket_that_is_forgotten_is_replaced(monkeypatch):
    """Where many more addresses ask than are remembered, who goes on is familiar again."""
    monkeypatch.setattr(rate, "TABLE", 2)
    side = knowing()
    malformed = request(estimate=0x8A00)
    side.together([Asked(malformed, source=(f"198.51.100.{n}", 9)) for n in range(4)])
    assert [is_familiar(side) for _ in range(3)] == [False, True, True]


def test_one_session_is_familiar_once():
    """Who comes by other ways in turn, and so is spelt otherwise, takes no more room."""
    side = Side()
    for flow in range(9):
        side.together([Asked(request(), source=("fe80::1", 50_000, flow, 2))])
    assert len(side.reflector.visitors.familiar) == 1


def test_where_there_is_no_room_the_unused_make_it(monkeypatch):
    """Who is answered without being asked who it is counts as used all the same."""
    monkeypatch.setattr(rate, "TABLE", 8)
    side = knowing(*(Asked(request(ssid=ssid), source=(PEER, 9)) for ssid in range(5)))
    assert is_familiar(side, request(ssid=0), source=(PEER, 9))
    side.together([Asked(request(ssid=ssid), source=(PEER, 9)) for ssid in range(5, 9)])
    assert [key[2] for key in side.reflector.visitors.sessions] == [2, 3, 4, 0, 5, 6, 7, 8]


def test_moment_of_a_familiar_request_is_kept():
    """Where there is room too it is known when each source was answered last."""
    side = knowing()
    side.together([Asked(request())], 7)
    assert side.reflector.visitors.requests_from == {PEER: 7}
    assert not side.asked


def test_numbers_and_counts_wrap():
    """After 2^32 requests of a familiar session numbers and counts go on from 0."""
    side = knowing()
    [session] = side.reflector.visitors.sessions.values()
    session.accepted = 2**32 - 1
    replies = side.together([Asked(request())] * 2)
    assert [stamp.parse_reply(reply).sequence for reply in replies] == [2**32 - 1, 0]
    assert [hbd_tlv.from_reply(reply[44:]).accepted for reply in replies] == [0, 1]
    assert not side.asked
