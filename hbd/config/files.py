"""The configuration's files: read, include, and put together."""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbd.config import addresses
from hbd.config.fleet import check_fleet
from hbd.config.model import (
    DEFAULT_LISTEN,
    Accept,
    ConfigError,
    Configuration,
    Listen,
    Loaded,
    Problem,
)
from hbd.config.nodes import Mapping, Node, Scalar, Sequence, compose, place, place_of
from hbd.config.octets import read_regular
from hbd.config.peers import Entry, read_peer
from hbd.config.ports import check_ports
from hbd.config.section import KIND, Report, Section, repeated
from hbd.config.sources import read_keys
from hbd.config.timing import TIMING_KEYS, read_defaults
from hbd.config.values import HOUR, Mistake, duration, name, shown, word
from hbd.core.model import SECOND, Timing
from hbd.wire import ports

MAX_SIZE: Final = 32 * 1024 * 1024
"""Octets of one file; 65,535 peers with every key stay below."""

LONGEST_PATTERN: Final = 1_000
"""Characters: the glob of the standard library calls itself for each directory of a pattern."""

MAIN_KEYS: Final = ("listen", "listen_tcp", "accept", "node", "keys", "include", "start_grace")
PART_KEYS: Final = ("defaults", "peers")
"""What an included file may hold, too."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one file says of peers."""

    defaults: Timing
    entries: list[Entry]


def load(file: str) -> Loaded:
    """Read `file` and what it includes; raises ConfigError with every mistake, sorted."""
    report = Report()
    try:
        root = _read_node(file)
    except ConfigError as error:
        raise ConfigError(sorted(error.problems)) from error
    section = _open(root, report)
    part = _read_part(section, root, Timing(), report)
    entries = part.entries
    included_files = _included_files(section, report)
    for included in included_files:
        entries += _read_included(included, part.defaults, report)
    keys = read_keys(section)
    check_fleet(entries, keys, report)
    listen = _read_listen(section, "listen", ports.STAMP, DEFAULT_LISTEN)
    listen_tcp = _read_listen(section, "listen_tcp", ports.OTHER, ())
    check_ports(entries, section, listen, report)
    configuration = Configuration(
        file=file,
        listen=listen,
        accept=_read_accept(section),
        node=section.one("node", name, ""),
        keys={key: source for key, source in keys.items() if source},
        start_grace=section.one("start_grace", duration(0, HOUR), 10 * SECOND),
        listen_tcp=listen_tcp,
        peers=tuple(entry.settings for entry in entries),
        password_places={
            entry.settings.name: place(entry.at("password"))
            for entry in entries
            if entry.settings.password
        },
    )
    if report.mistakes:
        raise ConfigError(sorted(set(report.mistakes)))
    return Loaded(
        configuration,
        tuple(sorted(set(report.warnings))),
        {entry.settings.name: place(entry.at("retries")) for entry in entries},
        (file, *included_files),
    )


def read_text(file: str) -> str:
    """Give a file's text; raises ConfigError when it cannot be read or is not UTF-8."""
    try:
        _, octets = read_regular(file, MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError([Problem(file, 1, 1, _why_unreadable(file, error))]) from error
    if len(octets) > MAX_SIZE:
        words = f"the file is larger than {MAX_SIZE // 1024 // 1024} MiB; split it with include:"
        raise ConfigError([Problem(file, 1, 1, words)])
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        before = octets[: error.start].decode("utf-8")
        line, column = place_of(before, len(before))
        words = f"the octet 0x{octets[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ConfigError([Problem(file, line, column, words)]) from error


def _why_unreadable(file: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; create it (hbd.yaml(5) has examples) or name another"
    if isinstance(error, PermissionError):
        return f"this user may not read the file; try sudo, or for the service chmod a+r {file}"
    if isinstance(error, IsADirectoryError):
        return "this is a directory; name a file"
    return f"the file cannot be read: {error.strerror}; name another"


def _read_node(file: str) -> Node:
    root = compose(file, read_text(file))
    if root is None or (isinstance(root, Scalar) and root.is_null):
        words = "the file says nothing; write peers: and what to watch, or peers: [] for nothing"
        raise ConfigError([Problem(file, 1, 1, words)])
    if isinstance(root, Scalar):
        words = f"{shown(root.text)} is neither a list nor a mapping; write each peer after a -"
        raise ConfigError([Problem(file, root.line, root.column, words)])
    return root


def _open(root: Node, report: Report) -> Section:
    """Give the main file's mapping, an empty one where the file is a bare list."""
    mapping = root if isinstance(root, Mapping) else Mapping(root.file, root.line, root.column, ())
    return Section(mapping, "", (*MAIN_KEYS, *PART_KEYS), report)


def _read_part(section: Section, root: Node, inherited: Timing, report: Report) -> _Part:
    """Read `defaults:` and `peers:` of one file."""
    defaults = inherited
    node = section.node("defaults")
    if isinstance(node, Mapping):
        defaults = read_defaults(Section(node, "defaults: ", TIMING_KEYS, report), inherited)
    elif node is not None:
        section.mistake("defaults", f"{KIND[type(node)]}; write a mapping such as {{interval: 1s}}")
    items = root if isinstance(root, Sequence) else section.node("peers")
    entries: list[Entry] = []
    if isinstance(items, Sequence):
        found = (read_peer(item, defaults, report) for item in items.items)
        entries = [entry for entry in found if entry]
    elif items is not None and not (isinstance(items, Scalar) and items.is_null):
        section.mistake("peers", f"{KIND[type(items)]}; write a list, each peer after a -")
    return _Part(defaults, entries)


def _read_included(file: str, defaults: Timing, report: Report) -> list[Entry]:
    try:
        root = _read_node(file)
    except ConfigError as error:
        report.mistakes += error.problems
        return []
    if isinstance(root, Mapping):
        root = _without_main_keys(root, report)
    return _read_part(_open(root, report), root, defaults, report).entries


def _without_main_keys(root: Mapping, report: Report) -> Mapping:
    kept = []
    for key, value in root.entries:
        if key.text == "include":
            report.mistake(
                key, "include: an included file includes nothing; move it to the main file"
            )
        elif key.text in MAIN_KEYS:
            words = "stands in the main file only; an included file has defaults: and peers:"
            report.mistake(key, f"{key.text}: {words}")
        else:
            kept.append((key, value))
    return Mapping(root.file, root.line, root.column, tuple(kept))


def _included_files(section: Section, report: Report) -> list[str]:
    """Give the files of all patterns of `include:`, each pattern's in lexical order."""
    main = section.mapping.file
    files: dict[str, None] = {}
    for pattern in section.several("include", _pattern) or ():
        path = str(Path(main).parent / pattern)
        found = sorted(glob.glob(path))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not found:
            _explain_nothing(section, path, report)
        if any(_is_same(main, each) for each in found):
            section.mistake("include", f"{shown(pattern)} includes this file itself; name others")
            continue
        files.update(dict.fromkeys(found))
    return list(files)


def _is_same(one: str, other: str) -> bool:
    # Path.resolve raises RuntimeError for a link to itself.
    return os.path.realpath(one) == os.path.realpath(other)


def _pattern(scalar: Scalar) -> str:
    text = word(scalar)
    if not text.isprintable() or len(text) > LONGEST_PATTERN:
        raise Mistake(f"{shown(text)} is no path; write for instance /etc/hbd.d/*.yaml")
    return text


def _explain_nothing(section: Section, path: str, report: Report) -> None:
    """No match is good when the directory is there to be filled, and only then."""
    if not glob.has_magic(path):
        section.mistake(
            "include", f"there is no file {shown(path)}; create it or remove the include"
        )
        return
    directory = re.split(r"/[^/]*[*?\[]", path, maxsplit=1)[0] or "/"
    if not _is_directory(directory):
        words = f"include: there is no directory {shown(directory)}; nothing is included"
        report.warn(section.at("include"), words)
    elif not os.access(directory, os.R_OK | os.X_OK, effective_ids=True):
        section.mistake("include", f"this user may not read {shown(directory)}; try sudo")


def _is_directory(path: str) -> bool:
    """Whether there is one, or may be where this user cannot look."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except PermissionError:
        return True
    except OSError:  # there is nothing, or it is no name of anything
        return False


def _read_listen(
    section: Section, key: str, port: int, default: tuple[Listen, ...]
) -> tuple[Listen, ...]:
    """Read where we listen; `port` is for examples."""
    found = section.several(key, addresses.listening(port))
    if found is None:
        return default
    for each in repeated(found):
        section.mistake(key, f"{each.address} port {each.port} is there twice; keep one")
    return found


def _read_accept(section: Section) -> Accept | tuple[addresses.Prefix, ...]:
    node = section.node("accept")
    if node is None:
        return Accept.PEERS
    if isinstance(node, Scalar) and node.text in {"peers", "any"}:
        return Accept(node.text)
    return section.several("accept", _prefix) or ()


def _prefix(scalar: Scalar) -> addresses.Prefix:
    if scalar.text in {"peers", "any"}:
        raise Mistake(f"{scalar.text} stands alone, not in a list; write accept: {scalar.text}")
    return addresses.prefix(scalar)
