"""One peer, from what stands under `peers:`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hbd.config import addresses
from hbd.config.nodes import Mapping, Node, Scalar, Sequence
from hbd.config.section import Report, Section, refuse_key, repeated
from hbd.config.timing import TIMING_KEYS, read_timing
from hbd.config.values import (
    HOUR,
    NAME,
    Mistake,
    choice,
    duration,
    interface,
    label,
    name,
    percent,
    shown,
    switch,
    whole,
)
from hbd.core.model import Limits, PeerSettings, ReflectorKind, StampOptions, Timing, Tlv

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping as Table

PROTOCOLS: Final[Table[str, int]] = {"stamp": 862}
"""What `protocol:` may be, each with its port where none is given."""

PEER_KEYS: Final = (
    *("name", "address", "port", "protocol", "via", "key"),
    *TIMING_KEYS,
    *("labels", "max_loss", "max_rtt", "interface", "source", "dscp"),
    *("size", "ssid", "tlv", "reflector", "echo_timestamp", "trust_goodbye"),
)

OPEN, SIGNED, HBD_TLV, HMAC_TLV, TLV_HEADER = 44, 112, 44, 20, 4
"""Octets: RFC 8762 4.2.1 and 4.2.2; RFC 8972 4, 4.8, with its header each."""

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,53}")
"""systemd.journal-fields(7): HBD_LABEL_ and this make at most 64 characters."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer as read, with the places that the rules between peers speak of."""

    settings: PeerSettings
    place: Node
    name: Node
    via: Node | None = None
    key: Node | None = None


def read_peer(node: Node, defaults: Timing, report: Report) -> Entry | None:
    """Read one item of `peers:`; None where it has no name to go by."""
    if isinstance(node, Scalar):
        return _read_bare(node, defaults, report)
    if isinstance(node, Sequence):
        report.mistake(node, "peers: a list stands where a peer is meant; remove one -")
        return None
    section = Section(node, _title(node), PEER_KEYS, report)
    bound = section.one("interface", interface, None)
    paths = _read_addresses(section, _on(bound, addresses.address))
    own_name = _read_name(section, paths)
    protocol = section.one("protocol", choice(PROTOCOLS), "stamp")
    settings = PeerSettings(
        name=own_name or "",
        addresses=paths,
        port=section.one("port", whole(1, 65535), PROTOCOLS[protocol]),
        protocol=protocol,
        key=section.one("key", key_name, None),
        via=section.one("via", name, None),
        timing=read_timing(section, defaults),
        limits=_read_limits(section),
        labels=_read_labels(section),
        interface=bound,
        source=section.one("source", _on(bound, addresses.source), None),
        dscp=section.one("dscp", whole(0, 63), None),
        stamp=_read_stamp(section),
    )
    _check_families(section, settings)
    _check_size(section, settings)
    if own_name is None:
        return None
    via = section.node("via") if settings.via else None
    key = section.node("key") if settings.key else None
    return Entry(settings, node, section.at("name"), via, key)


def key_name(scalar: Scalar) -> str:
    """Give the name of a key, never the key itself."""
    refuse_key(scalar)
    return name(scalar)


def _title(mapping: Mapping) -> str:
    """Name the peer for its messages: by its name, else its address."""
    found = {key.text: value for key, value in reversed(mapping.entries)}
    for key, words in (("name", "peer {}: "), ("address", "peer at {}: ")):
        value = found.get(key)
        if isinstance(value, Scalar) and value.text:
            return words.format(shown(value.text))
    return "a peer without a name: "


def _read_bare(scalar: Scalar, defaults: Timing, report: Report) -> Entry | None:
    if scalar.is_null:
        report.mistake(scalar, "peers: an empty item; write an address or remove the -")
        return None
    try:
        address = addresses.address(scalar)
    except Mistake as mistake:
        report.mistake(scalar, f"peers: {mistake}")
        return None
    if not NAME.fullmatch(scalar.text):
        report.mistake(scalar, f"peers: {_needs_name(scalar.text)}")
        return None
    if addresses.is_link_local_without_scope(address):
        report.mistake(scalar, f"peers: {_needs_scope(address)}")
    settings = PeerSettings(scalar.text, (address,), timing=defaults)
    return Entry(settings, scalar, scalar)


def _needs_name(address: str) -> str:
    return f"{address} is no name for a peer; write {{name: ..., address: '{address}'}}"


def _needs_scope(address: str) -> str:
    return f"{address} is link-local; write it with its interface, such as {address}%eth0"


def _on(bound: str | None, read: Callable[[Scalar], str]) -> Callable[[Scalar], str]:
    """Read an address, which is on that interface where it is link-local."""
    if bound is None:
        return read
    return lambda scalar: addresses.with_interface(read(scalar), bound)


def _read_addresses(section: Section, read: Callable[[Scalar], str]) -> tuple[str, ...]:
    found = section.several("address", read)
    if found is None:
        if not section.has_unknown:
            words = "no address; write address: and where the peer is"
            section.report.mistake(section.mapping, f"{section.title}{words}")
        return ()
    if not found and "address" not in section.wrong:
        section.mistake("address", "an empty list; write at least one address")
    for address in repeated(found):
        section.mistake("address", f"{address} is there twice; keep one")
    return found


def _read_name(section: Section, paths: tuple[str, ...]) -> str | None:
    """Give the name, or the one address as it was written where there is no name."""
    if section.node("name") is not None:
        return section.one("name", name, None)
    written = section.node("address")
    if isinstance(written, Scalar) and paths:
        if NAME.fullmatch(written.text):
            return written.text
        section.mistake("name", _needs_name(written.text), written)
    elif isinstance(written, Sequence) and not section.has_unknown:
        words = "several addresses; write name: and a name for them"
        section.report.mistake(section.mapping, f"{section.title}{words}")
    return None


def _read_limits(section: Section) -> Limits:
    return Limits(
        section.one("max_loss", percent, None),
        section.one("max_rtt", duration(1000, HOUR), None),
    )


def _read_labels(section: Section) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    fields: dict[str, str] = {}
    for key, value in section.entries("labels", "{site: ams}"):
        text = _read_label(section, key, value)
        other = fields.setdefault(key.text.upper(), key.text)
        if other != key.text:
            words = f"{shown(key.text)} and {other} are one field of the journal; rename one"
            section.mistake("labels", words, key)
        elif text is not None:
            labels[key.text] = text
    return tuple(labels.items())


def _read_label(section: Section, key: Scalar, value: Node) -> str | None:
    words = None
    if not _LABEL.fullmatch(key.text):
        at: Node = key
        words = (
            f"{shown(key.text)} cannot name a label; write up to 54 letters, digits and _, "
            "not beginning with _"
        )
    elif not isinstance(value, Scalar) or value.is_null:
        at, words = value, f"{key.text}: no single value; write {key.text}: and a text"
    else:
        try:
            return label(value)
        except Mistake as mistake:
            at, words = value, f"{key.text}: {mistake}"
    section.mistake("labels", words, at)
    return None


def _read_stamp(section: Section) -> StampOptions:
    return StampOptions(
        tlv=section.one("tlv", _tlv, Tlv.AUTO),
        ssid=section.one("ssid", _ssid, None),
        size=section.one("size", whole(72, 1472), None),
        reflector=ReflectorKind(section.one("reflector", choice(ReflectorKind), "auto")),
        echo_timestamp=section.one("echo_timestamp", switch, True),  # noqa: FBT003 - a default
        trust_goodbye=section.one("trust_goodbye", switch, False),  # noqa: FBT003 - a default
    )


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


def _check_families(section: Section, peer: PeerSettings) -> None:
    """Refuse a source of another family, and a link-local address that no interface goes with."""
    source = addresses.numeric(peer.source) if peer.source else None
    for address in peer.addresses:
        number = addresses.numeric(address)
        if source and number and source.version != number.version:
            words = f"{source} is IPv{source.version}, but {address} is IPv{number.version}"
            section.mistake("source", f"{words}; write one of the same family")
        if addresses.is_link_local_without_scope(address):
            section.mistake("address", _needs_scope(address))
    if peer.source and addresses.is_link_local_without_scope(peer.source):
        section.mistake("source", _needs_scope(peer.source))


def _check_size(section: Section, peer: PeerSettings) -> None:
    """Refuse a size that leaves no room for padding: an Extra Padding TLV has a header, too."""
    if peer.stamp.size is None or section.wrong & {"key", "tlv"}:
        return
    tlv = 0 if peer.stamp.tlv is Tlv.OFF else HBD_TLV
    needed = (SIGNED + (HMAC_TLV if tlv else 0) if peer.key else OPEN) + tlv
    if peer.stamp.size != needed and peer.stamp.size < needed + TLV_HEADER:
        words = f"{peer.stamp.size} is too small, a heartbeat of this peer has {needed} octets"
        section.mistake("size", f"{words}; write {needed}, or {needed + TLV_HEADER} to 1472")
