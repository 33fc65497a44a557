"""The keys and passwords of the configuration, as sessions and the reflector use them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hbd.config import passwords
from hbd.config.keys import read_all
from hbd.core.address import host_of
from hbd.core.stamp import Keys
from hbd.core.told import ANYWHERE
from hbd.wire.auth import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hbd.config.model import Configuration
    from hbd.core.path import Path


def read_keys(configuration: Configuration, environ: Mapping[str, str]) -> dict[str, Keys]:
    """Read every key of a configuration; ConfigError with all that cannot be used."""
    found = read_all(
        configuration.keys,
        owner_ids={0, os.geteuid()},
        directory=environ.get("CREDENTIALS_DIRECTORY"),
    )
    return {name: Keys(Key(key.sign), tuple(map(Key, key.accept))) for name, key in found.items()}


def read_passwords(configuration: Configuration, environ: Mapping[str, str]) -> dict[str, bytes]:
    """Read every password, by peer; ConfigError with all that cannot be used."""
    return passwords.read_passwords(
        configuration,
        owner_ids={0, os.geteuid()},
        directory=environ.get("CREDENTIALS_DIRECTORY"),
    )


def renew(keys: dict[str, Keys], read: dict[str, Keys]) -> set[str]:
    """Put what was read in the place of the keys in use; give the names of those that changed."""
    changed = set()
    for name, new in read.items():
        old = keys.setdefault(name, new)
        if _told_by(old) != _told_by(new):
            old.sign, old.accept = new.sign, new.accept
            changed.add(name)
    for name in keys.keys() - read.keys():
        del keys[name]
    return changed


def _told_by(keys: Keys) -> list[bytes]:
    """Tell keys apart by what they sign: the secrets themselves are not kept."""
    return [key.sign(b"") for key in (keys.sign, *keys.accept)]


def roaming(paths: Iterable[Path], keys: Mapping[str, Keys]) -> dict[str, tuple[Key, ...]]:
    """Give by name the keys by which peers are known that may come from anywhere."""
    names = {path.peer.settings.key for path in paths if path.address == ANYWHERE}
    return {name: keys[name].accept for name in names if name is not None}


def by_host(paths: Iterable[Path], keys: Mapping[str, Keys]) -> dict[str, tuple[Key, ...]]:
    """Give for each peer's address the keys of which its heartbeats must have used one."""
    found: dict[str, tuple[Key, ...]] = {}
    for path in paths:
        name = path.peer.settings.key
        if name is None:
            continue
        for host in map(host_of, path.targets):
            found[host] = found.get(host, ()) + keys[name].accept
    return found
