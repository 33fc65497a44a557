"""Which key of a peer belongs to which protocol, and which goes only with what else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.config.nodes import Scalar
from hbd.config.values import FALSE, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hbd.config.section import Section

EVERY: Final = ("stamp", "plain", "tcp", "mqtt", "bfd")
ASKED: Final = ("stamp", "tcp", "mqtt")
"""The peer answers, unless it has expect:."""
TOLD: Final = ("stamp", "plain", "tcp")
"""The peer may beat on its own, which is expect:."""

PROTOCOLS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("name", "address", "protocol", "via"), EVERY),
    "port": ("stamp", "plain", "tcp", "mqtt"),
    "interval": EVERY,
    **dict.fromkeys(("timeout", "retries"), ASKED),
    "rise": ("stamp", "plain", "tcp", "mqtt"),
    "labels": EVERY,
    **dict.fromkeys(("max_loss", "max_rtt"), ASKED),
    **dict.fromkeys(("interface", "source", "dscp"), EVERY),
    **dict.fromkeys(("expect", "grace"), TOLD),
    "payload": ("plain", "tcp"),
    **dict.fromkeys(("key", "size", "ssid", "tlv", "reflector"), ("stamp",)),
    **dict.fromkeys(("echo_timestamp", "trust_goodbye"), ("stamp",)),
    "send": ("plain", "tcp"),
    "expect_reply": ("tcp",),
    **dict.fromkeys(("tls", "ca", "tls_name"), ("tcp", "mqtt")),
    **dict.fromkeys(("username", "client_id", "will"), ("mqtt",)),
    "password": ("mqtt", "bfd"),
    **dict.fromkeys(("multiplier", "multihop", "min_ttl", "auth", "key_id"), ("bfd",)),
}
"""Every key of a peer."""

PEER_KEYS: Final = tuple(PROTOCOLS_OF)


def is_told(section: Section) -> bool:
    """Say whether the peer beats and we wait."""
    return section.node("expect") is not None


def is_sent_nothing(section: Section) -> bool:
    """Say whether we only listen: neither what to send is said nor how often."""
    return is_told(section) and section.node("send") is None and section.node("interval") is None


class Rule(NamedTuple):
    """Keys without a meaning while something else is there or is not."""

    keys: tuple[str, ...]
    protocols: tuple[str, ...]
    holds: Callable[[Section], bool]
    words: str


def _is_off(key: str, *default: str) -> Callable[[Section], bool]:
    """Make the question whether `key` is off or missing; a mistaken value is neither."""

    def question(section: Section) -> bool:
        node = section.node(key)
        if node is None:
            return True
        return isinstance(node, Scalar) and node.text.lower() in {*FALSE, *default}

    return question


def _is_missing(key: str) -> Callable[[Section], bool]:
    return lambda section: section.node(key) is None


RULES: Final = (
    Rule(
        ("timeout", "retries", "max_loss", "max_rtt"),
        TOLD,
        is_told,
        "a peer with expect: is not asked; leave it out, grace: says how late is too late",
    ),
    Rule(
        ("port", "send", "expect_reply", "tls", "ca", "tls_name"),
        ("tcp",),
        is_told,
        "a peer with expect: connects to listen_tcp:; leave it out",
    ),
    Rule(
        ("port", "size", "tlv", "reflector", "echo_timestamp"),
        ("stamp",),
        is_told,
        "a peer with expect: is sent no heartbeats; leave it out",
    ),
    Rule(
        ("interval", "interface", "source", "dscp"),
        ("stamp", "tcp"),
        is_told,
        "a peer with expect: is sent no heartbeats; leave it out",
    ),
    Rule(
        ("interface", "source", "dscp"),
        ("plain",),
        is_sent_nothing,
        "a peer with expect: is sent heartbeats only with interval: or send:; write one of them,"
        " too, or leave it out",
    ),
    Rule(
        ("grace", "payload"),
        TOLD,
        _is_missing("expect"),
        "goes only with expect:; write that, too, or leave it out",
    ),
    Rule(
        ("rise",),
        ("plain",),
        _is_missing("expect"),
        "nothing comes from a plain peer without expect:; write that, too, or leave it out",
    ),
    Rule(
        ("expect_reply",),
        ("tcp",),
        _is_missing("send"),
        "goes only with send:; write that, too, or leave it out",
    ),
    Rule(
        ("ca", "tls_name"),
        ("tcp", "mqtt"),
        _is_off("tls"),
        "goes only with tls: on; write that, too, or leave it out",
    ),
    Rule(
        ("password",),
        ("mqtt",),
        _is_missing("username"),
        "goes only with username: (MQTT 3.1.2-22); write that, too, or leave it out",
    ),
    Rule(
        ("min_ttl",),
        ("bfd",),
        _is_off("multihop"),
        "goes only with multihop: on; leave it out, over one hop it is 255 (RFC 5881 5)",
    ),
    Rule(
        ("password", "key_id"),
        ("bfd",),
        _is_off("auth", "none"),
        "goes only with auth: keyed-sha1 or meticulous-sha1; write that, too, or leave it out",
    ),
)


def refuse_misplaced(section: Section, protocol: str) -> None:
    """Report and forget what belongs to another protocol, and what has no meaning here."""
    for key in section.written():
        owners = PROTOCOLS_OF[key]
        if protocol not in owners:
            words = f"belongs to protocol: {one_of(owners)}, this peer is {protocol}"
            section.refuse(key, f"{words}; {_remedy(section, owners)}")
    for rule in RULES:
        if protocol in rule.protocols and rule.holds(section):
            for key in rule.keys:
                if section.node(key) is not None:
                    section.refuse(key, rule.words)


def _remedy(section: Section, owners: tuple[str, ...]) -> str:
    if section.node("protocol") is not None:
        return "leave it out"
    protocol = f"protocol: {owners[0]}" if len(owners) == 1 else "protocol:"
    return f"write {protocol} or leave it out"
