"""Signed requests count once: what somebody recorded, held back or sends back proves nothing."""

from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbd.core import admission, rate, replay
from hbd.core.admission import TRIED_AT_ONCE
from hbd.core.model import MILLISECOND, SECOND, StampOptions, State
from hbd.core.rate import Rate
from hbd.core.reflector import Reflector
from hbd.core.replay import FRESH, WIDTH, Guard, Signed, Standing, Window
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.auth import Key
from tests.simulation.world import peer

HERE, PEER = "192.0.2.1", "192.0.2.2"
WALL = 1_700_000_000 * SECOND
FLEET, OTHER = Key(bytes(range(32))), Key(bytes(range(32, 64)))
OURS = 0xB

# -- numbers -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-400, 400), max_size=60), st.integers(0, ntp.WORD - 1))
def test_a_number_is_taken_once(steps, first):
    """In any order, over the end of 32 bits: never twice, and always where it is in the window."""
    at = first
    window = Window(at, at, is_believed=True)
    taken, highest = {at}, at
    for step in steps:
        at = max(0, highest + step)
        is_due = at not in taken and at > highest - WIDTH
        assert window.takes(at % ntp.WORD, at) == is_due
        if is_due:
            taken.add(at)
            highest = max(highest, at)


def test_a_sender_may_begin_anew_in_its_session():
    """By a later T1, and only by that, numbers are new again."""
    window = Window(500, 1_000, is_believed=True)
    assert not window.takes(0, 1_000)
    assert window.takes(0, 1_001)
    assert window.takes(1, 1_002)
    assert not window.takes(500, 1_000)  # of before, though nothing so high has come since
    assert not window.takes(0, 1_001)


def test_a_clock_put_back_stops_no_session():
    """Who goes on counting is who it was, whatever its clock says."""
    window = Window(5, WALL, is_believed=True)
    assert window.takes(6, WALL - 3_600 * SECOND)
    assert not window.takes(6, WALL)
    assert not window.takes(5, WALL)


# -- sessions ----------------------------------------------------------------------------------


def look(guard, ssid, number=0, *, sent=WALL, incarnation=None, right=False, who=PEER):
    return guard.look(who, ssid, Signed(number, sent, right, lambda: incarnation), WALL)


@pytest.mark.parametrize(
    ("earlier", "standing"),
    [(0, Standing.NEW), (1, Standing.DOUBTFUL), (3_600 * SECOND, Standing.DOUBTFUL)],
)
def test_a_session_that_begins_in_the_past_is_in_doubt(earlier, standing):
    """Somebody may have recorded it."""
    guard = Guard(OURS)
    assert look(guard, 1) is Standing.NEW
    assert look(guard, 2, sent=WALL - earlier) is standing


def test_doubt_ends_with_what_cannot_have_been_recorded():
    """As soon as T1 is later than all that is known the session is of now."""
    guard = Guard(OURS)
    look(guard, 1)
    assert look(guard, 2, sent=WALL - 1) is Standing.DOUBTFUL
    assert look(guard, 2, 1, sent=WALL) is Standing.NEW


def test_another_start_of_a_daemon_needs_no_clock():
    """A machine without one may begin in the past; who was here before may not."""
    guard = Guard(OURS)
    assert look(guard, 1, incarnation=1) is Standing.NEW
    assert look(guard, 2, sent=0, incarnation=2) is Standing.NEW
    assert look(guard, 3, sent=0, incarnation=1) is Standing.DOUBTFUL
    assert look(guard, 4, sent=0, incarnation=2) is Standing.DOUBTFUL


def test_what_we_sent_proves_nobody():
    """Whoever sends our own heartbeat back has nothing but that."""
    assert look(Guard(OURS), 1, incarnation=OURS) is Standing.DOUBTFUL


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_are_right_say_what_is_old(sign):
    """Where both ends are synchronised nothing is believed that is a minute off; else all is."""
    for right, standing in ((True, Standing.DOUBTFUL), (False, Standing.NEW)):
        guard = Guard(OURS)
        assert look(guard, 1, sent=WALL - sign * FRESH, right=True) is Standing.NEW
        off = WALL - sign * (FRESH + 1)
        assert look(guard, 1, 1, sent=off, right=right) is standing
        assert look(Guard(OURS), 2, sent=off, right=right) is standing


def test_a_clock_that_was_ahead_is_in_doubt_for_a_minute_at_most():
    """What it said of the future is not held against the sender once it is put right."""
    guard = Guard(OURS)
    look(guard, 1, sent=WALL + 3_600 * SECOND)
    assert look(guard, 2, sent=WALL) is Standing.DOUBTFUL
    assert look(guard, 2, 1, sent=WALL + FRESH) is Standing.NEW


def test_a_run_before_is_not_ahead_of_this_one():
    """Where each run has the same session a recorded one goes on where this one ended."""
    guard = Guard(OURS)
    for number in range(20):
        assert look(guard, 5, number, sent=WALL + number, incarnation=1) is Standing.NEW
    for number in range(5):
        assert look(guard, 5, number, sent=WALL + 100 + number, incarnation=2) is Standing.NEW
    assert look(guard, 5, 6, sent=WALL + 106, incarnation=2) is Standing.NEW
    for number in range(20):
        assert look(guard, 5, number, sent=WALL + number, incarnation=1) is Standing.REPLAYED
        held = WALL + 50 + number
        assert look(guard, 5, 20 + number, sent=held, incarnation=1) is Standing.DOUBTFUL
    assert look(guard, 5, 5, sent=WALL + 105, incarnation=2) is Standing.NEW
    assert look(guard, 5, 4, sent=WALL + 104, incarnation=2) is Standing.REPLAYED
    # Its clock is put back, or it is late as number 5 was: it is who it was.
    assert look(guard, 5, 7, sent=WALL - SECOND, incarnation=2) is Standing.NEW
    assert look(guard, 5, 8, sent=WALL + 107, incarnation=2) is Standing.NEW


@pytest.mark.parametrize(("earlier", "standing"), [(0, Standing.NEW), (1, Standing.DOUBTFUL)])
@pytest.mark.parametrize("before", [None, 1])
def test_who_does_not_say_which_run_it_is_of_goes_by_the_clock(before, earlier, standing):
    """A recorded run without its TLV may be anybody's, but for the time that clocks are apart."""
    guard = Guard(OURS)
    assert look(guard, 5, 3, sent=WALL, incarnation=before) is Standing.NEW
    assert look(guard, 5, 4, sent=WALL - FRESH - earlier) is standing


def test_a_run_is_known_as_soon_as_it_says_which_it_is():
    """Its first heartbeat may have lost its TLV, or been robbed of it, and so may a later run's."""
    guard, hours = Guard(OURS), 3_600 * SECOND
    look(guard, 5, 0, sent=WALL - 2)
    look(guard, 5, 1, sent=WALL - 1, incarnation=1)
    assert look(guard, 5, 2, sent=WALL - hours, incarnation=1) is Standing.NEW
    look(guard, 5, 0, sent=WALL + 1)
    look(guard, 5, 1, sent=WALL + 2, incarnation=2)
    assert look(guard, 5, 3, sent=WALL - hours + 1, incarnation=2) is Standing.NEW
    assert look(guard, 5, 4, sent=WALL, incarnation=1) is Standing.DOUBTFUL


def test_what_we_sent_begins_no_session_anew():
    """Our own session may have the number of another's."""
    guard = Guard(OURS)
    assert look(guard, 5, 300, incarnation=1) is Standing.NEW
    assert look(guard, 5, 0, sent=WALL + 1, incarnation=OURS) is Standing.DOUBTFUL


def test_one_sender_says_nothing_of_another():
    """Each has a clock of its own."""
    guard = Guard(OURS)
    look(guard, 1)
    assert look(guard, 2, sent=0, who="192.0.2.3") is Standing.NEW


def test_what_is_remembered_is_bounded(monkeypatch):
    """Of sessions, senders and incarnations the newest."""
    monkeypatch.setattr(rate, "TABLE", 3)
    guard = Guard(OURS)
    for number in range(9):
        look(guard, number, who=number, incarnation=number + 100)
    assert list(guard._windows) == [(6, 6), (7, 7), (8, 8)]
    assert list(guard._senders) == [6, 7, 8]
    for number in range(replay.KNOWN + 9):
        look(guard, number, who=8, incarnation=number + 1_000)
    assert len(guard._senders[8].incarnations) == replay.KNOWN


def test_who_goes_on_is_not_forgotten_for_those_that_come(monkeypatch):
    """Of more senders than there is room for, those are known that were heard last."""
    monkeypatch.setattr(rate, "TABLE", 3)
    guard = Guard(OURS)
    for number in range(9):
        assert look(guard, 1, 2 * number, sent=WALL + number, who="a") is Standing.NEW
        assert look(guard, 1, who=number) is Standing.NEW
    assert look(guard, 2, who="a") is Standing.DOUBTFUL


# -- the reflector -----------------------------------------------------------------------------


def reflecting(**roaming):
    reflector = Reflector({8620}, set(), lambda _: True, Station("here", OURS, Random(1)))  # noqa: S311
    reflector.admission.keys = lambda _: (FLEET,)
    reflector.admission.roaming = roaming
    return reflector


def ask(reflector, datagram, *, port=50_000, wall=WALL, host=PEER):
    source = (host, port)
    return reflector.answer(
        datagram, source=source, destination=HERE, ttl=61, received=wall, now=0, wall=wall
    )


def signed(number=0, *, ssid=5, wall=WALL, key=FLEET):
    return stamp.pack_request_auth(number, ntp.ntp_from_unix(wall), 0x8A03, ssid, b"", key=key)


def test_a_request_is_answered_once():
    """The second time it is a replay: silence, and nothing has changed but a count."""
    reflector = reflecting()
    assert ask(reflector, signed()) is not None
    session = next(iter(reflector.visitors.sessions.values()))
    assert ask(reflector, signed()) is None
    assert ask(reflector, signed(), port=50_001) is None  # which anybody may invent
    assert (reflector.dropped, reflector.answered, session.accepted) == ({"replay": 2}, 1, 1)


def test_who_has_no_key_makes_nobody_be_remembered():
    """A MAC that is wrong is refused before anything is looked up or noted."""
    reflector = reflecting()
    assert ask(reflector, signed(key=OTHER)) is None
    assert reflector.dropped == {"hmac": 1}
    assert not reflector._guard._windows
    assert not reflector._guard._senders


def test_who_has_no_key_takes_no_turn_of_who_has_it():
    """However much somebody sends in a host's name, the host itself is answered."""
    reflector = reflecting(vans=(OTHER,))
    for number in range(2 * rate.PER_SOURCE.depth // rate.PER_SOURCE.cost):
        assert ask(reflector, signed(number, key=Key(bytes(32)))) is None
    assert reflector.dropped == {"hmac": 2_000}
    assert not reflector.visitors.buckets
    assert ask(reflector, signed()) is not None


def test_a_signed_request_may_be_corrupt():
    """Who has the key may make mistakes, too: they are counted, and nothing of them is noted."""
    reflector = reflecting()
    corrupt = stamp.pack_request_auth(1, ntp.ntp_from_unix(WALL), 0x8A00, 5, b"", key=FLEET)
    assert ask(reflector, corrupt) is None
    assert reflector.dropped == {"multiplier": 1}
    assert not reflector._guard._windows


def test_who_repeats_a_request_takes_no_turn_of_who_sent_it():
    """However often what was recorded comes again, the host itself is answered."""
    reflector = reflecting()
    assert ask(reflector, signed()) is not None
    for _ in range(2 * rate.PER_SOURCE.depth // rate.PER_SOURCE.cost):
        assert ask(reflector, signed()) is None
    assert reflector.dropped == {"replay": 2_000}
    assert ask(reflector, signed(1, wall=WALL + MILLISECOND)) is not None


def test_what_is_in_doubt_is_answered_once():
    """A run that is known is not believed yet: what says nothing of another counts once, too."""
    reflector = reflecting()
    assert ask(reflector, signed(5)) is not None
    old = signed(900, wall=WALL - 2 * FRESH)
    assert not ask(reflector, old).is_believed
    assert ask(reflector, old) is None


def test_strangers_do_not_have_all_keys_tried(monkeypatch):
    """Where thousands may roam that is a lot of work: who is known does not wait for it."""
    tried = []
    is_signed = stamp.is_signed
    monkeypatch.setattr(stamp, "is_signed", lambda *these: tried.append(1) or is_signed(*these))
    keys = {f"van{n}": (Key(n.to_bytes(32, "big")),) for n in range(1_000)}
    reflector = reflecting(**keys)
    reflector.admission.accepts, reflector.admission.keys = (lambda _: False), (lambda _: ())
    [van] = keys["van700"]
    assert ask(reflector, signed(key=van)) is not None
    for number in range(200):
        assert ask(reflector, signed(number, key=OTHER), host="192.0.2.99") is None
    assert len(tried) <= 2 * TRIED_AT_ONCE
    assert reflector.dropped["overload"] > 100
    tried.clear()
    reflection = ask(reflector, signed(1, key=van, wall=WALL + MILLISECOND))
    assert (reflection.sender.known_by, len(tried)) == ("van700", 1)


def test_all_that_roam_are_known_at_once_after_a_start():
    """Whoever has a key takes nothing from what may be tried for those that have none."""
    keys = {f"van{n}": (Key(n.to_bytes(32, "big")),) for n in range(300)}
    reflector = reflecting(**keys)
    reflector.admission.accepts, reflector.admission.keys = (lambda _: False), (lambda _: ())
    for number, (name, [key]) in enumerate(keys.items()):
        host = f"198.51.{number // 250}.{number % 250 + 1}"
        assert ask(reflector, signed(key=key), host=host).sender.known_by == name


def test_who_signs_with_its_own_key_has_no_other_tried(monkeypatch):
    """However many may roam, a peer at its address costs what its own keys cost."""
    reflector = reflecting(fleet=(FLEET,), **{f"van{n}": (OTHER,) for n in range(1_000)})
    tried = []
    is_signed = stamp.is_signed
    monkeypatch.setattr(stamp, "is_signed", lambda *these: tried.append(1) or is_signed(*these))
    reflection = ask(reflector, signed())
    assert (reflection.sender.known_by, len(tried)) == ("fleet", 1)
    reflector.admission.roaming = {"vans": (OTHER,)}
    assert ask(reflector, signed(1, wall=WALL + MILLISECOND)).sender.known_by is None


def test_what_is_too_short_has_no_key_tried():
    """It cannot be signed, and takes nothing from those that are."""
    reflector = reflecting(**{f"van{n}": (Key(n.to_bytes(32, "big")),) for n in range(1_000)})
    reflector.admission.accepts, reflector.admission.keys = (lambda _: False), (lambda _: ())
    for _ in range(100):
        assert ask(reflector, bytes(stamp.AUTH_SIZE - 1), host="192.0.2.99") is None
    assert ask(reflector, signed(key=Key((7).to_bytes(32, "big")))) is not None


def test_with_any_number_of_keys_one_is_looked_for(monkeypatch):
    """After a rest all are tried once, however many there are."""
    monkeypatch.setattr(admission, "TRIED_AT_ONCE", 2)
    monkeypatch.setattr(admission, "TRIED", Rate(per_second=2, burst=2))
    keys = {f"van{n}": (Key(n.to_bytes(32, "big")),) for n in range(9)}
    reflector = reflecting(**keys)
    reflector.admission.accepts, reflector.admission.keys = (lambda _: False), (lambda _: ())
    [van] = keys["van7"]
    assert ask(reflector, signed(key=van)).sender.known_by == "van7"


def test_doubt_is_answered_and_not_believed():
    """A session of before may be recorded: the reply does no harm, and nobody is alive by it."""
    reflector = reflecting()
    ask(reflector, signed())
    reflector.visitors.requests_from.clear()
    assert not ask(reflector, signed(wall=WALL - SECOND, ssid=6)).is_believed
    assert not reflector.visitors.requests_from


def test_our_own_session_proves_nobody():
    """A request of ours that is sent back comes from whom we ask, in a session of ours."""
    reflector = reflecting()
    reflector.is_own = lambda source, ssid: (source[0], ssid) == (PEER, 5)
    assert not ask(reflector, signed()).is_believed
    assert ask(reflector, signed(ssid=6)).is_believed


def test_doubt_of_one_is_no_doubt_of_another():
    """Whoever has no key is believed as much as anybody without one."""
    reflector = reflecting()
    reflector.admission.keys = lambda host: (FLEET,) if host == PEER else ()
    reflector.is_own = lambda _, ssid: ssid == 5
    ask(reflector, signed())
    plain = stamp.pack_request(0, ntp.ntp_from_unix(WALL), 0x8A03, 5)
    assert ask(reflector, plain, host="192.0.2.3").is_believed


def test_words_without_a_seal_are_nobodys():
    """What an HMAC TLV does not vouch for is no incarnation that anybody has."""
    reflector = reflecting()
    ask(reflector, signed())
    words = hbd_tlv.HbdTlv(0, 3, 0, 99, 0, 1_000_000, 0, 0).pack()
    old = signed(ssid=6, wall=WALL - SECOND)
    assert not ask(reflector, old + tlv.pack(hbd_tlv.TYPE, words)).is_believed


def test_one_clock_that_is_right_is_not_two():
    """Where ours is not synchronised, an old T1 may be right."""
    for estimate, believed in ((0x3FFF, True), (0x8A03, False)):
        reflector = reflecting()
        reflector.station.estimate = estimate
        assert ask(reflector, signed(wall=WALL - 2 * FRESH)).is_believed is believed


# -- an attacker -------------------------------------------------------------------------------

HOSTS = {"192.0.2.2": FLEET, "192.0.2.3": OTHER}
"""With keys of their own: a key that is shared does not tell who of those that have it speaks."""


class Host:
    """An hbd with a key: it asks us, and begins anew now and then."""

    def __init__(self, dice, starts, name, ssid=None):
        self.dice, self.starts, self.name, self.wrong = dice, starts, name, 0
        self.settings = peer(name, stamp=StampOptions(ssid=ssid))
        self.start()

    def start(self):
        """Begin with another incarnation, from another port."""
        station = Station(self.name, 1_000 + next(self.starts), self.dice)
        key = HOSTS.get(self.name, FLEET)
        keys = Keys(key, (key,))
        self.session = StampSession(self.settings, station, keys)
        self.port, self.number = 40_000 + station.incarnation, 0

    def request(self, wall):
        """Give its next heartbeat."""
        self.number += 1
        wall += self.wrong
        return self.session.compose(self.number - 1, wall, State.UP)[0]


class Attacked(RuleBasedStateMachine):
    """A reflector, two hosts that ask it, and somebody without the key who owns the network."""

    @initialize(seed=st.integers(0, 2**32), ssid=st.sampled_from([None, 9]))
    def begin(self, seed, ssid):
        self.wall, starts, dice = WALL, count(), Random(seed)  # noqa: S311
        self.hosts = [Host(dice, starts, name, ssid) for name in HOSTS]
        self.us = Host(dice, starts, HERE)
        self.reflector = reflecting()
        self.reflector.admission.keys = lambda host: (HOSTS[host],)
        self.reflector.is_own = lambda _, ssid: ssid == self.us.session.ssid
        self.reflector._guard = Guard(self.us.session.station.incarnation)
        self.sent, self.seen = [], []
        """All heartbeats of anybody, and all that were believed."""
        self.genuine = set()

    def deliver(self, datagram, host, port):
        reflector, before = self.reflector, self.reflector.dropped.total()
        reflection = ask(reflector, datagram, host=host, port=port, wall=self.wall)
        assert (reflection is None) == (reflector.dropped.total() == before + 1)
        assert reflection is None or len(reflection.reply) == len(datagram)
        if reflection is not None and reflection.is_believed:
            self.seen.append(datagram[: stamp.AUTH_SIZE])
        return reflection

    @rule(span=st.integers(MILLISECOND, 300 * SECOND))
    def time_goes_by(self, span):
        self.wall += span

    @rule(which=st.sampled_from([0, 1]))
    def is_asked(self, which):
        """A heartbeat arrives as it was sent: it is answered, and believed."""
        host = self.hosts[which]
        datagram = host.request(self.wall)
        self.wall += MILLISECOND
        self.note(datagram, host)
        reflection = self.deliver(datagram, host.name, host.port)
        assert reflection.is_believed or host.wrong < 0

    @rule(which=st.sampled_from([0, 1]))
    def is_kept_from_us(self, which):
        """The attacker holds a heartbeat back."""
        host = self.hosts[which]
        self.note(host.request(self.wall), host)
        self.wall += MILLISECOND

    def note(self, datagram, host):
        self.sent.append((datagram, host.name, host.port))
        self.genuine.add(datagram[: stamp.AUTH_SIZE])

    @rule()
    def we_ask(self):
        """The attacker sees a heartbeat of ours."""
        self.sent.append((self.us.request(self.wall), PEER, self.us.port))
        self.wall += MILLISECOND

    @rule(which=st.sampled_from([0, 1]))
    def restarts(self, which):
        self.hosts[which].start()

    @rule(which=st.sampled_from([0, 1]), step=st.integers(-(10**5), 10**5))
    def its_clock_steps(self, which, step):
        self.hosts[which].wrong += step * SECOND

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(),
        host=st.sampled_from([None, *HOSTS]),
        port=st.sampled_from([None, 50_001, 50_002]),
        length=st.sampled_from([None, stamp.AUTH_SIZE]),
    )
    def is_replayed(self, data, host, port, length):
        """What was sent comes once more, from where it came or from elsewhere, cut or whole."""
        datagram, true_host, true_port = data.draw(st.sampled_from(self.sent))
        self.deliver(datagram[:length], host or true_host, port or true_port)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), at=st.integers(0, stamp.AUTH_SIZE - 1), bits=st.integers(1, 255))
    def is_forged(self, data, at, bits):
        """Whoever has no key cannot change an octet."""
        datagram, host, port = data.draw(st.sampled_from(self.sent))
        forged = bytearray(datagram)
        forged[at] ^= bits
        assert self.deliver(bytes(forged), host, port) is None

    @invariant()
    def nothing_counts_twice(self):
        """What is believed was sent by a host with the key, and is believed once."""
        seen = getattr(self, "seen", [])
        assert len(seen) == len(set(seen))
        assert self.genuine.issuperset(seen) if seen else True


TestAttacked = Attacked.TestCase
TestAttacked.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
