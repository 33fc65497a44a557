"""A fleet under everything that can befall it, in any order (a stateful model)."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbd.core.events import StateChanged
from hbd.core.model import MILLISECOND, MOMENT, SECOND, WINDOW, Limits, State, Timing
from hbd.core.peer import Pause
from hbd.core.verdicts import ASKED_ANEW
from tests.simulation.world import (
    LAN,
    WAN,
    EgressKey,
    NumberSession,
    World,
    own_link,
    peer,
)

timings = st.builds(
    Timing,
    interval=st.sampled_from([200 * MILLISECOND, SECOND, 5 * SECOND]),
    timeout=st.sampled_from([50 * MILLISECOND, 200 * MILLISECOND]),
    retries=st.integers(0, 4),
    rise=st.integers(1, 4),
)
SHORTEST, LONGEST = 50 * MILLISECOND, 200 * MILLISECOND + MOMENT
"""Timeouts; a heartbeat in question keeps the one it was sent with, and probes end together."""
spans = st.integers(1, 20 * SECOND)
numbers = st.integers(0, 5)
limits = st.sampled_from([Limits(), Limits(max_loss=0.05), Limits(max_rtt=20 * MILLISECOND)])


class FleetModel(RuleBasedStateMachine):
    """Six peers at most; every event is checked as it happens, the facts after each step."""

    @initialize(
        seed=st.integers(0, 2**16),
        chosen=st.lists(timings, min_size=1, max_size=6),
        grace=st.sampled_from([0, 10 * SECOND]),
    )
    def begin(self, seed, chosen, grace):
        self.world = World(seed, session=lambda *_: NumberSession(), start_grace=grace)
        self.world.watchers.append(self.see)
        self.settings = [
            peer(f"10.0.0.{n}", timing=timing, via="10.0.0.0" if n == 5 else None)
            for n, timing in enumerate(chosen)
        ]
        self.states = {one.name: State.UNKNOWN for one in self.settings}
        self.excused = dict.fromkeys(self.states, self.world.fleet.clock.now + grace)
        """Until when a verdict may come later than the formula, as our own time."""
        self.world.watch(*self.settings, link=None)
        for n, link in enumerate(self.world.links.values()):
            link.egress = (LAN, WAN, EgressKey("eth1"))[n % 3]

    # -- what is true of every event ----------------------------------------------------------

    def see(self, event):
        if not isinstance(event, StateChanged):
            return
        assert event.previous is self.states[event.peer], event
        self.states[event.peer] = event.state
        if event.state is not State.DOWN or event.is_refinement:
            return
        one, now = self.world.fleet.peers[event.peer], self.world.fleet.clock.now
        for path in one.paths:
            assert path.is_probing
            if event.previous is State.PAUSED:
                continue  # it was judged some time ago
            egress = path.egress
            witnessed = egress is None or egress.has_answered_since(path.first_missed)
            assert witnessed or path.lonely, event
            if path.asked is None and not path.rising:  # else down until it has risen
                assert now >= path.last_sent + SHORTEST, "before its last deadline"
        if event.previous is State.UP and event.detection is not None:
            late = self.world.late_since(event.at - event.detection)
            if now - event.detection + late >= self.excused[event.peer]:
                timing = one.settings.timing
                repeated = any(path.repeated for path in one.paths)
                rounds = (timing.retries + 1) * timing.timeout if repeated else 0
                assert event.detection - late <= timing.detection + rounds, event

    def excuse(self, *names):
        for name in names or self.states:
            self.excused[name] = self.world.fleet.clock.now + 60 * SECOND

    # -- what may happen ----------------------------------------------------------------------

    @rule(span=spans)
    def run(self, span):
        self.world.run(span)

    def go_on(self):
        """Whatever has happened, time goes on: mostly little, sometimes long."""
        self.world.run(int(SECOND * 10 ** self.world.dice.uniform(-2, 1.5)))

    @rule(number=numbers, span=spans)
    def host_dies(self, number, span):
        links = list(self.world.links.values())
        links[number % len(links)].dead.append((self.world.now, self.world.now + span))
        self.go_on()

    @rule(number=numbers, count=st.integers(1, 6))
    def lose(self, number, count):
        links = list(self.world.links.values())
        links[number % len(links)].lost_in_turn = count
        self.go_on()

    @rule(number=numbers, delay=st.integers(0, 300 * MILLISECOND), spread=st.integers(0, SECOND))
    def slow_down(self, number, delay, spread):
        links = list(self.world.links.values())
        link = links[number % len(links)]
        link.delay, link.spread, link.duplicates, link.corrupts = delay, spread, 0.2, 0.1
        self.go_on()

    @rule(span=st.integers(1, 3600 * SECOND), after=spans)
    def stall(self, span, after):
        if not self.world.stalls:
            begin = self.world.now + after
            self.world.stalls.append((begin, begin + span))
        self.go_on()

    @rule(step=st.integers(-(10**18), 10**18))
    def wall_clock_steps(self, step):
        self.world.wall_step = step
        self.go_on()

    @rule(span=st.integers(SECOND, 10**14))
    def suspend(self, span):
        self.excuse()
        self.world.suspend(span)
        self.go_on()

    @rule(key=st.sampled_from([LAN, WAN, EgressKey("eth1")]), span=spans)
    def cut(self, key, span):
        self.excuse()
        self.world.cuts[key] = [(self.world.now, self.world.now + span)]
        self.go_on()

    @rule(key=st.sampled_from([LAN, WAN]))
    def link_down(self, key):
        self.excuse()
        self.world.faults[key] = own_link(key.interface)
        self.go_on()

    @precondition(lambda self: self.world.faults)
    @rule()
    def links_up(self):
        self.excuse()
        self.world.faults.clear()
        self.go_on()

    @rule(number=numbers, key=st.sampled_from([LAN, WAN, EgressKey("eth1")]))
    def reroute(self, number, key):
        self.excuse()
        links = list(self.world.links.values())
        links[number % len(links)].egress = key
        self.go_on()

    @rule(number=numbers, timing=timings, limit=limits)
    def reload(self, number, timing, limit):
        number %= len(self.settings)
        before = self.settings[number]
        self.excuse(before.name)
        self.settings[number] = peer(
            before.name, timing=timing, limits=limit, via=before.via, labels=before.labels
        )
        self.world.apply(*self.settings)
        self.go_on()

    @rule(number=numbers)
    def replace_path(self, number):
        number %= len(self.settings)
        name = self.settings[number].name
        self.excuse(name)
        address = f"10.0.{self.world.dice.randrange(3)}.{number}"
        self.settings[number] = peer(name, address, timing=self.settings[number].timing)
        self.world.apply(*self.settings)
        self.go_on()

    @rule(number=numbers, span=spans)
    def pause(self, number, span):
        name = self.settings[number % len(self.settings)].name
        self.excuse(name)
        self.world.fleet.pause(name, Pause(self.world.wall + span, "", "someone"))
        self.world._carry_out()
        self.go_on()

    @rule(number=numbers)
    def resume(self, number):
        name = self.settings[number % len(self.settings)].name
        self.excuse(name)
        self.world.fleet.resume(name)
        self.world._carry_out()
        self.go_on()

    @rule()
    def lost_some(self):
        self.world.fleet.lost_some()
        self.go_on()

    # -- what is always true ------------------------------------------------------------------

    @invariant()
    def next_deadline_is_later(self):
        fleet = self.world.fleet
        deadline = fleet.next_deadline()
        assert deadline is None or deadline > fleet.clock.real

    @invariant()
    def memory_is_bounded(self):
        paths = [p for one in self.world.fleet.peers.values() for p in one.paths]
        for path in paths:
            assert len(path.unanswered) <= WINDOW
        assert len(self.world.fleet._timers) <= 2 * (2 * len(paths) + 20) + 64

    @invariant()
    def told_is_what_is(self):
        for one in self.world.fleet.peers.values():
            assert self.states[one.name] is one.state

    @invariant()
    def every_path_is_asked_again(self):
        now = self.world.fleet.clock.now
        for one in self.world.fleet.peers.values():
            for path in one.paths:
                # After a fault of ours that much later.
                spacing = max(path.timing.probe, path.timing.interval) + ASKED_ANEW
                assert path.deadline is not None
                if path.asked is not None:  # nothing regular comes before reply or timeout
                    assert path.deadline <= path.last_sent + LONGEST + self.world.late
                assert path.deadline <= now + max(spacing, self.world.fleet.start_grace)


FleetModel.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestFleet = pytest.mark.slow(FleetModel.TestCase)
