"""What of a peer concerns one protocol alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hbd.config import addresses
from hbd.config.protocols import is_sent_nothing, is_told
from hbd.config.sources import SOURCES
from hbd.config.texts import payload, printable, text, topic
from hbd.config.values import (
    HOUR,
    Mistake,
    absolute_path,
    choice,
    duration,
    grace,
    shown,
    switch,
    whole,
)
from hbd.core import plain
from hbd.core.model import (
    MILLISECOND,
    BfdAuth,
    BfdOptions,
    Expectation,
    MqttOptions,
    ReflectorKind,
    StampOptions,
    TlsOptions,
    Tlv,
    Will,
)
from hbd.wire import hbd_tlv, ports, stamp, tlv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hbd.config.nodes import Scalar
    from hbd.config.section import Section

PORTS: Final[Mapping[str, int]] = {
    "stamp": ports.STAMP,
    "plain": ports.OTHER,
    "mqtt": ports.MQTT,
}


def read_port(section: Section, protocol: str, tls: TlsOptions | None) -> int:
    """Give the peer's port, or 0 where it comes to us from a port of its own choice."""
    if is_told(section) and protocol != "plain":
        return 0
    if protocol == "tcp":
        section.require("port", "write port: and where the peer listens")
    default = ports.MQTT_OVER_TLS if protocol == "mqtt" and tls else PORTS.get(protocol, 0)
    return section.one("port", whole(1, 65535), default)


def bfd_port(options: BfdOptions) -> int:
    """Give the port of BFD, which is not ours to choose."""
    return ports.BFD_MULTIHOP if options.multihop else ports.BFD


def read_expectation(section: Section) -> Expectation | None:
    """Read how often the peer beats; None where it is asked or only sent to."""
    if not is_told(section):
        return None
    return Expectation(
        section.one("expect", duration(50 * MILLISECOND, HOUR), HOUR),
        section.one("grace", grace, 1.5),
        section.one("payload", payload, None),
    )


def read_send(section: Section, protocol: str) -> bytes | None:
    """Give the text of a heartbeat, where the protocol leaves that to us."""
    default = plain.PAYLOAD if protocol == "plain" and not is_sent_nothing(section) else None
    return section.one("send", text, default)


def read_stamp(section: Section) -> StampOptions:
    """Read the keys of STAMP."""
    options = StampOptions(
        tlv=section.one("tlv", _tlv, Tlv.AUTO),
        ssid=section.one("ssid", _ssid, None),
        size=section.one("size", whole(72, stamp.LONGEST_IPV4), None),
        reflector=ReflectorKind(section.one("reflector", choice(ReflectorKind), "auto")),
        echo_timestamp=section.one("echo_timestamp", switch, True),  # noqa: FBT003 - a default
        trust_goodbye=section.one("trust_goodbye", switch, False),  # noqa: FBT003 - a default
    )
    _check_size(section, options)
    return options


def _tlv(scalar: Scalar) -> Tlv:
    if scalar.text == "auto":
        return Tlv.AUTO
    try:
        return Tlv.ON if switch(scalar) else Tlv.OFF
    except Mistake:
        raise Mistake(f"{shown(scalar.text)} is not known; write auto, on or off") from None


def _ssid(scalar: Scalar) -> int | None:
    if scalar.text == "auto":
        return None
    try:
        return whole(0, 65535)(scalar)
    except Mistake as mistake:
        raise Mistake(f"{mistake}, or auto") from None


def _check_size(section: Section, options: StampOptions) -> None:
    """Refuse a size that leaves no room for padding: an Extra Padding TLV has a header, too."""
    if options.size is None or section.wrong & {"key", "tlv"}:
        return
    told = 0 if options.tlv is Tlv.OFF else hbd_tlv.SIZE
    signed = section.node("key") is not None
    needed = told + (stamp.AUTH_SIZE if signed else stamp.OPEN_SIZE)
    needed += stamp.SEAL_SIZE if signed and told else 0
    padded = needed + tlv.HEADER_SIZE
    if options.size != needed and options.size < padded:
        words = f"{options.size} is too small, a heartbeat of this peer has {needed} octets"
        section.mistake("size", f"{words}; write {needed}, or {padded} to {stamp.LONGEST_IPV4}")


def read_tls(section: Section) -> TlsOptions | None:
    """Read how the connection is encrypted; None where it is not."""
    if not section.one("tls", switch, False):  # noqa: FBT003 - a default
        return None
    ca = section.one("ca", absolute_path("/etc/hbd.d/ca.pem"), None)
    if ca is not None and not os.access(ca, os.R_OK, effective_ids=True):
        section.report.warn(section.at("ca"), f"{section.title}ca: {shown(ca)} cannot be read")
    return TlsOptions(ca, section.one("tls_name", addresses.address, None))


def read_mqtt(section: Section) -> MqttOptions:
    """Read the keys of MQTT."""
    client_id = section.one("client_id", printable(256), None)
    where = section.node("address")
    if client_id is not None and len(getattr(where, "items", ())) > 1:
        # MQTT 3.1.1, 3.1.4-2: the paths would throw each other out.
        words = "one client for several addresses, and a broker closes the older connection of one"
        section.mistake("client_id", f"{words}; leave it out, or write a peer for each address")
    return MqttOptions(
        section.one("username", printable(256), None), client_id, _read_will(section)
    )


def _read_will(section: Section) -> Will | None:
    example = "{topic: hbd/monitor-1, message: gone}"
    will = section.part("will", ("topic", "message", "qos", "retain"), example)
    if will is None:
        return None
    will.require("topic", f"write for instance {example}")
    will.require("message", f"write for instance {example}")
    return Will(
        will.one("topic", topic, ""),
        will.one("message", text, b""),
        will.one("qos", whole(0, 2), 0),
        will.one("retain", switch, False),  # noqa: FBT003 - a default
    )


def read_bfd(section: Section) -> BfdOptions:
    """Read the keys of BFD."""
    multihop = section.one("multihop", switch, False)  # noqa: FBT003 - a default
    auth = BfdAuth(section.one("auth", choice(BfdAuth), "none"))
    if auth is not BfdAuth.NONE and section.node("password") is None:
        section.mistake("auth", f"{auth} needs password:; write that, too: {SOURCES}")
    return BfdOptions(
        multiplier=section.one("multiplier", whole(1, 255), 3),
        multihop=multihop,
        min_ttl=section.one("min_ttl", whole(1, 255), 1 if multihop else 255),
        auth=auth,
        key_id=section.one("key_id", whole(0, 255), 1),
    )
