"""ICMP echo without privileges: the ping sockets of Linux (icmp(7), ping_group_range)."""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.net import linux
from hbd.net.datagrams import LARGEST
from hbd.net.outgoing import lead

if TYPE_CHECKING:
    from hbd.core.address import Address
    from hbd.core.model import Leaving

TOKEN_SIZE: Final = 16

# Type, code, checksum, identifier, sequence (RFC 792, RFC 4443 4.1): the kernel writes the third
# and the fourth, and gives us only replies that bear the identifier.
_HEADER: Final = Struct(">BBHHH")
_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PROTOCOL: Final = {
    socket.AF_INET: socket.IPPROTO_ICMP,
    socket.AF_INET6: socket.IPPROTO_ICMPV6,
}


class EchoReply(NamedTuple):
    """A host that answers."""

    host: str
    token: bytes
    """What the request carried."""


class EchoSocket:
    """Asks hosts for an echo. Construction raises OSError: EACCES where the kernel forbids it."""

    def __init__(self, family: socket.AddressFamily, leaving: Leaving) -> None:
        self._family: Final = family
        self._socket = socket.socket(family, socket.SOCK_DGRAM, _PROTOCOL[family])
        self._socket.settimeout(0)
        try:
            lead(self._socket, leaving)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, address: Address, token: bytes) -> None:
        """Send an echo request that carries these octets; OSError if it does not leave."""
        request = _HEADER.pack(_REQUEST[self._family], 0, 0, 0, 1) + token
        self._socket.sendto(request, address)

    def receive(self) -> EchoReply | None:
        """Take one reply; None where there is no more. What is no reply is passed over."""
        while True:
            try:
                message, source = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in linux.SOFT:
                    raise
                continue
            if len(message) >= _HEADER.size and message[0] == _REPLY[self._family]:
                return EchoReply(source[0], message[_HEADER.size :])
