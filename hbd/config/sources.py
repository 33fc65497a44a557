"""`keys:`, that is where each key is; what is in it is read elsewhere, by whoever may."""

from __future__ import annotations

import re
from typing import Final

from hbd.config.model import KeySource, Place
from hbd.config.nodes import Mapping, Node, Scalar
from hbd.config.section import Section, refuse_key
from hbd.config.values import NAME, Mistake, looks_like_key, shown, word

SOURCES: Final = "{credential: NAME} or {file: PATH}"

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,255}")


def read_keys(section: Section) -> dict[str, KeySource | None]:
    """Read `keys:`; None for one whose source is mistaken, so that `key:` may still name it."""
    keys: dict[str, KeySource | None] = {}
    for key, value in section.entries("keys", "{fleet: {credential: hbd.fleet}}"):
        if looks_like_key(key.text) or not NAME.fullmatch(key.text):
            section.mistake(
                "keys", f"{shown(key.text)} is no name for a key; use letters and digits", key
            )
        else:
            keys[key.text] = _read_source(section, key, value)
    return keys


def _read_source(section: Section, key: Scalar, value: Node) -> KeySource | None:
    if isinstance(value, Scalar) and not value.is_null:
        words = (
            f"{key.text}: never write a key itself into this file; "
            f"write {{credential: hbd.{key.text}}} or {{file: /etc/hbd.d/{key.text}.key}}"
        )
        section.mistake("keys", words, value)
        return None
    if not isinstance(value, Mapping):
        words = f"{key.text}: no source; write {SOURCES}"
        section.mistake("keys", words, value)
        return None
    source = Section(value, f"keys: {key.text}: ", ("credential", "file"), section.report)
    credential = source.one("credential", _credential, None)
    file = source.one("file", _file, None)
    if source.wrong or source.has_unknown:
        return None
    if (credential is None) == (file is None):
        words = "both a credential and a file; keep one" if file else f"no source; write {SOURCES}"
        section.mistake("keys", f"{key.text}: {words}", value)
        return None
    return KeySource(credential, file, Place(key.file, key.line, key.column))


def _credential(scalar: Scalar) -> str:
    refuse_key(scalar)
    text = word(scalar)
    if not _CREDENTIAL.fullmatch(text) or text in {".", ".."}:
        raise Mistake(f"{shown(text)} is no credential's name; write for instance hbd.fleet")
    return text


def _file(scalar: Scalar) -> str:
    refuse_key(scalar)
    text = word(scalar)
    if not text.startswith("/") or not text.isprintable():
        raise Mistake(f"{shown(text)} is no absolute path; write for instance /etc/hbd.d/fleet.key")
    return text
