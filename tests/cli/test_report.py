"""`hbd report` on the command line; what it reads is tested with a real journal."""

import subprocess
import sys

import pytest


def hbd(*words):
    return subprocess.run(
        [sys.executable, "-m", "hbd", *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "soon"), '"soon" is no moment; write a moment such as -7d'),
        (("--until=-7x",), '"-7x" is no moment'),
        (("--since", "tomorrow"), "nothing lies between"),
        (("--since", "-1d", "--until", "-2d"), "nothing lies between"),
        (("--since",), "expected one argument"),
        (("--json", "--html", "page"), "not allowed with argument --json"),
        (("--nonsense",), "unrecognized arguments"),
    ],
    ids=str,
)
def test_bad_words_are_an_error_that_helps(words, told):
    """64, one line, and nothing on standard output."""
    done = hbd("report", *words)
    assert (done.returncode, done.stdout) == (64, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--since", "-7d"), ("--since=-7d",), ("--since", "-1h 30min")])
def test_a_moment_may_begin_with_a_minus(words):
    """As it may for journalctl: it is no option."""
    done = hbd("report", *words, "--json")
    assert done.returncode != 64, done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples_and_the_formula():
    """What is available, who may read the journal, and what to type."""
    told = hbd("report", "--help").stdout
    for words in ("hbd report --since -7d", "(up + degraded)", "systemd-journal"):
        assert words in told
