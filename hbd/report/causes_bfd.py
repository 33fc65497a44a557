"""What BFD routers say of themselves, as diagnostics of RFC 5880."""

from __future__ import annotations

from typing import Final

from hbd.core.model import Cause
from hbd.report.explanation import Explanation

SESSIONS: Final = (
    "ssh {host} birdc show bfd sessions",
    "ssh {host} \"vtysh -c 'show bfd peers'\"",
)
"""BIRD's and FRR's; a router has one of them."""

BFD: Final = {
    Cause.BFD_EXPIRED: Explanation(
        "it does not hear us{on} (its BFD detection time expired)",
        "The peer's BFD packets reach us, but ours do not reach the peer, or too few of them.",
        "Look at the way from here to there: firewalls, the peer's limit of TTL, its filters for"
        " this machine's address.",
        "If our packets show in a capture there, the peer drops them: TTL, address or"
        " authentication; else they are lost on the way.",
        SESSIONS,
    ),
    Cause.BFD_ECHO_FAILED: Explanation(
        "it says Down{on}: its echo failed (BFD diagnostic 2)",
        "The peer tested the way with echo packets of its own, and they did not come back.",
        "Switch echo mode off for this session there; hbd takes no part in it.",
        "",
        SESSIONS,
    ),
    Cause.BFD_SIGNALED_DOWN: Explanation(
        "it says Down{on}: we said so first (BFD diagnostic 3)",
        "The peer ended the session because our end had: we had lost its packets, or were stopped.",
        "If it stays so, look at both ends' settings.",
        "The entries before this one name the cause.",
        ("journalctl HBD_PEER={name} --since -1h", *SESSIONS[:1]),
    ),
    Cause.BFD_FORWARDING_RESET: Explanation(
        "it says Down{on}: its forwarding plane was reset (BFD diagnostic 4)",
        "The peer's control plane runs, but what forwards its packets was started anew.",
        "Look at the log of the peer for what was restarted.",
        "",
        ("ssh {host} journalctl --since -1h",),
    ),
    Cause.BFD_PATH_DOWN: Explanation(
        "it says Down{on}: the path is down (BFD diagnostic 5)",
        "Something below BFD told the peer that its link or tunnel towards us is down.",
        "Look at the peer's interface or tunnel towards this machine.",
        "",
        ("ssh {host} ip -br link",),
    ),
    Cause.BFD_CONCATENATED_DOWN: Explanation(
        "it says Down{on}: a path beyond it is down (BFD diagnostic 6)",
        "The peer is alive, but a path that continues the one from here is down.",
        "Look at the peer for the link or circuit behind it that this session stands for.",
        "",
        SESSIONS,
    ),
    Cause.BFD_REVERSE_DOWN: Explanation(
        "it says Down{on}: a path beyond it is down on the way back (BFD diagnostic 8)",
        "The peer is alive, but a path that continues the one from here is down towards us.",
        "Look at the peer for the link or circuit behind it that this session stands for.",
        "",
        SESSIONS,
    ),
    Cause.BFD_NO_DIAGNOSTIC: Explanation(
        "it says Down{on} and gives no reason",
        "The peer's BFD packets reach us, but it does not take the session up: it has just"
        " started, or does not accept our packets.",
        "If it stays so, compare both ends: neighbour address, single hop or multihop, limit of"
        " TTL, authentication.",
        "One that has just started comes up within seconds; if our packets show in a capture"
        " there, the peer does not accept them.",
        SESSIONS,
    ),
    Cause.BFD_ADMIN_DOWN: Explanation(
        "switched off by its administrator{on} (BFD AdminDown)",
        "The session was switched off on purpose at the peer, which says so; that is no failure.",
        "Nothing, if that was meant; else switch it on again there.",
        "",
        SESSIONS,
    ),
}
