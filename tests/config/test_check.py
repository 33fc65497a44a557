"""`hbd check` as a user sees it."""

import os
from argparse import ArgumentParser
from pathlib import Path
from shutil import chown, rmtree
from tempfile import mkdtemp

import pytest

from hbd.cli import as_service, check


def run(capsys, *arguments, service=False):
    parser = ArgumentParser(prog="hbd")
    check.add(parser.add_subparsers())
    status = check.run(parser.parse_args(["check", *["--service"] * service, *map(str, arguments)]))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(check, "SERVICE_CREDENTIALS", str(tmp_path / "none"))
    return tmp_path / "hbd.yaml"


def test_good_file_is_counted(file, capsys):
    """A good file ends with one line on standard output, how many peers and paths."""
    file.write_text("- 192.0.2.1\n- {name: a, address: [192.0.2.2, fd00::2]}\n")
    assert run(capsys, file) == (0, f"{file}: good: 2 peers, 3 paths\n", "")
    file.write_text("- 192.0.2.1\n")
    assert run(capsys, file) == (0, f"{file}: good: 1 peer, 1 path\n", "")


def test_mistakes_go_to_standard_error(file, capsys):
    """Mistakes stand on standard error, one a line, and the exit status is 78."""
    file.write_text("nod: x\npeers: x\n")
    status, out, err = run(capsys, file)
    assert (status, out) == (78, "")
    assert err.splitlines() == [
        f"{file}:1:1: unknown key nod; did you mean node?",
        f"{file}:2:8: peers: a single value; write a list, each peer after a -",
    ]


def test_missing_file_is_named(file, capsys):
    """A file that is not there is exit 78, with its path and what to do."""
    status, out, err = run(capsys, file)
    assert (status, out) == (78, "")
    assert err.startswith(f"{file}:1:1: there is no such file; create it ")


def test_warning_is_marked_and_the_file_is_good(file, capsys):
    """A warning has its mark after the place and does not change the exit status."""
    file.write_text("- {name: a, address: 192.0.2.1}\n- {name: b, address: 192.0.2.1}\n")
    status, out, err = run(capsys, file)
    assert (status, out) == (0, f"{file}: good: 2 peers, 2 paths\n")
    assert err == f"{file}:2:3: warning: peer b: 192.0.2.1 port 862 is watched by peer a, too\n"


def test_key_that_cannot_be_read_is_a_warning(file, capsys):
    """Without access to a key, check warns: the daemon may have it."""
    file.write_text("keys:\n  a: {credential: hbd.a}\n  b: {file: /nonexistent/b.key}\n")
    given_to_service = "is given by systemd to the service alone (LoadCredential=hbd.a in the unit)"
    status, out, err = run(capsys, file)
    assert (status, out) == (0, f"{file}: good: 0 peers, 0 paths\n")
    assert err.splitlines() == [
        f"{file}:{place}: warning: keys: {text}"
        for place, text in (
            ("2:3", f"a: credential hbd.a {given_to_service}"),
            ("3:3", "b: /nonexistent/b.key cannot be read: No such file or directory"),
        )
    ]


def test_key_that_must_not_be_used_is_a_mistake(file, capsys, tmp_path, monkeypatch):
    """A key that is read and found wrong is exit 78, and its text is not shown."""
    key = tmp_path / "hbd.a"
    key.write_text("0123456789abcdef\n")
    key.chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    file.write_text("keys: {a: {credential: hbd.a}}\n")
    status, out, err = run(capsys, file)
    assert (status, out) == (78, "")
    assert "line 1 is not 64 hexadecimal digits" in err
    assert "01234567" not in err
    key.write_text("0123456789abcdef" * 4)
    assert run(capsys, file)[0] == os.EX_OK


@pytest.fixture
def everybodys(monkeypatch):
    """A directory that every user may enter; what is there is of the service, run as nobody."""
    place = Path(mkdtemp(prefix="hbd-check-", dir="/var/lib"))
    place.chmod(0o755)
    monkeypatch.setattr(as_service, "USER", "nobody")
    monkeypatch.setattr(check, "CONFIGURATION", str(place / "hbd.yaml"))
    yield place
    rmtree(place)


@pytest.mark.root
@pytest.mark.parametrize(
    ("belongs", "is_told"),
    [(("root", 0o400), True), (("root", 0o640), True), (("nobody", 0o400), False)],
)
def test_key_that_only_root_can_read_is_a_warning(everybodys, capsys, belongs, is_told):
    """What root reads and the service's user cannot is said before a reload fails by it."""
    owner, mode = belongs
    main, key = everybodys / "hbd.yaml", everybodys / "a.key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(mode)
    chown(key, owner)
    main.write_text(f"keys: {{a: {{file: {key}}}}}\n")
    main.chmod(0o644)
    status, _, err = run(capsys, main)
    mend = f"chgrp nobody {key}; chmod g+r {key}"
    words = f"keys: a: the service (user nobody) may not read {key}; {mend}"
    assert (status, err) == (0, f"{main}:1:8: warning: {words}\n" * is_told)


@pytest.mark.root
def test_file_that_only_root_can_read_is_a_warning(everybodys, capsys, monkeypatch):
    """What the service cannot read, or does not see, is said before a reload fails by it."""
    main, closed, opened = (everybodys / name for name in ("hbd.yaml", "a.yaml", "b.yaml"))
    main.write_text("include: [a.yaml, b.yaml]\n")
    main.chmod(0o644)
    for each, mode in ((closed, 0o600), (opened, 0o644)):
        each.write_text("peers: []\n")
        each.chmod(mode)
    mend = f"chgrp nobody {closed}; chmod g+r {closed}"
    words = f"this file: the service (user nobody) may not read {closed}; {mend}"
    assert run(capsys, main)[::2] == (0, f"{closed}:1:1: warning: {words}\n")
    assert run(capsys, main, service=True)[::2] == (78, f"{closed}:1:1: {words}\n")
    closed.chmod(0o644)
    assert run(capsys, main)[2] == ""
    elsewhere = everybodys / "elsewhere"
    opened.rename(elsewhere)
    opened.symlink_to(elsewhere)
    monkeypatch.setattr(as_service, "HIDDEN", (str(elsewhere),))
    words = f"this file: the service does not see {elsewhere}; move it to /etc/hbd.d"
    assert run(capsys, main)[::2] == (0, f"{opened}:1:1: warning: {words}\n")


@pytest.mark.root
def test_directory_that_only_root_may_enter_is_named(everybodys, capsys):
    """The file's own mode is right, and to change it would mend nothing."""
    main, within = everybodys / "hbd.yaml", everybodys / "closed"
    within.mkdir(mode=0o700)
    (within / "a.yaml").write_text("peers: []\n")
    (within / "a.yaml").chmod(0o644)
    main.write_text("include: [closed/a.yaml]\n")
    main.chmod(0o644)
    words = f"the service (user nobody) may not enter {within}; chmod a+x {within}"
    assert words in run(capsys, main)[2]
    assert (os.geteuid(), os.getegid()) == (0, 0)


@pytest.mark.parametrize(("address", "is_told"), [("192.0.2.77", True), ("127.0.0.1", False)])
def test_address_that_is_not_here_is_a_warning(file, capsys, address, is_told):
    """Where it is yet to come, or another machine's, hbd does not start."""
    file.write_text(f"listen: ['{address}:862']\npeers: []\n")
    words = f"listen: {address} is not on this machine now: hbd does not start without"
    assert run(capsys, file)[::2] == (0, f"{file}:1:10: warning: {words}\n" * is_told)


def test_password_that_cannot_be_read_is_a_warning(file, capsys):
    """Without access to a password, check warns: the daemon may have it."""
    file.write_text(
        "- name: a\n  address: 192.0.2.1\n  protocol: mqtt\n  username: u\n"
        "  password: {file: /nonexistent/a.password}\n"
    )
    status, _, err = run(capsys, file)
    assert status == 0
    words = "/nonexistent/a.password cannot be read: No such file or directory"
    assert err == f"{file}:5:13: warning: peer a: password: {words}\n"


def test_password_that_others_may_read_is_a_mistake(file, capsys, tmp_path):
    """A password that is no secret is exit 78, as is one too long for its protocol."""
    secret = tmp_path / "a.password"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o604)
    text = "- {name: a, address: 192.0.2.1, protocol: %s, password: {file: %s}}\n"
    file.write_text(text % ("mqtt, username: u", secret))
    status, _, err = run(capsys, file)
    assert (status, err) == (
        78,
        f"{file}:1:72: peer a: password: {secret} has rights for others; run chmod o= {secret}\n",
    )
    secret.chmod(0o600)
    assert run(capsys, file)[0] == 0
    file.write_text(text % ("bfd, auth: keyed-sha1", secret))
    status, _, err = run(capsys, file)
    assert status == 78
    assert "has more than 20 octets, too many for BFD" in err
    assert "horse" not in err


def test_peer_without_an_address_is_one_path(file, capsys):
    """A peer that may come from anywhere counts as one path."""
    file.write_text("keys: {k: {credential: k}}\npeers: [{name: a, key: k, expect: 5s}]\n")
    assert run(capsys, file)[1] == f"{file}: good: 1 peer, 1 path\n"


def test_help_has_an_example(capsys):
    """`hbd check --help` shows how it is used."""
    with pytest.raises(SystemExit):
        run(capsys, "--help")
    assert "hbd check && systemctl reload hbd" in capsys.readouterr().out
