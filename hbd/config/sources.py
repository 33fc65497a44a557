"""Where each key and each password is; what is in it is read elsewhere, by whoever may."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hbd.config.model import KeySource
from hbd.config.nodes import Mapping, Node, Scalar, place
from hbd.config.section import Section, refuse_key
from hbd.config.values import Mistake, absolute_path, looks_like_key, shown, suggestion, word
from hbd.core.model import SecretSource
from hbd.core.names import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES: Final = "{credential: NAME} or {file: PATH}"
SOURCE_KEYS: Final = ("credential", "file")

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
            keys[key.text] = _read_key(section, key, value)
    return keys


def _read_key(section: Section, key: Scalar, value: Node) -> KeySource | None:
    if isinstance(value, Scalar) and not value.is_null:
        words = (
            f"{key.text}: never write a key itself into this file; "
            f"write {{credential: hbd.{key.text}}} or {{file: /etc/hbd.d/{key.text}.key}}"
        )
        section.mistake("keys", words, value)
        return None
    found = _read_source(section, "keys", f"{key.text}: ", value, "/etc/hbd.d/fleet.key")
    return KeySource(*found, place(key)) if found else None


def read_password(section: Section) -> SecretSource | None:
    """Read `password:` of a peer, which is never the password."""
    value = section.node("password")
    if value is None:
        return None
    if isinstance(value, Scalar) and not value.is_null:
        words = "never write a password itself into this file"
        example = "{credential: hbd.NAME} or {file: /etc/hbd.d/NAME.password}"
        section.mistake("password", f"{words}; write {example}")
        return None
    if isinstance(value, Mapping):
        strange = [key for key, _ in value.entries if key.text not in SOURCE_KEYS]
        for key in strange:  # never shown: `{s3cret}` is a mapping in YAML, too
            hint = suggestion(key.text, SOURCE_KEYS) or f"; write {SOURCES}"
            section.mistake("password", f"an unknown key{hint}", key)
        if strange:
            return None
    found = _read_source(section, "password", "", value, "/etc/hbd.d/db1.password")
    return SecretSource(*found) if found else None


def _read_source(
    section: Section, key: str, label: str, value: Node, example: str
) -> tuple[str | None, str | None] | None:
    """Give the credential or the file; `label` follows the name of `key` in messages."""
    if not isinstance(value, Mapping):
        section.mistake(key, f"{label}no source; write {SOURCES}", value)
        return None
    title = f"{section.title}{key}: {label}"
    source = Section(value, title, SOURCE_KEYS, section.report)
    hide = key == "password"
    credential = source.one("credential", _unshown(_credential) if hide else _credential, None)
    file = source.one("file", _unshown(_file(example)) if hide else _file(example), None)
    if source.wrong or source.has_unknown:
        section.wrong.add(key)
        return None
    if (credential is None) == (file is None):
        words = "both a credential and a file; keep one" if file else f"no source; write {SOURCES}"
        section.mistake(key, f"{label}{words}", value)
        return None
    return credential, file


def _unshown(read: Callable[[Scalar], str]) -> Callable[[Scalar], str]:
    """Leave out of a message what may be the password itself, in the wrong place."""

    def read_unshown(scalar: Scalar) -> str:
        try:
            return read(scalar)
        except Mistake as mistake:
            raise Mistake(str(mistake).replace(shown(scalar.text), "this", 1)) from None

    return read_unshown


def _credential(scalar: Scalar) -> str:
    refuse_key(scalar)
    text = word(scalar)
    if not _CREDENTIAL.fullmatch(text) or text in {".", ".."}:
        raise Mistake(f"{shown(text)} is no credential's name; write for instance hbd.fleet")
    return text


def _file(example: str) -> Callable[[Scalar], str]:
    def read(scalar: Scalar) -> str:
        refuse_key(scalar)
        return absolute_path(example)(scalar)

    return read
