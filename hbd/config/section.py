"""A mapping whose keys are read one at a time, and the list of what was found wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from hbd.config.model import Problem
from hbd.config.nodes import Mapping, Node, Scalar, Sequence
from hbd.config.values import Mistake, looks_like_key, one_of, shown, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

T = TypeVar("T")
D = TypeVar("D")

FEW: Final = 9
"""So many keys can be listed in a line."""

KIND: Final = {Scalar: "a single value", Sequence: "a list", Mapping: "a mapping"}


class Report:
    """Mistakes and warnings, as they are found."""

    def __init__(self) -> None:
        self.mistakes: list[Problem] = []
        self.warnings: list[Problem] = []

    def mistake(self, at: Node, text: str) -> None:
        self.mistakes.append(Problem(at.file, at.line, at.column, text))

    def warn(self, at: Node, text: str) -> None:
        self.warnings.append(Problem(at.file, at.line, at.column, text))


def unique_entries(mapping: Mapping, title: str, report: Report) -> Iterator[tuple[Scalar, Node]]:
    """Give each key once, the first of a repeated one; the others are mistakes."""
    first: dict[str, Scalar] = {}
    for key, value in mapping.entries:
        if key.text in first:
            line = first[key.text].line
            report.mistake(key, f"{title}{shown(key.text)} is already in line {line}; keep one")
        else:
            first[key.text] = key
            yield key, value


class Section:
    """The keys of one mapping; what is wrong goes to `report`, and the default is taken."""

    def __init__(
        self, mapping: Mapping, title: str, known: Collection[str], report: Report
    ) -> None:
        self.mapping = mapping
        self.title = title
        self.report = report
        self.wrong: set[str] = set()
        """Keys whose values were mistaken: no rule between keys is to speak of them again."""
        self.has_unknown = False
        """What is missing was then probably meant by a misspelt key."""
        self._values: dict[str, Node] = {}
        for key, value in unique_entries(mapping, title, report):
            if key.text in known:
                self._values[key.text] = value
            else:
                self._unknown(key, known)

    def _unknown(self, key: Scalar, known: Collection[str]) -> None:
        self.has_unknown = True
        if key.text == "<<":
            words = "<< (a merge) is not supported; write the keys out"
            self.report.mistake(key, f"{self.title}{words}")
            return
        listed = f"write {one_of(known)}" if len(known) <= FEW else "hbd.yaml(5) lists the keys"
        hint = suggestion(key.text, known) or f"; {listed}"
        self.report.mistake(key, f"{self.title}unknown key {shown(key.text)}{hint}")

    def node(self, key: str) -> Node | None:
        return self._values.get(key)

    def written(self) -> list[str]:
        """Give the known keys that are there, in the order written."""
        return list(self._values)

    def at(self, key: str) -> Node:
        """Where to point for `key`: at its value, else at the whole mapping."""
        return self._values.get(key, self.mapping)

    def mistake(self, key: str, text: str, at: Node | None = None) -> None:
        self.wrong.add(key)
        self.report.mistake(at or self.at(key), f"{self.title}{key}: {text}")

    def refuse(self, key: str, text: str) -> None:
        """Tell that a key does not belong here, and go on as if it were not there."""
        self.mistake(key, text)
        del self._values[key]

    def part(self, key: str, known: Collection[str], example: str) -> Section | None:
        """Open a mapping below `key`; None when the key is not there or no mapping."""
        node = self._values.get(key)
        if isinstance(node, Mapping):
            return Section(node, f"{self.title}{key}: ", known, self.report)
        if node is not None:
            self.mistake(key, f"{KIND[type(node)]}; write a mapping such as {example}")
        return None

    def require(self, key: str, words: str) -> None:
        """Tell that `key` is missing, unless a misspelt key was probably meant."""
        if key not in self._values and key not in self.wrong and not self.has_unknown:
            self.report.mistake(self.mapping, f"{self.title}no {key}; {words}")

    def one(self, key: str, parse: Callable[[Scalar], T], default: D) -> T | D:
        """Read a single value."""
        node = self._values.get(key)
        if node is None:
            return default
        if not isinstance(node, Scalar):
            self.mistake(key, f"{KIND[type(node)]}; write a single value")
            return default
        return self._parsed(key, node, parse, default)

    def several(self, key: str, parse: Callable[[Scalar], T]) -> tuple[T, ...] | None:
        """Read a single value or a list of them; None when the key is not there."""
        node = self._values.get(key)
        if node is None:
            return None
        items = node.items if isinstance(node, Sequence) else (node,)
        values = []
        for item in items:
            if isinstance(item, Scalar):
                value = self._parsed(key, item, parse, None)
                if value is not None:
                    values.append(value)
            else:
                self.mistake(key, f"{KIND[type(item)]}; write a value or a list of values", item)
        return tuple(values)

    def entries(self, key: str, example: str) -> Iterator[tuple[Scalar, Node]]:
        """Read a mapping of the user's own words; nothing when the key is not there."""
        node = self._values.get(key)
        if isinstance(node, Mapping):
            yield from unique_entries(node, f"{self.title}{key}: ", self.report)
        elif node is not None:
            self.mistake(key, f"{KIND[type(node)]}; write a mapping such as {example}")

    def _parsed(self, key: str, scalar: Scalar, parse: Callable[[Scalar], T], default: D) -> T | D:
        if scalar.is_null:
            self.mistake(key, "no value; write one or leave the key out", scalar)
            return default
        try:
            return parse(scalar)
        except Mistake as mistake:
            self.mistake(key, str(mistake), scalar)
            return default


def repeated(values: tuple[T, ...]) -> list[T]:
    """Give what is there more than once, each once, in the order found."""
    if len(values) < 2:  # noqa: PLR2004 - the usual case, thousands of times
        return []
    return [value for value, count in Counter(values).items() if count > 1]


def refuse_key(scalar: Scalar) -> None:
    """Raise Mistake for what looks like the key itself."""
    if looks_like_key(scalar.text):
        raise Mistake(
            "this is the key itself; put it in a file of its own and write the key's name"
        )
