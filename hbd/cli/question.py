"""What `hbd status` asks for, and whether there is such a peer."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.cli.asking import AskError
from hbd.cli.terminal import clean
from hbd.core.names import LONGEST
from hbd.report.words import PATTERNS, WORST_FIRST, is_pattern

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

OR: Final = " or "


def label(text: str) -> tuple[str, str]:
    """Read K=V; a type for argparse."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"{text!r} is no label; write K=V, such as site=ams")
    return key, value


def labels_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give what a peer must have all of; AskError where none can."""
    labels: dict[str, str] = {}
    for key, value in pairs:
        if labels.setdefault(key, value) != value:
            words = f"no peer has both {key}={labels[key]} and {key}={value}; write one of them"
            raise AskError(clean(words), os.EX_USAGE)
    return labels


def states(text: str) -> list[str]:
    """Read STATE[,STATE]; a type for argparse."""
    given = [state for state in text.split(",") if state]
    for state in given:
        if state not in WORST_FIRST:
            raise ArgumentTypeError(f"{state!r} is no state; write {', '.join(WORST_FIRST)}")
    if not given:
        raise ArgumentTypeError(f"no state; write {', '.join(WORST_FIRST)}")
    return given


class Question(NamedTuple):
    """Whom it is about: those named or like a pattern that have all labels, in these states."""

    peers: list[str]
    labels: dict[str, str]
    states: list[str]

    def parameters(self) -> dict[str, object]:
        """Give those of the Status call; what is not asked for is None, and not sent."""
        return {
            "peers": self.peers,
            "labels": self.labels or None,
            "states": self.states or None,
        }

    def counts(self, status: dict[str, Any]) -> dict[str, int]:
        """Say how many of those asked for are in which state; AskError where there is none."""
        chosen: dict[str, int] = status.get("selected") or status["summary"]
        for pattern in status.get("unmatched", ()):
            raise self._nobody(f"is like {clean(pattern)}")
        if not sum(chosen.values()) and (self.labels or any(map(is_pattern, self.peers))):
            words = " and ".join(f"{key}={value}" for key, value in self.labels.items())
            raise self._nobody(f"has the label {clean(words)}")
        return {state: n for state, n in chosen.items() if state in (self.states or WORST_FIRST)}

    def _nobody(self, words: str) -> AskError:
        among = " of those named" if self.peers and words.startswith("has") else ""
        return AskError(f"no peer{among} {words}; see hbd status", os.EX_UNAVAILABLE)

    def nobody(self, total: str) -> str:
        """Say that none is in the states asked for."""
        return f"no peer is {OR.join(self.states)}; {total}"


def question_of(arguments: Namespace) -> Question:
    """Read it from the command line; AskError for what no daemon would answer."""
    patterns = [text for text in arguments.peers if is_pattern(text)]
    if len(patterns) > PATTERNS:
        words = f"{len(patterns)} patterns are too many; write at most {PATTERNS}"
        raise AskError(words, os.EX_USAGE)
    for text in patterns:
        if len(text) > LONGEST:
            words = f"a pattern of {len(text)} letters is longer than any name"
            raise AskError(f"{words}; write at most {LONGEST}", os.EX_USAGE)
    asked = [state for given in arguments.states for state in given]
    return Question(arguments.peers, labels_of(arguments.labels), list(dict.fromkeys(asked)))
