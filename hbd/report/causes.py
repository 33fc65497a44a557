"""States and causes in words: the table from which messages, fields and advice are made.

A row is true of every protocol; what is different for one of them stands in `dialects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hbd.core.model import Cause, State
from hbd.report.dialects import DIALECTS, SAME
from hbd.report.ways import dialect

if TYPE_CHECKING:
    from hbd.core.model import PeerSettings


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said of a state or a cause."""

    words: str
    """For the message; holds {on}, {service}, {loss}, {rtt}, {fact} and {proof} where they help."""
    meaning: str
    advice: str
    """What to do about it."""


CAUSES: Final = {
    Cause.PORT_CLOSED: Explanation(
        "port closed{on} (host answers, nothing listens on {service})",
        "The host is alive, but nothing listens on the port.",
        "Start the service there, or correct port: of this peer.",
    ),
    Cause.REFUSED: Explanation(
        "connection refused{on} (host answers, nothing listens on {service})",
        "The host is alive, but nothing takes connections on the port, or a firewall refuses them.",
        "Start the service there, or correct port: of this peer.",
    ),
    Cause.REJECTED: Explanation(
        "rejected{on} (a firewall refuses {service})",
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
    Cause.TLS: Explanation(
        "TLS failed{on}{proof}",
        "There is a connection, but no TLS on it: the certificate, its name or its time does not"
        " fit, or that port speaks no TLS.",
        "Correct ca:, tls_name: or port: here, or the certificate there; the evidence says which.",
    ),
    Cause.MQTT_VERSION: Explanation(
        "the broker refuses us{on}: not with MQTT 3.1.1",
        "The broker is alive, but does not take version 3.1.1 of MQTT, which hbd speaks.",
        "Allow MQTT 3.1.1 in the broker's configuration.",
    ),
    Cause.MQTT_CLIENT_ID: Explanation(
        "the broker refuses us{on}: not with this client id",
        "The broker is alive, but does not allow our client id.",
        "Set client_id: to one that the broker allows and no other client has.",
    ),
    Cause.MQTT_UNAVAILABLE: Explanation(
        "the broker refuses us{on}: its service is unavailable",
        "The broker is alive, but says that it cannot serve now: it starts, stops or is full.",
        "Look at the broker's log.",
    ),
    Cause.MQTT_PASSWORD: Explanation(
        "the broker refuses us{on}: wrong user name or password",
        "The broker is alive, but does not accept our user name or password.",
        "Correct username: and password:; a changed credential needs systemctl restart hbd.",
    ),
    Cause.MQTT_NOT_AUTHORIZED: Explanation(
        "the broker refuses us{on}: not authorized",
        "The broker is alive, but does not let us in; Mosquitto says so of a wrong password, too.",
        "Correct username: and password:, or allow this user in the broker's configuration.",
    ),
    Cause.BFD_EXPIRED: Explanation(
        "it does not hear us{on} (its BFD detection time expired)",
        "The peer's BFD packets reach us, but ours do not reach the peer, or too few of them.",
        "Look at the way from here to there: firewalls, the peer's limit of TTL, its filters for"
        " this machine's address.",
    ),
    Cause.BFD_ECHO_FAILED: Explanation(
        "it says Down{on}: its echo failed (BFD diagnostic 2)",
        "The peer tested the way with echo packets of its own, and they did not come back.",
        "Switch echo mode off for this session there; hbd takes no part in it.",
    ),
    Cause.BFD_SIGNALED_DOWN: Explanation(
        "it says Down{on}: we said so first (BFD diagnostic 3)",
        "The peer ended the session because our end had: we had lost its packets, or were stopped.",
        "The entries before this one name the cause. If it stays, look at both ends' settings.",
    ),
    Cause.BFD_FORWARDING_RESET: Explanation(
        "it says Down{on}: its forwarding plane was reset (BFD diagnostic 4)",
        "The peer's control plane runs, but what forwards its packets was started anew.",
        "Look at the log of the peer for what was restarted.",
    ),
    Cause.BFD_PATH_DOWN: Explanation(
        "it says Down{on}: the path is down (BFD diagnostic 5)",
        "Something below BFD told the peer that its link or tunnel towards us is down.",
        "Look at the peer's interface or tunnel towards this machine.",
    ),
    Cause.BFD_CONCATENATED_DOWN: Explanation(
        "it says Down{on}: a path beyond it is down (BFD diagnostic 6)",
        "The peer is alive, but a path that continues the one from here is down.",
        "Look at the peer for the link or circuit behind it that this session stands for.",
    ),
    Cause.BFD_REVERSE_DOWN: Explanation(
        "it says Down{on}: a path beyond it is down on the way back (BFD diagnostic 8)",
        "The peer is alive, but a path that continues the one from here is down towards us.",
        "Look at the peer for the link or circuit behind it that this session stands for.",
    ),
    Cause.BFD_NO_DIAGNOSTIC: Explanation(
        "it says Down{on} and gives no reason",
        "The peer's BFD packets reach us, but it does not take the session up: it has just"
        " started, or does not accept our packets.",
        "If it stays so, compare both ends: neighbour address, single hop or multihop, limit of"
        " TTL, authentication.",
    ),
    Cause.RESET: Explanation(
        "connection reset{on} (the other end broke it off)",
        "The peer, or a firewall on the way, broke the connection off: most often the program"
        " there crashed or was killed.",
        "Look at the log of the service there at the time that the evidence names.",
    ),
    Cause.CLOSED: Explanation(
        "connection closed{on} (the peer ended it)",
        "The peer's program ended the connection: it stops, is full, or does not want us.",
        "Look at the log of the service there at the time that the evidence names.",
    ),
    Cause.BAD_REPLY: Explanation(
        "bad reply{on} (it answers, but not with our protocol)",
        "Something answers on that port, but not as this protocol asks.",
        "Correct port: or protocol:, or set the key that the evidence names, if it names one.",
    ),
    Cause.HUNG: Explanation(
        "hung{on} (its kernel acknowledges, the program does not answer)",
        "The host is alive and gets our heartbeats, but the program there answers none of them.",
        "See what the program there waits for (its log, processor, disk), then restart it.",
    ),
    Cause.KEEPALIVE_FAILED: Explanation(
        "keep-alive failed{on} (nothing on the connection is acknowledged)",
        "The connection was open, then nothing came back on it: the host is off, the way is cut,"
        " or a firewall has forgotten the connection.",
        "Look at the host's console, then at the way there and its firewalls.",
    ),
    Cause.CONNECT_TIMEOUT: Explanation(
        "no connection{on} ({service} does not answer)",
        "Nothing answers when we connect: the host is off, the way is cut, or a firewall drops it.",
        "Look at the host's console, then at firewalls on the way. Is port: right?",
    ),
    Cause.ONE_WAY: Explanation(
        "one way only{on} (its heartbeats reach us, ours are not answered)",
        "The peer is alive and reaches us, but it does not answer, or one way is cut.",
        "See that its firewall lets us in, and that our address is allowed there.",
    ),
    Cause.FILTERED: Explanation(
        "filtered{on} (host is alive, heartbeats to {service} vanish)",
        "The host answers otherwise, our heartbeats vanish: a firewall, or a service that hangs.",
        "On that host: let heartbeats pass in the firewall, then restart the service.",
    ),
    Cause.TOO_TIGHT: Explanation(
        "too late{on} (it answers, but always after the timeout)",
        "The peer answers, but later than timeout: allows; the setting is too small for this path.",
        "Raise timeout: of this peer, and interval: if need be; the evidence says what would do.",
    ),
    Cause.SILENT: Explanation(
        "silent{on} (nothing at all answers)",
        "Nothing comes back: the host is off, the way is cut, or a firewall drops everything.",
        "Look at the host's console, then at firewalls on the way.",
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
        "this machine refuses to send{fact}",
        "The fault is on this machine: its own firewall, IPAddressDeny= of the unit, a file that"
        " cannot be read or want of memory or descriptors keeps heartbeats from being sent.",
        "The evidence says which; for a firewall see nft list ruleset and systemctl cat hbd.",
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
    Cause.OWN_STALL: Explanation(
        "it gave us up because hbd did not run{fact}",
        "The fault is on this machine: it gave hbd no processor time for longer than the peer"
        " waits, so the peer ended the session.",
        "Give this machine more room, or raise interval: or multiplier: of this peer.",
    ),
    Cause.UNRESOLVED: Explanation(
        "its name has no address{fact}",
        "The name could not be resolved and was never resolved before.",
        "Correct the name in address:, or look at DNS: resolvectl query NAME.",
    ),
    Cause.UNWATCHED: Explanation(
        "it is only sent to, nothing tells whether it lives",
        "hbd sends heartbeats to this peer, which never answers any: there is nothing to judge by.",
        "Nothing, if that is meant; else let it send, too, and give expect:, or choose another"
        " protocol:.",
    ),
    Cause.BFD_ADMIN_DOWN: Explanation(
        "switched off by its administrator{on} (BFD AdminDown)",
        "The session was switched off on purpose at the peer, which says so; that is no failure.",
        "Nothing, if that was meant; else switch it on again there.",
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
        "The peer was stopped on purpose and said so.",
        "Nothing, if that was meant; else start it there again.",
    ),
}


def explanation(
    state: State, cause: Cause | None, settings: PeerSettings | None = None
) -> Explanation:
    """Of the cause where there is one, else of the state; in the words of the peer's protocol."""
    if cause is None:
        return STATES[state]
    row = CAUSES[cause]
    if settings is None:
        return row
    own = DIALECTS[dialect(settings)].get(cause, SAME)
    return Explanation(own.words or row.words, own.meaning or row.meaning, own.advice or row.advice)
