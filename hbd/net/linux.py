"""Names of Linux that the socket module of Python 3.11 lacks."""

from __future__ import annotations

import errno
from typing import Final

# asm-generic/socket.h, level SOL_SOCKET.
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35  # SCM_TIMESTAMPNS is the same number
SO_MEMINFO: Final = 55
SK_MEMINFO_DROPS: Final = 8
SK_MEMINFO_FORMAT: Final = "=9I"

# linux/in.h, level IPPROTO_IP.
IP_PKTINFO: Final = 8
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12

# linux/in6.h, level IPPROTO_IPV6.
IPV6_MTU_DISCOVER: Final = 23
IPV6_RECVERR: Final = 25

PMTUDISC_PROBE: Final = 3

# linux/errqueue.h: struct sock_extended_err, the sockaddr of the offender follows it.
EXTENDED_ERROR_FORMAT: Final = "=IBBBxII"
SO_EE_ORIGIN_LOCAL: Final = 1
SO_EE_ORIGIN_ICMP: Final = 2
SO_EE_ORIGIN_ICMP6: Final = 3

# linux/rtnetlink.h, linux/neighbour.h, linux/if_link.h, linux/if.h.
RTMGRP_LINK: Final = 1 << 0
RTMGRP_IPV4_IFADDR: Final = 1 << 4
RTMGRP_IPV4_ROUTE: Final = 1 << 6
RTMGRP_IPV4_RULE: Final = 1 << 7
RTMGRP_IPV6_IFADDR: Final = 1 << 8
RTMGRP_IPV6_ROUTE: Final = 1 << 10
RTMGRP_IPV6_RULE: Final = 1 << 18
RTMGRP_NEXTHOP: Final = 1 << 31
RTM_GETLINK: Final = 18
RTM_GETROUTE: Final = 26
RTM_GETNEIGH: Final = 30
NLM_F_REQUEST: Final = 1
NLMSG_ERROR: Final = 2
RTA_DST: Final = 1
RTA_SRC: Final = 2
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PREFSRC: Final = 7
RTA_VIA: Final = 18
RTA_IP_PROTO: Final = 27
RTA_DPORT: Final = 29
RTN_LOCAL: Final = 2
NDA_DST: Final = 1
NDA_CACHEINFO: Final = 3
IFLA_IFNAME: Final = 3
IFF_UP: Final = 0x1
IFF_LOWER_UP: Final = 0x10000

SOFT: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EACCES,
        errno.EPROTO,
        errno.EMSGSIZE,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    },
)
"""What an ICMP message leaves behind: icmp_err_convert of net/ipv4, tab_unreach of net/ipv6.

Seen by whatever call on the socket comes next, whomever that call is about.
"""

WEATHER: Final = SOFT | {
    errno.EPERM,  # our own firewall, or a BPF filter of the unit
    errno.EINVAL,  # a blackhole route, a destination port 0
    errno.ENETDOWN,
    errno.ENODEV,
    errno.ENXIO,
    errno.EADDRNOTAVAIL,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ENOKEY,  # WireGuard without a session, and without an endpoint
    errno.EDESTADDRREQ,
}
"""Why a datagram may not go out; any other errno is a fault of the program."""
