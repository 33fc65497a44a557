"""Every rule that is to be broken by mutate.py stands where it is looked for."""

from pathlib import Path

import pytest

import hbd.core
from tests.core.mutations import MUTATIONS

CORE = Path(hbd.core.__file__).parent


@pytest.mark.parametrize(("file", "old", "new"), MUTATIONS[1:])
def test_a_rule_can_be_broken(file, old, new):
    """What is to be replaced is there once, and something else comes in its place."""
    assert (CORE / file).read_text().count(old) == 1
    assert new != old
