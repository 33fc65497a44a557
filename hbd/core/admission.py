"""Who may ask our reflector: an accepted address, and whoever has a key that may roam."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.rate import Rate, remember, spend
from hbd.wire import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hbd.wire.auth import Key

REFUSED: Final = 1_024
"""So many refused sources are told about, then they are only counted: they may be invented."""

TRIED_AT_ONCE: Final = 20_000
TRIED: Final = Rate(per_second=20_000, burst=TRIED_AT_ONCE)
"""Keys tried for those that may roam and are not known by one yet: a few percent of a core."""


class Sender(NamedTuple):
    """Who has sent a request, as far as its address and its key tell."""

    key: Key | None = None
    """It has signed with this one;"""
    known_by: str | None = None
    """whose name this is, if one may be anywhere who has it."""
    is_of_host: bool = True
    """Whether it is of the host it came from, and of no other that has the same address."""


UNSIGNED: Final = Sender()


class Admission:
    """Decides whom the reflector answers; its rules may be replaced at any time."""

    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self.accepts = accepts
        """Says of an address whether it is answered."""
        self.keys: Callable[[str], Collection[Key]] = lambda _: ()
        """The keys of which an address must have used one; none: it is answered in open mode."""
        self.roaming: Mapping[str, Collection[Key]] = {}
        """By name: the keys with which anybody is answered who is not accepted otherwise."""
        self._roamed: OrderedDict[str, str] = OrderedDict()
        """By host: the name of the roaming key by which it was known last."""
        self._named: Mapping[str, Collection[Key]] = {}
        self._names: dict[Key, str] = {}
        """The names of these by their keys."""
        self._tried_full_at = 0
        """When as many roaming keys may be tried at once as ever: see `rate.spend`."""
        self._refused: set[str] = set()
        self._newly_refused: list[str] = []
        self._mistaken: dict[str, Collection[Key]] = {}
        """By host: its keys here, if any, when it was told that another one signed."""
        self._newly_mistaken: list[str] = []

    def admit(self, datagram: bytes, host: str, now: int) -> Sender | str:
        """Give who has sent a datagram, or the reason why it is not answered."""
        is_known = self.accepts(host)
        if not (is_known or self.roaming):
            return self._stranger(host)
        keys = self.keys(host) if is_known else ()
        key = _signing(datagram, keys)
        if key is not None:
            return Sender(key, self._name_of(key))
        roaming = self._roaming_key(datagram, host, now)
        if isinstance(roaming, str):
            return roaming
        if roaming is not None:
            return Sender(*roaming, is_of_host=is_known and not keys)
        if not is_known:
            return self._stranger(host)
        return self._unsigned(host, keys) if keys or _looks_signed(datagram) else UNSIGNED

    def refused(self) -> list[str]:
        """Drain the source addresses that were refused for the first time."""
        drained, self._newly_refused = self._newly_refused, []
        return drained

    def mistaken(self) -> list[str]:
        """Drain the hosts that sign with another key than they have here, or where one has none.

        Once for each key: whoever sends in their name could fill the journal otherwise.
        """
        drained, self._newly_mistaken = self._newly_mistaken, []
        return drained

    def _name_of(self, key: Key) -> str | None:
        """Give the name by which a host's own key may roam, if it may."""
        if self._named is not self.roaming:
            self._named = self.roaming
            self._names = {key: name for name, keys in self.roaming.items() for key in keys}
        return self._names.get(key)

    def _roaming_key(self, datagram: bytes, host: str, now: int) -> tuple[Key, str] | str | None:
        """Give the roaming key that signed, and its name; or why it is not looked for.

        Who has been known by one costs little. To try all of thousands for a stranger costs more
        than anybody may have us do.
        """
        if not self.roaming or len(datagram) < stamp.AUTH_SIZE:
            return None
        last = self._roamed.get(host, "")
        key = _signing(datagram, self.roaming.get(last, ()))
        if key is not None:
            return key, last
        # Only who has none of them takes anything from what may be tried.
        full_at = spend(self._tried_full_at, now, TRIED, min(len(self.roaming), TRIED_AT_ONCE))
        if full_at is None:
            return "overload"
        for name, keys in self.roaming.items():
            key = _signing(datagram, keys)
            if key is not None:
                remember(self._roamed, host, name)
                return key, name
        self._tried_full_at = full_at
        return None

    def _unsigned(self, host: str, keys: Collection[Key]) -> str:
        has_room = host in self._mistaken or len(self._mistaken) < REFUSED
        if has_room and self._mistaken.get(host) != keys:
            self._mistaken[host] = keys
            self._newly_mistaken.append(host)
        return "hmac"

    def _stranger(self, host: str) -> str:
        if host not in self._refused and len(self._refused) < REFUSED:
            self._refused.add(host)
            self._newly_refused.append(host)
        return "unknown-source"


def _signing(datagram: bytes, keys: Collection[Key]) -> Key | None:
    """Give the key that a request is signed with, of these."""
    for key in keys:
        if stamp.is_signed(datagram, key):
            return key
    return None


def _looks_signed(datagram: bytes) -> bool:
    """Whether it is a request of authenticated mode: in open mode it had no time and no error."""
    size, zero = stamp.AUTH.timestamp - stamp.OPEN.timestamp, stamp.OPEN.timestamp
    return len(datagram) >= stamp.AUTH_SIZE and datagram[zero : zero + size] == bytes(size)
