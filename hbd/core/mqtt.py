"""An MQTT 3.1.1 client that subscribes to nothing: PINGREQ is the heartbeat, PINGRESP the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.asked import THAW
from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.core.stream import Outstanding, Reading, shown
from hbd.wire import mqtt
from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings, Timing, Will
    from hbd.core.session import Answer

SHOWN: Final = 8
"""Octets of what is no broker that become evidence: enough for `HTTP/1.1` or `SSH-2.0-`, and too
few for the password of a CONNECT that comes back to us."""

REFUSALS: Final = {
    1: Fact(Cause.MQTT_VERSION, "CONNACK 1: unacceptable protocol version"),
    2: Fact(Cause.MQTT_CLIENT_ID, "CONNACK 2: identifier rejected"),
    3: Fact(Cause.MQTT_UNAVAILABLE, "CONNACK 3: server unavailable"),
    4: Fact(Cause.MQTT_PASSWORD, "CONNACK 4: bad user name or password"),
    5: Fact(Cause.MQTT_NOT_AUTHORIZED, "CONNACK 5: not authorised"),
}
"""3.2.2.3, in the standard's words."""


class MqttSession:
    """Heartbeats and replies of one path to a broker.

    Each connection to a broker needs a client id of its own, or the broker closes the older one
    (3.1.4): `address` tells apart those of a peer with several.
    """

    __slots__ = (
        "_identity",
        "_is_accepted",
        "_outstanding",
        "_parser",
        "_password",
        "_said",
        "_waiting",
        "greeting",
    )

    def __init__(
        self, settings: PeerSettings, node: str, password: bytes | None, address: str = ""
    ) -> None:
        self._identity: Final = _client_id(node, settings.name, address)
        self._password: Final = password
        self.adopt(settings)
        self.opened()

    def adopt(self, settings: PeerSettings) -> None:
        options = settings.mqtt
        self.greeting = mqtt.pack_connect(
            options.client_id or self._identity,
            keep_alive(settings.timing),
            username=options.username,
            password=self._password,
            will=_will(options.will),
        )

    def opened(self) -> None:
        self._parser = mqtt.Parser()
        self._outstanding = Outstanding()
        self._waiting: list[int] = []
        self._is_accepted = False
        self._said = b""
        """The first octets that the broker sent."""

    def compose(self, sequence: int) -> bytes:
        """Give a PINGREQ; before the broker's CONNACK none, it follows from `feed`."""
        if self._is_accepted:
            self._outstanding.add(sequence)
            return mqtt.HEARTBEAT
        self._waiting.append(sequence)
        del self._waiting[:-THAW]
        return b""

    def feed(self, octets: bytes) -> Reading:
        """Take what the broker sent; each PINGRESP answers the oldest heartbeat without one."""
        self._said += octets[: SHOWN - len(self._said)]
        answers: list[Answer] = []
        write, fault = b"", None
        try:
            for packet in self._parser.read(octets):
                if isinstance(packet, mqtt.ConnAck):
                    write, fault = self._connected(packet.code)
                elif self._outstanding:
                    answers += self._outstanding.oldest()
                else:
                    fault = _bad("a PINGRESP that nobody asked for")
                if fault is not None:
                    break
        except WireError as error:
            fault = self._no_broker(error)
        return Reading(answers, b"" if fault else write, fault)

    def _connected(self, code: int) -> tuple[bytes, Fact | None]:
        if self._is_accepted:
            return b"", _bad("a second CONNACK")
        if code != mqtt.ACCEPTED:
            return b"", REFUSALS[code]
        self._is_accepted = True
        waiting, self._waiting = self._waiting, []
        return b"".join(map(self.compose, waiting)), None

    def _no_broker(self, error: WireError) -> Fact:
        if self.greeting.startswith(self._said):
            return _bad("it sends back what we send: no broker, but an echo service")
        words = shown(self._said, SHOWN)
        return _bad(f"no MQTT 3.1.1 ({error.reason}); it began with `{words}`")

    def closing(self) -> bytes:
        """Give a DISCONNECT, upon which the broker drops our will (3.14.4)."""
        return mqtt.GOODBYE


def keep_alive(timing: Timing) -> int:
    """How long the broker may hear nothing of us, in seconds, as CONNECT says it.

    The time in which we would give the broker up: it gives us up, and publishes our will, half as
    much later (3.1.2.10). Not less than the spacing of probes, or the broker would close each
    connection between two of them.
    """
    longest = max(timing.detection, timing.probe)
    return min(max(-(-longest // SECOND), 1), mqtt.LONGEST_KEEP_ALIVE)


def _will(will: Will | None) -> mqtt.Will | None:
    return None if will is None else mqtt.Will(will.topic, will.message, will.qos, will.retain)


def _client_id(node: str, peer: str, address: str) -> str:
    """Make a client id that is always the same, of 20 characters: 23 are allowed (3.1.3.1)."""
    # OpenSSL takes four megabytes: only who has brokers pays for it.
    from hashlib import sha256  # noqa: PLC0415

    whose = f"{node}\0{peer}\0{address}".encode()
    return f"hbd-{sha256(whose).hexdigest()[:16]}"


def _bad(words: str) -> Fact:
    return Fact(Cause.BAD_REPLY, words)
