"""One peer, from what stands under `peers:`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from hbd.config import addresses
from hbd.config.labels import read_labels
from hbd.config.nodes import Mapping, Node, Scalar, Sequence
from hbd.config.options import (
    bfd_port,
    read_bfd,
    read_expectation,
    read_mqtt,
    read_port,
    read_send,
    read_stamp,
    read_tls,
)
from hbd.config.protocols import EVERY, PEER_KEYS, is_told, refuse_misplaced
from hbd.config.section import Report, Section, refuse_key, repeated
from hbd.config.sources import read_password
from hbd.config.texts import text
from hbd.config.timing import agreed_timing, read_timing
from hbd.config.values import (
    HOUR,
    Mistake,
    choice,
    duration,
    interface,
    name,
    percent,
    shown,
    whole,
)
from hbd.core.model import (
    BfdOptions,
    Leaving,
    Limits,
    MqttOptions,
    PeerSettings,
    StampOptions,
    Timing,
)
from hbd.core.names import NAME
from hbd.wire import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

NO_STAMP, NO_MQTT, NO_BFD = StampOptions(), MqttOptions(), BfdOptions()
"""One of each for all peers of other protocols: a fleet is copied between processes."""

CS6: Final = 48
"""Network control: what routers mark BFD with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer as read, with the places that the rules between peers speak of."""

    settings: PeerSettings
    place: Node
    section: Section | None = None

    def at(self, key: str) -> Node:
        """Where to point for `key`: at its value, else at the whole peer."""
        return self.section.at(key) if self.section else self.place


def read_peer(node: Node, defaults: Timing, report: Report) -> Entry | None:
    """Read one item of `peers:`; None where it has no name to go by."""
    if isinstance(node, Scalar):
        return _read_bare(node, defaults, report)
    if isinstance(node, Sequence):
        report.mistake(node, "peers: a list stands where a peer is meant; remove one -")
        return None
    section = Section(node, _title(node), PEER_KEYS, report)
    protocol = section.one("protocol", choice(EVERY), "stamp")
    if "protocol" not in section.wrong:
        refuse_misplaced(section, protocol)
    settings = _read_settings(section, protocol, defaults)
    _check_families(section, settings)
    return Entry(settings, node, section) if settings.name else None


def _read_settings(section: Section, protocol: str, defaults: Timing) -> PeerSettings:
    bound = section.one("interface", interface, None)
    paths = _read_addresses(section, protocol, _on(bound, addresses.address))
    expect, tls = read_expectation(section), read_tls(section)
    bfd = read_bfd(section) if protocol == "bfd" else None
    return PeerSettings(
        name=_read_name(section, paths) or "",
        addresses=paths,
        port=bfd_port(bfd) if bfd else read_port(section, protocol, tls),
        protocol=protocol,
        key=section.one("key", key_name, None),
        via=section.one("via", name, None),
        timing=agreed_timing(section, defaults, bfd.multiplier)
        if bfd
        else read_timing(section, protocol, defaults, expect),
        limits=_read_limits(section),
        labels=read_labels(section),
        leaving=Leaving(
            interface=bound,
            source=section.one("source", _on(bound, addresses.source), None),
            dscp=section.one("dscp", whole(0, 63), CS6 if bfd else None),
        ),
        expect=expect,
        send=read_send(section, protocol),
        expect_reply=section.one("expect_reply", text, None),
        password=read_password(section),
        tls=tls,
        stamp=read_stamp(section) if protocol == "stamp" else NO_STAMP,
        bfd=bfd or NO_BFD,
        mqtt=read_mqtt(section) if protocol == "mqtt" else NO_MQTT,
    )


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
    return Entry(settings, scalar)


def _needs_name(address: str) -> str:
    return f"{address} is no name for a peer; write {{name: ..., address: '{address}'}}"


def _needs_scope(address: str) -> str:
    return f"{address} is link-local; write it with its interface, such as {address}%eth0"


def _on(bound: str | None, read: Callable[[Scalar], str]) -> Callable[[Scalar], str]:
    """Read an address, which is on that interface where it is link-local."""
    if bound is None:
        return read
    return lambda scalar: addresses.with_interface(read(scalar), bound)


def _read_addresses(
    section: Section, protocol: str, read: Callable[[Scalar], str]
) -> tuple[str, ...]:
    """Give the addresses; none where the peer is known by its key and may come from anywhere."""
    found = section.several("address", read)
    if found is None:
        if protocol != "stamp" or not is_told(section) or section.node("key") is None:
            section.require("address", _where(section, protocol))
        return ()
    if not found and "address" not in section.wrong:
        section.mistake("address", "an empty list; write at least one address")
    for address in repeated(found):
        section.mistake("address", f"{address} is there twice; keep one")
    return found


def _where(section: Section, protocol: str) -> str:
    words = "write address: and where the peer is"
    if protocol == "stamp" and is_told(section):
        words += ", or key: and what its heartbeats are signed with"
    return words


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
    elif written is None and is_told(section):
        section.require("name", "write name: and a name for the peer")
    return None


def _read_limits(section: Section) -> Limits:
    return Limits(
        section.one("max_loss", percent, None),
        section.one("max_rtt", duration(1000, HOUR), None),
    )


def _check_families(section: Section, peer: PeerSettings) -> None:
    """Refuse a source of another family, and a link-local address that no interface goes with."""
    written = peer.leaving.source
    source = addresses.numeric(written) if written else None
    for address in peer.addresses:
        number = addresses.numeric(address)
        if source and number and source.version != number.version:
            words = f"{source} is IPv{source.version}, but {address} is IPv{number.version}"
            section.mistake("source", f"{words}; write one of the same family")
        size = peer.stamp.size
        if size and size > stamp.LONGEST_IPV6 and isinstance(number, IPv6Address):
            words = f"size: {size} fits no Ethernet frame to {address}, and no hbd answers it"
            text = f"{section.title}{words}; write {stamp.LONGEST_IPV6} or less"
            section.report.warn(section.at("size"), text)
        if addresses.is_link_local_without_scope(address):
            section.mistake("address", _needs_scope(address))
    if written and addresses.is_link_local_without_scope(written):
        section.mistake("source", _needs_scope(written))
