"""A peer's labels, each a field of the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hbd.config.nodes import Node, Scalar
from hbd.config.values import Mistake, label, shown

if TYPE_CHECKING:
    from hbd.config.section import Section

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,53}")
"""systemd.journal-fields(7): HBD_LABEL_ and this make at most 64 characters."""


def read_labels(section: Section) -> tuple[tuple[str, str], ...]:
    """Read `labels:`; those that are mistaken are left out."""
    labels: dict[str, str] = {}
    fields: dict[str, str] = {}
    for key, value in section.entries("labels", "{site: ams}"):
        text = _read_label(section, key, value)
        other = fields.setdefault(key.text.upper(), key.text)
        if other != key.text:
            words = f"{shown(key.text)} and {other} are one field of the journal; rename one"
            section.mistake("labels", words, key)
        elif text is not None:
            labels[key.text] = text
    return tuple(labels.items())


def _read_label(section: Section, key: Scalar, value: Node) -> str | None:
    words = None
    if not _LABEL.fullmatch(key.text):
        at: Node = key
        words = (
            f"{shown(key.text)} cannot name a label; write up to 54 letters, digits and _, "
            "not beginning with _"
        )
    elif not isinstance(value, Scalar) or value.is_null:
        at, words = value, f"{key.text}: no single value; write {key.text}: and a text"
    else:
        try:
            return label(value)
        except Mistake as mistake:
            at, words = value, f"{key.text}: {mistake}"
    section.mistake("labels", words, at)
    return None
