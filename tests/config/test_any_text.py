"""Whatever a file holds, it is loaded or refused, in bounded time and memory."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hbd.config.files import MAIN_KEYS, PART_KEYS, load
from hbd.config.model import ConfigError, Loaded
from hbd.config.protocols import EVERY, PEER_KEYS

SAMPLES = sorted(
    file.read_bytes()
    for directory in ("good", "mistakes")
    for file in (Path(__file__).parent / directory).glob("*.yaml")
)

PATIENT = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)

values = st.recursive(
    st.sampled_from(
        [
            *("", "~", "no", "1s", "5", "5%", "10.0.0.1", "'::1'", "a", "*a", "&a b", "\ttab"),
            *("on", "2.5", "/a", "'\\x0'", '"\\ud800"', "{credential: a}", "{topic: a}"),
        ]
    )
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(
            st.sampled_from([*PEER_KEYS, *MAIN_KEYS, *PART_KEYS, "<<", "other"]), inner, max_size=4
        ).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"
        )
    ),
    max_leaves=12,
)


def load_or_refuse(content, directory):
    file = directory / "hbd.yaml"
    file.write_bytes(content)
    problems = []
    try:
        assert isinstance(load(str(file)), Loaded)
    except ConfigError as error:
        problems = error.problems
    assert problems == sorted(problems)
    for problem in problems:
        assert problem.file == str(file)
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.text.isprintable()


@PATIENT
@given(content=st.binary(max_size=200))
def test_any_octets_are_loaded_or_refused(content, tmp_path):
    """Octets of any kind give a configuration or its mistakes, nothing else."""
    load_or_refuse(content, tmp_path)


@pytest.mark.slow
@PATIENT
@given(text=values)
def test_any_yaml_is_loaded_or_refused(text, tmp_path):
    """YAML of any shape, with our keys in any place, gives a configuration or its mistakes."""
    load_or_refuse(text.encode("utf-8", "surrogatepass"), tmp_path)


@pytest.mark.slow
@PATIENT
@given(
    protocol=st.sampled_from(EVERY),
    keys=st.dictionaries(st.sampled_from(PEER_KEYS), values, min_size=1, max_size=3),
)
def test_any_value_of_any_key_is_loaded_or_refused(protocol, keys, tmp_path):
    """Any values of any keys, with any protocol, give a configuration or its mistakes."""
    keys = {"address": "10.0.0.1", "protocol": protocol, "expect": "1s", **keys}
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    text = f"- name: a\n{lines}- name: b\n{lines.replace('  expect: 1s', '  # ')}"
    load_or_refuse(text.encode("utf-8", "surrogatepass"), tmp_path)


@PATIENT
@given(content=st.sampled_from(SAMPLES), noise=st.binary(max_size=3), at=st.integers(0, 500))
def test_a_damaged_file_is_loaded_or_refused(content, noise, at, tmp_path):
    """A good file with a few octets changed gives a configuration or its mistakes."""
    damaged = content[:at] + noise + content[at + len(noise) :]
    load_or_refuse(damaged.replace(b"include", b"incl"), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "- " * 200_000,
        "{a: " * 100_000,
        "? " * 100_000,
        "&a [" * 50_000,
        "".join(f"{' ' * i}a:\n" for i in range(800)),
        "peers:\n"
        + "".join(
            f"  - &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 99)}]\n" for i in range(99)
        ),
    ],
    ids=["brackets", "dashes", "braces", "questions", "anchors", "indentation", "bomb"],
)
def test_a_bomb_is_refused_at_once(text, tmp_path):
    """Depth and aliases are bounded: no recursion error, no crash, no minute of work."""
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"nested deeper|aliases stand for more"):
        load(str(file))
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize(
    "text",
    [
        "include: '" + "*/" * 2_000 + "*'",
        "include: /" + "a" * 1_000 + "/*",
        "peers: ['fe80::1%\u200b']",
        "peers: ['ff02::1%\u202e']",
        "peers: ['10.0.0.1:" + "9" * 5_000 + "']",
        "accept: ['10.0.0.1/" + "0" * 2_000 + "8']",
        "peers: *" + "a" * 5_000,
    ],
    ids=["levels", "directory", "scope", "group", "port", "prefix", "alias"],
)
def test_too_much_of_anything_is_refused_in_a_line(text, tmp_path):
    """No text of a user's is too long or too odd for a message that names it."""
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(str(file))
    for problem in raised.value.problems:
        assert problem.text.isprintable()
        assert len(problem.text) < 250


def test_include_of_a_directory_that_cannot_be_is_a_warning(tmp_path):
    """A name that is too long for a directory is one of which there is none."""
    file = tmp_path / "hbd.yaml"
    file.write_text("include: /" + "a" * 300 + "/*\npeers: []\n")
    (warning,) = load(str(file)).warnings
    assert warning.text.startswith("include: there is no directory")


@pytest.mark.slow
def test_ten_thousand_peers_load_while_one_waits(tmp_path):
    """Reading a fleet of 10,000 peers takes a time that grows with it, and no faster."""
    file = tmp_path / "hbd.yaml"
    lines = (
        f"- name: p{i}\n  address: 10.0.{i // 250}.{i % 250}\n  via: gw\n" for i in range(10_000)
    )
    file.write_text("- {name: gw, address: 192.0.2.1}\n" + "".join(lines))
    began = time.process_time()
    assert len(load(str(file)).configuration.peers) == 10_001
    assert time.process_time() - began < 3


@pytest.mark.slow
def test_ten_thousand_mistakes_are_told_while_one_waits(tmp_path):
    """Hints cost time; a file that is wrong in every peer is still answered soon."""
    file = tmp_path / "hbd.yaml"
    lines = (f"- {{name: p{i}, adress: x, via: q{i}, interval: 5}}\n" for i in range(10_000))
    file.write_text("".join(lines))
    began = time.process_time()
    with pytest.raises(ConfigError) as raised:
        load(str(file))
    assert len(raised.value.problems) == 30_000
    assert time.process_time() - began < 15
