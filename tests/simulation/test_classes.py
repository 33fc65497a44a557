"""Every class of faults, ten thousand peer-hours each; `python -m tests.simulation` for more."""

import pytest

from tests.simulation.__main__ import CLASSES
from tests.simulation.classes import SHORT, check, false_downs_per_span

HOURS = 1e4
SEED = 7


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_class(name, capsys):
    """No false DOWN but by loss, and by loss as many as rule or advisor expects; all in time."""
    tally = CLASSES[name](SEED, HOURS)
    with capsys.disabled():
        print(f"\n{tally.line()}")
    check(tally)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["told-deaths", "agreed-stalls"])
def test_class_is_replayed_by_its_seed(name):
    """The same seed shows the same, to the nanosecond; another one, something else."""
    first, again, other = (CLASSES[name](seed, 300) for seed in (3, 3, 4))
    assert (first.line(), first.detections) == (again.line(), again.detections)
    assert first.line() != other.line()


def test_formula_without_loss_is_never():
    """Nothing lost, nothing down."""
    assert false_downs_per_span(SHORT[0], 0.0) == 0.0
