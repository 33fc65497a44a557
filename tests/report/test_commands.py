"""The next commands can be copied into a shell as they are, whatever the configuration holds."""

import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.core.model import Cause, Leaving, PeerSettings, StampOptions, State, TlsOptions
from hbd.report.causes import CAUSES, STATES, explanation
from hbd.report.dialects import DIALECTS
from hbd.report.explanation import COMMANDS_LIMIT, blanks, commands
from hbd.report.manual import BLANKS

DB1 = PeerSettings("db1", ("10.0.0.11",), via="gw", stamp=StampOptions(size=1400))
BROKER = replace(DB1, protocol="mqtt", port=8883, tls=TlsOptions())

ROWS = [
    *(*CAUSES.values(), *STATES.values()),
    *(row for dialect in DIALECTS.values() for row in dialect.values()),
]
TEMPLATES = sorted({template for row in ROWS for template in row.commands or ()})


def of(cause, settings=DB1, address=None, **more):
    return commands(explanation(State.DOWN, cause, settings), settings, address, **more)


@pytest.mark.parametrize(
    ("settings", "cause", "expected"),
    [
        (
            DB1,
            Cause.PORT_CLOSED,
            ["ssh 10.0.0.11 systemctl status hbd", "ssh 10.0.0.11 ss -lnu sport = :862"],
        ),
        (DB1, Cause.SILENT, ["ping -c 3 10.0.0.11", "tracepath -n 10.0.0.11"]),
        (
            replace(DB1, leaving=Leaving(interface="eth1")),
            Cause.NO_ROUTE,
            ["ip route get 10.0.0.11 dev eth1", "ip -br address"],
        ),
        (
            replace(DB1, leaving=Leaving(source="10.0.0.1")),
            Cause.MTU,
            ["tracepath -n 10.0.0.11", "ping -c 3 -M do -s 1400 -I 10.0.0.1 10.0.0.11"],
        ),
        (
            replace(DB1, addresses=("fe80::1%eth0",)),
            Cause.HOST_UNREACHABLE,
            ["ip neigh show fe80::1 dev eth0", "tracepath -n fe80::1%eth0"],
        ),
        (DB1, Cause.PARENT_DOWN, ["hbd explain gw"]),
        (DB1, Cause.PAUSED, ["hbd resume db1"]),
        (
            replace(DB1, addresses=("db1.example.net",)),
            Cause.UNRESOLVED,
            ["resolvectl query db1.example.net", "getent ahosts db1.example.net"],
        ),
        (
            replace(BROKER, addresses=("fd00::11",)),
            Cause.TLS,
            ["openssl s_client -connect '[fd00::11]:8883' </dev/null"],
        ),
        (
            replace(BROKER, addresses=("m.net",), tls=TlsOptions(ca="/my ca")),
            Cause.TLS,
            ["openssl s_client -connect m.net:8883 -servername m.net -CAfile '/my ca' </dev/null"],
        ),
        (
            replace(DB1, protocol="bfd", port=3784),
            Cause.BFD_EXPIRED,
            [
                "ssh 10.0.0.11 birdc show bfd sessions",
                "ssh 10.0.0.11 \"vtysh -c 'show bfd peers'\"",
            ],
        ),
    ],
)
def test_commands_are_filled_in_for_the_peer(settings, cause, expected):
    """Address, port, interface, source, parent and name stand in the commands."""
    assert of(cause, settings) == expected


def test_the_address_in_question_is_the_one_that_is_looked_at():
    """Of several addresses the failing one is in the commands, of a name where numbers are due."""
    both = replace(DB1, addresses=("10.0.0.11", "db1.example.net"))
    assert of(Cause.SILENT, both, "db1.example.net")[0] == "ping -c 3 db1.example.net"
    known = of(Cause.HOST_UNREACHABLE, both, "db1.example.net", target="10.0.0.12")
    assert known == ["ip neigh show 10.0.0.12", "tracepath -n db1.example.net"]


def test_a_command_that_lacks_something_is_left_out():
    """A name without an address is not looked up among the neighbours, nor an unknown interface."""
    named = replace(DB1, addresses=("db1.example.net",))
    assert of(Cause.HOST_UNREACHABLE, named) == ["tracepath -n db1.example.net"]
    assert of(Cause.LOSSY) == ["ping -c 100 -i 0.2 10.0.0.11"]
    assert of(Cause.LOSSY, interface="eth0")[1:] == ["ip -s link show dev eth0"]


def test_a_peer_with_a_key_is_not_asked_without_it():
    """`hbd ping` has no key, so it proves nothing where one is needed."""
    assert "hbd ping -c 20 --port 862 10.0.0.11" in of(Cause.TOO_TIGHT)
    assert of(Cause.TOO_TIGHT, replace(DB1, key="fleet")) == ["ping -c 20 10.0.0.11"]


def test_a_peer_that_is_nowhere_has_its_history_to_look_at():
    """Where no command can be filled in there is still one to type."""
    van = replace(DB1, addresses=(), key="fleet")
    assert of(Cause.SILENT, van, "anywhere") == ["journalctl HBD_PEER=db1 --since -1h"]


def test_no_row_has_more_commands_than_are_shown():
    """Two commands at most, each of blanks that are known here and in the manual."""
    assert all(len(row.commands or ()) <= COMMANDS_LIMIT for row in ROWS)
    for template in TEMPLATES:
        assert "{" not in template.format_map(BLANKS)
    assert blanks(DB1, interface="eth0").keys() == BLANKS.keys()


def test_what_runs_elsewhere_holds_nothing_that_another_shell_could_take_for_code():
    """ssh hands its words to a second shell: host and port alone may stand in them."""
    for template in TEMPLATES:
        if template.startswith("ssh "):
            assert set(re.findall(r"\{(\w+)\}", template)) <= {"host", "port"}


@given(st.text(min_size=1).filter(str.strip))
def test_no_text_of_the_configuration_becomes_code(text):
    """Whatever an interface, a file or a name is called, it stays one word of the command."""
    named = replace(
        BROKER, leaving=Leaving(text, text), via=text, tls=TlsOptions(ca=text, name=text)
    )
    known = blanks(named, "10.0.0.11", interface=text)
    for template in TEMPLATES:
        words = shlex.split(template.format_map(known))
        plain = shlex.split(template.format_map(blanks(BROKER, "10.0.0.11", interface="x")))
        added = [word for word in words if word not in plain]
        assert set(added) <= {text, "-I", "dev", "-CAfile", "-servername"}
