"""How a peer is judged, and which service it is asked for: what the words depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.model import BfdAuth, Way
from hbd.report.words import duration

if TYPE_CHECKING:
    from hbd.core.model import Expectation, PeerSettings, Timing

TRANSPORTS: Final = {"stamp": "UDP", "plain": "UDP", "bfd": "UDP", "tcp": "TCP", "mqtt": "TCP"}


def dialect(settings: PeerSettings) -> str:
    """Give whose words are used of such a peer: its protocol's, or `told` where it is not asked."""
    return Way.TOLD.value if settings.way is Way.TOLD else settings.protocol


def service(settings: PeerSettings) -> str:
    """`UDP 862`, `TCP 1883`: what is asked there."""
    return f"{TRANSPORTS[settings.protocol]} {settings.port}"


def is_authenticated(settings: PeerSettings) -> bool:
    """Whether nobody else can pass for the peer.

    MQTT's password does not count: it proves us to the broker, TLS proves the broker to us.
    """
    signed = settings.key is not None or settings.bfd.auth is not BfdAuth.NONE
    return signed or settings.tls is not None


def judged(settings: PeerSettings, detection: int | None = None) -> str:
    """By which rule such a peer is judged; `detection` is what BFD agreed on, where it has."""
    match settings.way:
        case Way.ASKED:
            return _asked(settings.timing)
        case Way.TOLD:
            return _told(settings.expect) if settings.expect else ""
        case Way.AGREED:
            return _agreed(settings, detection)
        case Way.UNWATCHED:
            every = duration(settings.timing.interval)
            return f"not at all: a heartbeat every {every}, down only where the host refuses it"


def _asked(timing: Timing) -> str:
    return (
        f"asked every {duration(timing.interval)} (while down every {duration(timing.probe)}),"
        f" {duration(timing.timeout)} to answer, {timing.retries} retransmissions:"
        f" down at most {duration(timing.detection)} after the last good reply"
    )


def _told(expect: Expectation) -> str:
    return (
        f"watched: something every {duration(expect.interval)},"
        f" down after {duration(expect.patience)} of silence"
    )


def _agreed(settings: PeerSettings, detection: int | None) -> str:
    every = duration(settings.timing.interval)
    rule = f"down after {duration(detection)} of silence" if detection else "not agreed yet"
    return (
        f"as agreed by BFD (we ask for a packet every {every} both ways,"
        f" it gives us up after {settings.bfd.multiplier} missed): {rule}"
    )
