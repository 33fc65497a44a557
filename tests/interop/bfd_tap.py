"""BFD on a cable: every packet with the kernel's time, as it passed an interface."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from hbd.wire import bfd, ports

if TYPE_CHECKING:
    from namespaces import Namespace

ALL_PROTOCOLS: Final = 3
SO_TIMESTAMPNS: Final = 35
SO_RCVBUFFORCE: Final = 33
PORTS: Final = (ports.BFD, ports.BFD_MULTIHOP)
UDP: Final = 17
IPV4, IPV6 = 0x0800, 0x86DD


class Sent(NamedTuple):
    """One BFD packet."""

    at: float
    """Seconds since 1970, to the microsecond or so."""
    source: str
    destination: str
    ttl: int
    tos: int
    port: int
    """It came from."""
    packet: bfd.Packet


class Tap:
    """Listens on an interface from its construction on; `packets` ends it."""

    def __init__(self, host: Namespace, interface: str) -> None:
        with host.inside():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)
            )
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # All that passes during a test waits there.
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.setblocking(False)  # noqa: FBT003 - its only argument
        self._socket.bind((interface, ALL_PROTOCOLS))
        self._frames: list[tuple[float, bytes]] = []

    def frames(self) -> list[tuple[float, bytes]]:
        """Give every frame of any kind so far, with its time."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, [(_, _, stamp)], *_ = self._socket.recvmsg(2048, socket.CMSG_SPACE(16))
                seconds, fraction = struct.unpack("=qq", stamp)
                self._frames.append((seconds + fraction / 1e9, frame))
        return self._frames

    def packets(self, source: str | None = None) -> list[Sent]:
        """Give every BFD packet so far, of one sender where one is named."""
        read = (_read(at, frame) for at, frame in self.frames())
        return [sent for sent in read if sent is not None and source in (None, sent.source)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _read(at: float, frame: bytes) -> Sent | None:
    """Read an Ethernet frame; None where it is no BFD control packet."""
    kind = int.from_bytes(frame[12:14], "big")
    ip = frame[14:]
    if kind == IPV4 and ip[9] == UDP:
        udp, ttl, tos = ip[4 * (ip[0] & 0x0F) :], ip[8], ip[1]
        family, source, destination = socket.AF_INET, ip[12:16], ip[16:20]
    elif kind == IPV6 and ip[6] == UDP:
        udp, ttl, tos = ip[40:], ip[7], int.from_bytes(ip[:2], "big") >> 4 & 0xFF
        family, source, destination = socket.AF_INET6, ip[8:24], ip[24:40]
    else:
        return None
    port, to, length = struct.unpack_from(">HHH", udp)
    if to not in PORTS:
        return None
    names = (socket.inet_ntop(family, address) for address in (source, destination))
    return Sent(at, *names, ttl, tos, port, bfd.parse(udp[8:length]))


def pcap(frames: list[tuple[float, bytes]]) -> bytes:
    """Give a capture file of Ethernet frames."""
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for at, frame in frames:
        capture += struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame
    return capture
