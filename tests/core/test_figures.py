"""The figures in the evidence of a peer that answers, but not well."""

from itertools import count

import pytest

from hbd.core.figures import Figures
from hbd.core.model import MILLISECOND, SECOND, WINDOW, Limits, Timing
from hbd.core.peer import evidence as asked_for
from tests.simulation.world import Link, World, peer, reflect

A = "10.0.0.1"
QUICK = Timing(100 * MILLISECOND, 50 * MILLISECOND, 10, 2)


def evidence(limits, lost=0, *, spoilt=0, reflector=None, protocol="stamp", **link):
    world = World(1)
    world.reflect = reflector or world.reflect
    settings = peer(A, timing=QUICK, limits=limits, protocol=protocol)
    world.watch(settings, link=Link(**link))
    world.run(20 * SECOND)
    for what in ["corrupt_in_turn"] * spoilt + ["lost_in_turn"] * lost:
        setattr(world.links[A], what, 1)
        world.run(200 * MILLISECOND)
    return world.changes_of(A)[-1].evidence


def counting(step=1):
    """A reflector that counts, and others' heartbeats with ours where the step is more."""
    numbers = count(0, step)

    def answer(request, wall):
        reply = reflect(request, wall)
        return next(numbers).to_bytes(4, "big") + reply[4:]

    return answer


LOSSY = f"{A}: loss 6 % of the last 100, above max_loss 5 %"


def test_loss_is_told_with_its_limit():
    """Evidence of loss has what was lost, of how many, what is allowed, and why not where."""
    words = ", direction not known: the reflector is not known to be stateful"
    assert evidence(Limits(max_loss=0.05), lost=6) == (LOSSY + words,)


def test_loss_is_told_by_direction_where_the_reflector_counts():
    """Of 6 lost heartbeats one lost its reply, the others did not arrive."""
    told = evidence(Limits(max_loss=0.05), lost=5, spoilt=1, reflector=counting())
    assert told == (LOSSY + ": 5.05 % on the way there, 1.06 % on the way back",)


def test_loss_is_not_told_by_direction_where_the_count_is_not_of_ours():
    """A reflector that counts others, too, does not mislead; that it tells too little is said."""
    told = evidence(Limits(max_loss=0.05), lost=6, reflector=counting(2))
    words = ", direction not known: the reflector's count does not tell of most of them"
    assert told == (LOSSY + words,)


def test_who_asks_later_gets_the_figures_of_then():
    """Loss that grows after the verdict is no news, but what is asked for is of now."""
    world = World(1)
    world.watch(peer(A, timing=QUICK, limits=Limits(max_loss=0.05)), link=Link())
    world.run(20 * SECOND)
    for _ in range(9):
        world.links[A].lost_in_turn = 1
        world.run(200 * MILLISECOND)
    (told,) = world.changes_of(A)[-1].evidence
    (shown,) = asked_for(world.fleet.peers[A], world.fleet.clock.now)
    assert told.startswith(LOSSY)
    assert shown.startswith(f"{A}: loss 9 % of the last 100, above max_loss 5 %")
    world.path(A).figures.lossy = False  # nobody has judged that yet
    assert asked_for(world.fleet.peers[A], world.fleet.clock.now) == (told,)


def test_other_protocols_have_no_direction():
    """Evidence of loss does not speak of a reflector where there is none."""
    assert evidence(Limits(max_loss=0.05), lost=6, protocol="other") == (LOSSY,)


def test_slowness_is_told_with_its_limit():
    """Evidence of a slow path has the median and what is allowed."""
    limits = Limits(max_rtt=20 * MILLISECOND)
    words = f"{A}: RTT median 30 ms, above max_rtt 20 ms"
    assert evidence(limits, delay=15 * MILLISECOND) == (words,)


def test_what_is_annulled_has_no_part_in_the_loss():
    """Probes, and what did not leave us, make the loss of the other heartbeats no smaller."""
    figures = Figures()
    assert figures.loss(0) is None
    for sequence in range(2 * WINDOW):
        figures.window.sent(sequence)
        if sequence % 4:
            figures.window.annulled(sequence)
        elif sequence % 8:
            figures.window.answered(sequence, MILLISECOND)
        if sequence % 8 == 7:
            assert figures.loss(0) == pytest.approx(0.5, abs=0.05)
