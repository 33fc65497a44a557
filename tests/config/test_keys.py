"""Key files: who may own them and what is in them."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.config.keys import Key, KeyFileError, KeyUnreadableError, parse, read, read_all
from hbd.config.model import ConfigError, KeySource, Place

OLD, NEW = "0123456789abcdef" * 4, "FEDCBA9876543210" * 4


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "hbd.fleet"
    file.write_text(f"{NEW}\n{OLD}\n")
    file.chmod(0o600)
    return file


def read_file(file, **changes):
    given = {"owner_ids": {os.getuid()}, "directory": None, **changes}
    return read(KeySource(file=str(file)), **given)


def test_first_line_signs_and_both_are_accepted(key_file):
    """Of two lines the first signs, so a key can be changed without a gap."""
    key = read_file(key_file)
    assert key.sign == bytes.fromhex(NEW)
    assert key.accept == (bytes.fromhex(NEW), bytes.fromhex(OLD))


@pytest.mark.parametrize("content", [OLD, f"{OLD}\n", f"{OLD}\r\n", f"\n{OLD}  \n\n"])
def test_one_line_is_enough_however_it_ends(content):
    """Line ends and blanks around a key are no part of it."""
    assert parse("f", content.encode()).accept == (bytes.fromhex(OLD),)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        OLD[:-1],
        OLD + "0",
        f"{OLD} {NEW}",
        f"{OLD}\n\n{NEW}",
        f"{OLD}\n" * 3,
        OLD[:-1] + "g",
        OLD * 10,
    ],
)
def test_anything_else_is_no_key(content):
    """One or two lines of 64 hexadecimal digits, or it is refused."""
    with pytest.raises(KeyFileError):
        parse("f", content.encode())


@given(st.binary(max_size=300))
def test_any_content_is_a_key_or_refused(content):
    """Whatever a key file holds, there is a key of 32 octets or one named error."""
    with suppress(KeyFileError):
        assert len(parse("f", content).sign) == 32


def test_no_message_and_no_repr_holds_the_key():
    """A key is shown nowhere, not even a wrong one."""
    assert OLD not in repr(Key(bytes.fromhex(OLD), (bytes.fromhex(OLD),)))
    assert "\\x" not in repr(Key(bytes.fromhex(OLD), (bytes.fromhex(OLD),)))
    with pytest.raises(KeyFileError) as raised:
        parse("f", f"{OLD}\n{OLD}x".encode())
    assert OLD[:8] not in str(raised.value)


def test_rights_for_others_are_refused(key_file):
    """A key that others may read, write or run is no secret; the group may read it."""
    key_file.chmod(0o640)
    read_file(key_file)
    for mode in (0o604, 0o602, 0o601):
        key_file.chmod(mode)
        with pytest.raises(KeyFileError, match="rights for others"):
            read_file(key_file)


def test_owner_is_root_or_the_daemon(key_file):
    """A key that belongs to somebody else is refused."""
    with pytest.raises(KeyFileError, match="neither root nor the daemon's"):
        read_file(key_file, owner_ids={os.getuid() + 1})


def test_credential_is_read_from_its_directory(key_file):
    """A credential is a file in the directory systemd names; without one it cannot be read."""
    source = KeySource(credential="hbd.fleet")
    directory = str(key_file.parent)
    assert read(source, owner_ids={os.getuid()}, directory=directory) == read_file(key_file)
    with pytest.raises(KeyUnreadableError, match="is given by systemd"):
        read(source, owner_ids={os.getuid()}, directory=None)


def test_what_is_not_there_is_unreadable(tmp_path):
    """A missing file, a directory and a FIFO are one error, at once."""
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path / "none", tmp_path, tmp_path / "fifo"):
        with pytest.raises(KeyUnreadableError):
            read_file(file)


def test_all_keys_are_read_or_each_is_told(key_file, tmp_path):
    """Reading all keys gives each by its name, or every mistake with its place."""
    good = KeySource(file=str(key_file), place=Place("hbd.yaml", 2, 3))
    bad = KeySource(file=str(tmp_path / "none"), place=Place("hbd.yaml", 3, 3))
    given = {"owner_ids": {os.getuid()}, "directory": None}
    assert list(read_all({"a": good}, **given)) == ["a"]
    with pytest.raises(ConfigError) as raised:
        read_all({"a": good, "b": bad, "c": bad}, **given)
    assert [str(problem) for problem in raised.value.problems] == [
        f"hbd.yaml:3:3: keys: {name}: {tmp_path}/none cannot be read: No such file or directory"
        for name in "bc"
    ]
