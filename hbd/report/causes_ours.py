"""Why nothing can be said of a peer, or need not be: our own faults, and what was meant."""

from __future__ import annotations

from typing import Final

from hbd.core.model import Cause
from hbd.report.explanation import Explanation

NOT_TO_BLAME: Final = {
    Cause.PARENT_DOWN: Explanation(
        "what lies between (via:) does not answer{fact}",
        "The way there leads through a peer that is down, so nothing can be said of this one.",
        "Repair the peer named in via: first; this one gets a verdict of its own then.",
        "",
        ("hbd explain {via}",),
    ),
    Cause.SEND_BLOCKED: Explanation(
        "this machine refuses to send{fact}",
        "The fault is on this machine: its own firewall, IPAddressDeny= of the unit, a file that"
        " cannot be read or want of memory or descriptors keeps heartbeats from being sent.",
        "Correct here what the evidence names; the peer gets a verdict again then.",
        "EPERM in the evidence means the firewall or the unit; else it names the file, or what runs"
        " short.",
        ("nft list ruleset", "systemctl show hbd -p IPAddressAllow -p IPAddressDeny"),
    ),
    Cause.OWN_LINK: Explanation(
        "our own interface cannot send{fact}",
        "The fault is on this machine: its interface towards the peer cannot send.",
        "Bring the interface up; the peer gets a verdict again then.",
        "NO-CARRIER means the cable or the switch, DOWN without it that the interface was switched"
        " off here.",
        ("ip link", "journalctl -k --since -1h"),
    ),
    Cause.NO_ROUTE: Explanation(
        "this machine has no route to it{fact}",
        "The fault is on this machine: it knows no way to the peer.",
        "Set the route or the address that is missing here.",
        "An interface without its address lost its configuration; with it, only the route is"
        " missing.",
        ("ip route get {ip}{dev}", "ip -br address"),
    ),
    Cause.OWN_UPLINK: Explanation(
        "our own uplink is silent{fact}",
        "The fault is on our side: everything behind the same interface fell silent at once.",
        "Look at this machine's cable, switch, gateway and firewall before you look at the peers.",
        "A next hop that is FAILED in the neighbour table means our link or the gateway itself;"
        " REACHABLE, that the fault is behind it, or a firewall of ours that drops the replies.",
        ("ip neigh show dev {interface}", "nft list ruleset"),
    ),
    Cause.OWN_STALL: Explanation(
        "it gave us up because hbd did not run{fact}",
        "The fault is on this machine: it gave hbd no processor time for longer than the peer"
        " waits, so the peer ended the session.",
        "Give this machine more room, or raise interval: or multiplier: of this peer.",
        "Stalls again and again mean a machine with too much to do; a single one may be a virtual"
        " machine that was paused or moved.",
        ("journalctl HBD_EVENT=stall --since -1d", "systemctl status hbd"),
    ),
    Cause.UNRESOLVED: Explanation(
        "its name has no address{fact}",
        "The name could not be resolved and was never resolved before; hbd goes on trying.",
        "Correct the name in address:, or mend DNS.",
        "If other names resolve here, the name is wrong or missing in DNS; else this machine's"
        " resolver does not work.",
        ("resolvectl query {host}", "getent ahosts {host}"),
    ),
    Cause.UNWATCHED: Explanation(
        "it is only sent to, nothing tells whether it lives",
        "hbd sends heartbeats to this peer, which never answers any: there is nothing to judge by.",
        "Nothing, if that is meant; else let it send, too, and give expect:, or choose another"
        " protocol:.",
    ),
    Cause.GOODBYE: Explanation(
        "it said goodbye{on}",
        "The peer's hbd was stopped on purpose and said so.",
        "Nothing, if that was meant; else start hbd there again.",
        "If the host answers, hbd alone was stopped there; else the machine was shut down.",
        ("ssh {host} systemctl status hbd", "ping -c 3{by} {host}"),
    ),
    Cause.PAUSED: Explanation(
        "maintenance{fact}",
        "An operator took the peer out of judgement; it is still measured.",
        "Nothing: the pause ends by itself; hbd resume ends it early.",
        "",
        ("hbd resume {name}",),
    ),
}
