"""What is taken for good, and what is looked at for cycles."""

import gc

from hbd.daemon.memory import begin, settle, tidy


def test_what_settles_leaves_nothing_behind():
    """However often it is done, no cycle is left that nobody would look for any more."""
    settle()
    gc.unfreeze()
    gc.collect()
    for _ in range(10):
        settle()
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    assert gc.collect() == 0
    assert frozen > 0


def test_what_a_storm_leaves_is_not_looked_through():
    """Thousands of new things stay as they are; the few of a calm minute are looked at."""
    thresholds = gc.get_threshold()
    try:
        begin()
        tidy()
        frozen = gc.get_freeze_count()
        cycle = []
        cycle.append(cycle)
        del cycle
        tidy()
        assert gc.get_freeze_count() == frozen
        kept = [[number] for number in range(200_000)]
        tidy()
        assert gc.get_freeze_count() - frozen > len(kept)
        assert gc.get_count()[2] == 0
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
