"""The reflector on real sockets: what it says of when it was asked, and when it answers."""

import signal
import socket
import time

import pytest
from running import PORT

from hbd.core.model import MILLISECOND
from hbd.net import linux
from hbd.net.datagrams import nanoseconds
from hbd.wire import ntp, stamp

pytestmark = pytest.mark.slow


def test_each_of_many_replies_says_when_it_left(daemon, net):
    """T3 is no later than the reply arrives, and each says another: they leave one by one."""
    count, one = 40, daemon(peers=[], listen=[f"{net(1)}:{PORT}"], accept="any").start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((net(2), 0))
        asking.settimeout(2)
        asking.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 1)
        # Whoever is not known yet is answered by itself; and one alone shows nothing of many.
        for number in (1, count, *[1] * 20, count):
            one.process.send_signal(signal.SIGSTOP)
            for sequence in range(number):
                request = stamp.pack_request(sequence, 1, 1, 7)
                asking.sendto(request, (net(1), PORT))
            one.process.send_signal(signal.SIGCONT)
            moments = [t3_and_arrival(asking) for _ in range(number)]
    said = [t3 for t3, _ in moments]
    assert said == sorted(set(said))
    assert all(0 <= came - t3 < 20 * MILLISECOND for t3, came in moments)


def t3_and_arrival(asking):
    """Give what the next reply says, and when the kernel received it."""
    datagram, ancillary, *_ = asking.recvmsg(1500, socket.CMSG_SPACE(16))
    [(_, _, value)] = ancillary
    t3 = stamp.parse_reply(datagram).timestamp
    return ntp.unix_from_ntp(t3, time.time_ns()), nanoseconds(value)
