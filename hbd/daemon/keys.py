"""The keys of the configuration, as sessions and the reflector use them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hbd.config.keys import read_all
from hbd.core.reflector import address_of
from hbd.core.stamp import Keys
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


def by_host(paths: Iterable[Path], keys: Mapping[str, Keys]) -> dict[str, tuple[Key, ...]]:
    """Give for each peer's address the keys of which its heartbeats must have used one."""
    return {
        address_of(target): keys[name].accept
        for path in paths
        if (name := path.peer.settings.key) is not None
        for target in path.targets
    }
