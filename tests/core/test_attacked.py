"""The detector on a network that belongs to somebody without the key."""

from functools import partial
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbd.core.model import MILLISECOND, SECOND, State, Timing
from hbd.core.reflector import Reflector
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.wire import stamp
from hbd.wire.auth import Key
from tests.simulation.world import World, peer

FLEET, OTHER = Key(bytes(range(32))), Key(bytes(range(32, 64)))
A, WITNESS = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 300 * MILLISECOND, retries=3, rise=2)
GONE = 2 * TIMING.detection + SECOND
"""After so long without a reply nobody can be taken for alive."""


class Wire(World):
    """Every datagram between us and A goes through the attacker's hands."""

    def __init__(self, seed):
        super().__init__(
            seed, session=lambda one, _: StampSession(one, self.station, Keys(FLEET, (FLEET,)))
        )
        self.reflectors = {}
        self.requests, self.replies, self.held = [], [], []
        """Ours, the genuine replies to them, and those of these that are kept from us."""
        self.delivered = set()
        """Genuine replies that have reached us."""
        self.is_dead = self.holds = False

    def _carry(self, path, datagram, *, begins_round):  # noqa: ARG002 - none is skipped
        host = path.target[0]
        if host not in self.reflectors:
            station = Station(host, len(host) + 7, Random(1))  # noqa: S311 - to be replayed
            made = Reflector({862}, set(), lambda _: True, station)
            made.admission.keys = lambda _: (FLEET,)
            self.reflectors[host] = made
        if host == A:
            self.requests.append(datagram)
            if self.is_dead:
                return
        reflection = self.reflectors[host].answer(
            datagram,
            source=("10.0.0.9", 40_000),
            destination=host,
            ttl=64,
            received=self.wall,
            now=self.now,
            wall=self.wall,
        )
        reply = reflection.reply
        if host != A:
            self.deliver(path.target, reply)
            return
        self.replies.append(reply)
        if self.holds:
            self.held.append(reply)
        else:
            self.let_through(reply)

    def let_through(self, reply):
        """A genuine reply reaches us."""
        self.arrive(self.now + MILLISECOND, lambda at: self._arrived(reply, at))

    def _arrived(self, reply, at):
        self.delivered.add(reply)
        self._receive((A, 862), reply, at)

    def deliver(self, target, datagram):
        """Something that looks as if it were from there reaches us."""
        self.arrive(self.now + MILLISECOND, partial(self._receive, target, datagram))


class Attacker(RuleBasedStateMachine):
    """Drops, holds back, replays, reorders, sends back, splices and forges; has no key."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.world = Wire(seed)
        self.world.watch(peer(A, timing=TIMING), peer(WITNESS, timing=TIMING))
        self.world.run(5 * SECOND)
        assert self.world.state(A) is State.UP
        self.changes = [len(self.world.delivered)]
        self.world.watchers.append(self.note)

    def note(self, event):
        """Keep how many genuine replies had come when A's state changed."""
        if getattr(event, "peer", None) == A and event.state is not event.previous:
            self.changes.append(len(self.world.delivered))
            if event.state is State.UP:
                assert self.changes[-1] - self.changes[-2] >= TIMING.rise

    @rule(span=st.integers(10 * MILLISECOND, 4 * SECOND))
    def time_goes_by(self, span):
        self.world.run(span)

    @rule(is_dead=st.booleans(), holds=st.booleans())
    def changes_its_mind(self, is_dead, holds):
        """The host dies or returns; its replies are held back or not."""
        self.world.is_dead, self.world.holds = is_dead, holds

    @precondition(lambda self: self.world.held)
    @rule(data=st.data())
    def lets_go(self, data):
        """What was held back comes late, or never."""
        reply = data.draw(st.sampled_from(self.world.held))
        self.world.held.remove(reply)
        self.world.let_through(reply)
        self.world.run(2 * MILLISECOND)

    def inject(self, datagram):
        self.world.deliver((A, 862), datagram)
        self.world.run(2 * MILLISECOND)

    @precondition(lambda self: self.world.delivered)
    @rule(data=st.data(), times=st.integers(1, 3))
    def replays(self, data, times):
        """A reply that has come comes again."""
        reply = data.draw(st.sampled_from(sorted(self.world.delivered)))
        for _ in range(times):
            self.inject(reply)

    @rule(data=st.data(), back=st.integers(1, 6))
    def sends_back(self, data, back):
        """Our own heartbeat, as it is or as its reply would look."""
        request = self.world.requests[-min(back, len(self.world.requests))]
        as_reply = stamp.pack_reply(
            request, sequence=0, timestamp=1, estimate=1, receive_timestamp=1, ttl=64, key=OTHER
        )
        self.inject(data.draw(st.sampled_from([request, as_reply])))

    @rule(data=st.data(), bits=st.integers(1, 255), back=st.integers(1, 6))
    def forges(self, data, bits, back):
        """An octet of a reply, held back or not, is another."""
        reply = bytearray(self.world.replies[-min(back, len(self.world.replies))])
        reply[data.draw(st.integers(0, stamp.AUTH_SIZE - 1))] ^= bits
        self.inject(bytes(reply))

    @rule(back=st.integers(1, 6), more=st.integers(1, 6))
    def splices(self, back, more):
        """The TLVs of a reply, its goodbye too, behind what has come already."""
        replies = self.world.replies
        base, words = (replies[-min(n, len(replies))] for n in (back + more, back))
        if base in self.world.delivered:
            self.inject(base[: stamp.AUTH_SIZE] + words[stamp.AUTH_SIZE :])

    @invariant()
    def only_what_the_peer_says_counts(self):
        """No more replies count than have come; the dead are not alive, the others not touched."""
        if not hasattr(self, "world"):
            return
        world = self.world
        path = world.path(A)
        assert path.figures.received <= len(world.delivered)
        assert world.state(A) in (State.UP, State.DOWN)
        if world.fleet.clock.now - path.last_life > GONE:
            assert world.state(A) is State.DOWN
        assert world.states_of(WITNESS) == [State.UP]


TestAttacker = Attacker.TestCase
TestAttacker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_attacker_is_needed():
    """Without him, in the same world, the peer dies and returns as it does."""
    world = Wire(1)
    world.watch(peer(A, timing=TIMING), peer(WITNESS, timing=TIMING))
    for is_dead in (False, True, False):
        world.is_dead = is_dead
        world.run(3 * GONE)
    assert world.states_of(A) == [State.UP, State.DOWN, State.UP]
