"""What the words on a cause are where one protocol differs from the others.

A peer that is not asked but watched by what it sends has a dialect of its own, `told`, whatever
its protocol.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hbd.core.model import Cause, Way
from hbd.report.causes_bfd import SESSIONS
from hbd.report.causes_stream import BROKER_LOG, SUBSCRIBE


class Differs(NamedTuple):
    """The texts of a row of causes that are others; None is as there."""

    words: str | None = None
    meaning: str | None = None
    advice: str | None = None
    apart: str | None = None
    commands: tuple[str, ...] | None = None


SAME: Final = Differs()

_REFUSALS: Final = "ssh {host} journalctl -n 5 HBD_EVENT=refused"
_CAPTURE: Final = "timeout 20 tcpdump -ni any -c 5 src {ip}"
_ASK: Final = "hbd ping -c 20 --port {open_port} {host}"

_STAMP: Final = {
    Cause.PORT_CLOSED: Differs(
        meaning="The host is alive, but nothing listens on the port: hbd is not running there,"
        " or a firewall says so.",
        advice="Start hbd there (systemctl enable --now hbd), or correct port: of this peer.",
        apart="Its status there tells a daemon that was stopped or fails from one that listens on"
        " another port or address, see listen:; if it listens on this one, a firewall rejects in"
        " its name (nft: reject).",
        commands=("ssh {host} systemctl status hbd", "ssh {host} ss -lnu sport = :{port}"),
    ),
    Cause.BAD_REPLY: Differs(
        commands=("ssh {host} ss -lnup sport = :{port}", _ASK),
    ),
    Cause.ONE_WAY: Differs(
        advice="See that its hbd lists us in peers: or accept:, and that its firewall lets us in.",
        apart="If its journal says that heartbeats from our address are refused, it does not list"
        " us or has another key; else its firewall or the way there loses them.",
        commands=(_REFUSALS, "ssh {host} nft list ruleset"),
    ),
    Cause.FILTERED: Differs(
        meaning="The host answers otherwise, our heartbeats vanish: a firewall, a hung daemon, or"
        " we are not listed there, or with another key.",
        advice="On that host: list us in peers: or accept:, with the same key:, let UDP pass in the"
        " firewall, restart hbd.",
        apart="If its journal says that heartbeats from our address are refused, it does not list"
        " us or has another key; a Recv-Q that does not get empty is a daemon that hangs; else a"
        " firewall, there, on the way or here.",
        commands=(_REFUSALS, "ssh {host} ss -lnu sport = :{port}"),
    ),
    Cause.TOO_TIGHT: Differs(
        commands=("ping -c 20{by} {host}", _ASK),
    ),
    Cause.SILENT: Differs(
        advice="Look at the host's console, then at firewalls on the way. Does its hbd list us in"
        " peers: or accept:, and with the same key:?",
    ),
}

_PLAIN: Final = {
    Cause.PORT_CLOSED: Differs(
        advice="Start the receiver there, or correct port: of this peer.",
    ),
}

_TCP: Final = {
    Cause.BAD_REPLY: Differs(
        words="bad reply{on} (it answers, but not with expect_reply:)",
        meaning="The service answers, but its answer does not begin with the text of"
        " expect_reply:.",
        advice="Compare send: and expect_reply: with what the service says. Is port: right?",
        apart="What it says to a request by hand tells another service from one that wants a"
        " password, or has an error to tell.",
        commands=("nc -v {host} {port}", "ssh {host} ss -lntp sport = :{port}"),
    ),
}

_MQTT: Final = {
    Cause.REFUSED: Differs(
        advice="Start the broker there, or correct port: of this peer. Mosquitto without a"
        " listener line takes connections of its own machine only.",
        commands=("ssh {host} ss -lnt sport = :{port}", "ssh {host} systemctl status mosquitto"),
    ),
    Cause.BAD_REPLY: Differs(
        words="bad reply{on} (it answers, but not with MQTT)",
        advice="Correct port: or tls:; by custom 1883 is without TLS and 8883 with it.",
        apart="If openssl shows a certificate, it is a port with TLS; else what listens there is"
        " without TLS, or no broker.",
        commands=(
            "openssl s_client -connect {endpoint}{openssl_tls} </dev/null",
            "ssh {host} ss -lntp sport = :{port}",
        ),
    ),
    Cause.TLS: Differs(
        advice="Correct ca:, tls_name:, tls: or port: here, or the certificate there; by custom"
        " 1883 is without TLS and 8883 with it.",
    ),
    Cause.RESET: Differs(
        advice="Look at the broker's log at the time that the evidence names. Is tls: right?",
        commands=(BROKER_LOG, "ssh {host} journalctl -p warning --since -1h"),
    ),
    Cause.CLOSED: Differs(
        words="connection closed{on} (the broker ended it)",
        meaning="The broker ended the connection: it stops, does not want us, or another client"
        " came with our client id.",
        advice="Look at the broker's log at the time that the evidence names. No other client may"
        " have the same client_id:.",
        apart="The log there names the reason; if it is the client id, it names the address of the"
        " other client, too.",
        commands=(BROKER_LOG, SUBSCRIBE),
    ),
    Cause.HUNG: Differs(
        words="hung{on} (its kernel acknowledges, the broker does not answer)",
        meaning="The host is alive and gets our heartbeats, but the broker answers none of them.",
        advice="See what the broker waits for (its log, processor, disk), then restart it.",
    ),
}

_BFD: Final = {
    Cause.PORT_CLOSED: Differs(
        advice="Start BFD there and make this machine its neighbour. Single hop is UDP 3784,"
        " multihop: on is UDP 4784.",
        apart="If the router has no session with us, BFD does not run there or does not know us;"
        " if it has one, one end is single hop, the other multihop.",
        commands=SESSIONS,
    ),
    Cause.AUTH: Differs(
        words="wrong key{on} (its BFD packets fail the check)",
        meaning="BFD packets come from the peer, but not with our authentication.",
        advice="Give both ends the same type, key id and secret (auth:, key_id:, password:). FRR"
        " has none that RFC 5880 knows.",
        apart="The evidence names what differs: the type, the key id or, where the hash fails, the"
        " secret.",
        commands=SESSIONS[:1],
    ),
    Cause.BAD_REPLY: Differs(
        words="bad BFD packets{on} (they break the rules of RFC 5880)",
        meaning="Packets come from the peer, but none that may be accepted.",
        advice="The evidence names the rule. A TTL below 255 means that a router is in between:"
        " multihop: on, and min_ttl: as low as the way needs.",
        apart="A capture shows TTL, version and length of what comes.",
        commands=("timeout 20 tcpdump -vni any -c 5 src {ip} and udp port {port}", SESSIONS[0]),
    ),
    Cause.FILTERED: Differs(
        words="filtered{on} (host is alive, no BFD packets come)",
        meaning="The host answers otherwise, but its BFD packets do not reach us: a firewall, or"
        " BFD is not set up there for this machine.",
        advice="On the peer: make this machine its BFD neighbour, and let UDP 3784 pass, multihop"
        " 4784.",
        apart="If the router has a session with us and sends, a firewall drops its packets; if it"
        " has none, BFD is not set up there.",
        commands=SESSIONS,
    ),
    Cause.SILENT: Differs(
        words="silent{on} (no BFD packets come)",
        meaning="No BFD packet came within the detection time: the peer is off, the way is cut, or"
        " BFD is not set up there for this machine.",
        advice="Look at the peer: does it run, and is this machine its BFD neighbour (vtysh: show"
        " bfd peers)? Then at the link.",
        apart="If it answers ping, BFD is not set up there or was stopped; if it does not, the peer"
        " is off or the way is cut.",
        commands=("ping -c 3{by} {host}", SESSIONS[0]),
    ),
}

_TOLD: Final = {
    Cause.AUTH: Differs(
        words="wrong key{on} (its heartbeats fail the check)",
        meaning="Heartbeats come from the peer, but signed with another key than ours.",
    ),
    Cause.RESET: Differs(
        words="connection reset{on} (the peer broke it off, no new one came)",
    ),
    Cause.CLOSED: Differs(
        words="connection closed{on} (the peer ended it, no new one came)",
        meaning="The peer's program ended its connection to us and made no new one.",
        advice="See whether the program there still runs; the evidence says when it left.",
        apart="Its log tells a program that was stopped from one that cannot connect anew; packets"
        " in a capture here mean that it tries.",
        commands=("ssh {host} journalctl --since -1h", _CAPTURE),
    ),
    Cause.KEEPALIVE_FAILED: Differs(
        apart="If it answers ping, its program hangs or a firewall has forgotten the connection;"
        " if it does not, the host is off or the way is cut.",
        commands=("ping -c 3{by} {host}", _CAPTURE),
    ),
    Cause.BAD_REPLY: Differs(
        words="bad heartbeats{on} (something comes, but not what is expected)",
        meaning="Something comes from the peer, but not the text of payload:, or not what this"
        " protocol has.",
        advice="Compare what it sends with payload: of this peer; payload: any takes everything.",
        apart="A capture shows the very text that comes.",
        commands=("timeout 20 tcpdump -Xni any -c 5 src {ip}",),
    ),
    Cause.FILTERED: Differs(
        words="filtered{on} (host is alive, its heartbeats do not come)",
        meaning="The host answers otherwise, but its heartbeats do not reach us: its sender does"
        " not run or sends elsewhere, or a firewall is in between.",
        advice="See whether the sender runs there and sends to this machine and port, then look at"
        " the firewalls there and here.",
        apart="Packets in a capture here mean a wrong port or our own firewall; none mean the"
        " sender or a firewall on the way.",
        commands=(_CAPTURE, "nft list ruleset"),
    ),
    Cause.SILENT: Differs(
        words="silent{on} (its heartbeats do not come)",
        meaning="No heartbeat came in the time allowed: the sender does not run, its host is off,"
        " the way is cut, or a firewall drops everything.",
        advice="See whether the sender runs there and sends to this machine and port, then look at"
        " the firewalls there and here.",
        apart="If it answers ping, the sender does not run or sends elsewhere; packets in a capture"
        " here mean a wrong port or our own firewall.",
        commands=("ping -c 3{by} {host}", _CAPTURE),
    ),
}

DIALECTS: Final = {
    "stamp": _STAMP,
    "plain": _PLAIN,
    "tcp": _TCP,
    "mqtt": _MQTT,
    "bfd": _BFD,
    Way.TOLD.value: _TOLD,
}
