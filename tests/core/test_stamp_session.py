"""The Session-Sender of a path: what it writes and what it believes."""

from itertools import count
from random import Random

import pytest

from hbd.core.asked import Asked
from hbd.core.events import Restarted
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    Cause,
    ReflectorKind,
    StampOptions,
    State,
    Timing,
    Tlv,
)
from hbd.core.path import Reception
from hbd.core.peer import Peer
from hbd.core.seeker import SEEK_AGAIN, SEEK_BURST, SEEK_SPACING
from hbd.core.session import Answer, Fact
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from tests.simulation.world import WALL, World, peer

A, B = "10.0.0.1", "10.0.0.2"


def session_with(**options):
    station = Station("monitor", 7, Random(1))  # noqa: S311 - to be replayed
    return StampSession(peer(A, stamp=StampOptions(**options)), station)


def reflect(request, *, tlvs=None, wall=WALL, dwell=0, estimate=1):
    convert = ntp.ptp_from_unix if ntp.is_ptp(estimate) else ntp.ntp_from_unix
    return stamp.pack_reply(
        request,
        sequence=int.from_bytes(request[:4], "big"),
        timestamp=convert(wall + dwell),
        estimate=estimate,
        receive_timestamp=convert(wall),
        ttl=64,
        tlvs=tlvs,
    )


def as_hbd(request, incarnation=5, flags=hbd_tlv.REFLECTOR):
    """Answer as another hbd does."""
    words = hbd_tlv.HbdTlv(flags, 0, 0, incarnation, 0, 0, 0, 0).pack()
    return reflect(
        request, tlvs=tlv.reflect(request[stamp.OPEN_SIZE :], {hbd_tlv.TYPE: lambda _: words})
    )


def last_sent(world, name):
    """Give the last heartbeat to a host."""
    return next(octets for _, to, octets in reversed(world.sent) if to == name)


def carries_tlv(request):
    found, _ = tlv.split(request[stamp.OPEN_SIZE :])
    return any(one.kind == hbd_tlv.TYPE for one in found)


def converse(session, count, answer=reflect, first=0):
    """Send so many heartbeats, each answered by `answer`, None for silence; give the requests."""
    requests = []
    for sequence in range(first, first + count):
        request, token = session.compose(sequence, WALL, State.UP)
        requests.append(request)
        reply = answer(request)
        if reply is not None:
            read = session.read(reply)
            assert isinstance(read, Answer)
            assert read.token in (None, token)
            session.accepted(read, token)
    return requests


def test_tlv_is_given_up_after_three_replies_without_it():
    """auto: the TLV is on until three replies came without it, then in every tenth heartbeat."""
    sent = converse(session_with(), 40)
    assert [n for n, request in enumerate(sent) if carries_tlv(request)] == [0, 1, 2, 10, 20, 30]


def test_tlv_stays_where_the_reflector_is_hbd():
    """auto: an hbd reflector fills in the TLV, and every heartbeat carries it."""
    assert all(carries_tlv(request) for request in converse(session_with(), 40, as_hbd))


def test_reflector_that_becomes_hbd_is_noticed():
    """auto: when hbd is installed there later, the tenth heartbeat finds out."""
    session = session_with()
    converse(session, 9)
    sent = converse(session, 20, as_hbd, first=9)
    assert [carries_tlv(request) for request in sent] == [False] + [True] * 19


def without_ssid(request):
    return as_hbd(request[:14] + bytes(2) + request[16:])


def test_who_has_brought_our_ssid_back_does_it_always():
    """Nobody else can leave it out, and guess but our T1; another reflector may."""
    session = session_with()
    converse(session, 3, without_ssid)
    converse(session, 1, as_hbd, first=3)
    request, _ = session.compose(4, WALL, State.UP)
    words = "replies without our SSID, which it brought back before"
    assert session.read(without_ssid(request)) == Fact(Cause.BAD_REPLY, words)
    for forget in (
        lambda: session.compose(5, WALL, State.DOWN),
        lambda: session.adopt(peer(A, stamp=StampOptions())),
    ):
        forget()
        assert isinstance(session.read(without_ssid(request)), Answer)
        converse(session, 1, as_hbd, first=6)
        assert isinstance(session.read(without_ssid(request)), Fact)


def test_where_no_ssid_is_sent_none_is_missed():
    """ssid: 0 is none."""
    converse(session_with(ssid=0), 3, as_hbd)


def test_two_replies_without_are_not_enough():
    """auto: an hbd reflector that fills it in now and then is hbd."""
    session = session_with()
    for round_ in range(10):
        converse(session, 2, first=3 * round_)
        converse(session, 1, as_hbd, first=3 * round_ + 2)
    assert carries_tlv(converse(session, 1, first=31)[0])


def test_tries_without_when_nothing_comes():
    """auto: after three heartbeats without reply, every second goes without the TLV."""
    sent = converse(session_with(), 12, lambda _: None)
    assert [carries_tlv(request) for request in sent] == [True] * 3 + [False, True] * 4 + [False]


def test_tlv_that_does_not_get_through_is_left_out():
    """auto: where only heartbeats without TLV are answered, they go without, but for each tenth."""

    def firewall(request):
        return None if carries_tlv(request) else reflect(request)

    session = session_with()
    converse(session, 4, firewall)
    sent = converse(session, 40, firewall, first=4)
    assert [n for n, r in enumerate(sent, start=4) if carries_tlv(r)] == [10, 20, 30, 40]


@pytest.mark.parametrize(("option", "carried"), [(Tlv.ON, True), (Tlv.OFF, False)])
def test_tlv_on_and_off(option, carried):
    """on and off are kept to, whatever is answered."""
    session = session_with(tlv=option)
    for answer in (reflect, as_hbd, lambda _: None):
        sent = converse(session, 20, answer)
        assert {carries_tlv(request) for request in sent} == {carried}


def test_tlv_tells_what_we_think_of_the_peer():
    """The TLV carries our incarnation, our node, the interval, and our state of the peer."""
    session = session_with()
    for state, seen in (
        (State.UP, hbd_tlv.Seen.UP),
        (State.DOWN, hbd_tlv.Seen.DOWN),
        (State.UNKNOWN, hbd_tlv.Seen.UNKNOWN),
    ):
        request, _ = session.compose(0, WALL, state)
        (found,), _ = tlv.split(request[stamp.OPEN_SIZE :])
        words = hbd_tlv.parse(found.value)
        assert (words.state, words.incarnation) == (seen, 7)
        assert words.node == hbd_tlv.node_id("monitor")
        assert words.interval_usec == 1_000_000
        assert words.flags & hbd_tlv.REFLECTOR == 0


@pytest.mark.parametrize(("option", "expected"), [(0, {0}), (4711, {4711})])
def test_ssid_as_configured(option, expected):
    """0 is none on the wire, a number is itself."""
    assert {stamp.ssid(request) for request in converse(session_with(ssid=option), 5)} == expected


def test_ssid_is_random_unless_configured():
    """Each session has one of its own, never 0, and keeps it."""
    station = Station("monitor", 7, Random(1))  # noqa: S311 - to be replayed
    seen = set()
    for _ in range(200):
        session = StampSession(peer(A), station)
        ssids = {stamp.ssid(request) for request in converse(session, 3)}
        assert len(ssids) == 1
        seen |= ssids
    assert 0 not in seen
    assert len(seen) > 150


def test_replies_of_another_session_are_refused():
    """An SSID that is not ours is a bad reply; none at all is an old reflector."""
    session = session_with(ssid=5)
    request, _ = session.compose(0, WALL, State.UP)
    reply = bytearray(reflect(request))
    reply[14:16] = b"\0\6"
    assert "SSID 6" in session.read(bytes(reply)).text
    reply[14:16] = b"\0\0"
    assert isinstance(session.read(bytes(reply)), Answer)


def test_claims_its_own_ssid_and_none():
    """Of several sessions to one address, a datagram is of the one with its SSID, or without."""
    session = session_with(ssid=5)
    request, _ = session.compose(0, WALL, State.UP)
    reply = reflect(request)
    assert session.claims(reply)
    assert session.claims(reply[:14])
    assert session.claims(reply[:14] + b"\0\0" + reply[16:])
    assert not session.claims(reply[:14] + b"\0\6" + reply[16:])


@pytest.mark.parametrize("size", [44, 47, 48, 88, 92, 100, 1400])
@pytest.mark.parametrize("option", list(Tlv))
def test_size_is_reached_by_padding(size, option):
    """Heartbeats are of the size asked for, wherever an Extra Padding TLV fits; never larger."""
    bare = 88 if option is not Tlv.OFF else 44
    request = converse(session_with(size=size, tlv=option), 1)[0]
    assert len(request) == (size if size >= bare + 4 else bare)
    assert isinstance(session_with(size=size).read(reflect(request)[:44]), Answer | Fact)


@pytest.mark.parametrize("length", [38, 41, 44])
def test_short_replies_are_replies(length):
    """Reflectors that leave out the last fields (38, 41 octets) are believed."""
    session = session_with(ssid=0)
    request, token = session.compose(3, WALL, State.UP)
    answer = session.read(reflect(request)[:length])
    assert (answer.sequence, answer.token) == (3, token)


@pytest.mark.parametrize("length", [0, 1, 37])
def test_shorter_datagrams_are_no_stamp(length):
    """Fewer than 38 octets are a bad reply that says how many came."""
    fact = session_with().read(bytes(length))
    assert fact.cause is Cause.BAD_REPLY
    assert str(length) in fact.text


def test_own_request_bounced_is_no_reply():
    """An echo service sends our requests back: that is no reflector."""
    session = session_with()
    for sequence in range(20):
        request, _ = session.compose(sequence, WALL, State.UP)
        assert "echo service" in session.read(request).text


def test_timestamp_must_come_back():
    """The very timestamp that was sent is the token of a reply."""
    session = session_with()
    request, token = session.compose(0, WALL, State.UP)
    assert session.read(reflect(request)).token == token


def test_echo_timestamp_off_asks_no_token():
    """echo_timestamp: off believes a reflector that mixes up its timestamps, and sends no TLV."""
    session = session_with(echo_timestamp=False)
    sent = converse(session, 20)
    assert not any(carries_tlv(request) for request in sent)
    assert session.read(reflect(sent[0])).token is None


def test_timestamp_is_of_now_and_not_to_be_guessed():
    """T1 is the wall clock to the microsecond, and differs in its lowest bits each time."""
    session = session_with()
    stamps = {session.compose(n, WALL, State.UP)[1] for n in range(100)}
    assert len(stamps) > 90
    assert all(abs(ntp.unix_from_ntp(one, WALL) - WALL) < 1_000 for one in stamps)


@pytest.mark.parametrize("flag", [tlv.UNRECOGNISED, tlv.MALFORMED, tlv.INTEGRITY])
def test_flagged_tlvs_are_not_read(flag):
    """Words under U, M or I are nobody's: the reply counts, the reflector is no hbd by it."""
    session = session_with()
    request, _ = session.compose(0, WALL, State.UP)
    reply = bytearray(as_hbd(request))
    assert session.read(bytes(reply)).incarnation == 5
    reply[stamp.OPEN_SIZE] |= flag
    assert session.read(bytes(reply)).incarnation is None


def test_our_own_words_are_not_anothers():
    """A reflector that clears U but fills nothing in has given us our own words."""
    session = session_with()
    request, _ = session.compose(0, WALL, State.UP)
    reply = bytearray(reflect(request))
    reply[stamp.OPEN_SIZE] &= ~tlv.UNRECOGNISED
    assert session.read(bytes(reply)).incarnation is None


@pytest.mark.parametrize("estimate", [0x0001, ntp.PTP | 1], ids=["NTP", "PTP"])
def test_dwell_is_read_in_both_formats(estimate):
    """T3 - T2 is the time the reflector held it, in NTP and in PTP stamps."""
    session = session_with(ssid=0)
    request, _ = session.compose(0, WALL, State.UP)
    answer = session.read(reflect(request, dwell=3_000_000, estimate=estimate))
    assert abs(answer.dwell - 3_000_000) <= 1


def test_icmp_payload_is_recognised():
    """Octets that an ICMP error returns are ours if sequence number and T1 are."""
    session = session_with()
    request, token = session.compose(9, WALL, State.UP)
    assert session.recognises(request, 9, token)
    assert session.recognises(request[:12], 9, token)
    assert not session.recognises(request[:11], 9, token)
    assert not session.recognises(request, 10, token)
    assert not session.recognises(request, 9, token ^ 2)


def path_at(sequence):
    station = Station("monitor", 7, Random(1))  # noqa: S311 - to be replayed
    settings = peer(A)
    path = Asked(A, Peer(settings, 0, 0), StampSession(settings, station))
    path.sequence = sequence
    return path


def test_sequence_wraps_at_32_bits():
    """Beyond 2**32 heartbeats numbers begin anew on the wire, and replies are still matched."""
    path = path_at(2**32 - 2)
    for n in range(5):
        request = path.compose(n * SECOND, n * SECOND, WALL)
        assert int.from_bytes(request[:4], "big") == (2**32 - 2 + n) % 2**32
        reception, _ = path.receive(reflect(request), n * SECOND + 5, n * SECOND + 5)
        assert reception is Reception.LIFE
    assert path.figures.received == 5
    request = path.compose(9 * SECOND, 9 * SECOND, WALL)
    assert path.is_about(request)


def test_reply_across_the_wrap_is_matched():
    """A reply to a heartbeat from before the wrap is matched after it."""
    path = path_at(2**32 - 1)
    before = path.compose(0, 0, WALL)
    path.compose(SECOND, SECOND, WALL)
    reception, _ = path.receive(reflect(before), SECOND, SECOND)
    assert reception is Reception.LIFE


def test_forged_timestamp_is_refused():
    """A reply with the right number and another T1 is refused; the cause names the way out."""
    path = path_at(0)
    request = bytearray(path.compose(0, 0, WALL))
    request[5] ^= 1
    reception, _ = path.receive(reflect(bytes(request)), 5, 5)
    assert reception is Reception.REFUSED
    assert "echo_timestamp: off" in path.bad.text


def test_reply_to_what_was_never_sent_is_refused():
    """A sequence number of the future, or long past, is no reply."""
    path = path_at(5_000)
    request = path.compose(0, 0, WALL)
    for sequence in (5_001, 4_000, 0, 2**31):
        reply = bytearray(reflect(request))
        reply[24:28] = sequence.to_bytes(4, "big")
        assert path.receive(bytes(reply), 5, 5)[0] is Reception.REFUSED
    assert path.figures.received == 0


@pytest.mark.parametrize("ssid", [None, 0])
def test_two_peers_at_one_address_get_their_own_replies(ssid):
    """Two peers with one address and port: each hears its own replies, none is refused."""
    world = World(1)
    options = StampOptions(ssid=ssid)
    world.watch(peer("a", A, stamp=options), peer("b", A, stamp=options))
    paths = [world.path(name) for name in ("a", "b")]
    for _ in range(600):
        world.run(100_000_000)
        assert ssid == 0 or all(path.bad is None for path in paths)
    assert set(world.states_of("a") + world.states_of("b")) == {State.UP}
    assert all(path.figures.received >= path.figures.sent - 1 for path in paths)


def test_hbd_that_is_back_is_asked_for_its_words_at_once():
    """After an outage of an hbd the second heartbeat carries the TLV again, not the tenth."""
    session = session_with()
    converse(session, 3, as_hbd)
    converse(session, 4, lambda _: None, first=3)
    request = converse(session, 1, first=7)[0]
    assert not carries_tlv(request)
    assert carries_tlv(converse(session, 1, first=8)[0])


def test_restart_of_the_other_side_is_told():
    """Up all along with another incarnation: one `restarted`, no change of state."""
    world = World(1)
    world.watch(peer(A))
    incarnations = [5]
    world.reflect = lambda datagram, _: as_hbd(datagram, incarnations[0])
    world.run(10 * SECOND)
    assert world.of_kind(Restarted) == []
    incarnations[0] = 6
    world.run(10 * SECOND)
    (event,) = world.of_kind(Restarted)
    assert (event.peer, event.incarnation) == (A, 6)
    assert world.states_of(A) == [State.UP]
    world.links[A].dead.append((world.now, world.now + 20 * SECOND))
    world.run(10 * SECOND)
    incarnations[0] = 7  # while it was down: the outage was told
    world.run(30 * SECOND)
    assert world.of_kind(Restarted) == [event]


def test_a_peer_that_is_another_with_each_reply_is_told_of_once_a_second():
    """Sixty restarts at once, then one a second: the others are counted."""
    world = World(1)
    world.watch(peer(A, timing=Timing(50 * MILLISECOND, 50 * MILLISECOND, 3, 2)))
    incarnations = count(5)
    world.reflect = lambda datagram, _: as_hbd(datagram, next(incarnations))
    world.run(20 * SECOND)
    told = len(world.of_kind(Restarted))
    assert 60 <= told <= 60 + 20
    assert told + world.fleet.dropped["restarted"] > 390
    assert world.states_of(A) == [State.UP]


def test_several_machines_at_one_address_are_told_once():
    """No start of a daemon gives a number again: one that returns is no restart, and who of them
    answers is no news from then on; a machine that was never heard is."""
    world = World(1)
    world.watch(peer(A))
    turns = [5, 6, 7, *[5, 6] * 5, 7, *range(10, 18), 10]
    world.reflect = lambda datagram, _: as_hbd(datagram, turns[0])
    while len(turns) > 1:
        world.run(3 * SECOND)
        turns.pop(0)
    world.run(3 * SECOND)
    told = [(event.incarnation, event.returned) for event in world.of_kind(Restarted)]
    new = [(number, False) for number in (6, 7, *range(10, 18))]
    assert told == [*new[:2], (5, True), *new[2:]]
    assert world.states_of(A) == [State.UP]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (("10.9.9.9", 862), "10.9.9.9 instead; `address: 10.9.9.9` would accept them"),
        ((A, 1024), "port 1024, not 862: a NAT on the way, or the reflector itself?"),
    ],
)
def test_replies_from_elsewhere_are_told(source, words):
    """A peer that answers by another address than it is asked at is down, and says by which."""
    world = World(1)
    world.watch(peer(B), peer(A))
    world.run(10 * SECOND)
    fleet = world.fleet
    fleet.receive(as_hbd(last_sent(world, A)), source, world.now)
    assert world.path(A).bad is None  # it misses nothing
    world.links[A].dead.append((world.now, 10**18))
    world.run(2 * SECOND)
    assert world.path(A).is_missing
    asked = last_sent(world, A)
    guessed = reflect(asked[:4] + bytes(8) + asked[12:])
    for stranger in (guessed, reflect(bytes(44)), b"", as_hbd(last_sent(world, B))):
        fleet.receive(stranger, source, world.now)
        world.run(SECOND)
        assert world.path(A).bad is None
    world.run(30 * SECOND)
    for _ in range(1 + SEEK_BURST // SEEK_SPACING):
        fleet.receive(b"", source, world.now)
    fleet.receive(as_hbd(last_sent(world, A)), source, world.now)
    assert world.path(A).bad is None  # it is looked now and then: anybody may send us something
    world.run(SECOND)
    fleet.receive(as_hbd(last_sent(world, A)), source, world.now)
    world.turn()
    change = world.changes_of(A)[-1]
    assert (change.state, change.cause) == (State.DOWN, Cause.BAD_REPLY)
    assert change.evidence[0] == f"{A}: replies come from {words}"
    assert world.states_of(B) == [State.UP]


def test_who_is_answered_from_elsewhere_is_sought_fifty_times_a_second():
    """Of several that miss each is found; what is sent over and over costs no more."""
    world = World(1)
    world.watch(peer(A), peer(B), peer("10.0.0.3"))
    world.run(10 * SECOND)
    for name in (A, B):
        world.links[name].dead.append((world.now, 10**18))
    while not (world.path(A).is_missing and world.path(B).is_missing):
        world.run(MILLISECOND)
    fleet, source, refused = world.fleet, ("10.9.9.9", 862), Reception.REFUSED.value
    for _ in range(100):
        fleet.receive(as_hbd(last_sent(world, A)), source, world.now)
    at_once = 1 + SEEK_BURST // SEEK_AGAIN
    assert fleet.dropped[refused] == at_once
    world.run(SEEK_AGAIN)
    world.turn()
    for _ in range(100):
        fleet.receive(as_hbd(last_sent(world, B)), source, world.now)
    assert fleet.dropped[refused] == at_once + 1
    assert None not in (world.path(A).bad, world.path(B).bad)


def test_who_comes_back_without_a_word_of_itself_is_not_restarted_later():
    """An outage that ended with replies without our TLV was told; who it is now is no news."""
    path = path_at(0)
    path.give(State.UP)
    assert not path.is_another(5)
    path.give(State.DOWN)
    path.give(State.UP)
    assert not path.is_another(6)
    assert path.is_another(7)


FLAGS = hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL


@pytest.mark.parametrize(
    ("kind", "behind", "flags", "expected"),
    [
        (ReflectorKind.AUTO, 0, None, None),
        (ReflectorKind.AUTO, 3, None, 3),
        (ReflectorKind.AUTO, 0, FLAGS, 0),
        (ReflectorKind.AUTO, 0, hbd_tlv.REFLECTOR, None),
        (ReflectorKind.STATEFUL, 0, None, 0),
        (ReflectorKind.STATEFUL, -1, None, 2**32 - 1),
        (ReflectorKind.STATELESS, 3, FLAGS, None),
    ],
)
def test_reflector_counts_if_it_says_or_shows_so(kind, behind, flags, expected):
    """By configuration, by hbd's own flag, or by a number that is not ours; stateless is final."""
    session = session_with(reflector=kind)
    request, _ = session.compose(9, WALL, State.UP)
    reply = reflect(request) if flags is None else as_hbd(request, flags=flags)
    reply = (9 - behind).to_bytes(4, "big") + reply[4:]
    assert session.read(reply).uncounted == expected


@pytest.mark.parametrize(
    ("flags", "uncounted", "is_known"),
    [
        (hbd_tlv.REFLECTOR, 0, True),
        (hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL, 0, True),
        (hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL, 3, True),
        (hbd_tlv.REFLECTOR, 3, False),
    ],
)
def test_the_next_reply_is_not_known_of_who_counts_by_its_number_alone(flags, uncounted, is_known):
    """A reflector that does not say that it counts may show so in one reply and not in the next."""
    session = session_with()

    def answer(request):
        reply = as_hbd(request, flags=flags)
        return (int.from_bytes(reply[:4], "big") - uncounted).to_bytes(4, "big") + reply[4:]

    converse(session, 3, answer, first=10)
    assert (session.seen is not None) is is_known
