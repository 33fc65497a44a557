"""Completion in a real bash."""

import re
import shlex
import subprocess

import pytest
from running import ROOT, network, peer
from terminals import Terminal

from hbd.cli.main import COMMANDS

pytestmark = pytest.mark.slow

FILE = ROOT / "packaging/hbd.bash-completion"

# As readline does: it cuts the line at these, and completes the word at its end.
DRIVER = """
source {file}
COMP_LINE={line} COMP_POINT=${{#COMP_LINE}}
read -ra COMP_WORDS <<<"$COMP_LINE"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_hbd {program} "${{COMP_WORDS[-1]}}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def fleet(shared, tmp_path_factory):
    """A daemon, and a bash that finds hbd: what it offers at the end of a line."""
    make_daemon, _ = shared
    net = network()
    peers = [peer(name, net(1)) for name in ("db1", "db2", "rack:1:a", "web")]
    daemon = make_daemon(peers=peers).start()
    daemon.hbd("pause", "db2")
    daemon.wait("db1", "down")
    daemon.wait("db2", "paused")
    return daemon, _program(daemon, tmp_path_factory.mktemp("bin"))


def _program(daemon, directory):
    daemon.environment["PATH"] = f"{directory}:{daemon.environment['PATH']}"
    program = directory / "hbd"
    program.write_text('#!/bin/sh\nexec python3 -m hbd "$@"\n')
    program.chmod(0o755)
    return program


def offered(daemon, line, program="hbd"):
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVER.format(
            file=FILE, line=shlex.quote(line), program=program
        )],
        cwd=daemon.directory,
        env=daemon.environment,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("hbd st", ["status"]),
        ("hbd re", ["reload", "resume", "report"]),
        ("hbd --v", ["--version"]),
        ("hbd status ", ["db1", "db2", "rack:1:a", "web"]),
        ("hbd status db", ["db1", "db2"]),
        ("hbd status --json d", ["db1", "db2"]),
        ("hbd status db1 w", ["web"]),
        ("hbd explain rack:1", ["1:a"]),
        ("hbd report we", ["web"]),
        ("hbd resume ", ["db2"]),
        ("hbd status 'd*", []),
        ("hbd status --state un", ["unreachable", "unknown"]),
        ("hbd status --state=un", ["unreachable", "unknown"]),
        ("hbd status --state down,pa", ["down,paused"]),
        ("hbd wait db1 --for d", ["degraded", "down"]),
        ("hbd pause db1 --for ", []),
        ("hbd run --log ", ["text", "json"]),
        ("hbd run --config hb", ["hbd.yaml"]),
        ("hbd check hb", ["hbd.yaml"]),
        ("hbd nonsense ", []),
    ],
)
def test_what_is_offered(fleet, line, found):
    """Commands, peers of the running daemon, states and files, each where it is wanted."""
    assert sorted(offered(fleet[0], line)) == sorted(found)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_all_its_options_are_offered(fleet, command):
    """What the help of a command lists is offered, and nothing else."""
    daemon, _ = fleet
    assert command in offered(daemon, f"hbd {command}")
    help_text = daemon.hbd(command, "--help").stdout.partition("example")[0]
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_text.partition("options:")[2]))
    assert "--help" in options
    assert set(offered(daemon, f"hbd {command} -")) == options


def test_without_a_daemon_nothing_is_offered_and_nothing_said(daemon):
    """Where no daemon runs, and where there is not even the program, completion is silent."""
    nowhere = daemon()
    assert offered(nowhere, "hbd status ") == []
    assert offered(nowhere, "hbd status --", program="/nowhere/hbd") == []


def test_bash_itself_completes(fleet):
    """Typed in an interactive bash, Tab gives the one peer, also after a colon and a command."""
    daemon, _ = fleet
    words = ("bash", "--norc", "--noprofile", "-i")
    terminal = Terminal(daemon, *words, PS1="> ", TERM="dumb", INPUTRC="/dev/null")
    try:
        terminal.type(f"bind 'set enable-bracketed-paste off'; source {FILE}\n".encode())
        terminal.type(b"complete -p hbd\n")
        terminal.until("complete -F _hbd hbd")
        terminal.type(b"true; echo hbd; hbd status rack:\t --state unr\t\n")
        terminal.until(r"hbd status rack:1:a +--state unreachable")
        terminal.until("no peer is unreachable")
        terminal.type(b"exit\n")
        terminal.end()
    finally:
        terminal.close()
