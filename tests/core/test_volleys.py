"""Heartbeats of many paths at once mean what they mean path by path."""

from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from heapq import heappop
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hbd.core import volley as standing
from hbd.core import volleys
from hbd.core.arrival import Arrivals
from hbd.core.events import Restarted, StateChanged
from hbd.core.model import (
    MICROSECOND,
    MILLISECOND,
    SECOND,
    Cause,
    Leaving,
    Limits,
    ReflectorKind,
    StampOptions,
    State,
    Timing,
    Tlv,
)
from hbd.core.outputs import Ask
from hbd.core.peer import Pause
from hbd.core.session import Fact
from hbd.core.stamp import StampSession
from hbd.core.witnesses import Witnesses
from hbd.net import batch
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.hbd_tlv import HbdTlv, Reason
from tests.simulation.world import LAN, START, WAN, Link, World, address_of, dice, peer, place_of

TIMING = Timing(SECOND, 250 * MILLISECOND, 3, 2)
STRIDE = 400


class Steady:
    """Dice that shorten no interval, so that all are asked at the same moments."""

    def __init__(self, seed):
        self.getrandbits = dice(seed).getrandbits

    def random(self):
        return 0.0


class Host:
    """An hbd: how it answers."""

    def __init__(self):
        self.incarnation = 5
        self.flags = hbd_tlv.REFLECTOR
        self.reason = Reason.NONE
        self.ttl = 64
        self.hold = 0
        self.dwell = 0
        self.estimate = 1
        self.uncounted = 0
        self.silent = Counter()
        """How many heartbeats are lost, from now on, of each path."""
        self.cut = self.longer = 0
        self.keys = ()
        """Of these it answers by the one that the request is signed with; none: open mode."""

    def answer(self, request, wall):
        words = HbdTlv(
            self.flags, 0, self.reason, self.incarnation, 0, 0, self.hold, accepted=wall & 0xFFFF
        ).pack()
        convert = ntp.ptp_from_unix if ntp.is_ptp(self.estimate) else ntp.ntp_from_unix
        sequence = int.from_bytes(request[:4], "big")
        answered = (sequence - self.uncounted) % ntp.WORD
        understood = {hbd_tlv.TYPE: lambda _: words}
        key = next((key for key in self.keys if stamp.is_signed(request, key)), None)
        if key is None:
            region = request[stamp.OPEN_SIZE :]
            tlvs = tlv.reflect(region, understood) if region else b""
        else:
            region = request[stamp.AUTH_SIZE :]
            tlvs = tlv.reflect_signed(region, understood, key, asked=sequence, answered=answered)
        reply = stamp.pack_reply(
            request,
            sequence=answered,
            timestamp=convert(wall + self.dwell),
            estimate=self.estimate,
            receive_timestamp=convert(wall),
            ttl=60,
            tlvs=tlvs,
            key=key,
        )
        return reply[: len(reply) - self.cut] + bytes(self.longer)


class Net(World):
    """What becomes of a heartbeat depends on whose it is and which one; all else on orders."""

    def __init__(self, seed, *, volleys=True, steady=True, weather=True, keys=None):
        """`keys` of all paths; None: open mode."""
        super().__init__(seed)
        if keys is not None:
            self._asked = lambda settings, _: StampSession(settings, self.station, keys)
        if steady:
            self.fleet._hearing._dice = self.fleet._verdicts._dice = self.fleet._volleys._dice = (
                Steady(seed)
            )
        if not volleys:
            self.fleet._volleys.take = lambda _path: False
        self.weather = weather
        self.hosts_at = defaultdict(Host)
        self.carried = defaultdict(list)
        self.together = Counter()
        """How many were asked how many at a time."""
        self._read_together = []
        self.last = {}
        self.skew = 0
        """How wrong the stamps of what comes are; None: there are none."""
        self.reading = 0
        """How long it takes to read: what comes meanwhile is read, too."""
        self.by_itself = 0
        """How many replies were not taken with others."""
        self._receive_one, self.fleet._hearing.receive = self.fleet.receive, self._count_one
        self.twists = {}
        """What is made of the next reply to each path."""

    def _count_one(self, *reply):
        self.by_itself += 1
        self._receive_one(*reply)

    def at(self, moment, change):
        super().at(moment, partial(self._in_a_turn, change))

    def _in_a_turn(self, change):
        self.turn()
        change()

    def _send_all(self, ask):
        super()._send_all(ask)
        self.together[len(ask.volley.paths)] += 1

    def _carry(self, path, datagram, *, begins_round):  # noqa: ARG002 - never skips
        name, target = (path.peer.name, path.address), path.target
        host, link = self.hosts_at[target[0]], self.links[target[0]]
        sequence = int.from_bytes(datagram[:4], "big")
        self.carried[name].append((self.now, sequence))
        self.last[path.peer.name] = target, datagram
        if host.silent[name] > 0:
            host.silent[name] -= 1
            return
        if link.is_dead(self.now) or self.is_cut(link.egress):
            return
        fate = Random(f"{self.seed} {name} {sequence}")  # noqa: S311 - to be replayed
        out = link.delay + fate.randrange(MILLISECOND)
        back = self.now + 2 * out + host.dwell
        reply = host.answer(datagram, self.wall + out)
        slot = (self.now - START) // TIMING.timeout
        is_in_turn = self.weather and slot % len(PLACES) == PLACES.index(name)
        replies = self._befall(fate, back, reply) if is_in_turn else [(back, reply)]
        for reply_at, octets in replies:
            answers = [(reply_at, octets, target, host.ttl)]
            if name in self.twists:
                answers = self.twists.pop(name)(*answers[0])
            for at, reply, source, ttl in answers:
                self.arrive(at, partial(self._take, source, reply, ttl))

    def _befall(self, fate, back, reply):
        match fate.randrange(24):
            case 0:
                return []
            case 1:
                return [(back, reply), (back + 1 + fate.randrange(2) * SECOND, reply)]
            case 2:
                return [(back + 260 * MILLISECOND, reply)]
            case 3:
                return [(back + fate.randrange(3 * SECOND), reply)]
            case 4:
                spoilt = bytearray(reply)
                spoilt[fate.randrange(len(reply))] ^= 1 << fate.randrange(8)
                return [(back, bytes(spoilt))] + [(back + 1, reply)] * fate.randrange(2)
        return [(back, reply)]

    def _take(self, source, datagram, ttl, at):
        self._read_together.append((datagram, place_of(source), at, ttl))

    def flush(self):
        """Read what has come, all at once."""
        come, self._read_together = self._read_together, []
        if not come:
            return
        wall = self.fleet.clock.wall - self.fleet.clock.real
        octets = b"".join(datagram.ljust(STRIDE, b"\0") for datagram, *_ in come)
        arrivals = Arrivals(
            memoryview(octets),
            STRIDE,
            [len(one[0]) for one in come],
            b"".join(one[1] for one in come),
            [None if self.skew is None else one[2] + wall + self.skew for one in come],
            [one[3] for one in come],
            address_of,
            {},
        )
        self.fleet.receive_all(arrivals, self._read, self.now + self.reading)

    def turn(self):
        if self._promised is not None and self.now > self._promised:
            self.late += self.now - self._promised
            self.lateness.append((self.now, self.late))
        self.fleet.turn(self.now, self.wall)
        while self._arrivals and self._arrivals[0][0] <= self.now:
            at, _, take = heappop(self._arrivals)
            if getattr(take, "func", None) != self._take:
                self.flush()
            take(at)
        self.flush()
        self._read = self.now
        self.fleet.advance()
        self._carry_out()

    @property
    def standing(self):
        """How many paths stand in volleys."""
        return len(self.fleet._volleys._at)


# -- the same, path by path --------------------------------------------------------------------

PEERS = (
    peer("a", "10.0.0.1", timing=TIMING),
    peer("b", "10.0.0.2", timing=TIMING),
    peer("c", "10.0.0.3", "10.0.0.4", timing=TIMING),
    peer("d", "10.0.0.5", timing=TIMING, via="a"),
    peer("e", "10.0.0.6", timing=TIMING, stamp=StampOptions(size=200, trust_goodbye=True)),
    # Two at one address, and one that says no SSID.
    peer("f", "10.0.0.7", timing=TIMING),
    peer("g", "10.0.0.7", timing=TIMING),
    peer("h", "10.0.0.8", timing=TIMING, stamp=StampOptions(ssid=0, trust_goodbye=True)),
)
PLACES = [(one.name, host) for one in PEERS for host in one.addresses]
"""The weather hits them in turn: of two that miss at once it is chance who is judged first."""
FAR = ("10.0.0.6", "10.0.0.8")


def net(seed, **options):
    world = Net(seed, **options)
    for one in PEERS:
        for host in one.addresses:
            world.links[host] = Link(egress=WAN if host in FAR else LAN)
    world.watch(*PEERS)
    return world


class Orders:
    """What may befall a world, by name; `n` chooses whom, `span` for how long."""

    def __init__(self, world):
        self.world = world
        self.timings = 0
        self.count = len(world.fleet.peers)

    def name(self, n):
        names = list(self.world.fleet.peers)
        return names[n % len(names)]

    def host(self, n):
        path = self.world.path(self.name(n))
        return path.target[0]

    def die(self, n, span):
        world = self.world
        world.links[self.host(n)].dead.append((world.now, world.now + span))

    def lose(self, n, span):
        name = self.name(n)
        address = self.world.path(name).address
        self.world.hosts_at[self.host(n)].silent[name, address] = 1 + span % 5

    def restart(self, n, _):
        host = self.world.hosts_at[self.host(n)]
        host.incarnation += 1
        host.flags, host.reason, host.hold = hbd_tlv.REFLECTOR, Reason.NONE, 0

    def goodbye(self, n, span):
        host = self.world.hosts_at[self.host(n)]
        host.flags, host.reason, host.hold = 5, Reason.STOP, 60
        self.world.after(span, partial(self.die, n, 3 * span))
        self.world.after(2 * span, partial(self.restart, n, 0))

    def begin_to_count(self, n, span):
        host = self.world.hosts_at[self.host(n)]
        host.flags ^= hbd_tlv.STATEFUL
        host.uncounted = span % 300

    def miscount(self, n, span):
        self.world.hosts_at[self.host(n)].uncounted = span % 3

    def dwell(self, n, span):
        self.world.hosts_at[self.host(n)].dwell = span % (40 * MILLISECOND)

    def ptp(self, n, _):
        self.world.hosts_at[self.host(n)].estimate ^= ntp.PTP

    def cut_short(self, n, span):
        host = self.world.hosts_at[self.host(n)]
        host.cut = 0 if host.cut else span % 50

    def far(self, n, span):
        self.world.links[self.host(n)].delay = span % (200 * MILLISECOND)

    def ttl(self, n, span):
        self.world.hosts_at[self.host(n)].ttl = 60 + span % 4

    def pause(self, n, span):
        until = self.world.wall + span
        self.world.fleet.pause(self.name(n), Pause(until, "work", "me"))

    def resume(self, n, _):
        self.world.fleet.resume(self.name(n))

    def reload(self, n, _):
        self.timings += 1
        retries, name = (3, 2, 4)[self.timings % 3], self.name(n)
        now = [peer.settings for peer in self.world.fleet.peers.values()]
        self.world.apply(
            *(
                replace(one, timing=replace(one.timing, retries=retries))
                if one.name == name
                else one
                for one in now
            )
        )

    def slower(self, n, _):
        name = self.name(n)
        now = [peer.settings for peer in self.world.fleet.peers.values()]
        timing = Timing(2 * SECOND, 500 * MILLISECOND, 3, 2)
        self.world.apply(*(replace(one, timing=timing) if one.name == name else one for one in now))

    def remove(self, n, span):
        world, name = self.world, self.name(n)
        now = [peer.settings for peer in world.fleet.peers.values()]
        if len(now) == self.count:
            world.apply(*(one for one in now if one.name != name))
            world.after(span, lambda: world.apply(*now))

    def call(self, n, _):
        self.world.station.call(f"monitor-{n}")

    def synchronise(self, n, _):
        self.world.station.estimate = 0x8001 + n

    def elsewhere(self, n, _):
        path = self.world.path(self.name(n))
        host = f"10.0.1.{n}"
        self.world.links.setdefault(host, Link(egress=(LAN, WAN)[n % 2]))
        self.world.fleet.resolved(path, ((host, path.peer.settings.port),))

    def more(self, n, _):
        """Its name stands for another address, too."""
        path = self.world.path(self.name(n))
        host = f"10.0.2.{n}"
        self.world.links.setdefault(host, Link(egress=(LAN, WAN)[n % 2]))
        targets = dict.fromkeys((path.target, (host, path.peer.settings.port)))
        self.world.fleet.resolved(path, tuple(targets))

    def examine(self, n, _):
        """It leaves by another way from now on."""
        path = self.world.path(self.name(n))
        link = self.world.links[path.target[0]]
        link.egress = WAN if link.egress is LAN else LAN
        self.world.fleet.examined(path, link.egress, None)

    def icmp(self, n, _):
        fact = Fact(Cause.PORT_CLOSED, "ICMP port unreachable")
        target, datagram = self.world.last.get(self.name(n), (("", 0), b""))
        self.world.fleet.icmp(target, datagram, fact, witness=True)

    def unsent(self, n, _):
        path = self.world.path(self.name(n))
        self.world.fleet.send_failed(path, Fact(Cause.SEND_BLOCKED, "EPERM"))

    def stall(self, _, span):
        world = self.world
        if not world.stalls:
            world.stalls.append((world.now + 1, world.now + 1 + span % (700 * MILLISECOND)))

    def stall_long(self, _, span):
        world = self.world
        if not world.stalls:
            world.stalls.append((world.now + 1, world.now + 1 + span))

    def overrun(self, _n, _span):
        self.world.fleet.lost_some()

    def suspend(self, _, span):
        self.world.suspend(span)

    def step(self, n, span):
        self.world.wall_step += span if n % 2 else -span


ORDERS = tuple(name for name in vars(Orders) if name[0] != "_" and name not in ("name", "host"))

FACTS = (
    *("state", "fault", "missed", "asked", "sequence", "last_answered", "incarnation", "former"),
    *("is_shared", "reply_ttl", "last_sent", "last_life", "last_reply_real", "due", "deadline"),
    *("icmp", "bad", "goodbye", "repeated", "is_put_off", "send_error", "lonely", "target", "late"),
)
COUNTED = ("sent", "received", "late", "duplicate", "tight", "lossy", "slow")


def facts_of(world, path):
    facts = {name: getattr(path, name) for name in FACTS}
    rtt = path.last_rtt  # a window has microseconds, one at least, and 16.8 s at the most
    facts["rtt"] = None if rtt is None else min(max(rtt // 1000, 1), 2**24 - 2)
    facts |= {name: getattr(path.figures, name) for name in COUNTED}
    window, now = path.figures.window, world.fleet.clock.now
    facts["rtts"] = window.rtts()
    facts["fates"] = list(window.fates() or ())
    facts["measured"] = window.measured(), window.unanswered(), len(window)
    facts["loss"] = path.loss(now), path.directions(now)
    facts["rounds"] = path.rounds.ended, path.rounds.has_failed, path.rounds.overdue
    facts["answer"] = path.egress and (path.egress.key, path.egress.last_answer)
    facts["silent"] = path.session.silent
    facts["seen"] = as_seen(path, now)
    return facts


def as_seen(path, now):
    """What is seen at once, which must be as it is fact by fact, and change nothing."""
    volley = path.volley
    figures, rtts, lost, loss, *rest, rounds = path.seen(now)
    assert path.volley is volley
    assert (figures, rounds, rest) == (
        path.figures,
        path.rounds,
        [path.last_reply_real, path.reply_ttl],
    )
    assert [rtt * 1000 for rtt in rtts] == sorted(figures.window.rtts())
    assert (loss, figures.split(lost)) == (path.loss(now), path.directions(now))
    return rtts, lost


def told(world):
    """Give what was said of each peer, one after the other."""
    said = defaultdict(list)
    for event in world.events:
        if isinstance(event, StateChanged | Restarted):
            said[event.peer].append(event._replace(labels=()))
    return dict(said)


def play(world, orders, rest):
    """Run a world through orders, each after a span; give what it tells and knows in the end."""
    ordered = Orders(world)
    moment = 5 * SECOND + 7
    for gap, name, n, span in orders:
        moment += gap
        world.at(moment, partial(obey, ordered, name, n, span))
    world.run(moment + rest)
    return told(world)


def obey(ordered, name, n, span):
    getattr(ordered, name)(n, span)
    ordered.world._carry_out()


@contextmanager
def exactly():
    """Leave nothing to chance: no interval is shortened, and who joins others keeps its time.

    Of those that miss at one moment it is chance for whom others are asked first: nobody is.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (standing, volleys):
            patch.setattr(module, "JITTER", 0)
        patch.setattr(Witnesses, "ask_about", lambda *_: None)
        yield


def both(seed, orders, rest=20 * SECOND):
    """Run the same orders with volleys and without."""
    with exactly():
        together, alone = net(seed), net(seed, volleys=False)
        said, said_alone = play(together, orders, rest), play(alone, orders, rest)
    return together, alone, said, said_alone


order = st.tuples(
    st.integers(1, 3 * SECOND).map(lambda gap: gap // 8 * 8 + 3),
    st.sampled_from(ORDERS),
    st.integers(0, len(PEERS) - 1),
    st.integers(1, 12 * SECOND).map(lambda span: span // 8 * 8 + 1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), orders=st.lists(order, max_size=12))
@example(seed=76, orders=[(3, "stall", 0, 2_466_113)])  # two replies of one path are read at once
@pytest.mark.slow
def test_all_is_the_same_as_path_by_path(seed, orders):
    """Whatever happens: what is told, when and why, and every fact, is as without volleys."""
    together, alone, said, said_alone = both(seed, orders)
    assert said == said_alone
    agree(together, alone)


def agree(together, alone):
    """Compare all that two worlds have sent, refused and know."""
    assert together.carried == alone.carried
    assert together.fleet.dropped == alone.fleet.dropped
    for name, one in together.fleet.peers.items():
        for path, other in zip(one.paths, alone.fleet.peers[name].paths, strict=True):
            assert facts_of(together, path) == facts_of(alone, other), path.address


# -- one thing at a time -----------------------------------------------------------------------

A, B = ("a", "10.0.0.1"), ("b", "10.0.0.2")
REST = 500 * MILLISECOND
"""After a round, when all have answered."""


def pair(timing=TIMING, **settings):
    """Give two worlds that are the same, one of them without volleys, between two rounds."""
    worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
    for world in worlds:
        world.watch(*(peer(name, f"10.0.0.{n}", timing=timing, **settings) for n, name in NAMED))
        world.run(5 * timing.interval + REST)
    assert worlds[0].standing == len(NAMED)
    return worlds


NAMED = tuple(enumerate("abcd", 1))


def each(worlds, change):
    for world in worlds:
        change(world)


def stands(world, name="a"):
    return world.path(name).volley is not None


def octets(at, value):
    """Give a change of octets of a reply."""
    return lambda reply: reply[:at] + value + reply[at + len(value) :]


def flipped(at, bit=1):
    return lambda reply: reply[:at] + bytes([reply[at] ^ bit]) + reply[at + 1 :]


def dwelling(span, *, ptp=False):
    """Say that the reflector held it for so long."""

    def change(reply):
        t2, convert = int.from_bytes(reply[16:24], "big"), ntp.ptp_from_unix
        if ptp:
            t2 = convert(ntp.unix_from_ntp(t2, START))
            t3 = t2 + span
            return (
                reply[:4]
                + t3.to_bytes(8, "big")
                + b"\x40\1"
                + reply[14:16]
                + (t2.to_bytes(8, "big") + reply[24:])
            )
        return reply[:4] + (t2 + (span << 32) // SECOND).to_bytes(8, "big") + reply[12:]

    return change


def counting(uncounted):
    def change(reply):
        number = int.from_bytes(reply[24:28], "big") - uncounted
        return (number % ntp.WORD).to_bytes(4, "big") + reply[4:]

    return change


def instead(change):
    return lambda at, reply, source, ttl: [(at, change(reply), source, ttl)]


def before(change, span=1):
    """One that somebody makes up comes before the right one, or as long after it."""
    return lambda at, reply, source, ttl: [
        (at, reply, source, ttl),
        (at - span, change(reply), source, ttl),
    ]


def delayed(span):
    """Give a reply that comes so long after its heartbeat was sent."""
    return lambda at, reply, source, ttl: [(at // SECOND * SECOND + span, reply, source, ttl)]


TLV = stamp.OPEN_SIZE + 4
ODD = {
    "another token": before(flipped(31)),
    "the last bits of the token": before(flipped(35, 2)),
    "another sequence number": before(flipped(27)),
    "a sequence number never sent": before(flipped(26)),
    "one it answered already": before(octets(24, bytes([0, 0, 0, 4]))),
    "another SSID": before(flipped(15)),
    "another estimate": instead(flipped(13)),
    "PTP stamps": instead(dwelling(MILLISECOND, ptp=True)),
    "more octets": instead(lambda reply: reply + bytes(4)),
    "fewer octets": instead(lambda reply: reply[:44]),
    "hardly any": before(lambda reply: reply[:20]),
    "none": before(lambda _: b""),
    "another TTL": lambda at, reply, source, _: [(at, reply, source, 63)],
    "no TTL": lambda at, reply, source, _: [(at, reply, source, None)],
    "another TTL there": instead(flipped(40)),
    "another incarnation": instead(flipped(TLV + 15)),
    "another state": instead(flipped(TLV + 6)),
    "goodbye": instead(flipped(TLV + 5, hbd_tlv.GOODBYE)),
    "no hbd": instead(flipped(TLV + 5, hbd_tlv.REFLECTOR)),
    "another node": instead(flipped(TLV + 23)),
    "another hold": instead(flipped(TLV + 31)),
    "T3 before T2": instead(dwelling(-MILLISECOND)),
    "a dwell longer than the round trip": instead(dwelling(90 * MILLISECOND)),
    "a reflector that begins to count": instead(counting(1)),
    "a reflector that says it counts": instead(flipped(TLV + 5, hbd_tlv.STATEFUL)),
    "a second copy": before(lambda reply: reply),
    "a second copy much later": before(lambda reply: reply, -3 * SECOND),
    "a reply after the timeout": delayed(TIMING.timeout + 1),
    "a reply after a retransmission's": delayed(2 * TIMING.timeout + 7),
    "a reply too late for life": delayed(3 * SECOND),
    "no reply": lambda *_: [],
    "from another peer": lambda at, reply, _, ttl: [(at, reply, ("10.0.0.2", 862), ttl)],
    "from another port": lambda at, reply, _, ttl: [(at, reply, ("10.0.0.1", 863), ttl)],
    "from a stranger": lambda at, reply, _, ttl: [(at, reply, ("10.9.9.9", 862), ttl)],
}
OF_TLV = {
    "fewer octets",
    "another incarnation",
    "another state",
    "goodbye",
    "no hbd",
    "another node",
    "another hold",
    "a reflector that says it counts",
    "another number of those accepted",
}
EVEN = {
    "what is as ever": instead(lambda reply: reply),
    "another number of those accepted": instead(flipped(TLV + 35)),
    "a dwell": instead(dwelling(MILLISECOND)),
    "a dwell as long as the round trip": instead(dwelling(2 * MILLISECOND)),
    "a reply at the end of the timeout": delayed(TIMING.timeout),
}


@pytest.mark.parametrize("twist", ODD.values(), ids=ODD)
def test_a_reply_that_is_not_as_ever_is_judged_by_itself(twist):
    """What comes of it is as path by path, at once and later; the path leaves and comes back."""
    with exactly():
        worlds = pair(stamp=StampOptions(trust_goodbye=True))
        together, alone = worlds
        before = together.by_itself
        each(worlds, lambda world: world.twists.update({A: twist}))
        for span in (REST + TIMING.timeout - 1, 1, *[SECOND + 7] * 6):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
        assert told(together) == told(alone)
    assert together.by_itself > before
    assert stands(together) or together.path("a").unanswered


@pytest.mark.parametrize("twist", EVEN.values(), ids=EVEN)
def test_a_reply_that_says_nothing_new_is_taken_with_the_others(twist):
    """Its path does not leave, and the figures are as path by path."""
    with exactly():
        worlds = pair()
        together, _ = worlds
        before = together.by_itself
        each(worlds, lambda world: world.twists.update({A: twist}))
        for span in (REST + TIMING.timeout - 1, 1, SECOND, 3 * SECOND):
            each(worlds, lambda world, span=span: world.run(span))
            assert stands(together)
            agree(*worlds)
    assert together.by_itself == before


@pytest.mark.parametrize("after", [2 * SECOND, 40 * SECOND, 99 * SECOND, 101 * SECOND])
def test_who_missed_something_is_back_with_the_others_once_it_is_answered(after):
    """A reply to what was missed may come as long as that is in the window: late, as ever."""
    with exactly():
        worlds = pair()
        together, _ = worlds
        each(worlds, lambda world: world.twists.update({A: tarries(after)}))
        for span in (2 * SECOND, 38 * SECOND, 59 * SECOND, 2 * SECOND, SECOND, SECOND):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
            assert stands(together)


def tarries(span):
    return lambda at, reply, source, ttl: [(at + span, reply, source, ttl)]


BARE = {name: twist for name, twist in (ODD | EVEN).items() if name not in OF_TLV}


@pytest.mark.parametrize("twist", BARE.values(), ids=BARE)
def test_who_is_told_nothing_is_asked_with_others(twist):
    """Any STAMP reflector, also where what it answers is not as ever: all is as path by path."""
    with exactly():
        worlds = pair(stamp=StampOptions(tlv=Tlv.OFF))
        together, alone = worlds
        each(worlds, lambda world: world.twists.update({A: twist}))
        for span in (REST + TIMING.timeout - 1, 1, *[SECOND + 7] * 6):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
        assert told(together) == told(alone)
        assert stands(together) or together.path("a").unanswered


def test_who_is_no_hbd_is_asked_with_others_and_found_to_be_one_later():
    """Each hundredth heartbeat still tells it who we are, and it may answer."""
    with exactly():
        world = Net(1, weather=False)
        for n, _ in NAMED:
            world.hosts_at[f"10.0.0.{n}"].flags = 0
        world.watch(*(peer(name, f"10.0.0.{n}", timing=TIMING) for n, name in NAMED))
        world.run(30 * SECOND)
        assert world.standing == len(NAMED)
        before = world.by_itself
        world.run(200 * SECOND)
        assert len(NAMED) <= world.by_itself - before <= 3 * 2 * len(NAMED)
        for n, _ in NAMED:
            world.hosts_at[f"10.0.0.{n}"].flags = hbd_tlv.REFLECTOR
        world.run(110 * SECOND)
        assert world.standing == len(NAMED)
        assert all(volley.heading.mark for volley in volleys_of(world))


def test_an_hbd_that_first_answers_who_told_it_nothing_is_told_soon():
    """Three heartbeats with our TLV were lost, one without it was answered: that shows nothing."""
    with exactly():
        world = Net(1, weather=False)
        world.hosts_at["10.0.0.1"].silent[A] = 3
        world.watch(peer("a", "10.0.0.1", timing=TIMING))
        world.run(20 * SECOND)
        assert stands(world)
        assert world.path("a").volley.heading.mark


COUNTS = hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL


@pytest.mark.parametrize("flags", [COUNTS, hbd_tlv.REFLECTOR])
def test_what_a_reflector_counts_is_known_of_each_heartbeat(flags):
    """Its numbers are kept as path by path: also where they go back, or show nothing any more."""
    with exactly():
        worlds = pair()
        for uncounted in (0, 1, 2, 300, 2, 0, 0):
            for world in worlds:
                world.hosts_at["10.0.0.1"].flags = flags
                world.hosts_at["10.0.0.1"].uncounted = uncounted
                world.run(2 * SECOND)
            agree(*worlds)


def test_a_reply_brings_back_the_number_of_its_heartbeat():
    """With another one it is judged by itself, also where the reflector counts."""
    with exactly():
        worlds = pair()
        for world in worlds:
            world.hosts_at["10.0.0.1"].flags = COUNTS
            world.run(3 * SECOND)
        assert stands(worlds[0])
        each(worlds, lambda world: world.twists.update({A: instead(flipped(24))}))
        for span in (REST + TIMING.timeout - 1, SECOND, 5 * SECOND):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
        assert told(worlds[0]) == told(worlds[1])


@pytest.mark.parametrize(
    "kind", [ReflectorKind.STATEFUL, ReflectorKind.STATELESS, ReflectorKind.AUTO]
)
def test_who_is_known_to_count_or_not_to(kind):
    """What the configuration says of it holds in volleys too."""
    with exactly():
        worlds = pair(stamp=StampOptions(reflector=kind))
        for uncounted in (0, 2, 0):
            for world in worlds:
                world.hosts_at["10.0.0.1"].uncounted = uncounted
                world.run(3 * SECOND)
            agree(*worlds)


def test_rtts_that_no_window_can_hold():
    """The longest that it has is 16.8 s, the shortest a microsecond."""
    with exactly():
        worlds = pair(Timing(60 * SECOND, 30 * SECOND, 3, 2))
        for world in worlds:
            world.twists[A] = lambda at, reply, source, ttl: [
                (at + 25 * SECOND, reply, source, ttl)
            ]
            world.links["10.0.0.2"].delay = -MILLISECOND // 4
            world.run(100 * SECOND)
        agree(*worlds)
        assert worlds[0].path("a").last_rtt == (2**24 - 2) * 1000


@pytest.mark.parametrize(("more", "is_odd"), [(-1000, False), (0, False), (1000, True)])
def test_a_dwell_is_as_long_as_since_the_first_of_the_volley_left_and_no_longer(more, is_odd):
    """Of many that leave together it is not known to the microsecond when each did."""
    step = 100_000
    with exactly():
        world, _ = pair()
        send_all = world._send_all

        def send(ask):
            send_all(ask)
            ask.volley.left(world.now, [(2, world.now + 2 * step), (4, world.now + 4 * step)])

        world._send_all = send
        last = next(name for name in "abcd" if world.path(name).rank == 3)
        place = (last, world.path(last).target[0])
        world.twists[place] = lambda at, reply, source, ttl: [
            (at, dwelling(at % SECOND + more)(reply), source, ttl)
        ]
        before = world.by_itself
        world.run(SECOND)
        assert world.by_itself == before + is_odd
        if not is_odd:
            assert world.path(last).last_rtt == 1000


def test_each_heartbeat_of_a_volley_leaves_a_little_after_the_one_before():
    """Its round trip begins then, whether its reply is taken with others or by itself."""
    with exactly():
        world, _ = pair()
        send_all, step = world._send_all, 300_000

        def send(ask):
            send_all(ask)
            ask.volley.left(world.now, [(2, world.now + 2 * step), (4, world.now + 4 * step)])

        ranks = {name: world.path(name).rank for name in "abcd"}
        world._send_all = send
        world.twists[("d", "10.0.0.4")] = lambda at, reply, source, _: [(at, reply, source, 9)]
        world.run(REST + 100 * MILLISECOND)
        for name in "abcd":
            path = world.path(name)
            left = world.now // SECOND * SECOND + ranks[name] * step
            rtt = path.last_reply_real - left
            assert path.last_rtt // 1000 == rtt // 1000


@pytest.mark.parametrize("skew", [-2 * SECOND, 2 * SECOND, -MILLISECOND, None])
def test_a_stamp_counts_from_when_all_was_last_read_till_now(skew):
    """The wall clock may step between a stamp and the moment when it is read."""
    with exactly():
        worlds = pair()
        for world in worlds:
            world.skew = skew
            world.run(3 * SECOND)
        agree(*worlds)


def test_what_comes_while_we_read_came_when_it_did():
    """It is no reason to look at it by itself, nor is its round trip shorter than it was."""
    more = 100_000
    with exactly():
        together, alone = pair()
        prompt, _ = pair()
        before = together.by_itself
        for world in (together, alone):
            world.skew, world.reading = more, 5 * more
        for world in (together, alone, prompt):
            world.run(3 * SECOND)
        assert together.by_itself == before
        for world in (together, alone):
            longer = world.path("a").last_rtt - prompt.path("a").last_rtt
            assert longer // MICROSECOND == more // MICROSECOND
            assert world.path("a").last_reply_real == prompt.path("a").last_reply_real + more


@pytest.mark.parametrize("span", [10, 100, 240, 280, 299, 400])
def test_a_little_late_we_know_from_stamps_what_was_in_time(span):
    """What is read in a late turn came when its stamp says, and timeouts end as much later."""
    with exactly():
        worlds = pair()
        for world in worlds:
            begin = START + 6 * SECOND
            world.stalls += [(begin + 1, begin + 60 * MILLISECOND)]
            world.stalls += [(begin + 240 * MILLISECOND, begin + 300 * MILLISECOND)]
            world.twists[A] = lambda at, reply, source, ttl: [
                (at // SECOND * SECOND + span * MILLISECOND, reply, source, ttl)
            ]
            world.run(REST)
            world.stalls += [(begin + 1001 * MILLISECOND, begin + 1090 * MILLISECOND)]
            world.run(SECOND)
            world.twists |= {A: lambda *_: [], B: lambda *_: []}
        for _ in range(8):
            each(worlds, lambda world: world.run(SECOND // 4))
            agree(*worlds)


def test_what_is_read_at_once_is_taken_in_order():
    """The first of two replies counts, also where it is the second that says nothing new."""
    with exactly():
        worlds = pair()
        for world in worlds:
            world.twists[A] = lambda at, reply, source, ttl: [
                (at, reply, source, 9),
                (at, reply, source, ttl),
            ]
            world.run(REST + 100 * MILLISECOND)
        assert worlds[0].path("a").reply_ttl == 9
        agree(*worlds)


def test_retries_that_came_while_a_heartbeat_was_under_way():
    """It was sent without any, and joins the others when it is answered."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            once = replace(TIMING, retries=0)
            world.watch(peer("a", "10.0.0.1", timing=once), peer("b", "10.0.0.2", timing=TIMING))
            world.at(5 * SECOND + 1, partial(retry, world))
            world.run(7 * SECOND + REST)
            world.twists[A] = lambda *_: []
        assert stands(worlds[0])
        for _ in range(8):
            each(worlds, lambda world: world.run(SECOND // 4))
            agree(*worlds)


def retry(world):
    now = [one.settings for one in world.fleet.peers.values()]
    world.apply(*(replace(one, timing=TIMING) for one in now))


def test_sequence_numbers_begin_anew():
    """After 2**32 heartbeats numbers on the wire begin at 0, and the window goes on."""
    with exactly():
        worlds = pair()
        for world in worlds:
            for one in "ab":
                world.path(one).sequence = 2**32 - 3
            world.run(3 * SECOND)
        assert stands(worlds[0])
        for _ in range(8):
            each(worlds, lambda world: world.run(SECOND))
            agree(*worlds)
        assert stands(worlds[0])
        assert worlds[0].path("a").sequence > 2**32


def test_t1_is_when_it_leaves_but_for_what_cannot_be_guessed():
    """Its last bit says whether our TLV is with it; the next eleven are thrown."""
    world, _ = pair()
    ask = []
    world._send_all = ask.append
    world.run(REST)
    octets, size, _ = world.fleet.compose_all(ask[0], world.now, world.wall, 2 * MICROSECOND)
    tokens = [int.from_bytes(octets[at * size + 4 :][:8], "big") for at in range(4)]
    assert size > stamp.OPEN_SIZE
    assert {token & 1 for token in tokens} == {1}
    due = [ntp.ntp_from_unix(world.wall + at * 2 * MICROSECOND) for at in range(4)]
    late = [token - moment for token, moment in zip(tokens, due, strict=True)]
    assert all(abs(one) <= 2**11 + 8 for one in late)
    assert len(set(late)) == 4


def test_the_era_of_ntp_ends_between_two_heartbeats_of_a_volley():
    """In 2036 the seconds of a timestamp begin anew, perhaps in the middle of a volley."""
    world, _ = pair()
    ask = []
    world._send_all = ask.append
    world.run(REST)
    wall = ntp.NTP_EPOCH + ntp.ERA - 3 * MICROSECOND
    octets, size, _ = world.fleet.compose_all(ask[0], world.now, wall, 2 * MICROSECOND)
    seconds = [int.from_bytes(octets[at * size + 4 :][:4], "big") for at in range(4)]
    assert seconds == [0xFFFFFFFF, 0xFFFFFFFF, 0, 0]


def test_who_leaves_while_the_others_have_answered_keeps_nobody_waiting():
    """No reply is awaited any more: nobody wakes at the end of the timeout."""
    with exactly():
        world, _ = pair()
        soon, later = START + 6 * SECOND + 10 * MILLISECOND, 100 * MILLISECOND
        world.twists[A] = lambda _, reply, source, ttl: [
            (soon, flipped(31)(reply), source, ttl),
            (soon + later, reply, source, ttl),
        ]
        world.run(REST + 20 * MILLISECOND)
        assert not stands(world)
        moments = []
        world.turn = lambda: (moments.append(world.now), Net.turn(world))
        world.run(SECOND - 30 * MILLISECOND)
        assert moments == [soon + later]
        assert stands(world)


def test_a_volley_that_all_have_left_is_no_more():
    """Nobody wakes for it, and nobody joins it."""
    with exactly():
        world, _ = pair()
        (volley,) = volleys_of(world)
        for name in "abcd":
            world.path(name).leave()
        assert volley.deadline is None
        assert not world.fleet._volleys._open
        world.run(SECOND)
        assert world.standing == len(NAMED)
        assert volley not in volleys_of(world)


# -- who takes part ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "most"), [(150, volleys.FEW), (600, 600 // volleys.SOME), (3000, volleys.TOGETHER)]
)
def test_a_volley_has_no_more_than_its_number(count, most):
    """Who finds none with room begins another one; few may be one, many are some at the least."""
    with exactly():
        world = Net(1, weather=False)
        world.watch(*(peer(f"10.0.{n >> 8}.{n & 255}", timing=TIMING) for n in range(count)))
        world.run(9 * SECOND)
        sizes = [len(volley.paths) for volley in volleys_of(world)]
        assert 0.9 * most <= max(sizes) <= most
        assert sum(sizes) == count


def test_a_volley_is_sent_at_once():
    """The socket has room for the largest one."""
    assert volleys.TOGETHER <= batch.SENT


@pytest.mark.parametrize(("room", "most"), [(300, 150), (100, volleys.FEW), (20_000, 500)])
def test_no_more_are_asked_at_once_than_have_room_for_their_replies(room, most):
    """As much again stays free for what others send; who has hardly any room asks a few still."""
    with exactly():
        world = Net(1, weather=False)
        world.fleet.have_room(room)
        world.fleet.have_room(20_000)  # another socket has more
        world.watch(*(peer(f"10.0.{n >> 8}.{n & 255}", timing=TIMING) for n in range(2_000)))
        world.run(9 * SECOND)
        assert 0.9 * most <= max(len(volley.paths) for volley in volleys_of(world)) <= most


@pytest.mark.parametrize(
    "other",
    [
        {"leaving": Leaving(interface="eth7")},
        {"leaving": Leaving(source="10.0.0.99")},
        {"leaving": Leaving(dscp=46)},
        {"timing": Timing(SECOND, 300 * MILLISECOND, 3, 2)},
        {"timing": Timing(SECOND + 1, 250 * MILLISECOND, 3, 2)},
        {"stamp": StampOptions(size=200)},
        {"limits": Limits(max_rtt=SECOND)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_who_is_asked_otherwise_is_asked_with_others(other):
    """One volley leaves by one socket, with one timeout and in one length."""
    with exactly():
        world = Net(1, weather=False)
        alike = {"timing": TIMING}
        world.watch(peer("a", "10.0.0.1", **alike), peer("b", "10.0.0.2", **(alike | other)))
        world.run(5 * SECOND)
        assert world.standing == len(volleys_of(world)) == 2


def test_who_leaves_by_another_egress_or_family_is_asked_with_others():
    """Witnesses are of one egress; an address of IPv6 is of another socket."""
    with exactly():
        world = Net(1, weather=False)
        world.links["10.0.0.2"], world.links["fd00::3"] = Link(egress=WAN), Link()
        world.watch(*(peer(host, timing=TIMING) for host in ("10.0.0.1", "10.0.0.2")))
        world.fleet.apply([*(one.settings for one in world.fleet.peers.values()), SIX])
        world.fleet.resolved(world.path("six"), (("fd00::3", 862, 0, 0),))
        world._carry_out()
        world.run(5 * SECOND)
        assert world.standing == len(volleys_of(world)) == 3


SIX = peer("six", "fd00::3", timing=TIMING)


def test_of_two_at_one_address_one_is_asked_with_others():
    """A reply's place tells whose it is, so there may be but one."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            world.watch(*(peer(name, "10.0.0.1", timing=TIMING) for name in "ab"))
            world.run(5 * SECOND)
        assert [stands(worlds[0], name) for name in "ab"].count(True) == 1
        agree(*worlds)


def slower(world, span):
    world.links["10.0.0.1"].delay += span


def loses(world, count):
    world.hosts_at["10.0.0.1"].silent[A] += count


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("limits", "change"),
    [
        (Limits(max_rtt=5 * MILLISECOND), partial(slower, span=MILLISECOND)),
        (Limits(max_rtt=4 * MILLISECOND), partial(slower, span=MILLISECOND // 3)),
        (Limits(max_loss=0.04), partial(loses, count=2)),
        (Limits(0.02, 4 * MILLISECOND), partial(loses, count=1)),
    ],
)
def test_limits_hold_as_path_by_path(seed, limits, change):
    """Who has a limit is asked with others as long as it is kept, and judged at the same moment."""
    with exactly():
        worlds = Net(seed, weather=False), Net(seed, volleys=False, weather=False)
        together, _ = worlds
        for world in worlds:
            world.watch(*(peer(n, f"10.0.0.{at}", timing=TIMING, limits=limits) for at, n in NAMED))
            world.run(30 * SECOND)
        assert together.standing == len(NAMED)
        before = together.by_itself
        each(worlds, lambda world: world.run(60 * SECOND))
        assert together.by_itself == before
        for _ in range(4):
            each(worlds, change)
            for _ in range(12):
                each(worlds, lambda world: world.run(3 * SECOND + 7))
                agree(*worlds)
        assert stands(together, "b")
        if limits.max_rtt is not None:
            each(worlds, lambda world: setattr(world.links["10.0.0.1"], "delay", MILLISECOND))
        each(worlds, lambda world: world.run(130 * SECOND))
        agree(*worlds)
        assert told(together) == told(worlds[1])
        states = [event.state for event in together.changes_of("a")]
        assert states == [State.UP, State.DEGRADED, State.UP]
        assert stands(together)


UNWELL = {
    "above max_rtt, and fewer than twenty were measured": (
        {"limits": Limits(max_rtt=10 * MICROSECOND)},
        None,
    ),
    "no retries": ({"timing": replace(TIMING, retries=0)}, None),
    "no timestamp": ({"stamp": StampOptions(echo_timestamp=False)}, None),
    "too tight": ({}, lambda world: setattr(world.path("a").figures, "tight", True)),
    "odd": ({}, lambda world: setattr(world.hosts_at["10.0.0.1"], "cut", 5)),
    "longer": ({}, lambda world: setattr(world.hosts_at["10.0.0.1"], "longer", 4)),
    "no hbd, and padded": (
        {"stamp": StampOptions(tlv=Tlv.OFF, size=60)},
        None,
    ),
    "no hbd, and T3 before T2": (
        {"stamp": StampOptions(tlv=Tlv.OFF)},
        lambda world: setattr(world.hosts_at["10.0.0.1"], "dwell", -MILLISECOND),
    ),
}


@pytest.mark.parametrize(("options", "change"), UNWELL.values(), ids=UNWELL)
def test_who_is_to_be_looked_at_each_time_is_asked_by_itself(options, change):
    """The others go on together."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            world.watch(peer("a", "10.0.0.1", **({"timing": TIMING} | options)))
            world.watch(peer("b", "10.0.0.2", timing=TIMING))
            world.run(5 * SECOND + REST)
            if change is not None:
                world.path("a").leave()
                change(world)
                world._carry_out()
            world.run(5 * SECOND)
        assert not stands(worlds[0])
        assert stands(worlds[0], "b")
        agree(*worlds)


def test_who_has_two_addresses_is_asked_with_others():
    """As long as one answers; it is asked at the other as soon as if it was alone."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            world.watch(peer("a", "10.0.0.1", timing=TIMING), peer("b", "10.0.0.2", timing=TIMING))
            world.resolve(world.path("a"), "10.0.0.1", "10.0.8.8")
            world.run(5 * SECOND + REST)
        assert stands(worlds[0])
        for world in worlds:
            world.links["10.0.0.1"].dead.append((world.now, world.now + 60 * SECOND))
            world.run(10 * SECOND)
            assert world.path("a").target[0] == "10.0.8.8"
            assert world.path("a").state is State.UP
        agree(*worlds)
        assert stands(worlds[0])


@pytest.mark.parametrize("ends", ["by itself", "sooner", "later"])
def test_who_is_paused_is_asked_with_others(ends):
    """Thousands may be, for hours; none of their rounds is counted for the advisor."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            for n, name in NAMED:
                world.watch(peer(name, f"10.0.0.{n + 1}", timing=TIMING))
            world.run(10 * SECOND + REST)
            world.fleet.pause("a", Pause(world.wall + 20 * SECOND, "work", "me"))
            world._carry_out()
            clean = world.path("a").rounds.clean
            world.run(10 * SECOND)
            assert world.path("a").rounds.clean == clean
        agree(*worlds)
        assert stands(worlds[0], "a")
        for world in worlds:
            if ends == "sooner":
                world.fleet.resume("a")
            if ends == "later":
                world.fleet.pause("a", Pause(world.wall + 30 * SECOND, "work", "me"))
            world._carry_out()
            world.run(20 * SECOND)
        agree(*worlds)
        assert stands(worlds[0], "a")
        for world in worlds:
            world.run(30 * SECOND)
            assert world.path("a").rounds.clean > clean
        agree(*worlds)


def test_who_stays_goes_on_where_others_have_left():
    """What is known of each keeps its place: each host has a TTL and an incarnation of its own."""
    with exactly():
        worlds = Net(1, weather=False), Net(1, volleys=False, weather=False)
        for world in worlds:
            for n, name in NAMED:
                host = world.hosts_at[f"10.0.0.{n}"]
                host.ttl, host.incarnation, host.estimate = 50 + n, n, n
                host.flags |= hbd_tlv.STATEFUL * (n > 2)
                world.watch(peer(name, f"10.0.0.{n}", timing=TIMING))
            world.run(5 * SECOND + REST)
            for name in "ab":
                world.path(name).leave()
            world.by_itself = 0
            world.run(SECOND)
        agree(*worlds)
        assert worlds[0].by_itself == 2


# -- leaving -----------------------------------------------------------------------------------


def ask_early(orders, n):
    path = orders.world.path(orders.name(n))
    if path.ask_early(orders.world.fleet.clock.now):
        orders.world.fleet._timers.schedule(path)
    else:
        orders.world.fleet._outputs.put(Ask(path))


def give(orders, n):
    path = orders.world.path(orders.name(n))
    path.give(State.UNKNOWN, Fact(Cause.OWN_LINK, "eth0 is down"))


def say_goodbye(orders, n):
    path = orders.world.path(orders.name(n))
    words = HbdTlv(5, 0, Reason.STOP, path.incarnation, 0, 0, 60, 0)
    assert orders.world.fleet.goodbye(path, words)


LEAVING = {
    **{
        name: partial(lambda name, orders, n: getattr(orders, name)(n, 4 * SECOND), name)
        for name in (
            *("pause", "reload", "slower", "remove", "examine", "elsewhere", "suspend"),
            *("unsent",),
        )
    },
    "ask_early": ask_early,
    "give": give,
    "goodbye": say_goodbye,
    "lead elsewhere": lambda orders, n: orders.world.fleet._verdicts.leave(
        orders.world.path(orders.name(n))
    ),
}


@pytest.mark.parametrize("moment", [0, 1, TIMING.timeout, 3 * TIMING.timeout - 1])
@pytest.mark.parametrize("change", LEAVING.values(), ids=LEAVING)
def test_what_changes_a_path_makes_it_leave_with_all_its_facts(change, moment):
    """Be its heartbeat just sent or answered: it goes on as if it had been by itself all along."""
    with exactly():
        worlds = pair()
        together, alone = worlds
        for world in worlds:
            world.at(6 * SECOND + moment, partial(carry_out, world, change, 2))
            world.run(REST + moment)
        path = together.fleet.peers.get("c")
        assert path is None or path.paths[0].volley is None
        agree(*worlds)
        for _ in range(4):
            each(worlds, lambda world: world.run(SECOND // 2 + 7))
            agree(*worlds)
        each(worlds, lambda world: world.run(8 * SECOND))
        agree(*worlds)
        assert told(together) == told(alone)


def carry_out(world, change, n):
    change(Orders(world), n)
    world._carry_out()


def test_an_icmp_error_makes_a_path_leave_that_awaits_a_reply():
    """Evidence is of the heartbeat that it returns, and forgotten with the next reply."""
    with exactly():
        worlds = pair()
        for world in worlds:
            world.twists[A] = lambda *_: []
            world.at(6 * SECOND + 1, partial(carry_out, world, lambda o, n: o.icmp(n, 0), 0))
            world.run(REST + 1)
            assert world.path("a").icmp is not None
        agree(*worlds)
        each(worlds, lambda world: world.run(SECOND))
        agree(*worlds)
        assert worlds[0].path("a").icmp is None


def test_who_reads_a_fact_gets_what_is_so_now_and_the_path_stays():
    """At any moment: all facts are as path by path, however often they are read."""
    with exactly():
        worlds = pair()
        for step in range(200):
            each(worlds, lambda world: world.run(17 * MILLISECOND))
            for _ in range(1 + step % 2):
                agree(*worlds)
            assert worlds[0].standing == len(NAMED)


def said_last(world):
    """Give what was said in each last heartbeat, all but T1."""
    return {name: octets[:4] + octets[12:] for name, (_, octets) in world.last.items()}


def test_a_call_or_another_estimate_is_said_in_the_next_heartbeat():
    """What our station says of itself is the same in all, and new when it changes."""
    with exactly():
        worlds = pair()
        for change in (
            lambda world: world.station.call("other"),
            lambda world: setattr(world.station, "estimate", 0x8005),
            lambda world: world.station.leave(Reason.STOP),
        ):
            each(worlds, change)
            each(worlds, lambda world: world.run(SECOND))
            together, alone = map(said_last, worlds)
            assert together == alone
            agree(*worlds)
        assert worlds[0].standing == 0  # each says goodbye by itself


def test_what_is_said_is_said_as_those_do_who_have_not_left():
    """One leaves as it is to be padded, then our clock is another: the others are not padded."""
    with exactly():
        worlds = pair()
        (volley,) = volleys_of(worlds[0])
        first, second, *_ = (path.peer.name for path in volley.paths)
        for world in worlds:
            settings = {name: peer.settings for name, peer in world.fleet.peers.items()}
            settings[first] = replace(settings[first], stamp=StampOptions(size=200))
            world.fleet.apply(settings.values())
            world.station.estimate = 0x8005
            world.run(SECOND)
        together, alone = map(said_last, worlds)
        assert together == alone
        assert len(together[first]) > len(together[second])
        agree(*worlds)


# -- many --------------------------------------------------------------------------------------


def volleys_of(world):
    return {path.volley for path in world.fleet._volleys._at.values() if path.volley}


def crowd(count, interval=10 * SECOND, **options):
    world = Net(1, steady=False, weather=False, **options)
    timing = Timing(interval, 500 * MILLISECOND, 3, 2)
    world.keep = False
    link = Link()
    peers = [peer(f"10.{n >> 8}.{n & 255}.1", timing=timing) for n in range(count)]
    world.watch(*peers, link=link)
    return world


def test_who_is_found_to_leave_as_others_do_is_asked_with_them_at_once():
    """One by one thousands take as long as there is: each time more would count at a start."""
    world = Net(1, steady=False, weather=False)
    unknown = []
    world._examine = unknown.append
    names = [f"10.0.{n}.1" for n in range(20)]
    world.watch(*(peer(name, timing=TIMING) for name in names), link=Link())
    world.run(2 * SECOND)
    assert world.standing == 0
    for path in unknown:
        World._examine(world, path)
    assert world.standing == 20
    check_places(world)
    before = world.by_itself
    world.run(3 * SECOND)
    assert world.by_itself - before <= 1  # what was under way


def test_who_is_asked_early_does_not_wait_for_others_when_its_way_is_looked_up_again():
    world = Net(1, weather=False)
    world.watch(*(peer(name, "10.0.0.1", timing=TIMING) for name in "ab"))
    world.run(5 * SECOND + REST)
    (other,) = (world.path(name) for name in "ab" if stands(world, name))
    (path,) = (world.path(name) for name in "ab" if not stands(world, name))
    other.leave()  # now there is room for it
    now = world.fleet.clock.now
    assert path.ask_early(now)
    world._examine(path)
    assert path.volley is None
    assert path.deadline == now


def test_who_is_asked_once_more_is_asked_by_itself_though_its_way_is_known_now():
    """Others have answered since, which shows only now: it is not to wait for them."""
    world = Net(1, steady=False, weather=False)
    world.watch(peer("b", "10.0.0.2", timing=TIMING), link=Link())
    unknown = []
    world._examine = unknown.append
    world.watch(peer("a", "10.0.0.1", timing=TIMING), link=Link())
    world.run(2 * SECOND)
    path = world.path("a")
    assert path.state is State.UP
    world.links["10.0.0.1"].dead.append((world.now, world.now + 60 * SECOND))
    while not path.is_exhausted:
        world.run(10 * MILLISECOND)
    World._examine(world, path)
    assert path.repeated
    assert not stands(world)
    assert path.deadline <= world.fleet.clock.now


@pytest.mark.slow
def test_volleys_are_few():
    """Ten thousand paths stand in about as many volleys as they fill, and soon."""
    world = crowd(10_000)
    world.run(25 * SECOND)
    assert world.standing == 10_000
    assert len(volleys_of(world)) < 1.5 * 10_000 / volleys.TOGETHER


def test_volleys_that_are_due_at_about_the_same_time_join():
    """Of some hundred paths few are left, though some leave and come back; each stands once."""
    world = crowd(1000)
    chance = dice(7)
    for _ in range(80):
        world.run(5 * SECOND)
        for name in chance.sample(sorted(world.fleet.peers), 3):
            world.path(name).leave()
        check_places(world)
    world.run(20 * SECOND)
    sizes = [sum(path is not None for path in volley.paths) for volley in volleys_of(world)]
    assert sum(sizes) == 1000
    assert len(sizes) <= 2 * volleys.SOME
    assert max(sizes) <= 1000 // volleys.SOME


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_volleys_that_could_be_one_soon_are(seed):
    """They do not meet by chance alone: the smaller waits for the larger."""
    world = Net(seed, steady=False, weather=False)
    world.keep = False
    timing = Timing(SECOND, 500 * MILLISECOND, 3, 2)
    world.watch(*(peer(f"10.0.{n}.1", timing=timing) for n in range(20)), link=Link())
    world.run(45 * SECOND)
    assert [len(volley.paths) for volley in volleys_of(world)] == [20]


def test_who_can_join_nobody_waits_for_nobody(monkeypatch):
    """Its interval is shortened as ever, by half of the most on average."""
    monkeypatch.setattr(volleys, "FEW", 12)
    world = Net(1, steady=False, weather=False)
    timing = Timing(SECOND, 500 * MILLISECOND, 3, 2)
    world.watch(*(peer(f"10.0.{n}.1", timing=timing) for n in range(24)), link=Link())
    world.run(30 * SECOND)
    sizes = sorted(len(volley.paths) for volley in volleys_of(world))
    assert sizes[0] + sizes[1] > volleys.FEW
    before = {path: path.sequence for path in map(world.path, world.fleet.peers)}
    world.run(80 * SECOND)
    for path, sequence in before.items():
        assert 84 <= path.sequence - sequence <= 86


def check_places(world):
    """Who stands somewhere stands there with all that is of it."""
    found = world.fleet._volleys._at
    for place, path in found.items():
        volley, rank = path.volley, path.rank
        assert volley.paths[rank] is path
        assert volley.places[rank] == place_of(path.target) == place
        assert volley.sessions[rank] is path.session
        assert volley.windows[rank] is path.figures.window.slots
    for volley in volleys_of(world):
        rows = (*standing._ROWS, "firsts", "counted", "owing", "answered")
        lengths = {name: len(getattr(volley, name)) for name in rows}
        assert set(lengths.values()) == {len(volley.paths)}, lengths
    assert len(found) == sum(path is not None for v in volleys_of(world) for path in v.paths)


@pytest.mark.parametrize(
    ("count", "span"),
    [
        (40, 400 * SECOND),
        (300, 200 * SECOND),
        pytest.param(40, 3600 * SECOND, marks=pytest.mark.slow),
    ],
)
def test_each_is_asked_once_an_interval(count, span):
    """From one heartbeat to the next it is 0.9 to 1 interval, whoever leaves and joins meanwhile.

    In each turn some leave, before and after they are to be asked, and join others with the next
    reply.
    """
    world = crowd(count)
    chance, send_all = dice(7), world._send_all

    def some_leave(paths):
        for path in paths:
            if path is not None and chance.random() < 0.05:
                path.leave()

    def send(ask):
        some_leave(list(ask.volley.paths))
        send_all(ask)
        some_leave(list(ask.volley.paths))

    world._send_all = send
    world.run(span)
    interval = 10 * SECOND
    for name, carried in world.carried.items():
        moments = [at for at, _ in carried]
        gaps = [after - before for before, after in pairwise(moments)]
        assert min(gaps) >= 0.9 * interval - 1, name
        assert max(gaps) <= interval + 1, name
        assert [sequence for _, sequence in carried] == list(range(len(carried)))
    assert world.standing > 0
    assert max(world.together) > 5


def test_nobody_waits_longer_than_an_interval_to_be_asked_with_others():
    """Also where its reply comes after those have been asked, and they are due a little later."""
    with exactly():
        world, _ = pair()
        world.links["10.0.0.1"].delay = 10 * MILLISECOND
        path = world.path("a")
        path.leave()
        path.deadline -= 10 * MILLISECOND
        world.fleet._timers.schedule(path)
        world.run(3 * SECOND)
        moments = [at for at, _ in world.carried["a", "10.0.0.1"]]
        assert max(after - before for before, after in pairwise(moments)) <= SECOND
        assert world.standing == len(NAMED)


@pytest.mark.parametrize("seed", range(4))
def test_verdicts_are_the_same_where_intervals_are_shortened(seed):
    """Each world has moments of its own: states, causes and the bound of detection are the same."""
    said = []
    for is_together in (True, False):
        world = Net(seed, volleys=is_together, steady=False, weather=False)
        for n, name in enumerate("abcdefgh"):
            world.links[f"10.0.0.{n}"] = Link(egress=WAN if name in "gh" else LAN)
            world.watch(peer(name, f"10.0.0.{n}", timing=TIMING))
        chance, orders = dice(seed), Orders(world)
        for n in range(12):
            whom, moment = chance.randrange(8), 10 + 30 * n
            order = ("die", "goodbye", "pause", "stall_long", "suspend", "cut", "lose")[n % 7]
            if order == "cut":
                begin = START + moment * SECOND
                world.cuts.setdefault(WAN, []).append((begin, begin + 12 * SECOND))
                continue
            change = partial(getattr(orders, order), whom, 7 * SECOND)
            world.at(moment * SECOND, change)
        world.run(400 * SECOND)
        said.append(
            {name: [(e.state, e.cause) for e in world.changes_of(name)] for name in "abcdefgh"}
        )
        for event in world.of_kind(StateChanged):
            if event.state is State.DOWN and event.detection is not None:
                late = world.late_since(event.at - event.detection)
                assert event.detection - late <= TIMING.detection
    assert said[0] == said[1]
