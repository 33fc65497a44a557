"""What is read of peers that speak something other than STAMP, or are not asked."""

from pathlib import Path

import pytest

from hbd.config.files import load
from hbd.config.model import ConfigError, Listen, Place
from hbd.config.protocols import EVERY, PROTOCOLS_OF, RULES
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    BfdAuth,
    BfdOptions,
    Expectation,
    Leaving,
    Limits,
    MqttOptions,
    PeerSettings,
    SecretSource,
    StampOptions,
    Timing,
    TlsOptions,
    Will,
)

GOOD = Path(__file__).parent / "good" / "protocols.yaml"

USUAL = Timing(2 * SECOND, 800 * MILLISECOND, 4, 5)


def told(expected, rise=5):
    return Timing(expected, expected // 2, 4, rise)


PEERS = [
    PeerSettings(
        "told",
        (),
        port=0,
        key="fleet",
        timing=told(5 * SECOND, rise=1),
        expect=Expectation(5 * SECOND, 2.0),
        stamp=StampOptions(ssid=7, trust_goodbye=True),
    ),
    PeerSettings(
        "told-at",
        ("10.0.0.1",),
        port=0,
        via="told",
        timing=told(500 * MILLISECOND),
        expect=Expectation(500 * MILLISECOND, 1.5),
    ),
    PeerSettings(
        "plain",
        ("10.0.0.2",),
        12345,
        "plain",
        timing=USUAL,
        labels=(("site", "ams"),),
        send=b"heartbeat",
    ),
    PeerSettings(
        "plain-sent",
        ("10.0.0.3",),
        5000,
        "plain",
        timing=Timing(250 * MILLISECOND, 125 * MILLISECOND, 4, 5),
        leaving=Leaving(interface="eth1", dscp=0),
        send=b"here\0\\",
    ),
    PeerSettings(
        "plain-told",
        ("10.0.0.2",),
        5000,
        "plain",
        timing=told(5 * SECOND),
        expect=Expectation(5 * SECOND, 1.5, b"beat"),
    ),
    PeerSettings(
        "plain-both",
        ("10.0.0.4",),
        12345,
        "plain",
        timing=USUAL,
        expect=Expectation(4 * SECOND),
        send=b"on",
    ),
    PeerSettings(
        "asked",
        ("10.0.0.5",),
        6379,
        "tcp",
        timing=Timing(1 * SECOND, 100 * MILLISECOND, 4, 5),
        limits=Limits(0.05, 50 * MILLISECOND),
        send=b"PING\r\n",
        expect_reply=b"+PONG\r\n",
    ),
    PeerSettings(
        "alive",
        ("10.0.0.5",),
        22,
        "tcp",
        timing=Timing(9 * SECOND, 5 * SECOND, 4, 5),
        tls=TlsOptions(name="db.example"),
    ),
    PeerSettings(
        "client",
        ("10.0.0.6",),
        0,
        "tcp",
        timing=told(10 * SECOND),
        expect=Expectation(10 * SECOND, payload=b"\t"),
    ),
    PeerSettings("broker", ("10.0.0.7",), 1884, "mqtt", timing=USUAL),
    PeerSettings(
        "brokers",
        ("10.0.0.8", "fd00::8"),
        8883,
        "mqtt",
        timing=USUAL,
        password=SecretSource(credential="hbd.brokers"),
        tls=TlsOptions(),
        mqtt=MqttOptions("monitor", will=Will("hbd/monitor-1", b"gone", 1, retain=True)),
    ),
    PeerSettings(
        "client-id",
        ("10.0.0.9",),
        1883,
        "mqtt",
        timing=Timing(10 * SECOND, 5 * SECOND, 4, 5),
        mqtt=MqttOptions(client_id="hbd-1"),
    ),
    PeerSettings(
        "router",
        ("10.0.0.10",),
        3784,
        "bfd",
        timing=Timing(2 * SECOND, 2 * SECOND, 2, 1),
        leaving=Leaving(dscp=48),
    ),
    PeerSettings(
        "far-router",
        ("10.0.0.11",),
        4784,
        "bfd",
        timing=Timing(300 * MILLISECOND, 300 * MILLISECOND, 4, 1),
        leaving=Leaving(source="10.0.0.99", dscp=0),
        password=SecretSource(file="/etc/hbd.d/far-router.password"),
        bfd=BfdOptions(5, multihop=True, min_ttl=250, auth=BfdAuth.METICULOUS_SHA1, key_id=0),
    ),
]


def read(text, tmp_path):
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    return load(str(file))


@pytest.mark.parametrize("expected", PEERS, ids=lambda peer: peer.name)
def test_every_key_of_every_protocol_is_read(expected):
    """Each key reaches the settings, and what is left out is as the protocol has it."""
    found = {peer.name: peer for peer in load(str(GOOD)).configuration.peers}
    assert found[expected.name] == expected
    assert len(found) == len(PEERS)


def test_listen_tcp_and_places_of_passwords_are_kept():
    """Where clients connect is read, and where each password is named is remembered."""
    configuration = load(str(GOOD)).configuration
    assert configuration.listen_tcp == (Listen("::", 7007),)
    assert configuration.password_places == {
        "brokers": Place(str(GOOD), 36, 15),
        "far-router": Place(str(GOOD), 49, 15),
    }


def test_time_to_live_of_one_hop_is_255_and_of_several_any(tmp_path):
    """Over one hop only a TTL of 255 is taken (RFC 5881 5), over several any, unless it is said."""
    text = (
        "[{name: a, address: x, protocol: bfd}, {name: b, address: x, protocol: bfd, multihop: on}]"
    )
    assert [peer.bfd.min_ttl for peer in read(text, tmp_path).configuration.peers] == [255, 1]


@pytest.mark.parametrize(
    ("keys", "defaults", "timing", "warnings"),
    [
        ("interval: 10s", "{}", (10, 5), []),
        ("interval: 3s", "{}", (3, 2), []),
        ("", "{}", (1, 1), []),
        (
            "interval: 1500ms",
            "{}",
            (2, 1),
            ["interval: TCP keep-alive counts in whole seconds, 1500ms is taken as 2s"],
        ),
        (
            "interval: 5s, timeout: 2500ms",
            "{}",
            (5, 3),
            ["timeout: TCP keep-alive counts in whole seconds, 2500ms is taken as 3s"],
        ),
        (
            "",
            "{interval: 200ms, timeout: 100ms}",
            (1, 1),
            [
                "interval: TCP keep-alive counts in whole seconds, 200ms is taken as 1s",
                "timeout: TCP keep-alive counts in whole seconds, 100ms is taken as 1s",
            ],
        ),
    ],
)
def test_keep_alive_counts_in_whole_seconds(keys, defaults, timing, warnings, tmp_path):
    """Keep-alive is rounded up to whole seconds, with a warning where that was written."""
    peer = f"{{name: a, address: 10.0.0.1, protocol: tcp, port: 7, {keys}}}"
    loaded = read(f"defaults: {defaults}\npeers: [{peer}]\n", tmp_path)
    (peer,) = loaded.configuration.peers
    assert (peer.timing.interval, peer.timing.timeout) == tuple(n * SECOND for n in timing)
    assert [warning.text for warning in loaded.warnings] == [f"peer a: {text}" for text in warnings]


def test_heartbeat_inside_a_connection_is_as_exact_as_written(tmp_path):
    """With send: nothing is rounded: the connection's own heartbeat is no keep-alive."""
    text = "- {name: a, address: x, protocol: tcp, port: 7, send: hi, interval: 200ms}"
    loaded = read(text, tmp_path)
    assert loaded.configuration.peers[0].timing.timeout == 100 * MILLISECOND
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("keys", "send"),
    [("", None), ("interval: 2s", b"heartbeat"), ("send: hi", b"hi")],
)
def test_plain_peer_is_heard_and_sent_to_where_one_says_how(keys, send, tmp_path):
    """With expect: alone nothing is sent; how often, or what, is enough to send."""
    text = f"- {{name: a, address: 10.0.0.1, protocol: plain, expect: 5s, {keys}}}"
    (peer,) = read(text, tmp_path).configuration.peers
    assert peer.send == send
    assert peer.timing.interval == (2 if "2s" in keys else 1 if send else 5) * SECOND


def test_plain_peer_may_beat_often(tmp_path):
    """A sender that beats faster than every 3 s is nobody's mistake and no warning."""
    text = "- {name: a, address: 203.0.113.1, protocol: plain, expect: 200ms}"
    assert read(text, tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        (r"'a\r\n\t\0\\b'", b"a\r\n\t\0\\b"),
        (r'"a\r\n"', b"a\r\n"),
        (r"'\xff\x41'", b"\xffA"),
        ("'\u00e4'", b"\xc3\xa4"),
        (r'"\r\n"', b"\r\n"),
        ("' '", b" "),
        ("'any'", None),
        (r"'\x61ny'", b"any"),
        ("'no'", b"no"),
    ],
)
def test_text_is_octets_with_escapes(written, octets, tmp_path):
    """What goes onto the wire is UTF-8, with the octets that no editor shows as escapes."""
    text = f"- {{name: a, address: x, protocol: plain, expect: 1s, payload: {written}}}"
    assert read(text, tmp_path).configuration.peers[0].expect.payload == octets


def test_one_machine_may_be_asked_and_heard(tmp_path):
    """The same address in a peer that is asked and one that tells is no doubtful thing."""
    text = "[{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.1, expect: 5s}]"
    assert read(text, tmp_path).warnings == ()
    twice = "[{name: a, address: x, expect: 5s}, {name: b, address: x, expect: 5s}]"
    (warning,) = read(twice, tmp_path).warnings
    assert warning.text == "peer b: x is watched by peer a, too"


def test_sessions_of_bfd_differ_by_either_address_or_by_link(tmp_path):
    """BFD to one address over two links, or from two addresses, is two sessions."""
    text = (
        "- {name: a, address: 10.0.0.1, protocol: bfd, interface: eth0}\n"
        "- {name: b, address: 10.0.0.1, protocol: bfd, interface: eth1}\n"
        "- {name: c, address: 10.0.0.2, protocol: bfd, multihop: on, source: 10.0.0.8}\n"
        "- {name: d, address: 10.0.0.2, protocol: bfd, multihop: on, source: 10.0.0.9}\n"
    )
    assert len(read(text, tmp_path).configuration.peers) == 4


def test_certificates_that_cannot_be_read_are_a_warning(tmp_path):
    """A file of certificates is looked at before the daemon needs it."""
    text = "- {name: a, address: x, protocol: mqtt, tls: on, ca: %s}"
    (warning,) = read(text % "/nonexistent.pem", tmp_path).warnings
    assert warning.text == "peer a: ca: /nonexistent.pem cannot be read"
    (tmp_path / "ca.pem").touch()
    assert read(text % (tmp_path / "ca.pem"), tmp_path).warnings == ()


def test_rules_speak_of_keys_that_belong_there():
    """No rule names a key or a protocol that does not exist, nor one that the table refuses."""
    for rule in RULES:
        for key in rule.keys:
            assert set(rule.protocols) <= set(EVERY)
            assert set(rule.protocols) & set(PROTOCOLS_OF[key]), (rule, key)


@pytest.mark.parametrize("protocol", EVERY)
@pytest.mark.parametrize("key", PROTOCOLS_OF)
def test_key_of_another_protocol_is_told_for_each_pair(key, protocol, tmp_path):
    """Every key of the table is a mistake exactly with the protocols that do not have it."""
    keys = {"name": "a", "address": "10.0.0.1", "protocol": protocol}
    keys |= {key: keys.get(key, "~")}
    text = "- {" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"
    words = f"peer a: {key}: belongs to protocol: "
    try:
        read(text, tmp_path)
    except ConfigError as error:
        refused = words in str(error)
    else:
        refused = False
    assert refused == (protocol not in PROTOCOLS_OF[key])
