"""Passwords: what their files may hold, and how they are read for the daemon."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.config.files import load
from hbd.config.keys import KeyFileError, KeyUnreadableError
from hbd.config.model import ConfigError, Configuration
from hbd.config.passwords import parse, read_password, read_passwords
from hbd.core.model import BfdAuth, BfdOptions, PeerSettings, SecretSource


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "a.password"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    return file


def read_file(file, **changes):
    given = {"owner_ids": {os.getuid()}, "directory": None, **changes}
    return read_password(SecretSource(file=str(file)), **given)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_line_end_is_no_part_of_a_password(end):
    """One line end is stripped; blanks belong to the password."""
    assert parse("f", f" correct horse {end}".encode()) == b" correct horse "


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"x" * 513, "more than 512 octets"),
        (b"x" * 513 + b"\n", "more than 512 octets"),
        (b"a\nb\n", "several lines"),
        (b"a\n\n", "several lines"),
        (b"a\tb", "a control character"),
        (b"a\0", "a control character"),
        (b"a\x7f", "a control character"),
        (b"a\r\r\n", "a control character"),
    ],
)
def test_anything_else_is_no_password(content, words):
    """One line of 1 to 512 octets without control characters, or it is refused."""
    with pytest.raises(KeyFileError, match=f"^f (has|is|holds).*{words.split()[-1]}") as raised:
        parse("f", content)
    assert words in str(raised.value)


@given(st.binary(max_size=600))
def test_any_content_is_a_password_or_refused(content):
    """Whatever a file holds, there is a password of 1 to 512 octets or one named error."""
    with suppress(KeyFileError):
        assert 1 <= len(parse("f", content)) <= 512


def test_longest_password_is_read_whole(secret):
    """512 octets and a line end are a password, one octet more is none."""
    secret.write_bytes(b"x" * 512 + b"\r\n")
    assert len(read_file(secret)) == 512
    secret.write_bytes(b"x" * 513 + b"\r\n")
    with pytest.raises(KeyFileError):
        read_file(secret)


def test_password_belongs_to_root_or_the_daemon_alone(secret):
    """A file that others could have read or written is refused, as with keys."""
    secret.chmod(0o604)
    with pytest.raises(KeyFileError, match="rights for others"):
        read_file(secret)
    secret.chmod(0o600)
    with pytest.raises(KeyFileError, match="neither root nor the daemon's"):
        read_file(secret, owner_ids={os.getuid() + 1})


def test_credential_is_read_from_its_directory(secret):
    """A credential is a file in the directory systemd names; without one it cannot be read."""
    source = SecretSource(credential="a.password")
    directory = str(secret.parent)
    assert read_password(source, owner_ids={os.getuid()}, directory=directory) == b"correct horse"
    with pytest.raises(KeyUnreadableError, match="is given by systemd"):
        read_password(source, owner_ids={os.getuid()}, directory=None)


def test_all_passwords_are_read_or_each_is_told(secret, tmp_path):
    """Reading gives each password by its peer, or every mistake with its place."""
    good = f"{{name: a, address: x, protocol: mqtt, username: u, password: {{file: {secret}}}}}"
    bad = "{name: b, address: x, protocol: mqtt, username: u, password: {credential: none}}"
    file = tmp_path / "hbd.yaml"
    file.write_text(f"- {good}\n- 192.0.2.1\n")
    given = {"owner_ids": {os.getuid()}, "directory": str(tmp_path)}
    assert read_passwords(load(str(file)).configuration, **given) == {"a": b"correct horse"}
    file.write_text(f"- {good}\n- {bad}\n")
    with pytest.raises(ConfigError) as raised:
        read_passwords(load(str(file)).configuration, **given)
    words = (
        "credential none was not given by systemd: put it into /etc/credstore/none and"
        " LoadCredential=none into the unit (systemctl edit hbd), then restart hbd"
    )
    assert str(raised.value) == f"{file}:2:64: peer b: password: {words}"


@pytest.mark.parametrize(("length", "good"), [(1, True), (20, True), (21, False)])
def test_secret_of_bfd_has_at_most_20_octets(length, good, secret):
    """A secret that does not fit where the SHA1 goes is refused before any packet is made."""
    secret.write_bytes(b"x" * length)
    peer = PeerSettings(
        "r1",
        ("10.0.0.1",),
        protocol="bfd",
        password=SecretSource(file=str(secret)),
        bfd=BfdOptions(auth=BfdAuth.KEYED_SHA1),
    )
    given = {"owner_ids": {os.getuid()}, "directory": None}
    if good:
        assert read_passwords(Configuration("f", peers=(peer,)), **given) == {"r1": b"x" * length}
    else:
        with pytest.raises(ConfigError, match=r"^f:1:1: peer r1: password: .*more than 20 octets"):
            read_passwords(Configuration("f", peers=(peer,)), **given)
