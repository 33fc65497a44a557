"""Compares what was told with the truth: nothing lost, nothing invented, nothing told twice."""

import time
from collections import Counter

STORY = 60
"""So many lines of the story are shown."""


class Oracle:
    """Knows what has been told of each peer, and what must be told next."""

    def __init__(self, state):
        """`state` gives the truth about a peer by its name."""
        self.counts = Counter()
        self.wrong = []
        self.told = {}
        """Of each peer in the configuration, the state last told."""
        self.events = Counter()
        """Entries by HBD_EVENT, each id once."""
        self.least, self.most = Counter(), Counter()
        """How many of some of these there must be, and may be."""
        self.may_repeat = False
        """A crash came in between: what it left unsure is told again."""
        self.doubtful = ()
        """Peers whose link is touched for a moment: a verdict in it finds no way to them."""
        self._before = {}
        self._owed = []
        self._first = 0
        """The number of this round's first entry."""
        self._going = set()
        """Peers that a reload of this round removes: until then they may be told."""
        self._state = state
        self._ids = set()
        self._story = []
        self._began = time.monotonic()
        self.entries = []

    def note(self, text):
        """Add a line to the story."""
        self._story.append(f"{time.monotonic() - self._began:9.3f}  {text}")

    def story(self):
        """Give its last lines."""
        return "\n".join(self._story[-STORY:])

    def watch(self, names):
        """These are the peers of the configuration from now on; a new one is unknown."""
        self._going = self.told.keys() - names
        self.told = {name: self.told.get(name, "unknown") for name in names}

    def expect(self, event, *, sure=True):
        """Something was done of which an entry tells, for sure unless a crash came too soon."""
        self.most[event] += 1
        self.least[event] += sure

    def owe(self, words):
        """Some entry of this round must say so."""
        self._owed.append(words)

    def hear(self, entry):
        """Judge an entry; each is one event, however often it comes."""
        event, id_ = entry["HBD_EVENT"], entry["HBD_EVENT_ID"]
        self.note(f"  told: {entry['MESSAGE']} [{id_[:8]}]")
        if id_ in self._ids:
            self.counts["repeated"] += 1
            if not self.may_repeat:
                self._is_wrong("repeated without a crash", entry)
            return
        self._ids.add(id_)
        self.entries.append(entry)
        self.events[event] += 1
        if event == "state":
            self._hear_state(entry)

    def _hear_state(self, entry):
        name, state, before = (entry[f"HBD_{key}"] for key in ("PEER", "STATE", "PREVIOUS_STATE"))
        told = self.told.get(name)
        if before == state:  # its cause is better known
            if told not in (None, state):
                self._is_wrong(f"refines {state}, but {told} was told", entry)
        elif state == told:
            self.counts["told twice"] += 1
            self._is_wrong("told again under another id", entry)
        elif state == "unknown" and name in self.doubtful:
            self.counts["doubted"] += 1
        elif state != self._state(name) or (told is None and name not in self._going):
            self.counts["invented"] += 1
            self._is_wrong("invented", entry)
        elif told is not None and before != told:
            self._is_wrong(f"from {before}, but {told} was told", entry)
        if told is not None:
            self.told[name] = state

    def begin(self):
        """Begin a round: until its end each peer's state changes once at most."""
        self._before = dict(self.told)
        self._going, self._owed, self._first = set(), [], len(self.entries)

    def missing(self):
        """Give whose change has not been told yet, and what else has not been said."""
        said = "\n".join(entry["MESSAGE"] for entry in self.entries[self._first :])
        unsaid = [words for words in self._owed if words not in said]
        return [name for name, told in self.told.items() if told != self._state(name)] + unsaid

    def end(self):
        """Count what the round should have told, and what it did."""
        changed = [n for n in self.told if self._state(n) != self._before.get(n, "unknown")]
        lost = self.missing()
        self.counts["expected"] += len(changed)
        self.counts["lost"] += len(lost)
        self.counts["seen"] += sum(name not in lost for name in changed)
        if lost:
            self._is_wrong(f"lost: {', '.join(lost)}")
        for event in self.most:
            if not self.least[event] <= self.events[event] <= self.most[event]:
                bounds = f"{self.least[event]} to {self.most[event]}"
                self._is_wrong(f"{self.events[event]} entries {event}, should be {bounds}")

    def complain(self, text):
        """Something else is wrong."""
        self._is_wrong(text)

    def _is_wrong(self, text, entry=None):
        self.wrong.append(text + (f": {entry['MESSAGE']}" if entry else ""))
        self.note(f"WRONG: {self.wrong[-1]}")
