"""A BFD session against RFC 5880 6.8, read a second time (a stateful model)."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbd.core.bfd import BfdSession
from hbd.core.model import SECOND, BfdOptions, PeerSettings, Timing
from hbd.core.session import Fact, Heard
from hbd.wire import bfd
from hbd.wire.bfd import Packet, State

MINE, YOURS, OTHERS = 7, 8, 9

intervals = st.sampled_from([50_000, 100_000, 300_000, 1_000_000, 5_000_000])
"""Microseconds."""
wishes = st.sampled_from([0, 1, 100_000, 400_000, 2_000_000])


silences = st.integers(0, 10 * SECOND)
packets = st.builds(
    Packet,
    diag=st.integers(0, 9),
    state=st.sampled_from(State),
    poll=st.booleans(),
    final=st.booleans(),
    control_plane_independent=st.booleans(),
    demand=st.sampled_from([False, False, True]),
    multiplier=st.sampled_from([0, 1, 2, 3, 3, 3, 4]),
    my_discriminator=st.sampled_from([0, *[YOURS] * 8, MINE]),
    your_discriminator=st.sampled_from([0, *[MINE] * 8, OTHERS]),
    desired_min_tx_usec=intervals,
    required_min_rx_usec=wishes,
    required_min_echo_rx_usec=st.sampled_from([0, 50_000]),
    auth=st.none(),
)
CALM = Packet(
    diag=0,
    state=State.UP,
    poll=False,
    final=False,
    control_plane_independent=False,
    demand=False,
    multiplier=3,
    my_discriminator=YOURS,
    your_discriminator=MINE,
    desired_min_tx_usec=50_000,
    required_min_rx_usec=1,
)


class Level:
    """Dice that take nothing off."""

    def random(self):
        return 0.0

    def getrandbits(self, _k):
        return 0


def next_state(ours, theirs):
    """6.8.6, from "If received state is AdminDown" on, sentence by sentence."""
    if ours == "AdminDown":
        return ours
    if theirs == "AdminDown":
        return "Down"
    if ours == "Down":
        return {"Down": "Init", "Init": "Up"}.get(theirs, ours)
    if ours == "Init":
        return "Up" if theirs in ("Init", "Up") else ours
    return "Down" if theirs == "Down" else ours


NAMES = {State.ADMIN_DOWN: "AdminDown", State.DOWN: "Down", State.INIT: "Init", State.UP: "Up"}
STATES = {name: state for state, name in NAMES.items()}


class BfdModel(RuleBasedStateMachine):
    """What the RFC says of a session, beside the session."""

    @initialize(wanted=intervals, multiplier=st.integers(1, 5))
    def begin(self, wanted, multiplier):
        self.wanted, self.multiplier = wanted, multiplier
        options = BfdOptions(multiplier=multiplier)
        self.session = BfdSession(options, wanted * 1000, Level(), MINE, None)
        self.state = "Down"
        self.diag = 0
        self.remote = None
        """The last packet that was not discarded."""
        self.yours = 0
        self.owed = False
        self.told = []
        """Offers in packets since the session is Up that no Final has settled, oldest first."""
        self.asked = None
        """The offer that a Poll carried and no Final has answered."""

    def enter(self, state, diag):
        if state == self.state:
            return
        if state in ("Up", "Down", "AdminDown"):
            self.diag = diag
        if "Up" in (state, self.state):
            self.told, self.asked = [], None
        self.state = state

    @rule(packet=packets, ttl=st.sampled_from([255] * 9 + [254]), silence=silences)
    def hear(self, packet, ttl, silence):
        heard = self.session.read(bfd.pack(packet), 0, ttl, silence)
        state, yours = NAMES[packet.state], packet.your_discriminator
        is_discarded = (
            ttl < 255
            or packet.multiplier == 0
            or packet.my_discriminator == 0
            or yours == OTHERS
            or (yours == 0 and state in ("Init", "Up"))
        )
        assert isinstance(heard, Fact) == is_discarded
        if not is_discarded:
            self.believe(packet, heard)

    def believe(self, packet, heard):
        state, poll, final = NAMES[packet.state], packet.poll, packet.final
        self.remote, self.yours = packet, packet.my_discriminator
        if final and self.asked is not None:
            self.told, self.asked = [self.asked], None
        if self.state == "AdminDown":
            assert heard == Heard(is_up=False)
            return
        before = self.state
        after = next_state(before, state)
        self.enter(after, 3 if after == "Down" else 0)
        self.owed = self.owed or poll
        assert heard.is_up == (after == "Up")
        assert (heard.fault is not None) == (state in ("Down", "AdminDown"))
        if poll or after != before:
            assert heard.reply

    @rule()
    def send(self):
        packet = bfd.parse(self.session.compose(0))
        assert NAMES[packet.state] == self.state
        assert packet.diag == self.diag
        assert packet.final == self.owed
        assert not (packet.poll and packet.final)
        assert (packet.my_discriminator, packet.your_discriminator) == (MINE, self.yours)
        assert packet.multiplier == self.multiplier
        assert not packet.demand
        assert packet.required_min_echo_rx_usec == 0
        self.owed = False
        offer = (packet.desired_min_tx_usec, packet.required_min_rx_usec)
        if self.state != "Up":
            assert offer == (max(self.wanted, 1_000_000), self.wanted)
            assert not packet.poll
            return
        if self.asked is not None:
            assert offer == self.asked  # one sequence, one offer
            assert packet.poll or packet.final
        if packet.poll:
            self.asked = offer
        self.told.append(offer)

    @precondition(lambda self: self.state == "Down")
    @rule()
    def shake_hands(self):
        """Random packets seldom bring a session up."""
        for state in (State.DOWN, State.INIT):
            self.send()
            self.hear(CALM._replace(state=state), 255, 0)

    @rule()
    def expire(self):
        self.session.expire()
        self.yours = 0
        if self.state in ("Init", "Up"):
            self.enter("Down", 1)

    @rule(on=st.booleans())
    def pause(self, on):
        self.session.pause(on=on)
        if on:
            self.enter("AdminDown", 7)
            self.owed = False
        elif self.state == "AdminDown":
            self.enter("Down", 0)

    @rule(wanted=intervals, multiplier=st.integers(1, 5))
    def adopt(self, wanted, multiplier):
        self.wanted, self.multiplier = wanted, multiplier
        self.session.adopt(
            PeerSettings(
                "router",
                (),
                protocol="bfd",
                timing=Timing(interval=wanted * 1000),
                bfd=BfdOptions(multiplier=multiplier),
            )
        )

    @precondition(lambda self: self.state == "Up")
    @rule()
    def agree(self):
        """The peer answers until nothing is left to ask: then what is wanted is in force."""
        for _ in range(4):
            self.send()
            self.send()  # a Final that is owed goes first
            final = CALM._replace(final=self.asked is not None)
            for packet in (final, CALM):
                self.session.read(bfd.pack(packet), 0, 255, 0)
            self.remote, self.yours = CALM, YOURS
            if final.final:
                self.told, self.asked = [self.asked], None
        assert self.session.spacing() == self.jittered(self.wanted)
        assert self.session.patience == 3 * self.wanted * 1000

    def jittered(self, usec):
        return usec * 900 if self.multiplier == 1 else usec * 1000

    @invariant()
    def state_is_the_models(self):
        assert NAMES[self.session.state] == self.state
        if self.remote is not None:
            assert self.session.remote_state is self.remote.state

    @invariant()
    def nobody_is_timed_out_by_a_change(self):
        """6.8.3: we send as often as any of our offers says, and bear as long as any."""
        spacing = self.session.spacing()
        for tx, rx in self.told:
            if spacing is not None:
                theirs = self.remote.required_min_rx_usec
                assert spacing <= self.jittered(max(tx, theirs))
            expected = max(rx, self.remote.desired_min_tx_usec) * 1000
            assert self.session.patience >= self.remote.multiplier * expected

    @invariant()
    def pace_is_agreed(self):
        spacing = self.session.spacing()
        if self.remote is None:
            assert spacing == self.jittered(max(self.wanted, 1_000_000))
            return
        theirs = self.remote.required_min_rx_usec
        is_demanded = self.remote.demand and self.state == "Up" == NAMES[self.remote.state]
        if theirs == 0:
            assert spacing is None
        elif spacing is None:
            assert is_demanded
        else:
            assert spacing >= self.jittered(theirs)
            if self.state != "Up":
                assert spacing == self.jittered(max(theirs, self.wanted, 1_000_000))


BfdModel.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBfdModel = pytest.mark.slow(BfdModel.TestCase)
