"""YAML text to nodes that know their places.

Events, not yaml.compose: the composer of the C loader recurses without a bound, and a file of
100,000 opening brackets ends the process with SIGSEGV (seen with PyYAML 6.0). Scalars stay text:
what `no` or `010` means depends on the key, and YAML's own reading of them has hurt enough people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import yaml

from hbd.config.model import ConfigError, Place, Problem
from hbd.config.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH: Final = 16
MAX_COPIES: Final = 1_000_000
"""So many nodes aliases may stand for in all; a bomb of them would need no memory, but time."""

FORBIDDEN: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]",
)
"""What YAML 1.1 section 5.1 allows nowhere."""

TEXT_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
LIST_TAGS: Final = (None, "!", "tag:yaml.org,2002:seq")
MAPPING_TAGS: Final = (None, "!", "tag:yaml.org,2002:map")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written, before anyone takes it for a number or a boolean."""

    file: str
    line: int
    column: int
    text: str
    plain: bool
    """Neither quoted nor marked as text."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    file: str
    line: int
    column: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and their values."""

    file: str
    line: int
    column: int
    entries: tuple[tuple[Scalar, Node], ...]
    """As written, repeated keys included."""


Node = Scalar | Sequence | Mapping


def place(node: Node) -> Place:
    """Say where it stands."""
    return Place(node.file, node.line, node.column)


def compose(file: str, text: str) -> Node | None:
    """Give the one document in `text`, None when there is none.

    Raises ConfigError at the first mistake of syntax: what follows it has no certain meaning.
    """
    forbidden = FORBIDDEN.search(text)
    if forbidden:
        line, column = place_of(text, forbidden.start())
        shown = f"U+{ord(forbidden.group()):04X}"
        raise ConfigError(
            [Problem(file, line, column, f"the character {shown} is not allowed; delete it")],
        )
    try:
        return _Composer(file, yaml.parse(text, Loader=LOADER)).document()
    except yaml.YAMLError as error:
        raise ConfigError([syntax_problem(file, text, error)]) from error


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Give the line and column, both from 1, of the character at `offset`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """Say in an administrator's words what the YAML parser refused."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return Problem(file, 1, 1, f"not YAML: {error}")
    lines = text.split("\n")
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    problem = str(getattr(error, "problem", error))
    return Problem(file, mark.line + 1, mark.column + 1, _syntax_words(problem, rest, error))


def _syntax_words(problem: str, rest: str, error: yaml.YAMLError) -> str:
    if rest.startswith("\t"):
        return "a tab; YAML is indented with spaces only"
    if "cannot start any token" in problem:
        return f'"{rest[:1]}" cannot begin a value; put the value in quotes'
    if "mapping values are not allowed" in problem:
        return (
            'a ":" where no key can be; put a value that holds ": " in quotes, '
            "and indent the keys of one mapping alike"
        )
    if "expected node content" in problem and rest.startswith(":"):
        return 'a value within [ ] or { } cannot begin with ":"; put the value in quotes'
    context = getattr(error, "context", None)
    began = getattr(error, "context_mark", None)
    words = f"not YAML: {problem}"
    if context and began:
        words += f" {context} that began at {began.line + 1}:{began.column + 1}"
    return f"{words}; look for a missing bracket or quote and for wrong indentation"


class _Composer:
    """Nodes from the parser's events, with depth and aliases bounded."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0
        self._copies = 0

    def document(self) -> Node | None:
        next(self._events)  # the stream starts
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        node = self._node(next(self._events), 0)
        next(self._events)  # the document ends
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._fail(event, "a second document begins here; a file holds one, remove the ---")
        return node

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._nodes
        self._nodes += 1
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif depth == MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels; hbd.yaml(5) has examples")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, self._nodes - before
        return node

    def _scalar(self, event: Any) -> Scalar:
        self._check_tag(event, TEXT_TAGS)
        mark = event.start_mark
        plain = not event.style and event.tag is None
        return Scalar(self._file, mark.line + 1, mark.column + 1, event.value, plain)

    def _sequence(self, start: Any, depth: int) -> Sequence:
        self._check_tag(start, LIST_TAGS)
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        mark = start.start_mark
        return Sequence(self._file, mark.line + 1, mark.column + 1, tuple(items))

    def _mapping(self, start: Any, depth: int) -> Mapping:
        self._check_tag(start, MAPPING_TAGS)
        entries = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                self._fail(event, "a list or mapping cannot be a key; write a word")
            entries.append((key, self._node(next(self._events), depth + 1)))
        mark = start.start_mark
        return Mapping(self._file, mark.line + 1, mark.column + 1, tuple(entries))

    def _alias(self, event: Any) -> Node:
        name = event.anchor
        if name not in self._anchors:
            word = shown(name)
            self._fail(event, f"*{word} stands for nothing; mark what it means with &{word} before")
        node, size = self._anchors[name]
        self._nodes += size
        self._copies += size
        if self._copies > MAX_COPIES:
            self._fail(event, f"aliases stand for more than {MAX_COPIES:,} values; write them out")
        return node

    def _check_tag(self, event: Any, allowed: tuple[str | None, ...]) -> None:
        if event.tag not in allowed:
            self._fail(event, "hbd reads no YAML tags; leave out the word that begins with !")

    def _fail(self, event: Any, text: str) -> NoReturn:
        mark = event.start_mark
        raise ConfigError([Problem(self._file, mark.line + 1, mark.column + 1, text)])
