"""The manual page and the shipped file name every key, and their examples work."""

import re
import subprocess
from pathlib import Path

import pytest

from hbd.config.files import MAIN_KEYS, PART_KEYS, load
from hbd.config.peers import PEER_KEYS
from hbd.core.model import Limits, PeerSettings, StampOptions, Timing

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "packaging" / "man" / "hbd.yaml.5"
SHIPPED = ROOT / "etc" / "hbd.yaml"

REST = "keys: {fleet: {credential: hbd.fleet}}\n"


def section(title):
    return MANUAL.read_text().split(f".SH {title}\n")[1].split("\n.SH ")[0]


def examples(text):
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)
    return [block.replace("\\-", "-") for block in blocks]


def keys_with_examples(title):
    items = section(title).split(".TP\n.B ")[1:]
    return {item.split("\n")[0]: examples(item) for item in items}


FILE_KEYS = keys_with_examples("KEYS OF THE FILE")
PEER = keys_with_examples("KEYS OF A PEER")


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
    assert example.startswith(f"{key}:")
    peer = {"name": "name: db1\n", "address": "address: 10.0.0.11\n", key: example}
    lines = "".join(f"    {line}" for line in peer.values())
    loads(f"{REST}peers:\n  - {{name: gw, address: 192.0.2.1}}\n  -\n{lines}", tmp_path)


def test_examples_of_the_manual_are_good(tmp_path):
    """Each whole file in the manual can be copied."""
    files = examples(section("EXAMPLES"))
    assert len(files) == 4
    for text in files:
        loads(text, tmp_path)


def test_manual_has_no_warnings():
    """The manual is set without a warning of groff's."""
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_shipped_file_shows_every_key_and_each_can_be_uncommented(tmp_path):
    """With every commented key in force the shipped file is good, and holds the defaults."""
    text = re.sub(
        r"^( *)#((?:- |  )?[a-z_]+:.*)$", r"\1\2", SHIPPED.read_text(), flags=re.MULTILINE
    )
    text = text.replace("include: /etc/hbd.d/*.yaml", f"include: {tmp_path}/*.none")
    configuration = loads(f"{text}\n  - {{name: gw, address: 192.0.2.1}}\n", tmp_path)
    assert re.findall(r"^([a-z_]+):", text, re.MULTILINE) == [*MAIN_KEYS, *PART_KEYS]
    assert set(re.findall(r"^  (?:- |  )([a-z_]+):", text, re.MULTILINE)) == set(PEER_KEYS)
    assert configuration.peers[1] == PeerSettings(
        name="db1",
        addresses=("10.0.0.11",),
        key="fleet",
        via="gw",
        timing=Timing(),
        limits=Limits(0.05, 50_000_000),
        labels=(("site", "ams"),),
        interface="eth1",
        source="10.0.0.1",
        dscp=0,
        stamp=StampOptions(size=1472),
    )
