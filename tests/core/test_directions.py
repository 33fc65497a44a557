"""Loss on the way there and on the way back, told from what a reflector counts."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.core.asked import Asked
from hbd.core.directions import ANNULLED, LOST, Directions, split
from hbd.core.figures import Figures
from hbd.core.model import SECOND, State
from hbd.core.peer import Peer
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from tests.simulation.world import WALL, World, peer, reflect

A, B = "10.0.0.1", "10.0.0.2"
MICROSECOND = 1_000


@pytest.mark.parametrize(
    ("fates", "expected"),
    [
        ([0, 0, 0], (0, 0)),
        ([7, 7, 7], (0, 0)),
        ([0, LOST, 1], (1 / 2, 0)),
        ([0, LOST, 0], (0, 1 / 2)),
        ([0, LOST, LOST, LOST, 1, 1], (1 / 5, 2 / 4)),
        ([255, LOST, 0], (1 / 2, 0)),
        ([LOST, 5, 5, LOST, LOST, 7, LOST], (2 / 4, 0)),
        ([0, ANNULLED, 1, ANNULLED, 2, LOST, 3], (1 / 4, 0)),
        ([0, ANNULLED, 0, LOST, 1], (1 / 3, 0)),
        ([0, ANNULLED, LOST, 1], None),
        ([0, LOST, 1, ANNULLED, LOST, 2], (1 / 2, 0)),
        ([9, 200, LOST, 201], (1 / 3, 0)),
        ([9, LOST, 200, 200], None),
        ([5, 4, LOST, 5], (1 / 3, 0)),
        ([9, 8, 7, 6, LOST, 6], None),
        ([3, 2, 4, 3], (0, 0)),
        ([], (0, 0)),
        ([4], (0, 0)),
        ([LOST, LOST], None),
        ([0, LOST, LOST], None),
    ],
    ids=[
        "nothing lost",
        "nothing lost since",
        "there",
        "back",
        "both",
        "modulo 256",
        "before the first and after the last reply",
        "never left",
        "annulled but counted",
        "annulled beside a lost one",
        "half of it is told",
        "counts anew",
        "counts anew after a loss",
        "counts a duplicate",
        "counts others, too",
        "overtaken",
        "nothing",
        "one reply",
        "no reply",
        "no second reply",
    ],
)
def test_each_way_has_its_loss(fates, expected):
    """Loss there is of what was sent, loss back of what was answered; None where it is a guess."""
    told = split(fates, fates.count(LOST))
    assert told == (expected and pytest.approx(Directions(*expected)))


class Channel:
    """A path's figures, fed by a channel that loses, to a reflector that counts."""

    def __init__(self):
        self.figures = Figures()
        self.fates = []
        self.counted = 0

    def carry(self, fate):
        sequence = len(self.fates)
        self.fates.append(fate)
        window = self.figures.window
        window.sent(sequence)
        if fate == "restart":
            self.counted = 0
        if fate == "annulled":
            window.annulled(sequence)
        if fate in ("there", "annulled"):
            return
        number = self.counted
        self.counted += 2 if fate == "twice" else 1
        if fate == "annulled after all":
            window.annulled(sequence)
        elif fate != "back":
            window.answered(sequence, MICROSECOND, sequence - number)

    def between_replies(self):
        """Give the fates of the last hundred after the first answered one up to the last one."""
        last = self.fates[-100:]
        replies = [n for n, fate in enumerate(last) if fate in ("ok", "twice", "restart")]
        return last[replies[0] + 1 : replies[-1] + 1] if replies else []


LOSSES = ["ok"] * 6 + ["there"] * 2 + ["back"]


@settings(deadline=None)  # other tests may hold us up
@given(st.lists(st.sampled_from(LOSSES), max_size=250))
def test_split_is_the_truth(fates):
    """What is told is exactly what the channel lost between the first and the last reply."""
    channel = Channel()
    for fate in fates:
        channel.carry(fate)
        last = channel.between_replies()
        there, back = last.count("there"), last.count("back")
        lost = sum(one != "ok" for one in channel.fates[-100:])
        told = channel.figures.directions(0)
        if not lost:
            assert told == ((0, 0) if channel.counted else None)
        elif not last or lost > 2 * (there + back):
            assert told is None
        else:
            assert told == (there / len(last), back / (len(last) - there))


ODDITIES = [*LOSSES, "restart", "annulled", "annulled after all", "twice"]


@settings(deadline=None)  # other tests may hold us up
@given(st.lists(st.sampled_from(ODDITIES), max_size=80))
def test_nothing_is_blamed_on_the_wrong_way(fates):
    """Where a way lost nothing, none of it is told; but a duplicate there hides a loss there."""
    channel = Channel()
    for fate in fates:
        channel.carry(fate)
        last = channel.between_replies()
        told = channel.figures.directions(0)
        if told is not None and "there" not in last:
            assert told.out == 0
        if told is not None and not {"back", "twice"} & set(channel.fates):
            assert told.back == 0


def test_what_a_reflector_counts_is_known_from_the_first_difference():
    """Until its numbers differ from ours it may be stateless; then all it said before counts."""
    window = Figures()
    channel = window.window
    for sequence, uncounted in [(0, None), (2, None), (4, 1)]:
        for sent in (sequence - 1, sequence):
            if sent >= 0:
                channel.sent(sent)
        channel.answered(sequence, MICROSECOND, uncounted)
        assert (window.directions(0) is None) == (uncounted is None)
    assert window.directions(0) == (1 / 4, 1 / 3)


def test_reflector_that_counts_no_more_is_not_split():
    """A stateless reflector in the place of a stateful one: its direction is not known again."""
    figures = Figures()
    for sequence in range(4):
        figures.window.sent(sequence)
        figures.window.answered(sequence, MICROSECOND, 5)
    assert figures.directions(0) == (0, 0)
    figures.window.answered(3, MICROSECOND, None)
    assert figures.directions(0) is None


def test_heartbeat_that_never_left_is_lost_on_no_way():
    """The reflector cannot have counted what was annulled: that adds up."""
    figures = Figures()
    for sequence, uncounted in enumerate([5, ANNULLED, 6, LOST, 7]):
        figures.window.sent(sequence)
        if uncounted == ANNULLED:
            figures.window.annulled(sequence)
        elif uncounted != LOST:
            figures.window.answered(sequence, MICROSECOND, uncounted)
    assert figures.directions(0) == (1 / 3, 0)


def test_heartbeat_in_question_is_not_held_against_the_split():
    """What may still be answered in time is not lost: nothing is, and that is known."""
    figures = Figures()
    for sequence in range(2):
        figures.window.sent(sequence)
        figures.window.answered(sequence, MICROSECOND, 0)
    figures.window.sent(2)
    assert figures.directions(1) == (0, 0)
    assert figures.directions(0) is None


def counting_path(sequence):
    """A path whose next heartbeat has this number, and what carries it."""
    station = Station("monitor", 7, Random(1))  # noqa: S311 - to be replayed
    path = Asked(A, Peer(peer(A), 0, 0), StampSession(peer(A), station))
    path.sequence = sequence
    path.figures.window.restart(sequence)
    numbers = iter(range(200))

    def carry(fate):
        request = path.compose(0, 0, WALL)
        if fate == "there":
            return
        reply = next(numbers).to_bytes(4, "big") + reflect(request, WALL)[4:]
        if fate == "ok":
            path.receive(reply, 5, 5)

    return path, carry


def test_split_across_the_wrap():
    """Sequence numbers begin anew at 2**32, ours and the reflector's; the split does not care."""
    path, carry = counting_path(2**32 - 9)
    for fate in ["ok", "there", "ok", "back", "ok"] * 4:
        carry(fate)
    assert path.directions(2 * SECOND) == (4 / 19, 4 / 15)


def test_split_begins_anew_at_up():
    """What was lost while the path was down is in no direction."""
    path, carry = counting_path(0)
    path.give(State.UP)
    for fate in ["ok", "there", "ok"]:
        carry(fate)
    path.give(State.DOWN)
    for fate in ["there", "back", "ok"]:
        carry(fate)
    path.give(State.UP)
    for fate in ["ok", "back", "ok"]:
        carry(fate)
    assert path.directions(2 * SECOND) == (0, 1 / 3)


def test_peer_tells_the_direction_of_its_loss():
    """Of several paths, direction is of the one that loss is of: the worst."""
    world = World(1)
    world.watch(peer("both", A, B))
    worst, other = world.fleet.peers["both"].paths[::-1]
    for path, carried in ((other, [(0, 0), (1, 0)]), (worst, [(0, 0), (2, 1), (3, 1)])):
        for sequence, uncounted in carried:
            path.figures.window.sent(sequence)
            path.figures.window.answered(sequence, MICROSECOND, uncounted)
    assert world.fleet.peers["both"].directions(world.now) == (1 / 3, 0)
