"""The nouns of the detector, as frozen values. All durations are integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000

PROBE_SPACING: Final = 3 * SECOND
"""RFC 8085 3.1.3: without return traffic, at most one datagram in three seconds."""

WINDOW: Final = 100
"""Loss and RTT are of the last 100 heartbeats."""


class Dice(Protocol):
    """Where chance comes from."""

    def random(self) -> float:
        """Give a number from 0 to 1, 1 excluded."""

    def getrandbits(self, k: int, /) -> int:
        """Give k random bits."""


class State(StrEnum):
    """What hbd says of a peer or a path."""

    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNREACHABLE = "unreachable"
    PAUSED = "paused"
    LEFT = "left"


class Cause(StrEnum):
    """Why; in the order of the table, the more telling first: of several, the first is given."""

    PORT_CLOSED = "port-closed"
    REJECTED = "rejected"
    HOST_UNREACHABLE = "host-unreachable"
    NET_UNREACHABLE = "net-unreachable"
    ROUTING_LOOP = "routing-loop"
    MTU = "mtu"
    AUTH = "auth"
    BAD_REPLY = "bad-reply"
    ONE_WAY = "one-way"
    FILTERED = "filtered"
    TOO_TIGHT = "too-tight"
    SILENT = "silent"
    LOSSY = "lossy"
    SLOW = "slow"
    PATH_DOWN = "path-down"
    PARENT_DOWN = "parent-down"
    SEND_BLOCKED = "send-blocked"
    OWN_LINK = "own-link"
    NO_ROUTE = "no-route"
    OWN_UPLINK = "own-uplink"
    UNRESOLVED = "unresolved"
    GOODBYE = "goodbye"
    PAUSED = "paused"


RANK: Final = {cause: rank for rank, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True)
class Timing:
    """When a peer is asked and how long it may take to answer; nanoseconds."""

    interval: int = 1 * SECOND
    timeout: int = 500 * MILLISECOND
    retries: int = 3
    rise: int = 2

    @property
    def detection(self) -> int:
        """The longest time from the last good reply to the verdict."""
        return self.interval + (self.retries + 1) * self.timeout

    @property
    def life(self) -> int:
        """How old a heartbeat may be for its reply to count as life."""
        return max(2 * self.interval, (self.retries + 1) * self.timeout)

    @property
    def probe(self) -> int:
        """How often a path that is down is asked."""
        return max(self.interval, PROBE_SPACING)


@dataclass(frozen=True, slots=True)
class Limits:
    """Above these a peer that answers is degraded; None is no limit."""

    max_loss: float | None = None
    """A fraction, 0..1."""
    max_rtt: int | None = None


class Tlv(StrEnum):
    """Whether heartbeats carry hbd's own TLV."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ReflectorKind(StrEnum):
    """Whether a reflector counts sequence numbers of its own (RFC 8762 4)."""

    AUTO = "auto"
    STATEFUL = "stateful"
    STATELESS = "stateless"


@dataclass(frozen=True, slots=True)
class StampOptions:
    """What of a peer concerns STAMP alone."""

    tlv: Tlv = Tlv.AUTO
    ssid: int | None = None
    """None: a random one for each session; 0: none on the wire (RFC 8762 without 8972)."""
    size: int | None = None
    """Pad heartbeats to so many octets of UDP payload."""
    reflector: ReflectorKind = ReflectorKind.AUTO
    echo_timestamp: bool = True
    """Whether a reply must bring back the very timestamp that was sent."""
    trust_goodbye: bool = False


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer as the configuration gives it."""

    name: str
    addresses: tuple[str, ...]
    """IPv4, IPv6 (with %interface where link-local) or names: each is one path."""
    port: int = 862
    protocol: str = "stamp"
    key: str | None = None
    via: str | None = None
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    labels: tuple[tuple[str, str], ...] = ()
    interface: str | None = None
    source: str | None = None
    dscp: int | None = None
    stamp: StampOptions = field(default_factory=StampOptions)
