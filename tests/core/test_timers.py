"""Many deadlines in two heaps."""

from random import Random

from hbd.core.timers import Timer, Timers


def timer_at(timers, deadline, timer=None):
    timer = timer or Timer()
    timer.deadline = deadline
    timers.schedule(timer)
    return timer


def test_due_in_order():
    """Timers come out by deadline, not before, and each once."""
    timers = Timers()
    late, early = timer_at(timers, 20), timer_at(timers, 10)
    assert timers.first() == 10
    assert timers.due(9) is None
    assert timers.due(20) is early
    assert timers.due(20) is late
    assert timers.due(20) is None


def test_deadline_that_moved_away_is_kept():
    """A deadline put off is not due at its old moment, and due at its new one."""
    timers = Timers()
    timer = timer_at(timers, 10)
    timer.deadline = 30
    timers.schedule(timer)
    assert timers.due(29) is None
    assert timers.due(30) is timer


def test_deadline_that_moved_closer_is_kept():
    """A deadline brought forward is due then, and only once."""
    timers = Timers()
    timer = timer_at(timers, 30)
    timer.deadline = 10
    timers.schedule(timer)
    assert timers.due(10) is timer
    assert timers.due(100) is None


def test_timer_without_deadline_never_comes():
    """None is never, also for what once had one."""
    timers = Timers()
    timer = timer_at(timers, 10)
    timer.deadline = None
    timers.schedule(timer)
    assert timers.due(100) is None


class Owed(Timer):
    """One that waits for something, or does not."""

    owed_from = None


def test_what_is_owed_moves_by_our_lateness():
    """A deadline of what is owed is due as much later as we were late since it was set."""
    timers = Timers()
    timer, own = Owed(), timer_at(timers, 100)
    timer.deadline, timer.owed_from = 50, 3
    timers.schedule(timer)
    assert timers.first(3) == 50
    assert timers.first(13) == 60
    assert timers.first(99) == 100
    assert timers.due(59, 13) is None
    assert timers.due(60, 13) is timer
    assert timers.due(100, 99) is own
    assert timers.first(99) is None


def test_what_came_is_owed_no_more():
    """A timer that waits no longer is due at its own moment, once, and so again and again."""
    timers, timer = Timers(), Owed()
    for begin in range(0, 1_000, 100):
        timer.deadline, timer.owed_from = begin + 50, 0
        timers.schedule(timer)
        assert timers.first() == begin + 50
        timer.deadline, timer.owed_from = begin + 90, None
        timers.schedule(timer)
        assert timers.due(begin + 89) is None
        assert timers.due(begin + 90, 7) is timer
        assert timers.due(begin + 99) is None


def test_what_is_gone_is_not_kept_until_it_would_be_due():
    """Timers that are forgotten leave the heap long before their deadlines, and none comes up."""
    timers = Timers()
    stays = timer_at(timers, 10**9)
    for _ in range(10_000):
        timers.forget(timer_at(timers, 10**12))
        assert len(timers) <= 66
    timers.forget(Timer())
    assert timers.due(10**13) is stays
    assert timers.due(10**13) is None


def test_heap_is_bounded():
    """Deadlines moved to and fro ten thousand times leave no more than a few entries a timer."""
    timers, dice = Timers(), Random(1)  # noqa: S311 - to be replayed
    many = [timer_at(timers, 10**9, Owed()) for _ in range(100)]
    now, largest = 0, 0
    for _ in range(10_000):
        now += 10
        timer = dice.choice(many)
        timer.deadline = now
        timer.owed_from = dice.choice((None, 0))
        timers.schedule(timer)
        while (due := timers.due(now)) is not None:
            due.deadline = now + 10**9
            timers.schedule(due)
        largest = max(largest, len(timers))
    assert largest <= 2 * len(many) + 64
    assert {id(timers.due(10**12)) for _ in many} == {id(timer) for timer in many}


def test_who_is_owed_nothing_any_more_is_due_however_late_we_were():
    """It stands where it was owed something no longer than until its deadline is set anew."""
    timers, timer = Timers(), Owed()
    timer.owed_from = 0
    timer_at(timers, 10, timer)
    timer.owed_from = None
    timer_at(timers, 50, timer)
    assert timers.due(49, lateness=100) is None
    assert timers.due(50, lateness=100) is timer


def test_with_more_than_can_be_done_none_of_both_kinds_waits_for_ever():
    """What is owed is due before what was due later, though that never ends."""
    timers, patient = Timers(), Owed()
    patient.owed_from = 5
    timer_at(timers, 100, patient)
    for moment in range(90, 110):
        timer_at(timers, moment)
    came = [timers.due(200, lateness=5) for _ in range(12)]
    assert came.index(patient) in (10, 11)
