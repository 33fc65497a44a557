"""The rules between peers that come to us, or to a port of ours: nobody may be mistaken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hbd.wire import ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hbd.config.model import Listen
    from hbd.config.peers import Entry
    from hbd.config.section import Report, Section


def check_ports(
    entries: Sequence[Entry], section: Section, listen: tuple[Listen, ...], report: Report
) -> None:
    """Report peers that could not be heard, or not be told from others."""
    _check_listening(entries, section, listen, report)
    _check_shared_ports(entries, section, listen, report)
    _check_twins(entries, report)


def _check_listening(
    entries: Sequence[Entry], section: Section, listen: tuple[Listen, ...], report: Report
) -> None:
    """Report peers that are to come to us where we listen nowhere."""
    missing = {}
    if not listen and "listen" not in section.wrong:
        missing["stamp"] = "listen: is empty; write where its heartbeats arrive"
    if section.node("listen_tcp") is None and "listen_tcp" not in section.wrong:
        missing["tcp"] = "there is no listen_tcp:; write where the peer connects to"
    for entry in entries:
        peer = entry.settings
        if peer.expect and peer.protocol in missing:
            words = f"peer {peer.name}: expect: {missing[peer.protocol]}"
            report.mistake(entry.at("expect"), words)


def _check_shared_ports(
    entries: Sequence[Entry], section: Section, listen: tuple[Listen, ...], report: Report
) -> None:
    """Report ports of UDP that would have to be opened for two protocols."""
    spoken = {entry.settings.port for entry in entries if entry.settings.protocol == "bfd"}
    for port in sorted(spoken & {each.port for each in listen}):
        section.mistake(
            "listen", f"port {port} is that of the peers with protocol: bfd; leave it out"
        )
    taken = dict.fromkeys((each.port for each in listen), "listen:")
    taken |= dict.fromkeys(spoken & {ports.BFD, ports.BFD_MULTIHOP}, "protocol: bfd")
    for entry in entries:
        peer = entry.settings
        if peer.protocol == "plain" and peer.expect and peer.port in taken:
            words = f"{peer.port} is also the port of {taken[peer.port]}"
            at = entry.at("port")
            report.mistake(at, f"peer {peer.name}: port: {words}; write another")


def _check_twins(entries: Sequence[Entry], report: Report) -> None:
    """Report peers of which nobody could say who has spoken."""
    first: dict[Any, Entry] = {}
    for entry in entries:
        for mark, key, words in _marks(entry):
            other = first.setdefault(mark, entry)
            if other is not entry:
                peer, twin = entry.settings.name, other.settings.name
                report.mistake(entry.at(key), f"peer {peer}: {key}: as peer {twin} has it; {words}")


def _marks(entry: Entry) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """Give what tells the peer from others, the key to point at, and what to write."""
    peer = entry.settings
    if peer.protocol == "stamp" and not peer.addresses and peer.key:
        words = "write an ssid: in each, or an address:"
        yield (peer.key, peer.stamp.ssid), "key", words
    elif peer.protocol == "bfd":
        # RFC 5881 3: one session for two systems on a link; RFC 5883 3: for two addresses.
        for address in peer.addresses:
            mark = address, peer.port, peer.leaving.source, peer.leaving.interface
            yield mark, "address", "BFD has one session between two addresses, keep one"
