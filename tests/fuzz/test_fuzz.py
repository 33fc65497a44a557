"""Strangers' octets, by the fuzzer; `python3 -m tests.fuzz --seconds 600` for more."""

from importlib.util import find_spec

import pytest

from tests.fuzz import corpus
from tests.fuzz.__main__ import fuzz, told

SECONDS = 3


@pytest.mark.parametrize("name", corpus.NAMES)
def test_what_is_in_the_corpus_breaks_nothing(name):
    """Every promise of a target holds for its seeds and for all that once reached more of it."""
    run = corpus.target(name).run
    inputs = corpus.inputs(name)
    assert inputs
    for octets in inputs:
        run(octets)


@pytest.mark.slow
@pytest.mark.parametrize("name", corpus.NAMES)
def test_some_seconds_of_looking_find_nothing(name, tmp_path, capsys):
    """The fuzzer gets at each target, and breaks none of its promises in a few seconds."""
    needs_atheris()
    run = fuzz(name, SECONDS, tmp_path / "found", tmp_path, seed=1)
    with capsys.disabled():
        print(f"\n{name}: {run.executions:,} executions, {run.edges} edges")
    assert run.is_sound, told(run)
    assert run.edges


@pytest.mark.slow
def test_a_finding_is_told_and_kept(tmp_path):
    """An input that raises something becomes a file, and what it raised is told."""
    needs_atheris()
    run = fuzz("_broken", SECONDS, tmp_path / "found", tmp_path)
    assert not run.is_sound
    assert [file.read_bytes() for file in run.findings] == [b"!"]
    assert "it was said to be broken" in told(run)


def needs_atheris():
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed; tests/run.sh installs it")
