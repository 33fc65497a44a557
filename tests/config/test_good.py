"""Good files, and what is read from them."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from hbd.config.__main__ import SLICE, pieces
from hbd.config.files import load
from hbd.config.model import Accept, ConfigError, KeySource, Listen, Place
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    Leaving,
    Limits,
    PeerSettings,
    ReflectorKind,
    StampOptions,
    Timing,
    Tlv,
)

GOOD = Path(__file__).parent / "good"
SHIPPED = Path(__file__).parents[2] / "etc" / "hbd.yaml"


def read(text, tmp_path):
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    return load(str(file))


def peers_of(file):
    return {peer.name: peer for peer in load(str(GOOD / file)).configuration.peers}


@pytest.mark.parametrize("file", sorted(GOOD.glob("*.yaml")), ids=lambda file: file.stem)
def test_good_file_has_no_warning(file):
    """A good file is read without a mistake and without a warning."""
    assert load(str(file)).warnings == ()


def test_what_is_not_written_has_its_default():
    """An empty mapping of peers is a configuration that answers its (no) peers on port 862."""
    configuration = load(str(GOOD / "no-peers.yaml")).configuration
    assert configuration.listen == (Listen("0.0.0.0", 862), Listen("::", 862))  # noqa: S104
    assert configuration.accept is Accept.PEERS
    assert configuration.node == ""
    assert configuration.start_grace == 10 * SECOND
    assert configuration.peers == ()


def test_list_is_the_peers_alone():
    """A bare list is the list of peers, a bare string name and address."""
    assert list(peers_of("list.yaml").values()) == [
        PeerSettings("192.0.2.7", ("192.0.2.7",)),
        PeerSettings("fd00::11", ("fd00::11",)),
        PeerSettings("db1.example.", ("db1.example.",)),
        PeerSettings("gw", ("192.0.2.1",)),
    ]


def test_every_key_of_the_file_is_read():
    """Each key of the main mapping reaches the configuration."""
    configuration = load(str(GOOD / "every-key.yaml")).configuration
    assert configuration.listen[2] == Listen("fe80::1%eth0", 8620)
    assert configuration.accept == tuple(
        ip_network(prefix) for prefix in ("10.0.0.0/8", "192.0.2.9/32", "fd00::/8")
    )
    assert configuration.node == "db-monitor-1"
    assert configuration.keys == {
        "fleet": KeySource(credential="hbd.fleet"),
        "other": KeySource(file="/etc/hbd.d/other.key"),
    }
    assert configuration.keys["other"].place.line == 8
    assert configuration.start_grace == 90 * SECOND


def test_every_key_of_a_peer_is_read():
    """Each key of a peer reaches its settings, addresses in their usual form."""
    assert peers_of("every-key.yaml")["db1"] == PeerSettings(
        name="db1",
        addresses=("10.0.0.11", "fd00::11", "fe80::11%eth1", "db1.example"),
        port=8620,
        protocol="stamp",
        key="fleet",
        via="gw",
        timing=Timing(200 * MILLISECOND, 100 * MILLISECOND, 0, 1),
        limits=Limits(0.005, 50 * MILLISECOND),
        labels=(("site", "ams"), ("Role_1", "database")),
        leaving=Leaving(interface="eth1", dscp=46),
        stamp=StampOptions(
            Tlv.ON, 0, 1452, ReflectorKind.STATELESS, echo_timestamp=False, trust_goodbye=True
        ),
    )


def test_timeout_is_own_or_half_of_own_interval_or_the_default():
    """A timeout is the peer's own, else half of its own interval, else the default."""
    peers = peers_of("every-key.yaml")
    assert peers["db1"].timing.timeout == 100 * MILLISECOND
    assert peers["db2"].timing == Timing(250 * MILLISECOND, 125 * MILLISECOND, 2, 4)
    assert peers["gw"].timing == Timing(2 * SECOND, 800 * MILLISECOND, 2, 4)
    assert peers["db2"].leaving.source == "10.0.0.1"
    assert peers["db2"].stamp.ssid is None


def test_defaults_of_an_included_file_hold_for_that_file():
    """An included file starts from the main file's defaults; its own change no other file."""
    peers = peers_of("every-key.yaml")
    assert peers["site"].timing.rise == 7
    assert peers["site"].timing.interval == 2 * SECOND
    assert peers["198.51.100.2"].timing.rise == 4
    assert list(peers) == ["gw", "db1", "db2", "192.0.2.7", "site", "198.51.100.2"]


def test_on_and_off_are_understood_where_they_are_meant():
    """YAML's booleans in any of their spellings switch what can be switched."""
    peers = peers_of("switches.yaml")
    stamps = [peer.stamp for peer in peers.values()]
    assert [stamp.tlv for stamp in stamps] == [Tlv.ON, Tlv.OFF, Tlv.AUTO]
    assert [stamp.echo_timestamp for stamp in stamps] == [False, True, True]
    assert [stamp.trust_goodbye for stamp in stamps] == [True, False, False]


@pytest.mark.parametrize(
    ("address", "size", "is_told"),
    [("fd00::11", 1453, True), ("fd00::11", 1452, False), ("10.0.0.11", 1472, False)],
)
def test_a_size_that_fits_no_frame_is_a_warning(tmp_path, address, size, is_told):
    """What would leave in fragments over IPv6 is not answered by an hbd there."""
    file = tmp_path / "hbd.yaml"
    file.write_text(f'peers: [{{name: db1, address: "{address}", size: {size}}}]\n')
    warnings = [str(warning) for warning in load(str(file)).warnings]
    assert any("size: 1453 fits no Ethernet frame" in each for each in warnings) is is_told
    assert bool(warnings) is is_told


def test_one_path_in_two_peers_is_a_warning(tmp_path):
    """The same address, port and protocol in two peers is allowed, and said."""
    loaded = read("- {name: a, address: 192.0.2.1}\n- {name: b, address: 192.0.2.1}\n", tmp_path)
    assert [str(warning) for warning in loaded.warnings] == [
        f"{tmp_path}/hbd.yaml:2:3: peer b: 192.0.2.1 port 862 is watched by peer a, too",
    ]
    assert (
        read("- 192.0.2.1\n- {name: b, address: 192.0.2.1, port: 863}\n", tmp_path).warnings == ()
    )


def test_include_of_an_empty_directory_is_good_and_of_a_missing_one_a_warning(tmp_path):
    """A directory that waits for files is no mistake; one that is not there may be misspelt."""
    (tmp_path / "hbd.d").mkdir()
    assert read("include: hbd.d/*.yaml\n", tmp_path).warnings == ()
    (warning,) = read("include: hdb.d/*.yaml\n", tmp_path).warnings
    assert warning.text.startswith("include: there is no directory")


def test_byte_order_mark_is_no_part_of_the_text(tmp_path):
    """A file saved with a byte order mark is read like any other."""
    assert len(read("\ufeff- 192.0.2.1\n", tmp_path).configuration.peers) == 1


def test_via_may_name_a_peer_of_any_file_and_need_not_precede_it(tmp_path):
    """What lies between may be listed later, and behind something itself."""
    text = "[{name: c, address: x, via: b}, {name: b, address: y, via: a}, {name: a, address: z}]"
    assert [peer.via for peer in read(text, tmp_path).configuration.peers] == ["b", "a", None]


def test_interface_says_where_a_link_local_address_is(tmp_path):
    """A link-local address needs no %interface where the peer has one: it gets that."""
    text = "- {name: a, address: ['fe80::1', 'fe80::2%eth0', 'fd00::1'], interface: eth0}"
    (peer,) = read(text, tmp_path).configuration.peers
    assert peer.addresses == ("fe80::1%eth0", "fe80::2%eth0", "fd00::1")
    text = "- {name: a, address: x, source: 'fe80::1', interface: eth0}"
    (peer,) = read(text, tmp_path).configuration.peers
    assert (peer.leaving.source, peer.leaving.interface) == ("fe80::1%eth0", "eth0")


@pytest.mark.parametrize(
    ("size", "options", "good"),
    [
        (72, "tlv: off", True),
        (88, "", True),
        (87, "", False),
        (91, "", False),
        (92, "", True),
        (112, "tlv: off, key: k", True),
        (115, "tlv: off, key: k", False),
        (176, "key: k", True),
        (179, "key: k", False),
        (180, "key: k", True),
    ],
)
def test_size_leaves_room_for_what_a_heartbeat_holds(size, options, good, tmp_path):
    """A size is the heartbeat's own, or holds at least the header of the padding too."""
    peer = f"{{name: a, address: 192.0.2.1, size: {size}, {options}}}"
    text = f"keys: {{k: {{credential: k}}}}\npeers: [{peer}]\n"
    if good:
        assert read(text, tmp_path).configuration.peers[0].stamp.size == size
    else:
        with pytest.raises(ConfigError, match="is too small"):
            read(text, tmp_path)


def test_shipped_configuration_watches_this_machine():
    """The file that is installed runs as it is: one peer, no warning."""
    loaded = load(str(SHIPPED))
    assert loaded.warnings == ()
    assert [(peer.name, peer.addresses) for peer in loaded.configuration.peers] == [
        ("self", ("127.0.0.1",)),
    ]


def test_shipped_configuration_changes_no_default():
    """What the shipped file says beyond its peer is what holds without it."""
    shipped = load(str(SHIPPED)).configuration
    assert shipped.peers[0] == PeerSettings("self", ("127.0.0.1",))
    assert shipped.listen == (Listen("0.0.0.0", 862), Listen("::", 862))  # noqa: S104
    assert (shipped.accept, shipped.node, shipped.keys) == (Accept.PEERS, "", {})
    assert shipped.start_grace == 10 * SECOND


def test_places_of_retries_are_for_people(tmp_path):
    """Where each peer's retries stand is known, or the peer without any; a daemon needs neither."""
    text = "- 192.0.2.1\n- {name: a, address: 192.0.2.2}\n- name: b\n  address: b\n  retries: 5\n"
    file = str(tmp_path / "hbd.yaml")
    assert read(text, tmp_path).timing_places == {
        "192.0.2.1": Place(file, 1, 3),
        "a": Place(file, 2, 3),
        "b": Place(file, 5, 12),
    }
    assert next(pieces(file)).timing_places == {}


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1])
def test_a_daemon_gets_the_peers_a_few_at_a_time(count, tmp_path):
    """First all else, then each peer once, in order, no more at a time than fit; at last none."""
    text = "".join(f"- {{name: p{n}, address: 192.0.2.1}}\n" for n in range(count)) or "peers: []"
    whole = read(text, tmp_path).configuration
    head, *parts = pieces(str(tmp_path / "hbd.yaml"))
    assert head.configuration == replace(whole, peers=())
    assert [name for part in parts for name, _, _ in part] == [f"p{n}" for n in range(count)]
    assert all(0 < len(part) <= SLICE for part in parts[:-1])
    assert parts[-1] == ()


def test_what_peers_have_alike_is_there_once(tmp_path):
    """The daemon gets once what peers have alike, whether defaults or written out in each."""
    file = tmp_path / "hbd.yaml"
    peer = "- {{name: p{0}, address: 192.0.2.{0}, max_loss: 5%, size: 100, labels: {{a: b}}}}\n"
    file.write_text("".join(map(peer.format, (1, 2))))
    _, peers, _ = pieces(str(file))
    assert peers[0][2] is peers[1][2]
    whole = [replace(others, name=name, addresses=where) for name, where, others in peers]
    assert tuple(whole) == load(str(file)).configuration.peers
