"""Which peers a question is about: named ones, those like a pattern, with labels, in a state."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import translate
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from hbd.core.names import LONGEST
from hbd.report.tally import ORDER
from hbd.report.varlink import SERVICE, RefusedError
from hbd.report.words import PATTERNS, WORST_FIRST, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hbd.core.model import State
    from hbd.core.peer import Peer
    from hbd.report.call import Call

SLICE: Final = 256
"""Peers that are looked at in one turn of the loop, by one pattern or none."""

_STATES: Final = frozenset(ORDER)


class Selection:
    """What was asked for; RefusedError for what cannot be, or is not there."""

    def __init__(self, call: Call, peers: Mapping[str, Peer]) -> None:
        texts = dict.fromkeys(call.texts("peers"))
        self._names: Final = [text for text in texts if not is_pattern(text)]
        for name in self._names:
            if name not in peers:
                raise RefusedError("NoSuchPeer", name=name)
        self._patterns: Final = _compiled([text for text in texts if is_pattern(text)])
        self._labels: Final = call.mapping("labels").items()
        states = call.texts("states")
        if not _STATES.issuperset(states):
            raise _invalid("states")
        self._states: Final = frozenset(states) or _STATES
        self._most: Final = call.number("most")
        if self._most is not None and self._most < 0:
            raise _invalid("most")
        self.is_of_all: Final = not (texts or self._labels or states) and self._most is None
        """Whether nothing was asked for but everything."""
        self.counts: Final[Counter[State]] = Counter()
        """How many of those chosen are in which state, whatever states were asked for."""
        self.unmatched: Final = dict.fromkeys(self._patterns)
        """Patterns that no peer is like."""
        self.found: Final[list[Peer]] = []
        self._candidates: Final = list(
            peers.values() if self._patterns or not texts else map(peers.__getitem__, self._names)
        )

    def look(self) -> Iterator[None]:
        """Find them, a slice at each step."""
        named = set(self._names)
        asks_names = bool(named or self._patterns)
        size = SLICE // (1 + len(self._patterns))
        by_state: dict[str, list[Peer]] = {state: [] for state in WORST_FIRST}
        for number, peer in enumerate(self._candidates, 1):
            if number % size == 0:
                yield
            if asks_names and not (self._is_like(peer.name) or peer.name in named):
                continue
            if self._labels and not self._labels <= dict(peer.settings.labels).items():
                continue
            self.counts[peer.state] += 1
            if peer.state not in self._states:
                continue
            if self._most is None:
                self.found.append(peer)
            elif len(kept := by_state[peer.state]) < self._most:
                kept.append(peer)
        self.found.extend(islice(chain.from_iterable(by_state.values()), self._most))

    def _is_like(self, name: str) -> bool:
        """Whether any pattern is like it; which are is told of those that had none yet."""
        for pattern in [one for one in self.unmatched if self._patterns[one].match(name)]:
            del self.unmatched[pattern]
        return any(pattern.match(name) for pattern in self._patterns.values())


def _compiled(texts: list[str]) -> dict[str, re.Pattern[str]]:
    if len(texts) > PATTERNS or any(len(text) > LONGEST for text in texts):
        raise _invalid("peers")
    return {text: re.compile(translate(text)) for text in texts}


def _invalid(parameter: str) -> RefusedError:
    return RefusedError(f"{SERVICE}.InvalidParameter", parameter=parameter)
