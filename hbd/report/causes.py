"""States and causes in words: the one table from which messages, fields and advice are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hbd.core.model import Cause, State


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said of a state or a cause."""

    words: str
    """For the message; holds {on}, {port}, {loss}, {rtt} and {fact} where they help."""
    meaning: str
    advice: str
    """What to do about it."""


CAUSES: Final = {
    Cause.PORT_CLOSED: Explanation(
        "port closed{on} (host answers, nothing listens on UDP {port})",
        "The host is alive, but nothing listens on the port: hbd is not running there.",
        "Start hbd there (systemctl enable --now hbd), or correct port: of this peer.",
    ),
    Cause.REJECTED: Explanation(
        "rejected{on} (a firewall refuses UDP {port})",
        "A firewall, there or on the way, answers that our heartbeats are not allowed.",
        "Let heartbeats pass in the firewall that the evidence names.",
    ),
    Cause.HOST_UNREACHABLE: Explanation(
        "host unreachable{on} (a router or the last hop cannot reach it)",
        "The network is there, but its last hop does not find the host: most often it is off.",
        "See whether the machine is switched on, its cable plugged in and its address right.",
    ),
    Cause.NET_UNREACHABLE: Explanation(
        "network unreachable{on} (a router has no route to it)",
        "A router on the way says that it knows no route to this address.",
        "Look at the routes of the router that the evidence names.",
    ),
    Cause.ROUTING_LOOP: Explanation(
        "routing loop{on} (heartbeats die on the way)",
        "Heartbeats run in a circle between routers until their hop limit is used up.",
        "Compare the routes of the router that the evidence names with those of its neighbours.",
    ),
    Cause.MTU: Explanation(
        "path MTU too small{on} (small heartbeats pass, padded ones do not)",
        "Small packets pass, big ones are lost: the MTU is smaller somewhere on the way.",
        "Correct the MTU of the link that the evidence names, and let ICMP packet too big pass.",
    ),
    Cause.AUTH: Explanation(
        "wrong key{on} (it answers, but its replies fail the check)",
        "The peer answers, with another key than ours.",
        "Give both ends the same key; a changed credential needs systemctl restart hbd.",
    ),
    Cause.BAD_REPLY: Explanation(
        "bad reply{on} (it answers, but not with our protocol)",
        "Something answers on that port, but not as this protocol asks.",
        "Correct port: or protocol:, or set the key that the evidence names, if it names one.",
    ),
    Cause.ONE_WAY: Explanation(
        "one way only{on} (its heartbeats reach us, ours are not answered)",
        "The peer is alive and reaches us, but our heartbeats or its replies are lost.",
        "See that its hbd lists us in peers: or accept:, and that its firewall lets us in.",
    ),
    Cause.FILTERED: Explanation(
        "filtered{on} (host is alive, heartbeats to UDP {port} vanish)",
        "The host answers otherwise, our heartbeats vanish: a firewall, a hung daemon, or"
        " we are not listed there.",
        "On that host: list us in peers: or accept:, let UDP pass in the firewall, restart hbd.",
    ),
    Cause.TOO_TIGHT: Explanation(
        "too late{on} (it answers, but always after the timeout)",
        "The peer answers, but later than timeout: allows; the setting is too small for this path.",
        "Raise timeout: of this peer; the evidence says which would do.",
    ),
    Cause.SILENT: Explanation(
        "silent{on} (nothing at all answers)",
        "Nothing comes back: the host is off, the way is cut, or a firewall drops everything.",
        "Look at the host's console, then at firewalls on the way. Does its hbd list us in peers:"
        " or accept:, and with the same key:?",
    ),
    Cause.LOSSY: Explanation(
        "loss{on} is over max_loss{loss}",
        "The peer answers, but more heartbeats are lost than max_loss: allows.",
        "Look for a full or faulty link on the way; the evidence tells the direction if known.",
    ),
    Cause.SLOW: Explanation(
        "RTT{on} is over max_rtt{rtt}",
        "The peer answers, but slower than max_rtt: allows.",
        "Look for a full link or a detour on the way, or raise max_rtt:.",
    ),
    Cause.PATH_DOWN: Explanation(
        "no answer{on}, though it answers on another address",
        "The peer has several addresses, and one of them does not answer.",
        "hbd explain names the cause for each address.",
    ),
    Cause.PARENT_DOWN: Explanation(
        "what lies between (via:) does not answer{fact}",
        "The way there leads through a peer that is down, so nothing can be said of this one.",
        "Repair the peer named in via: first; this one gets a verdict of its own then.",
    ),
    Cause.SEND_BLOCKED: Explanation(
        "sending{on} is blocked by this machine's own firewall",
        "Our own firewall (or IPAddressDeny= of the unit) refuses to let heartbeats out.",
        "Allow the port outwards here; see nft list ruleset and systemctl cat hbd.",
    ),
    Cause.OWN_LINK: Explanation(
        "our own interface cannot send{fact}",
        "The fault is on this machine: its interface towards the peer cannot send.",
        "ip link shows it; the peer gets a verdict again when it is up.",
    ),
    Cause.NO_ROUTE: Explanation(
        "this machine has no route to it{fact}",
        "The fault is on this machine: it knows no way to the peer.",
        "ip route get ADDRESS shows what is missing here.",
    ),
    Cause.OWN_UPLINK: Explanation(
        "our own uplink is silent{fact}",
        "The fault is on our side: everything behind the same interface fell silent at once.",
        "Look at this machine's cable, switch and gateway before you look at the peers.",
    ),
    Cause.UNRESOLVED: Explanation(
        "its name has no address{fact}",
        "The name could not be resolved and was never resolved before.",
        "Correct the name in address:, or look at DNS: resolvectl query NAME.",
    ),
    Cause.GOODBYE: Explanation(
        "it said goodbye{on}",
        "The peer's hbd was stopped on purpose and said so.",
        "Nothing, if that was meant; else start hbd there again.",
    ),
    Cause.PAUSED: Explanation(
        "maintenance{fact}",
        "An operator took the peer out of judgement; it is still measured.",
        "hbd resume ends the pause early; else it ends by itself.",
    ),
}

STATES: Final = {
    State.UNKNOWN: Explanation(
        "no verdict yet",
        "There is no verdict yet.",
        "Wait for the first verdict; hbd explain tells what is known.",
    ),
    State.UP: Explanation(
        "it answers",
        "The peer is alive and reachable from here.",
        "Nothing.",
    ),
    State.DEGRADED: Explanation(
        "it answers, but not as it should",
        "The peer answers, but not as it should.",
        "hbd explain tells what is known.",
    ),
    State.DOWN: Explanation(
        "it does not answer",
        "The peer does not answer.",
        "hbd explain gathers fresh evidence.",
    ),
    State.UNREACHABLE: Explanation(
        "the way there is cut",
        "What lies between is down, so nothing can be said of this peer.",
        "Repair the peer named in via: first.",
    ),
    State.PAUSED: Explanation(
        "maintenance",
        "An operator took the peer out of judgement; it is still measured.",
        "hbd resume ends the pause early; else it ends by itself.",
    ),
    State.LEFT: Explanation(
        "it said goodbye",
        "The peer's hbd was stopped on purpose and said so.",
        "Nothing, if that was meant; else start hbd there again.",
    ),
}


def explanation(state: State, cause: Cause | None) -> Explanation:
    """Of the cause where there is one, else of the state."""
    return STATES[state] if cause is None else CAUSES[cause]
