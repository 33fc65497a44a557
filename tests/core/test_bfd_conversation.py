"""Two BFD sessions talk to each other in virtual time (nanoseconds), over a link that may lose."""

from heapq import heappop, heappush
from itertools import count, pairwise
from random import Random

import pytest

from hbd.core.bfd import BfdSession
from hbd.core.model import MILLISECOND, SECOND, BfdAuth, BfdOptions, Cause, PeerSettings, Timing
from hbd.core.session import Fact
from hbd.wire import bfd
from hbd.wire.bfd import Diag, State

ADMIN_DOWN, DOWN, INIT, UP = State
FAST = 100 * MILLISECOND
DELAY = MILLISECOND
SECRET = b"hbdsecret"


class Speaker:
    """One side: a session and the time it is given."""

    def __init__(self, world, name, interval=FAST, **options):
        self.world, self.name = world, name
        self.options = options
        self.peer = None
        self.sent = []
        """When, and what."""
        self.states = []
        """When, and which."""
        self.faults = []
        self.dropped = []
        self.begin(interval)

    def begin(self, interval=FAST):
        """Start, or start again with nothing remembered."""
        options = BfdOptions(**self.options)
        secret = None if options.auth is BfdAuth.NONE else SECRET
        dice = self.world.dice
        discriminator = 1 + dice.getrandbits(31)
        self.session = BfdSession(options, interval, dice, discriminator, secret)
        self.heard_at = self.last_sent = self.world.now
        self.is_running = True
        self.waiting = []
        self.next_at = self.world.now + int(SECOND * dice.random())
        self.note()

    def adopt(self, interval, **options):
        self.options |= options
        self.session.adopt(
            PeerSettings(
                "peer", (), timing=Timing(interval=interval), bfd=BfdOptions(**self.options)
            )
        )
        self.plan()

    def resume(self):
        """Run again after a stall; what came meanwhile is read first, or we send first."""
        self.is_running = True
        self.heard_at = self.world.now
        waiting, self.waiting = self.waiting, []
        if self.world.dice.random() < 0.5:
            self.send()
        for datagram in waiting:
            self.receive(datagram)
        self.plan()

    def pause(self, *, on):
        self.session.pause(on=on)
        self.send()
        self.note()

    @property
    def deadline(self):
        if not self.is_running:
            return None
        detection = self.heard_at + self.session.patience
        if self.session.state not in (INIT, UP):
            return self.next_at
        return detection if self.next_at is None else min(detection, self.next_at)

    def advance(self, now):
        if self.session.state in (INIT, UP) and now >= self.heard_at + self.session.patience:
            self.session.expire()
            self.note()
        self.send()

    def plan(self):
        spacing = self.session.spacing()
        self.next_at = None if spacing is None else max(self.last_sent + spacing, self.world.now)

    def send(self):
        now = self.world.now
        datagram = self.session.compose(now)
        packet = bfd.parse(datagram)
        assert not (packet.poll and packet.final)
        assert packet.state is UP or packet.desired_min_tx_usec >= 1_000_000
        self.sent.append((now, packet))
        self.world.carry(self, datagram)
        self.last_sent = now
        self.plan()

    def receive(self, datagram):
        now = self.world.now
        if not self.is_running:
            self.waiting.append(datagram)
            return
        if bfd.addressee(datagram) not in (0, self.session.discriminator):
            return
        heard = self.session.read(datagram, now, 255, now - self.heard_at)
        if isinstance(heard, Fact):
            self.dropped.append(heard)
            return
        self.heard_at = now
        if heard.fault is not None:
            self.faults.append(heard.fault)
        self.note()
        if heard.reply:
            self.send()

    def note(self):
        if not self.states or self.states[-1][1] is not self.session.state:
            self.states.append((self.world.now, self.session.state))

    def since(self, start):
        return [(at, packet) for at, packet in self.sent if at >= start]


class World:
    """The time, the link and its losses."""

    def __init__(self, seed=1, loss=0.0):
        self.dice = Random(seed)  # noqa: S311 - to be replayed
        self.loss = loss
        self.cut = set()
        self.now = 0
        self.flying = []
        self.order = count()
        self.speakers = []

    def pair(self, a=None, b=None):
        self.speakers = [Speaker(self, "a", **(a or {})), Speaker(self, "b", **(b or {}))]
        first, second = self.speakers
        first.peer, second.peer = second, first
        return self.speakers

    def carry(self, sender, datagram):
        if sender.name not in self.cut and self.dice.random() >= self.loss:
            heappush(self.flying, (self.now + DELAY, next(self.order), sender.peer, datagram))

    def run(self, span):
        """Let so much time pass."""
        end = self.now + span
        for _ in range(200_000):
            due = [(one.deadline, n) for n, one in enumerate(self.speakers) if one.deadline]
            at = min([when for when, _ in due] + [flight[0] for flight in self.flying[:1]] + [end])
            self.now = max(self.now, at)
            if at >= end:
                return
            if self.flying and self.flying[0][0] == at:
                _, _, receiver, datagram = heappop(self.flying)
                receiver.receive(datagram)
            else:
                self.speakers[min(due)[1]].advance(self.now)
        raise AssertionError("a storm of packets")


def up(seed=1, a=None, b=None, loss=0.0):
    """Give a world with both sides up and all polls answered."""
    world = World(seed, loss)
    pair = world.pair(a, b)
    world.run(10 * SECOND)
    assert [one.session.state for one in pair] == [UP, UP]
    return world, *pair


seeds = pytest.mark.parametrize("seed", range(10))


@seeds
def test_both_come_up(seed):
    """Within two seconds both go Down, Init or not, Up, and stay there."""
    world = World(seed)
    world.pair()
    world.run(10 * SECOND)
    for one in world.speakers:
        states = [state for _, state in one.states]
        assert states in ([DOWN, INIT, UP], [DOWN, UP])
        assert one.states[-1][0] < 2 * SECOND


@seeds
def test_up_is_polled_answered_and_at_the_agreed_pace(seed):
    """The first Up has Poll, unless it is a Final; after the exchange 75-100 % of the interval."""
    _, *pair = up(seed, {"interval": FAST}, {"interval": 3 * FAST})
    for one in pair:
        said = [packet for _, packet in one.sent if packet.state is UP]
        assert any(packet.poll for packet in said[:2])
        assert any(packet.final for packet in said[:3])
        steady = one.since(5 * SECOND)
        assert not any(packet.poll or packet.final for _, packet in steady)
        gaps = [after - before for (before, _), (after, _) in pairwise(steady)]
        assert min(gaps) >= 0.75 * 3 * FAST
        assert max(gaps) <= 3 * FAST
        assert len(steady) > 15


@seeds
def test_cut_is_detected_to_the_nanosecond(seed):
    """Both are Down when the Detection Time after the last packet is over, with diag 1."""
    world, a, b = up(seed)
    cut_at = world.now
    world.cut = {"a", "b"}
    world.run(2 * SECOND)
    for one in (a, b):
        down_at, state = one.states[-1]
        assert state is DOWN
        assert down_at == one.heard_at + 3 * FAST
        assert 2 * FAST < down_at - cut_at <= 3 * FAST + DELAY
        first = next(packet for at, packet in one.sent if at >= down_at)
        assert (first.state, first.diag) == (DOWN, Diag.EXPIRED)
    world.cut = set()
    world.run(3 * SECOND)
    assert (a.session.state, b.session.state) == (UP, UP)


@seeds
def test_one_way_cut_is_told(seed):
    """The one that still hears learns at once that it is not heard, and why."""
    world, a, b = up(seed)
    world.cut = {"a"}
    world.run(SECOND)
    assert b.states[-1][1] is DOWN
    words = "the router says: control detection time expired (diag 1)"
    assert a.faults[-1] == Fact(Cause.BFD_EXPIRED, words)
    down = next(at for at, state in a.states[::-1] if state is DOWN)
    assert down == b.states[-1][0] + DELAY


@seeds
def test_own_stall_is_known(seed):
    """One that did not run hears that it was timed out, and says that it was itself."""
    world, a, b = up(seed)
    a.faults.clear()
    a.is_running = False
    world.run(2 * SECOND)
    assert b.session.state is DOWN
    a.resume()
    world.run(2 * SECOND)
    causes = {fault.cause for fault in a.faults}
    assert Cause.OWN_STALL in causes
    assert Cause.BFD_EXPIRED not in causes
    assert (a.session.state, b.session.state) == (UP, UP)


@seeds
@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1), (1, 20), (20, 1)])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_reconfiguration_takes_nobody_down(seed, before, after, loss):
    """One side's interval changes; a Poll Sequence tells it, and the new pace is agreed."""
    patient = {"multiplier": 30}
    world, a, b = up(seed, patient | {"interval": before * FAST}, patient)
    world.run(10 * SECOND)
    world.loss = loss
    start, ups = world.now, (len(a.states), len(b.states))
    a.adopt(after * FAST)
    world.run(60 * SECOND)
    assert (len(a.states), len(b.states)) == ups
    polls = [at for at, packet in a.since(start) if packet.poll]
    finals = [at for at, packet in b.since(start) if packet.final]
    assert polls
    assert 1 <= len(finals) <= len(polls)
    assert not a.session._offer.is_polling
    for one in (a, b):
        assert one.session.patience == 30 * after * FAST
        times = [at for at, _ in one.since(world.now - 10 * SECOND)]
        gaps = [late - early for early, late in pairwise(times)]
        assert 0.75 * after * FAST <= min(gaps) <= max(gaps) <= after * FAST


@seeds
def test_longer_interval_is_not_used_before_the_final(seed):
    """While Finals are lost the old pace goes on, so that nobody is timed out."""
    world, a, b = up(seed)
    world.cut = {"b"}
    start = world.now
    a.adopt(2 * FAST)
    world.run(250 * MILLISECOND)
    times = [at for at, packet in a.since(start) if packet.poll]
    assert len(times) >= 2
    assert max(late - early for early, late in pairwise(times)) <= FAST
    world.cut = set()
    world.run(5 * SECOND)
    assert (a.states[-1][1], b.states[-1][1]) == (UP, UP)
    assert a.states[-1][0] < start  # nothing has changed


@seeds
def test_pause_is_no_failure(seed):
    """AdminDown reaches the other at once, with its cause; the end of it brings both up again."""
    world, a, b = up(seed)
    start = world.now
    a.pause(on=True)
    world.run(5 * SECOND)
    assert b.states[-1] == (start + DELAY, DOWN)
    assert b.session.diag == Diag.SIGNALED_DOWN
    assert {fault.cause for fault in b.faults if fault.text.count("diag 7")} == {
        Cause.BFD_ADMIN_DOWN
    }
    assert a.session.state is ADMIN_DOWN
    assert len(a.since(start)) <= 7
    a.pause(on=False)
    world.run(5 * SECOND)
    assert (a.session.state, b.session.state) == (UP, UP)


@seeds
@pytest.mark.parametrize("gap", [0, 150 * MILLISECOND, 5 * SECOND])
@pytest.mark.parametrize("auth", BfdAuth)
def test_restart_of_one_brings_both_up_again(seed, gap, auth):
    """One forgets all and begins with another discriminator; both are up again, numbers and all."""
    world, a, b = up(seed, {"auth": auth}, {"auth": auth})
    assert not a.dropped
    assert not b.dropped
    b.is_running = False
    world.run(gap)
    before = b.session.discriminator
    b.begin()
    assert b.session.discriminator != before
    world.run(10 * SECOND)
    assert (a.session.state, b.session.state) == (UP, UP)
    assert a.sent[-1][1].your_discriminator == b.session.discriminator
    assert not b.dropped


def test_wrong_secret_never_comes_up():
    """Sides with different secrets stay Down and know why."""
    world = World()
    a, b = world.pair({"auth": BfdAuth.METICULOUS_SHA1}, {"auth": BfdAuth.METICULOUS_SHA1})
    options = BfdOptions(auth=BfdAuth.METICULOUS_SHA1)
    b.session = BfdSession(options, FAST, world.dice, 5, b"other")
    world.run(10 * SECOND)
    for one in (a, b):
        assert [state for _, state in one.states] == [DOWN]
        assert {fact.cause for fact in one.dropped} == {Cause.AUTH}


@seeds
@pytest.mark.parametrize("auth", BfdAuth)
def test_lossy_link_holds(seed, auth):
    """One packet in five lost, five may be: authenticated or not, nothing is refused for it."""
    options = {"auth": auth, "multiplier": 20}
    world, a, b = up(seed, options, options, loss=0.2)
    world.run(60 * SECOND)
    for one in (a, b):
        assert one.session.state is UP
        assert not one.dropped
