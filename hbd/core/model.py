"""The nouns of the detector, as frozen values. All durations are integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from hbd.wire import ports

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000

PROBE_SPACING: Final = 3 * SECOND
"""RFC 8085 3.1.3: without return traffic, at most one datagram in three seconds."""

MOMENT: Final = PROBE_SPACING // 60
"""Probes of paths that are down fall on multiples of this, and so leave together."""

JITTER: Final = 0.1
"""Each interval is shortened at random by up to a tenth, so that hosts do not fall in step."""

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
    REFUSED = "refused"
    REJECTED = "rejected"
    HOST_UNREACHABLE = "host-unreachable"
    NET_UNREACHABLE = "net-unreachable"
    ROUTING_LOOP = "routing-loop"
    MTU = "mtu"
    AUTH = "auth"
    TLS = "tls"
    MQTT_VERSION = "mqtt-version"
    MQTT_CLIENT_ID = "mqtt-client-id"
    MQTT_UNAVAILABLE = "mqtt-unavailable"
    MQTT_PASSWORD = "mqtt-password"  # noqa: S105 - the broker's reason, no secret
    MQTT_NOT_AUTHORIZED = "mqtt-not-authorized"
    BFD_EXPIRED = "bfd-expired"
    BFD_ECHO_FAILED = "bfd-echo-failed"
    BFD_SIGNALED_DOWN = "bfd-signaled-down"
    BFD_FORWARDING_RESET = "bfd-forwarding-reset"
    BFD_PATH_DOWN = "bfd-path-down"
    BFD_CONCATENATED_DOWN = "bfd-concatenated-down"
    BFD_REVERSE_DOWN = "bfd-reverse-down"
    BFD_NO_DIAGNOSTIC = "bfd-no-diagnostic"
    RESET = "reset"
    CLOSED = "closed"
    BAD_REPLY = "bad-reply"
    HUNG = "hung"
    KEEPALIVE_FAILED = "keepalive-failed"
    CONNECT_TIMEOUT = "connect-timeout"
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
    OWN_STALL = "own-stall"
    UNRESOLVED = "unresolved"
    UNWATCHED = "unwatched"
    BFD_ADMIN_DOWN = "bfd-admin-down"
    GOODBYE = "goodbye"
    PAUSED = "paused"


RANK: Final = {cause: rank for rank, cause in enumerate(Cause)}


MOST_RETRIES: Final = 20


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

    def together(self, moment: int) -> int:
        """Round a moment up, so that what is due of paths that are down is done together.

        Nothing is told by when exactly it is asked, and of thousands each would wake us.
        """
        return moment + -moment % min(MOMENT, self.timeout)


@dataclass(frozen=True, slots=True)
class Limits:
    """Above these a peer that answers is degraded; None is no limit."""

    max_loss: float | None = None
    """A fraction, 0..1."""
    max_rtt: int | None = None


class Leaving(NamedTuple):
    """By which way datagrams are to leave this machine; None: as the kernel would have it."""

    interface: str | None = None
    source: str | None = None
    """One of our own addresses."""
    dscp: int | None = None


ANYHOW: Final = Leaving()


class Way(StrEnum):
    """What a verdict on a peer comes from."""

    ASKED = "asked"
    """Its replies to heartbeats of ours."""
    TOLD = "told"
    """Heartbeats of its own."""
    AGREED = "agreed"
    """Both, at times that both ends negotiate (BFD)."""
    UNWATCHED = "unwatched"
    """Nothing: it gets heartbeats and never answers."""


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
class Expectation:
    """How a peer is watched that is not asked: it beats, we wait."""

    interval: int
    """How often something is to come, nanoseconds."""
    grace: float = 1.5
    """Down when nothing came for so many intervals (MQTT 3.1.1, 3.1.2.10); more than 1."""
    payload: bytes | None = None
    """What must come; None: anything."""

    @property
    def patience(self) -> int:
        """The longest silence, nanoseconds."""
        return int(self.interval * self.grace)


class BfdAuth(StrEnum):
    """How BFD packets are authenticated (RFC 5880 4.4)."""

    NONE = "none"
    KEYED_SHA1 = "keyed-sha1"
    METICULOUS_SHA1 = "meticulous-sha1"


@dataclass(frozen=True, slots=True)
class BfdOptions:
    """What of a peer concerns BFD alone; the interval is its `timing.interval`, both ways."""

    multiplier: int = 3
    """Detect Mult: the router gives us up after so many of our intervals (RFC 5880 6.8.4)."""
    multihop: bool = False
    """RFC 5883, port 4784; else RFC 5881, port 3784."""
    min_ttl: int = 255
    """Packets with a smaller TTL are dropped (RFC 5082; 5881 5)."""
    auth: BfdAuth = BfdAuth.NONE
    key_id: int = 1


@dataclass(frozen=True, slots=True)
class Will:
    """What a broker publishes when we die (MQTT 3.1.1, 3.1.2.5)."""

    topic: str
    message: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """What of a peer concerns MQTT alone."""

    username: str | None = None
    client_id: str | None = None
    """None: made of our name and the peer's."""
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How a connection is encrypted."""

    ca: str | None = None
    """The file of certificates to trust; None: those of the system."""
    name: str | None = None
    """The name that the certificate must have; None: the address as it is written."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a password is read from: a systemd credential or a file, exactly one of them."""

    credential: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer as the configuration gives it."""

    name: str
    addresses: tuple[str, ...]
    """IPv4, IPv6 (with %interface where link-local) or names: each is one path."""
    port: int = ports.STAMP
    protocol: str = "stamp"
    key: str | None = None
    via: str | None = None
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    labels: tuple[tuple[str, str], ...] = ()
    leaving: Leaving = ANYHOW
    expect: Expectation | None = None
    """Watched by what it sends, not by replies."""
    send: bytes | None = None
    """The text of a heartbeat, where the protocol leaves that to us (plain, tcp)."""
    expect_reply: bytes | None = None
    """What a reply must begin with (tcp)."""
    password: SecretSource | None = None
    """MQTT's password, BFD's secret."""
    tls: TlsOptions | None = None
    stamp: StampOptions = field(default_factory=StampOptions)
    bfd: BfdOptions = field(default_factory=BfdOptions)
    mqtt: MqttOptions = field(default_factory=MqttOptions)

    @property
    def way(self) -> Way:
        """By what it is judged."""
        if self.protocol == "bfd":
            return Way.AGREED
        if self.expect is not None:
            return Way.TOLD
        return Way.UNWATCHED if self.protocol == "plain" else Way.ASKED

    @property
    def detection(self) -> int:
        """How long silence takes to be a verdict, at most; of BFD both ends may agree on less."""
        if self.expect is not None:
            return self.expect.patience
        if self.way is Way.AGREED:
            return self.bfd.multiplier * self.timing.interval
        return self.timing.detection

    @property
    def is_asked_by_connection(self) -> bool:
        """Whether a connection to it is held."""
        return self.protocol in ("tcp", "mqtt") and self.way is Way.ASKED
