"""An independent observer: what passes an interface, with the kernel's stamps."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from hbd.net.datagrams import nanoseconds
from hbd.net.linux import SO_RCVBUFFORCE, SO_TIMESTAMPNS
from hbd.wire import ntp
from tests.bench.lab import PORT, address

if TYPE_CHECKING:
    from tests.network.namespaces import Namespace

ETH_P_ALL: Final = 3  # linux/if_ether.h: ours too as they leave
RECEIVE_BUFFER: Final = 128 << 20
LENGTH: Final = 42 + 44
"""Octets that are kept: Ethernet, IPv4, UDP and STAMP's base packet."""

_HEADERS: Final = struct.Struct(">12xH12xIIHH4x")  # type, addresses, ports
_REQUEST: Final = struct.Struct(">IQ")
_REPLY: Final = struct.Struct(">IQ4xQIQ")


class Request(NamedTuple):
    """A heartbeat; times are nanoseconds since 1970."""

    at: int
    peer: str
    t1: int
    """As on the wire."""
    said: int
    """When its sender says that it was sent."""


class Reply(NamedTuple):
    """What came back."""

    at: int
    peer: str
    t1: int
    """Of the request."""
    dwell: int
    """How long the reflector says that it kept it."""


class Capture:
    """Takes every heartbeat and reply of STAMP in open mode, while it is entered."""

    def __init__(self, host: Namespace, interface: str) -> None:
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.1)
        self._socket.bind((interface, ETH_P_ALL))
        self._frames: list[tuple[int, bytes]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def _take(self) -> None:
        while not self._ending.is_set():
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(LENGTH, 64)
            except TimeoutError:
                continue
            self._frames.append((nanoseconds(ancillary[0][2]), frame))

    def packets(self) -> tuple[list[Request], list[Reply]]:
        """Give what has passed so far, in order."""
        requests, replies = [], []
        for at, frame in list(self._frames):
            if len(frame) < LENGTH:
                continue
            kind, source, destination, from_port, to_port = _HEADERS.unpack_from(frame)
            if kind != socket.htons(0x0008):
                continue
            if to_port == PORT:
                _, t1 = _REQUEST.unpack_from(frame, 42)
                said = ntp.unix_from_ntp(t1, at)
                requests.append(Request(at, address(destination), t1, said))
            elif from_port == PORT:
                _, t3, t2, _, t1 = _REPLY.unpack_from(frame, 42)
                dwell = ntp.elapsed(t2, t3, ptp=False)
                replies.append(Reply(at, address(source), t1, dwell))
        return requests, replies

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()
