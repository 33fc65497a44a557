"""The faults of the matrix: each made for real, on whatever host it is told to."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from topology import ADDRESS, Fake, peer, stateless

from hbd.wire import stamp
from hbd.wire.auth import Key

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from namespaces import Namespace
    from topology import Topology

PORT: Final = 8001
"""Of a reflector on each host that can be slow, or something else."""
LISTEN: Final = ["0.0.0.0:862", "[::]:862"]
OPEN: Final = {"listen": LISTEN, "accept": "any"}
MONITOR: Final = {"name": "m", "address": ["10.1.0.1", "10.2.0.1", "fd01::1", "fd02::1"]}

FLEET: Final = 32 * b"\x11"
OTHER: Final = 32 * b"\x22"
"""Keys."""

FILTERED: Final = "down", "filtered"
SILENT: Final = "down", "silent"

_tables = itertools.count()


class Timing(NamedTuple):
    """Milliseconds."""

    interval: int
    timeout: int
    retries: int

    @property
    def detection(self) -> float:
        """Seconds."""
        return (self.interval + (self.retries + 1) * self.timeout) / 1e3

    @property
    def round(self) -> float:
        return (self.retries + 1) * self.timeout / 1e3

    @property
    def life(self) -> float:
        """So long a reply shows life, seconds."""
        return max(2 * self.interval, (self.retries + 1) * self.timeout) / 1e3

    @property
    def settings(self) -> dict[str, Any]:
        spans = {"interval": f"{self.interval}ms", "timeout": f"{self.timeout}ms"}
        return {**spans, "retries": self.retries}


def usual(dice: random.Random) -> Timing:
    interval = dice.choice((150, 200, 300))
    return Timing(interval, dice.randint(60, min(interval, 120)), dice.randint(2, 4))


def often(dice: random.Random) -> Timing:
    """Where many heartbeats have to tell."""
    return Timing(100, dice.randint(60, 90), dice.randint(3, 4))


def patient(_: random.Random) -> Timing:
    """Where no loss may be the end of it."""
    return Timing(50, 30, 10)


class Place(NamedTuple):
    """A host that is to have a fault, and the peers that are to notice."""

    lab: Topology
    fault: Fault
    name: str
    timing: Timing
    fakes: dict[str, list[Fake]]
    dice: random.Random
    mark: str = ""
    """What the names of peers end with."""

    @property
    def host(self) -> Namespace:
        return self.lab.hosts[self.name]

    @property
    def addresses(self) -> tuple[str, str]:
        return ADDRESS[f"{self.name}4"], ADDRESS[f"{self.name}6"]

    @property
    def names(self) -> list[str]:
        """Of the peers that are to notice."""
        return [each["name"] for each in self.peers]

    @property
    def peers(self) -> list[dict[str, Any]]:
        """As configuration; a peer of a port of its own is another one than its host."""
        settings = {**self.timing.settings, **self.fault.settings}
        mark = f"{self.mark}-port" if self.fault.is_of_fake else self.mark
        if self.fault.is_one_peer:
            return [peer(f"{self.name}{mark}", list(self.addresses), **settings)]
        return [
            peer(f"{self.name}{version}{mark}", ADDRESS[f"{self.name}{version}"], **settings)
            for version in "46"
        ]


class Fault(NamedTuple):
    """What is done, and what is to be told."""

    name: str
    told: tuple[str, str]
    """State and cause; no cause: nothing is told."""
    make: Callable[[Place], contextlib.AbstractContextManager[None]]
    evidence: str = ""
    """With the address of the peer and of its router."""
    places: str = "abcedf"
    first: tuple[tuple[str, str], ...] = ()
    """What may be told before, where evidence can come after the verdict."""
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """Of the peer."""
    there: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """Configuration of the hbd on the host."""
    draw: Callable[[random.Random], Timing] = usual
    is_one_peer: bool = False
    """One with both addresses, not one for each."""
    formula: Callable[[Timing], float] | None = Timing.detection.fget
    """How long until it is told, at most."""

    @property
    def is_of_fake(self) -> bool:
        """Whether the host itself stays well."""
        return self.settings.get("port") == PORT


def answers(secret: bytes) -> Callable[[bytes], bytes]:
    """Give a reflector that signs what is of the length of signed heartbeats."""
    key = Key(secret)

    def reply(request: bytes) -> bytes:
        if len(request) != stamp.AUTH_SIZE:
            return stateless(request)
        return stamp.pack_reply(
            request,
            sequence=int.from_bytes(request[:4], "big"),
            timestamp=0,
            estimate=stamp.ntp.UNKNOWN_ERROR,
            receive_timestamp=0,
            ttl=64,
            tlvs=b"",
            key=key,
        )

    return reply


def ruled(host: Namespace, hook: str, *rules: str) -> contextlib.AbstractContextManager[None]:
    """A firewall of its own with these rules."""
    return _ruled(host, hook, "; ".join(rules), f"fault{next(_tables)}")


@contextlib.contextmanager
def _ruled(host: Namespace, hook: str, rules: str, table: str) -> Iterator[None]:
    host.block(hook, rules, table=table)
    try:
        yield
    finally:
        host.unblock(table)


@contextlib.contextmanager
def together(*faults: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """Several at once."""
    with contextlib.ExitStack() as stack:
        for fault in faults:
            stack.enter_context(fault)
        yield


def stopped(place: Place) -> contextlib.AbstractContextManager[None]:
    return place.lab.stopped(place.name)


def rejecting_itself(place: Place) -> contextlib.AbstractContextManager[None]:
    """A firewall on the host that claims that nothing listens."""
    return ruled(place.host, "input", "udp dport 862 reject")


def rejecting(v4: str, v6: str) -> Callable[[Place], contextlib.AbstractContextManager[None]]:
    """A router that refuses what goes to the host."""
    return lambda place: ruled(
        place.lab.router,
        "forward",
        f"ip daddr {place.addresses[0]} reject with icmp type {v4}",
        f"ip6 daddr {place.addresses[1]} reject with icmpv6 type {v6}",
    )


def dropping(rule: str, hook: str) -> Callable[[Place], contextlib.AbstractContextManager[None]]:
    return lambda place: ruled(place.host, hook, f"{rule} drop")


def dropping_on_the_way(place: Place) -> contextlib.AbstractContextManager[None]:
    return _on_the_way(place, "udp dport 862 drop")


def dropping_all_on_the_way(place: Place) -> contextlib.AbstractContextManager[None]:
    return _on_the_way(place, "drop")


def _on_the_way(place: Place, rule: str) -> contextlib.AbstractContextManager[None]:
    four, six = place.addresses
    rules = f"ip daddr {four} {rule}", f"ip6 daddr {six} {rule}"
    return ruled(place.lab.router, "forward", *rules)


def dropping_all(*but: str) -> Callable[[Place], contextlib.AbstractContextManager[None]]:
    """A firewall that lets nothing in from us; the neighbours' questions are no business of it."""
    nd = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    ours = "ip saddr { 10.1.0.1, 10.2.0.1 } drop", "ip6 saddr { fd01::1, fd02::1 } drop"
    return lambda place: ruled(place.host, "input", nd, *but, *ours)


@contextlib.contextmanager
def off(place: Place) -> Iterator[None]:
    with place.lab.off(place.host):
        place.lab.monitor.ip("neigh flush dev two")
        yield


@contextlib.contextmanager
def without_route(place: Place) -> Iterator[None]:
    """The router forgets the way to host e."""
    router = place.lab.router
    router.ip("route del 10.13.0.0/24")
    router.ip("-6 route del fd13::/64")
    try:
        yield
    finally:
        router.ip("route replace 10.13.0.0/24 via 10.12.0.2")
        router.ip("-6 route replace fd13::/64 via fd12::2")


@contextlib.contextmanager
def looping(place: Place) -> Iterator[None]:
    """The last router sends back what is for host e."""
    last = place.lab.hosts["c"]
    last.ip("route replace 10.13.0.2/32 via 10.12.0.1")
    last.ip("-6 route replace fd13::2/128 via fd12::1")
    try:
        yield
    finally:
        last.ip("route del 10.13.0.2/32")
        last.ip("-6 route del fd13::2/128")


@contextlib.contextmanager
def narrow(place: Place) -> Iterator[None]:
    """A link of 1,300 octets on the way, by a router that says so."""
    place.lab.router.ip("link set to-c mtu 1300")
    try:
        yield
    finally:
        place.lab.router.ip("link set to-c mtu 1500")
        place.lab.monitor.ip("route flush cache")
        place.lab.monitor.ip("-6 route flush cache")


@contextlib.contextmanager
def told_otherwise(place: Place, **configuration: object) -> Iterator[None]:
    """The hbd on the host gets another configuration."""
    place.lab.daemons[place.name].reload(**OPEN | configuration)
    yield


def without_key(place: Place) -> contextlib.AbstractContextManager[None]:
    return told_otherwise(place)


def with_another_key(place: Place) -> contextlib.AbstractContextManager[None]:
    keys = {"fleet": place.fault.there["keys"]["other"]}
    return told_otherwise(place, **place.fault.there | {"keys": keys})


def not_listing(place: Place) -> contextlib.AbstractContextManager[None]:
    return told_otherwise(place, accept=["192.0.2.0/24"], peers=[MONITOR])


def another_program(place: Place) -> contextlib.AbstractContextManager[None]:
    """Something that is no reflector has taken the port."""
    return answering(place, lambda _: b"hello")


def signing_otherwise(place: Place) -> contextlib.AbstractContextManager[None]:
    return answering(place, answers(OTHER))


def short_silence(place: Place) -> contextlib.AbstractContextManager[None]:
    """It is over before the last retransmission leaves."""
    longest = place.timing.retries * place.timing.timeout / 1e3
    until = time.monotonic() + place.dice.uniform(0.3, 0.9) * longest
    well = answers(FLEET)
    return answering(place, lambda request: None if time.monotonic() < until else well(request))


@contextlib.contextmanager
def answering(place: Place, reply: Callable[[bytes], bytes | None]) -> Iterator[None]:
    for fake in place.fakes[place.name]:
        fake.reply = reply
    try:
        yield
    finally:
        for fake in place.fakes[place.name]:
            fake.reply = answers(FLEET)


def delayed(seconds: Callable[[Timing], float]) -> Any:
    """Replies come after so long."""

    @contextlib.contextmanager
    def make(place: Place) -> Iterator[None]:
        for fake in place.fakes[place.name]:
            fake.delay = seconds(place.timing)
        try:
            yield
        finally:
            for fake in place.fakes[place.name]:
                fake.delay = 0.0

    return make


def send_blocked(place: Place) -> contextlib.AbstractContextManager[None]:
    four, six = place.addresses
    rules = f"ip daddr {four} udp dport 862 drop", f"ip6 daddr {six} udp dport 862 drop"
    return ruled(place.lab.monitor, "output", *rules)


@contextlib.contextmanager
def unroutable(place: Place) -> Iterator[None]:
    four, six = place.addresses
    routes = f"unreachable {four}/32", f"unreachable {six}/128"
    for family, route in zip(("", "-6 "), routes, strict=True):
        place.lab.monitor.ip(f"{family}route add {route}")
    try:
        yield
    finally:
        for family, route in zip(("", "-6 "), routes, strict=True):
            place.lab.monitor.ip(f"{family}route del {route}")


def each(*makes: Any) -> Callable[[Place], contextlib.AbstractContextManager[None]]:
    """Several at once on one host."""
    return lambda place: together(*(make(place) for make in makes))


def intervals(count: int) -> Callable[[Timing], float]:
    return lambda timing: count * timing.interval / 1e3


def rows(keys: dict[str, Any]) -> list[Fault]:
    """Give all of them; `keys` are the files of the keys fleet and other."""
    signing = {"keys": keys, "peers": [{**MONITOR, "key": "fleet", "interval": "1h"}]}
    asking = {"peers": [MONITOR]}
    padded = {"size": 1400}
    limited = {"max_loss": "10%"}
    behind = "abce"
    echo, closed, down = "answers ICMP echo", "port unreachable from {peer}", "down"
    heartbeats, replies = "udp dport 862", "udp sport 862"
    return [
        Fault("hbd stopped", (down, "port-closed"), stopped, closed),
        Fault("host's firewall rejects", (down, "port-closed"), rejecting_itself, closed),
        *(
            Fault(
                f"router rejects: {v4}",
                (down, "rejected"),
                rejecting(v4, v6),
                "from {router}",
                behind,
            )
            for v4, v6 in (
                ("admin-prohibited", "admin-prohibited"),
                ("host-prohibited", "policy-fail"),
                ("port-unreachable", "port-unreachable"),
            )
        ),
        Fault("host off", (down, "host-unreachable"), off, "from {router}", "ab"),
        Fault("host off on our link", (down, "host-unreachable"), off, "does not answer ARP", "df"),
        Fault(
            "router lacks the route",
            (down, "net-unreachable"),
            without_route,
            "from {router}",
            "e",
            (SILENT,),
        ),
        Fault("routing loop", (down, "routing-loop"), looping, "exceeded from ", "e"),
        Fault(
            "narrow way, ICMP says so",
            (down, "mtu"),
            narrow,
            "",
            "ce",
            (FILTERED,),
            settings=padded,
        ),
        Fault(
            "narrow way, black hole",
            (down, "mtu"),
            dropping("udp dport 862 meta length > 1300", "input"),
            "heartbeats without padding are answered",
            first=(FILTERED,),
            settings=padded,
        ),
        Fault(
            "replies signed by another key",
            (down, "auth"),
            signing_otherwise,
            "HMAC",
            settings={"port": PORT, "key": "fleet", "tlv": "off"},
        ),
        *(
            Fault(name, (down, "filtered"), make, echo, settings={"key": "fleet"}, there=signing)
            for name, make in (
                ("host has lost the key", without_key),
                ("host has another key", with_another_key),
            )
        ),
        Fault(
            "another program there",
            (down, "bad-reply"),
            another_program,
            "replies of 5 octets",
            settings={"port": PORT},
        ),
        *(
            Fault(
                name,
                (down, "one-way"),
                make,
                "or it does not list us",
                first=(FILTERED,),
                there=asking,
            )
            for name, make in (
                ("firewall keeps us out, not in", dropping(heartbeats, "input")),
                ("replies lost, requests not", dropping(replies, "output")),
                ("asks us, does not list us", not_listing),
            )
        ),
        Fault("host drops heartbeats", (down, "filtered"), dropping(heartbeats, "input"), echo),
        Fault("host drops replies", (down, "filtered"), dropping(replies, "output"), echo),
        Fault("router drops heartbeats", (down, "filtered"), dropping_on_the_way, echo, behind),
        Fault(
            "host drops all but TCP",
            (down, "filtered"),
            dropping_all("meta l4proto tcp accept"),
            "answers TCP port 862 (refuses",
        ),
        Fault(
            "replies later than all life",
            (down, "too-tight"),
            delayed(lambda timing: 1.5 * timing.life),
            "would do",
            first=(FILTERED, SILENT),
            settings={"port": PORT},
            draw=often,
        ),
        Fault("host drops everything", (down, "silent"), dropping_all(), "firewall's DROP"),
        Fault("router drops everything", (down, "silent"), dropping_all_on_the_way, "", behind),
        Fault(
            "stopped, firewall drops",
            (down, "filtered"),
            each(dropping(heartbeats, "input"), stopped),
            echo,
        ),
        Fault(
            "stopped, router rejects",
            (down, "rejected"),
            each(rejecting("admin-prohibited", "admin-prohibited"), stopped),
            "from {router}",
            behind,
        ),
        Fault(
            "off, router drops everything",
            (down, "silent"),
            each(dropping_all_on_the_way, off),
            "",
            "abe",
        ),
        Fault(
            "replies always late",
            ("degraded", "too-tight"),
            delayed(lambda timing: 1.5 * timing.timeout / 1e3),
            "above timeout",
            settings={"port": PORT},
            draw=often,
            formula=intervals(20),
        ),
        Fault(
            "30 % of heartbeats lost",
            ("degraded", "lossy"),
            dropping(f"{heartbeats} numgen random mod 100 < 30", "input"),
            " % on the way there, 0 % on the way back",
            settings=limited,
            draw=patient,
            formula=None,
        ),
        Fault(
            "30 % of replies lost",
            ("degraded", "lossy"),
            dropping(f"{replies} numgen random mod 100 < 30", "output"),
            ": 0 % on the way there, ",
            settings=limited,
            draw=patient,
            formula=None,
        ),
        Fault(
            "replies after 40 ms, not 20",
            ("degraded", "slow"),
            delayed(lambda _: 0.04),
            "above max_rtt",
            settings={"port": PORT, "max_rtt": "20ms"},
            draw=often,
            formula=intervals(20),
        ),
        *(
            Fault(
                f"{family} of two cut",
                ("degraded", "path-down"),
                dropping(f"meta nfproto {family.lower()} {heartbeats}", "input"),
                "filtered",
                is_one_peer=True,
            )
            for family in ("IPv4", "IPv6")
        ),
        Fault("our firewall blocks sending", ("unknown", "send-blocked"), send_blocked),
        Fault("our route unreachable", ("unknown", "no-route"), unroutable),
        Fault(
            "silence shorter than retries",
            ("up", ""),
            short_silence,
            settings={"port": PORT},
            formula=None,
        ),
    ]
