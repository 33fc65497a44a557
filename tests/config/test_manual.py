"""The manual page and the shipped file name every key, and their examples work."""

import re
import subprocess
from pathlib import Path

import pytest

from hbd.config.files import MAIN_KEYS, PART_KEYS, load
from hbd.config.protocols import PEER_KEYS
from hbd.core.model import SECOND, Leaving, Limits, PeerSettings, StampOptions, Timing

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "packaging" / "man" / "hbd.yaml.5"
SHIPPED = ROOT / "etc" / "hbd.yaml"

REST = "keys: {fleet: {credential: hbd.fleet}, other: {credential: hbd.other}}\n"
GROFF = {"\\-": "-", "\\e": "\\", "\\&": ""}


def sections(title):
    """Give the text below each heading that begins with `title`."""
    parts = MANUAL.read_text().split("\n.SH ")[1:]
    return [part for part in parts if part.startswith(title)]


def examples(text):
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\[-e&]", lambda found: GROFF[found[0]], block) for block in blocks]


def keys_with_examples(title):
    items = [item for part in sections(title) for item in part.split(".TP\n.B ")[1:]]
    return {item.split("\n")[0]: examples(item) for item in items}


def by_key(example):
    """Give the lines of each key."""
    lines = re.findall(r"^[a-z_]+:.*\n(?: .*\n)*", example, re.MULTILINE)
    return {line.split(":")[0]: line for line in lines}


FILE_KEYS = keys_with_examples("KEYS OF THE FILE")
PEER = {
    key: found
    for part in ("A PEER\n", "A PEER THAT", "STAMP", "PLAIN", "TCP", "MQTT", "BFD")
    for key, found in keys_with_examples(f"KEYS OF {part}").items()
}


def loads(text, tmp_path):
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    return load(str(file)).configuration


def test_manual_names_every_key_and_no_other():
    """A key is in the manual if and only if it is read."""
    assert set(FILE_KEYS) == {*MAIN_KEYS, *PART_KEYS}
    assert set(PEER) == set(PEER_KEYS)


@pytest.mark.parametrize("key", FILE_KEYS)
def test_example_of_a_key_of_the_file_is_good(key, tmp_path):
    """What the manual shows for a key can be copied."""
    (example,) = FILE_KEYS[key]
    assert example.startswith(f"{key}:")
    loads(example, tmp_path)


@pytest.mark.parametrize("key", PEER)
def test_example_of_a_key_of_a_peer_is_good(key, tmp_path):
    """What the manual shows for a peer's key can be copied into a peer."""
    (example,) = PEER[key]
    assert key in by_key(example)
    peer = {"name": "name: db1\n", "address": "address: 10.0.0.11\n", **by_key(example)}
    lines = "".join(f"    {line}" for line in peer.values())
    loads(f"{REST}peers:\n  - {{name: gw, address: 192.0.2.1}}\n  -\n{lines}", tmp_path)


def test_examples_of_the_manual_are_good(tmp_path):
    """Each whole file in the manual can be copied."""
    (part,) = sections("EXAMPLES")
    files = examples(part)
    assert len(files) == 5
    for text in files:
        loads(text, tmp_path)


def test_examples_for_those_who_know_other_mechanisms_are_good(tmp_path):
    """What Swoole's and Netty's settings become is a peer, with the times they have there."""
    (part,) = sections("KEYS OF A PEER THAT IS EXPECTED")
    swoole, netty = [by_key(example) for example in examples(part)[:2]]
    peers = []
    for keys in (swoole, netty):
        lines = "".join(f"    {line}" for line in keys.values())
        text = f"peers:\n  - name: a\n    address: 10.0.0.11\n{lines}"
        peers += loads(text, tmp_path).peers
    assert [peer.expect.patience for peer in peers] == [10 * SECOND, 60 * SECOND]
    assert (peers[1].timing.interval, peers[1].send) == (30 * SECOND, b"heartbeat")


def test_manual_has_no_warnings():
    """The manual is set without a warning of groff's."""
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def shipped(tmp_path):
    """Give the text of the file with its own keys uncommented, and each commented peer."""
    text = SHIPPED.read_text()
    head = re.sub(r"^#((?:- |  )?[a-z_]+:.*)$", r"\1", text, flags=re.MULTILINE)
    head = head.replace("include: /etc/hbd.d/*.yaml", f"include: {tmp_path}/*.none")
    blocks = re.findall(r"(?:^  #(?:- name|  [a-z_ ]*).*\n)+", text, re.MULTILINE)
    blocks = [block[block.index("  #- name") :] for block in blocks if "  #- name" in block]
    return head, [re.sub(r"^  #", "  ", block, flags=re.MULTILINE) for block in blocks]


NAMES = ["db1", "laptop", "board", "screen", "web", "redis", "client", "broker", "r1", "r9"]


@pytest.mark.parametrize("name", NAMES)
def test_each_peer_of_the_shipped_file_can_be_uncommented(name, tmp_path):
    """Each commented peer, alone, makes a file that is good."""
    head, blocks = shipped(tmp_path)
    (block,) = [block for block in blocks if re.match(rf"  - name: {name}\s", block)]
    configuration = loads(f"{head}\n  - {{name: gw, address: 192.0.2.1}}\n{block}", tmp_path)
    assert [peer.name for peer in configuration.peers] == ["self", "gw", name]


def test_shipped_file_shows_every_key(tmp_path):
    """All commented peers together make a good file, which shows every key there is."""
    head, blocks = shipped(tmp_path)
    assert len(blocks) == len(NAMES)
    text = f"{head}\n  - {{name: gw, address: 192.0.2.1}}\n{''.join(blocks)}"
    loads(text, tmp_path)
    assert re.findall(r"^([a-z_]+):", text, re.MULTILINE) == [*MAIN_KEYS, *PART_KEYS]
    assert set(re.findall(r"^  (?:- |  )([a-z_]+):", text, re.MULTILINE)) == set(PEER_KEYS)


def test_shipped_file_holds_the_defaults(tmp_path):
    """What the first commented peer shows is what holds without it, but for the examples."""
    head, blocks = shipped(tmp_path)
    text = f"{head}\n  - {{name: gw, address: 192.0.2.1}}\n{blocks[0]}"
    assert loads(text, tmp_path).peers[2] == PeerSettings(
        name="db1",
        addresses=("10.0.0.11",),
        key="fleet",
        via="gw",
        timing=Timing(),
        limits=Limits(0.05, 50_000_000),
        labels=(("site", "ams"),),
        leaving=Leaving("eth1", "10.0.0.1", dscp=0),
        stamp=StampOptions(size=1472),
    )
