"""What a reload takes for good."""

import gc

from hbd.daemon.memory import settle


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
