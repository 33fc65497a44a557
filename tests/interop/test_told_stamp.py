"""Passive STAMP: another hbd that asks us is watched by that, by its address or by its key."""

import contextlib
import socket
import time

import pytest
import seen
from programs import until

pytestmark = [pytest.mark.root, pytest.mark.slow]

HERE, THERE = "10.99.0.1", "10.99.0.2"
SILENCE = 0.3 * 2
"""grace x expect of the tests' peers, seconds."""
HEARD = {"expect": "300ms", "grace": 2, "rise": 1}
LISTENS = {"listen": ["0.0.0.0:862", "[::]:862"]}
EVERY = {"interval": "100ms", "timeout": "100ms"}


@pytest.fixture
def keys(tmp_path):
    """Two keys as the configuration names them: `fleet` and `other`."""
    named = {}
    for name, octet in (("fleet", "5a"), ("other", "c3")):
        file = tmp_path / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(octet * 32 + "\n")
        named[name] = {"file": str(file)}
    return named


def asking(pair, host, keys=None, address=HERE, **settings):
    """An hbd that asks the one here."""
    peers = [{"name": "base", "address": address, **EVERY, **settings}]
    return pair.run(host, peers=peers, **({"keys": keys} if keys else {}))


def roaming(name, **settings):
    return {"name": name, **HEARD, **settings}


def test_by_its_address(pair):
    """Who asks us is up, and is answered; killed it is down after grace x expect."""
    monitor = pair.run(pair.here, peers=[{"name": "there", "address": THERE, **HEARD}], **LISTENS)
    other = asking(pair, pair.there).all_up()  # its heartbeats are answered
    seen.rises(monitor, "there")
    since = monitor.count()
    other.kill()
    seen.falls(monitor, "there", "filtered", "stamp, told: killed", SILENCE, since=since)
    again = asking(pair, pair.there).all_up()
    seen.rises(monitor, "there", since)
    assert again.changes("base") == [("up", "")]


def test_by_its_key_from_anywhere(pair, keys):
    """Recognised by its key it may change its address and IP version, and is answered."""
    for address in ("10.99.0.3", "10.99.0.4"):
        pair.there.ip(f"addr add {address}/24 dev vb")
    monitor = pair.run(pair.here, keys=keys, peers=[roaming("van", key="fleet")], **LISTENS)
    monitor.ready()
    other = asking(pair, pair.there, keys, key="fleet", source="10.99.0.3").all_up()
    seen.rises(monitor, "van")
    begun = monitor.count()

    def moves(**settings):
        received = other.status("base")["received"]
        peers = [{"name": "base", "address": HERE, **EVERY, "key": "fleet", **settings}]
        other.configure(peers=peers, keys=keys)
        other._client.call("Reload")
        until(lambda: other.status("base")["received"] > received + 5)

    moves(source="10.99.0.4")
    moves(address="fd99::1")
    moves()
    assert monitor.changes("van", begun) == []
    assert other.states() == {"base": "up"}
    since = monitor.count()
    pair.here.block("input", "udp dport 862 drop")
    seen.falls(monitor, "van", "filtered", "stamp, told: by key, cut", SILENCE, since=since)
    pair.here.unblock()
    seen.rises(monitor, "van", since)


def test_by_its_key_behind_nat(pair, keys):
    """Behind a NAT whose mappings change it stays up, and hears our replies."""
    inside = pair.net.host("van")
    pair.net.link((inside, "vc", ["10.98.0.2/24"]), (pair.there, "vd", ["10.98.0.1/24"]))
    pair.there.sysctl("ipv4.ip_forward", 1)
    inside.ip("route add default via 10.98.0.1")
    pair.there.nft(
        "table ip nat { chain post { type nat hook postrouting priority 100;"
        " oifname vb udp dport 862 masquerade to :20000-20099; }; }"
    )
    monitor = pair.run(pair.here, keys=keys, peers=[roaming("van", key="fleet")], **LISTENS)
    monitor.ready()
    other = asking(pair, inside, keys, key="fleet").all_up()
    seen.rises(monitor, "van")
    begun = monitor.count()
    before = sources(pair)
    # Its uplink gets another address: masquerade forgets what it knew.
    pair.there.ip("addr del 10.99.0.2/24 dev vb")
    pair.there.ip("addr add 10.99.0.9/24 dev vb")
    received = other.status("base")["received"]
    until(lambda: other.status("base")["received"] > received + 10)
    assert {address for address, _ in before} == {THERE}
    assert {address for address, _ in sources(pair)} == {"10.99.0.9"}
    assert monitor.changes("van", begun) == []
    assert other.states() == {"base": "up"}


def sources(pair):
    """From where heartbeats come now, as they are on the wire: addresses and ports."""
    end = pair.capture()
    time.sleep(0.5)
    udp = [f for f in end() if f[12:14] == b"\x08\x00" and f[23] == 17]
    asked = [f for f in udp if f[36:38] == (862).to_bytes(2, "big")]
    return {(socket.inet_ntoa(f[26:30]), int.from_bytes(f[34:36], "big")) for f in asked}


def test_by_ssid_where_a_key_is_shared(pair, keys):
    """Two with one key are told apart by their ssid: the one that is killed is down, alone."""
    monitor = pair.run(
        pair.here,
        keys=keys,
        peers=[
            roaming("van1", key="fleet", ssid=1),
            roaming("van2", key="fleet", ssid=2),
            roaming("van3", key="other"),
        ],
        **LISTENS,
    ).ready()
    one = asking(pair, pair.there, keys, key="fleet", ssid=1)
    two = asking(pair, pair.there, keys, key="fleet", ssid=2)
    three = asking(pair, pair.there, keys, key="other")
    for other in (one, two, three):
        other.all_up()
    for name in ("van1", "van2", "van3"):
        seen.rises(monitor, name)
    since = monitor.count()
    two.kill()
    seen.falls(
        monitor, "van2", "filtered", "stamp, told: one of two with a key", SILENCE, since=since
    )
    time.sleep(2 * SILENCE)
    assert monitor.changes("van1", since) == monitor.changes("van3", since) == []


def test_strangers_are_not_let_in(pair, keys):
    """Without the key nobody is answered, nor heard; what was recorded is no use without it."""
    monitor = pair.run(pair.here, keys=keys, peers=[roaming("van", key="fleet")], **LISTENS)
    monitor.ready()
    strangers = [
        asking(pair, pair.there),
        asking(pair, pair.there, keys, key="other"),
    ]
    for stranger in strangers:
        told = stranger.told("base", state="down")
        assert told["HBD_CAUSE"] in ("silent", "filtered")
    with pair.there.inside():
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(other):
        other.settimeout(0.2)
        for octets in (b"", b"heartbeat", bytes(44), bytes(112), b"\xff" * 112, bytes(1472)):
            other.sendto(octets, (HERE, 862))
        with pytest.raises(TimeoutError):
            other.recv(2048)
    dropped = until(lambda: monitor.status()["reflector"]["dropped"].get("unknown-source"))
    assert dropped > 10
    assert ("up", "") not in monitor.changes("van")
    refused = monitor.find(
        lambda e: e.get("HBD_EVENT") == "refused-source" or "refus" in e["MESSAGE"]
    )
    assert THERE in refused["MESSAGE"]
