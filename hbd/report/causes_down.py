"""Why a peer does not answer, or not as it should: what is true of every protocol."""

from __future__ import annotations

from typing import Final

from hbd.core.model import Cause
from hbd.report.explanation import Explanation

DOWN: Final = {
    Cause.PORT_CLOSED: Explanation(
        "port closed{on} (host answers, nothing listens on {service})",
        "The host is alive, but nothing listens on the port.",
        "Start the service there, or correct port: of this peer.",
        "What listens there tells a service that does not run from one on another port or on"
        " another address.",
        ("ssh {host} ss -lnu sport = :{port}", "ssh {host} systemctl --failed"),
    ),
    Cause.REJECTED: Explanation(
        "rejected{on} (a firewall refuses {service})",
        "A firewall, there or on the way, answers that our heartbeats are not allowed.",
        "Let heartbeats pass in the firewall that the evidence names.",
        "The address in the evidence is the host's own, then its firewall refuses, or that of a"
        " firewall on the way.",
        ("ssh {host} nft list ruleset", "tracepath -n {host}"),
    ),
    Cause.HOST_UNREACHABLE: Explanation(
        "host unreachable{on} (a router or the last hop cannot reach it)",
        "The network is there, but its last hop does not find the host: most often it is off.",
        "See whether the machine is switched on, its cable plugged in and its address right.",
        "If its neighbours answer, it is the host alone, else their switch. On our own link FAILED"
        " in the neighbour table means that nobody has the address.",
        ("ip neigh show {ip}{dev}", "tracepath -n {host}"),
    ),
    Cause.NET_UNREACHABLE: Explanation(
        "network unreachable{on} (a router has no route to it)",
        "A router on the way says that it knows no route to this address.",
        "Look at the routes of the router that the evidence names.",
        "If other addresses of that network do not answer either, the route of all is gone there;"
        " else look for a more specific one.",
        ("tracepath -n {host}", "ip route get {ip}{dev}"),
    ),
    Cause.ROUTING_LOOP: Explanation(
        "routing loop{on} (heartbeats die on the way)",
        "Heartbeats run in a circle between routers until their hop limit is used up.",
        "Compare the routes of the router that the evidence names with those of its neighbours.",
        "The routers that the trace names in turn are those in the circle.",
        ("tracepath -n {host}",),
    ),
    Cause.MTU: Explanation(
        "path MTU too small{on} (small heartbeats pass, padded ones do not)",
        "Small packets pass, big ones are lost: the MTU is smaller somewhere on the way.",
        "Correct the MTU of the tunnel or link that the evidence names, and let ICMP packet too"
        " big pass; or make size: of this peer smaller.",
        "The trace says pmtu where packets become smaller; where it does not, a firewall on the"
        " way drops the ICMP errors.",
        ("tracepath -n {host}", "ping -c 3 -M do -s {size}{by} {host}"),
    ),
    Cause.AUTH: Explanation(
        "wrong key{on} (it answers, but its replies fail the check)",
        "The peer answers, with another key than ours.",
        "Give both ends the same key, while keys change in two lines; a changed credential needs"
        " systemctl restart hbd.",
        "If the key files of both ends are equal, one end was not restarted since its credential"
        " changed.",
        (
            "systemctl show hbd -p LoadCredential -p ActiveEnterTimestamp",
            "ssh {host} systemctl show hbd -p LoadCredential -p ActiveEnterTimestamp",
        ),
    ),
    Cause.BAD_REPLY: Explanation(
        "bad reply{on} (it answers, but not as our protocol asks)",
        "Something answers on that port, but not as this protocol asks.",
        "Correct port: or protocol:, or set the key that the evidence names, if it names one.",
        "Who listens there tells another service on this port from a reflector that answers in a"
        " way of its own.",
        ("ssh {host} ss -lnup sport = :{port}",),
    ),
    Cause.ONE_WAY: Explanation(
        "one way only{on} (its heartbeats reach us, ours are not answered)",
        "The peer is alive and reaches us, but it does not answer, or one way is cut.",
        "See that its firewall lets us in, and that our address is allowed there.",
        "If our heartbeats show in a capture there, its firewall or service refuses them; else"
        " they are lost on the way.",
        ("ssh {host} nft list ruleset", "tracepath -n {host}"),
    ),
    Cause.FILTERED: Explanation(
        "filtered{on} (host is alive, heartbeats to {service} vanish)",
        "The host answers otherwise, our heartbeats vanish: a firewall, or a service that hangs.",
        "On that host: let heartbeats pass in the firewall, then restart the service.",
        "A firewall there shows in its rules, a service that hangs in a Recv-Q that does not get"
        " empty; if neither, a firewall on the way.",
        ("ssh {host} nft list ruleset", "ssh {host} ss -an sport = :{port}"),
    ),
    Cause.TOO_TIGHT: Explanation(
        "too late{on} (it answers, but after the timeout)",
        "The peer answers, but later than timeout: allows; the setting is too small for this path.",
        "Raise timeout: of this peer, and interval: if need be; the evidence says what would do.",
        "If ping is as slow, it is the way; if ping is fast, the host or its service is slow to"
        " answer.",
        ("ping -c 20{by} {host}",),
    ),
    Cause.SILENT: Explanation(
        "silent{on} (nothing at all answers)",
        "Nothing comes back: the host is off, the way there or back is cut, or a firewall drops"
        " everything.",
        "Look at the host's console, then at firewalls on the way.",
        "If it runs and reaches others, a capture there tells: where our heartbeats show, the way"
        " back is cut or filtered, else the way there, behind the last hop of the trace that"
        " answers; if it reaches nobody, its own link is down.",
        ("ping -c 3{by} {host}", "tracepath -n {host}"),
    ),
}

DEGRADED: Final = {
    Cause.LOSSY: Explanation(
        "loss{on} is over max_loss{loss}",
        "The peer answers, but more heartbeats are lost than max_loss: allows.",
        "Look for a full or faulty link on the way; the evidence tells the direction if known.",
        "If our interface counts errors, it is our own link; else if ping loses packets too, it is"
        " the way; if it does not, the service or its host is overloaded.",
        ("ping -c 100 -i 0.2{by} {host}", "ip -s link show dev {interface}"),
    ),
    Cause.SLOW: Explanation(
        "RTT{on} is over max_rtt{rtt}",
        "The peer answers, but slower than max_rtt: allows.",
        "Look for a full link or a detour on the way, or raise max_rtt:.",
        "If ping is as slow, the trace shows from which hop on; if ping is fast, the service or"
        " its host is overloaded.",
        ("ping -c 20{by} {host}", "tracepath -n {host}"),
    ),
    Cause.PATH_DOWN: Explanation(
        "no answer{on}, though it answers on another address",
        "The peer has several addresses, and one of them does not answer.",
        "Mend that address; its own cause stands in the evidence.",
        "",
        ("hbd explain {name}",),
    ),
}
