"""The commands of one version and the daemon of another, as they are for a while in an upgrade."""

import json
import os
import socket
import threading

import pytest
from running import network, peer

from hbd.cli.main import main
from hbd.report import varlink

pytestmark = pytest.mark.slow

SAID = "of another version than this program; sudo systemctl restart hbd"


class Answering:
    """A control socket where every call is answered by the same octets."""

    def __init__(self, directory):
        self.octets = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "io.hbd"))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def says(self, parameters):
        self.octets = json.dumps({"parameters": parameters}, separators=(",", ":")).encode() + b"\0"

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(self.octets)


@pytest.fixture(scope="module")
def answers(shared):
    """What a daemon says, by method."""
    make_daemon, make_reflector = shared
    net = network()
    make_reflector(net(1))
    one = make_daemon(peers=[peer("web", net(1)), peer("db", net(2))]).start()
    one.wait("web", "up")
    one.wait("db", "down")
    status = one.client.call("Status", recent=True)
    return {
        "status": status,
        "explain": one.client.call("Explain", peer="db"),
        "pause": {"peers": ["db"], "until": "2030-01-01T00:00:00Z"},
        "reload": {"added": [], "removed": [], "changed": [], "warnings": []},
    }


@pytest.fixture
def other(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return Answering(tmp_path)


def keys_of(told, way=()):
    """Give the way to each key of an object, and of those within it."""
    for key, value in told.items():
        yield (*way, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*way, key))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from keys_of(value[0], (*way, key, 0))


def without(told, way):
    copied = json.loads(json.dumps(told))
    inner = copied
    for step in way[:-1]:
        inner = inner[step]
    del inner[way[-1]]
    return copied


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (["status"], "status"),
        (["explain", "db"], "explain"),
        (["pause", "db"], "pause"),
        (["resume", "db"], "pause"),
        (["reload"], "reload"),
    ],
)
def test_what_an_older_daemon_does_not_say(answers, other, capsys, words, method):
    """Without it the command does what it can, or says in one line what to do."""
    for way in keys_of(answers[method]):
        other.says(without(answers[method], way))
        status = main(words)
        said = capsys.readouterr().err
        assert status in (0, 1, 2) if not said else status == os.EX_SOFTWARE, way
        assert not said or said == f"hbd: the daemon's answer has no {way[-1]!r}: it is {SAID}\n"


def test_states_of_a_later_daemon_are_shown(answers, other, capsys):
    """A state that is not known here is shown as it is, before all others."""
    later = json.loads(json.dumps(answers["status"]))
    later["peers"][0]["state"] = "asleep"
    other.says(later)
    main(["status"])
    assert "asleep" in capsys.readouterr().out.splitlines()[1]


def test_a_configuration_is_checked_whatever_daemon_runs(answers, other, tmp_path, capsys):
    """What the daemon has measured is for advice alone."""
    file = tmp_path / "hbd.yaml"
    file.write_text("peers: [{name: web, address: 192.0.2.1}]\n")
    for way in keys_of(answers["status"]):
        other.says(without(answers["status"], way))
        assert main(["check", str(file)]) == 0, way
    assert "Traceback" not in capsys.readouterr().err


def test_a_method_that_is_not_known_is_said(other, capsys):
    """A daemon from before there was such a question says so; the user is told what to do."""
    name = f"{varlink.SERVICE}.MethodNotFound"
    other.octets = json.dumps({"error": name, "parameters": {"method": "Explain"}}).encode() + b"\0"
    assert main(["explain", "db"]) == os.EX_SOFTWARE
    assert SAID in capsys.readouterr().err
