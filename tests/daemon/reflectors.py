"""Small STAMP reflectors with the manners and faults of real ones, on real sockets.

Written from RFC 8762 and from what was seen of other programs; nothing of hbd is in here.
"""

import heapq
import select
import socket
import struct
import threading
import time
from typing import NamedTuple

PORT = 18620
BASE = 44
NTP_ERA = 2_208_988_800
ESTIMATE = 0x0001
PTP = 0x4000
"""The Z bit of an Error Estimate."""


class Request(NamedTuple):
    """A heartbeat that came in."""

    at: float
    datagram: bytes
    source: tuple
    tos: int


def timestamp(*, ptp=False):
    """Now, as 8 octets."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    if ptp:
        return struct.pack("!II", seconds, rest)
    return struct.pack("!II", seconds + NTP_ERA, (rest << 32) // 10**9)


def base(request, *, sequence=None, ssid=b"\0\0", estimate=ESTIMATE, ttl=64, t2=None, t3=None):
    """Write the 44 octets of RFC 8762 4.3.1, figure 5."""
    ptp = bool(estimate & PTP)
    t2 = t2 or timestamp(ptp=ptp)
    return (
        (request[:4] if sequence is None else struct.pack("!I", sequence))
        + (t3 or timestamp(ptp=ptp))
        + struct.pack("!H", estimate)
        + ssid
        + t2
        + request[:4]
        + request[4:12]
        + request[12:14]
        + b"\0\0"
        + bytes([ttl, 0, 0, 0])
    )


def flagged(region, flags):
    """Give TLVs back with other flags."""
    out, at = b"", 0
    while at + 4 <= len(region):
        length = int.from_bytes(region[at + 2 : at + 4], "big")
        out += bytes([flags]) + region[at + 1 : at + 4 + length]
        at += 4 + length
    return out + region[at:]


# -- well behaved, each in its way: octets in, replies out -------------------------------------


def plain(request):
    """RFC 8762 without 8972: SSID 0, TLVs come back as they were."""
    return [base(request) + request[BASE:]]


def with_ssid(request):
    """RFC 8972: the SSID comes back."""
    return [base(request, ssid=request[14:16]) + request[BASE:]]


def without_tlvs(request):
    """44 octets whatever came in."""
    return [base(request)]


def zero_filled(request):
    """As long as the request, zeros where the TLVs were."""
    return [base(request) + bytes(len(request) - BASE)]


def of_38_octets(request):
    """twampy: no Sender TTL, T2 equal to T3."""
    now = timestamp()
    return [base(request, t2=now, t3=now)[:38]]


def of_41_octets(request):
    """twampd."""
    return [base(request)[:41]]


def truncated(request):
    """A receive buffer of 60 octets cuts TLVs in the middle."""
    return [base(request) + request[BASE:60]]


def with_flags(flags):
    """Give back TLVs with U, M or I set or cleared."""
    return lambda request: [base(request, ssid=request[14:16]) + flagged(request[BASE:], flags)]


def in_ptp(request):
    """Timestamps of its own in PTP's format."""
    return [base(request, estimate=ESTIMATE | PTP) + request[BASE:]]


def no_idea_of_time(request):
    """Its clock stands at zero."""
    return [base(request, t2=bytes(8), t3=b"\0\0\0\0\0\0\0\1", ttl=0, estimate=0x3FFF)]


def clock_runs_backwards(request):
    """T3 long before T2."""
    return [base(request, t2=b"\xee" * 8, t3=b"\x11" * 8)]


class Stateful:
    """Counts replies with numbers of its own."""

    def __init__(self):
        self.sequence = 7_000

    def __call__(self, request):
        """Reply with the next number."""
        self.sequence += 1
        return [base(request, sequence=self.sequence)]


def twice(request):
    """Each reply comes twice."""
    return plain(request) * 2


# -- faults ------------------------------------------------------------------------------------


def echo(request):
    """No reflector but an echo service (RFC 862)."""
    return [request]


def swapped(request):
    """T3 and Session-Sender Timestamp are swapped: the echoed T1 stands at octet 4."""
    good = base(request) + bytes(len(request) - BASE)
    return [good[:4] + good[28:36] + good[12:28] + good[4:12] + good[36:]]


def hello(_):
    """Something else listens there."""
    return [b"220 mail.example ESMTP\r\n"]


def of_37_octets(request):
    """Too short for a reply."""
    return [base(request)[:37]]


def empty(_):
    """No octet at all."""
    return [b""]


def another_session(request):
    """The SSID of somebody else."""
    return [base(request, ssid=bytes(octet ^ 0x55 for octet in request[14:16]))]


def another_timestamp(request):
    """T1 off by the smallest step."""
    changed = request[:11] + bytes([request[11] ^ 1]) + request[12:]
    return [base(changed)]


def another_sequence(request):
    """Replies to a heartbeat that was never sent."""
    return [base(b"\x7f" + request[1:])]


def silent(_):
    """Takes everything, gives nothing."""
    return []


class Replay:
    """Answers the first heartbeats, then sends the last good reply again and again."""

    def __init__(self, good=5):
        self.left = good
        self.last = b""

    def __call__(self, request):
        """Reply, or replay."""
        if self.left > 0:
            self.left -= 1
            (self.last,) = plain(request)
        return [self.last]


class Lossy:
    """Loses every n-th request."""

    def __init__(self, every):
        self.every = every
        self.seen = 0

    def __call__(self, request):
        """Reply, or lose."""
        self.seen += 1
        return [] if self.seen % self.every == 0 else plain(request)


class Reflector:
    """Answers on a socket from a thread; what it does can be changed at any time.

    `answer_from` is another address, or port, that replies come from.
    """

    def __init__(self, address, behave=None, *, port=PORT, delay=0.0, answer_from=None):
        self.behave = behave or plain
        self.delay = delay
        self.requests = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = _socket(family, (address, port))
        self._other = _socket(family, answer_from) if answer_from else self._socket
        self._waiting = []
        self._number = 0
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"reflector {address}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.send(b"x")
        self._thread.join()
        for one in {self._socket, self._other, self._stop, self._stopped}:
            one.close()

    def _run(self):
        while True:
            rest = self._waiting[0][0] - time.monotonic() if self._waiting else None
            fds = [self._socket, self._stopped]
            ready, _, _ = select.select(fds, [], [], None if rest is None else max(rest, 0))
            if self._stopped in ready:
                return
            if self._socket in ready:
                self._take()
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, reply, source = heapq.heappop(self._waiting)
                self._send(reply, source)

    def _take(self):
        datagram, ancillary, _, source = self._socket.recvmsg(65_535, 256)
        at = time.monotonic()
        tos = next((value[0] for _, kind, value in ancillary if kind == socket.IP_TOS), 0)
        self.requests.append(Request(at, datagram, source, tos))
        for reply in self.behave(datagram):
            if self.delay:
                self._number += 1
                heapq.heappush(self._waiting, (at + self.delay, self._number, reply, source))
            else:
                self._send(reply, source)

    def _send(self, reply, source):
        try:
            self._other.sendto(reply, source)
        except ConnectionRefusedError:
            return  # whoever asked has gone


def _socket(family, address):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind(address)
    if family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    return made
