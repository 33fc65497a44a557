"""Makes the session that a peer's paths have, of whatever protocol."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from hbd.core.bfd import BfdSession
from hbd.core.client import ClientSession
from hbd.core.model import Way
from hbd.core.mqtt import MqttSession
from hbd.core.plain import PlainSession
from hbd.core.rate import remember
from hbd.core.stamp import StampSession
from hbd.core.stream import KeepAliveSession, TcpSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hbd.core.model import PeerSettings
    from hbd.core.session import Beats, Session
    from hbd.core.stamp import Keys
    from hbd.core.station import Station
    from hbd.core.stream import StreamSession


class Sessions:
    """Makes sessions, with the keys and passwords there are when it does."""

    def __init__(
        self, station: Station, keys: Mapping[str, Keys], passwords: dict[str, bytes]
    ) -> None:
        self.passwords = passwords
        """By peer."""
        self._station: Final = station
        self._keys: Final = keys
        self._discriminators: OrderedDict[int, None] = OrderedDict()
        """Those that were given last: as many as there may be sessions. Of removed peers too, as
        their routers may speak of them yet."""

    def __call__(self, settings: PeerSettings, address: str) -> Session | StreamSession | Beats:
        """Give a new session for the path of a peer to this address."""
        password = self.passwords.get(settings.name)
        if settings.protocol == "bfd":
            interval, dice = settings.timing.interval, self._station.dice
            return BfdSession(settings.bfd, interval, dice, self._next_discriminator(), password)
        if settings.way in (Way.TOLD, Way.UNWATCHED):
            told = ClientSession if settings.protocol == "tcp" else PlainSession
            return told(settings, self._station.dice)
        match settings.protocol:
            case "mqtt":
                return MqttSession(settings, self._station.name, password, address)
            case "tcp":
                return TcpSession(settings) if settings.send else KeepAliveSession()
        keys = None if settings.key is None else self._keys[settings.key]
        return StampSession(settings, self._station, keys)

    def renew(self, passwords: dict[str, bytes]) -> set[str]:
        """Use these passwords from now on; give the peers that had another, or now have none."""
        before, self.passwords = self.passwords, passwords
        return {
            name
            for name in before.keys() | passwords.keys()
            if before.get(name) != passwords.get(name)
        }

    def _next_discriminator(self) -> int:
        """Random, or others could guess it, and no other session's (RFC 5880 6.3, 9)."""
        while (drawn := int.from_bytes(os.urandom(4))) == 0 or drawn in self._discriminators:
            continue
        remember(self._discriminators, drawn, None)
        return drawn
