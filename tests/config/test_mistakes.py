"""Each file in mistakes/ is wrong; what is said of it stands beside it."""

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hbd.config.files import load
from hbd.config.model import ConfigError

MISTAKES = Path(__file__).parent / "mistakes"


@pytest.mark.parametrize("file", sorted(MISTAKES.glob("*.yaml")), ids=lambda file: file.stem)
def test_mistake_is_told_with_its_place_and_its_remedy(file, monkeypatch):
    """Every mistake of a file is raised at once, sorted, in exactly the words expected."""
    monkeypatch.chdir(MISTAKES)
    with pytest.raises(ConfigError) as raised:
        load(file.name)
    assert f"{raised.value}\n" == file.with_suffix(".expected").read_text()


def test_no_message_holds_a_key():
    """What looks like a key is never repeated, wherever it was written."""
    for expected in MISTAKES.glob("key-itself-*.expected"):
        assert "0123456789abcdef" not in expected.read_text().lower()


def test_no_message_holds_a_password():
    """A password written into the file itself is not repeated, whatever it was taken for."""
    assert "s3cret" in (MISTAKES / "password-itself.yaml").read_text()
    assert "s3cret" not in (MISTAKES / "password-itself.expected").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "{k: 1}",
        "peers: [{name: {k}/, address: {k}/1, port: {k}, tlv: {k}}]",
        "peers: [{name: a, address: x, {k}: 1, via: {k}, key: {k}, labels: [{k}]}]",
        "keys: {{k}: x}",
        "peers: [{name: a, address: x, key: '{k}:1'}]",
        "node: {k} x",
    ],
)
def test_key_in_an_unexpected_place_is_not_repeated(text, tmp_path):
    """A key pasted where no key belongs does not reach the terminal or the journal."""
    key = "c0ffee" * 10 + "abcd"
    file = tmp_path / "hbd.yaml"
    file.write_text(text.replace("{k}", key).replace("{k:", f"{{{key}:"))
    with pytest.raises(ConfigError) as raised:
        load(str(file))
    assert key[:16] not in str(raised.value)


def test_missing_file_says_what_to_do():
    """A file that is not there is a mistake at 1:1 that says what to do."""
    with pytest.raises(ConfigError, match=r"^/nonexistent/hbd.yaml:1:1: there is no such file; "):
        load("/nonexistent/hbd.yaml")


def test_file_that_is_no_text_never_hangs(tmp_path):
    """A directory, a FIFO and a device are mistakes, and reading them ends at once."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for file in (tmp_path, fifo, "/dev/zero"):
        with pytest.raises(ConfigError, match=r"this is a directory|no regular file"):
            load(str(file))


def test_file_without_permission_says_so(tmp_path):
    """A file this user may not read is a mistake that says what would help."""
    file = tmp_path / "hbd.yaml"
    file.write_text("peers: []\n")
    file.chmod(0)
    with as_ordinary_user(), pytest.raises(ConfigError, match="may not read the file; try sudo"):
        load(str(file))


def test_directory_without_permission_is_not_taken_for_empty():
    """An include that this user cannot look into is a mistake: its peers would be gone unseen."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        file = Path(directory) / "hbd.yaml"
        (Path(directory) / "hbd.d").mkdir(mode=0o700)
        (Path(directory) / "hbd.d" / "site.yaml").write_text("- 192.0.2.1\n")
        file.write_text("include: hbd.d/*.yaml\n")
        (Path(directory) / "hbd.d").chmod(0o311)
        with as_ordinary_user(), pytest.raises(ConfigError, match=r"may not read .*/hbd\.d"):
            load(str(file))


def test_directory_below_one_without_permission_is_not_taken_for_missing():
    """Nor is it a mere warning where not even the directory can be seen."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        file = Path(directory) / "hbd.yaml"
        (Path(directory) / "closed" / "hbd.d").mkdir(parents=True)
        (Path(directory) / "closed").chmod(0)
        file.write_text("include: closed/hbd.d/*.yaml\n")
        with as_ordinary_user(), pytest.raises(ConfigError, match=r"may not read .*/hbd\.d"):
            load(str(file))


@pytest.mark.parametrize("pattern", ["loop.yaml", "loo*.yaml"])
def test_link_to_itself_is_a_file_that_cannot_be_read(pattern, tmp_path):
    """What leads nowhere is a mistake like any other."""
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    file = tmp_path / "hbd.yaml"
    file.write_text(f"include: {pattern}\n")
    with pytest.raises(ConfigError, match="cannot be read: Too many levels of symbolic links"):
        load(str(file))


@contextmanager
def as_ordinary_user():
    """Root may read everything: give that up for a moment, if we are."""
    caller = os.geteuid()
    os.seteuid(caller or 65534)
    try:
        yield
    finally:
        os.seteuid(caller)


def test_too_large_a_file_is_refused(tmp_path):
    """A file beyond 32 MiB is refused before it is taken apart."""
    file = tmp_path / "hbd.yaml"
    with file.open("wb") as opened:
        opened.truncate(32 * 1024 * 1024 + 1)
    with pytest.raises(ConfigError, match="larger than 32 MiB"):
        load(str(file))


@pytest.mark.slow
def test_one_path_too_many_is_refused(tmp_path):
    """The peer that brings the 65,536th path is named."""
    addresses = ", ".join(f"10.0.{i // 250}.{i % 250}" for i in range(5000))
    lines = [f"- {{name: p{i}, address: *a}}\n" for i in range(1, 14)]
    file = tmp_path / "hbd.yaml"
    file.write_text(f"- {{name: p0, address: &a [{addresses}]}}\n" + "".join(lines))
    with pytest.raises(ConfigError) as raised:
        load(str(file))
    assert str(raised.value) == (
        f"{file}:14:3: peer p13: exceeds 65,535 paths; let a second machine watch the rest"
    )
