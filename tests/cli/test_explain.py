"""`hbd explain` reads well at a terminal of 80 columns, and its commands can be copied."""

from datetime import UTC, datetime

from hbd.cli.explain import text

LONG = "what would be too long for one line of a terminal " * 3
COMMAND = "openssl s_client -connect a-very-long-name.of-a-broker.example.net:8883 </dev/null"


def answer(state="down", cause="silent", **more):
    path = {"address": "10.0.0.11", "target": "10.0.0.11", "state": state, "cause": cause}
    path |= {"egress": "eth0", "last_reply_s_ago": 4000.0, "hops": 3}
    peer = {
        "name": "db1",
        "state": state,
        "cause": cause,
        "since": datetime.now(UTC).isoformat(),
        "flapping": False,
        "restored": False,
        "via": None,
        "protocol": "stamp",
        "way": "asked",
        "authenticated": False,
        "evidence": ["10.0.0.11: first", "10.0.0.11: second"],
        "loss_percent": 100.0,
        "loss_out_percent": None,
        "loss_in_percent": None,
        **dict.fromkeys(("sent", "received", "late", "duplicate"), 9),
        "rtt_ms": dict.fromkeys(("last", "min", "mean", "p99", "max")),
        "paths": [path],
        **more,
    }
    return {
        "peer": peer,
        "words": "silent on 10.0.0.11",
        "meaning": f"Nothing comes back: {LONG}",
        "judged": f"asked {LONG}",
        "apart": f"If it answers {LONG}",
        "advice": f"Look {LONG}",
        "commands": ["ping -c 3 10.0.0.11", COMMAND],
    }


def test_the_order_is_that_of_an_operators_questions():
    """State, cause, since when; what it means; evidence, path, figures; apart, advice, commands."""
    lines = text(answer())
    marks = (
        *("db1 is down: silent on", "Cause: silent, since", "Nothing comes back", "Evidence:"),
        *("  10.0.0.11: first", "  10.0.0.11: second", "Paths:", "  10.0.0.11: down, silent"),
        *("Heartbeats:", "Of the last 100:", "Judged:", "To tell apart:", "What to do:", "Next:"),
        "  ping -c 3",
    )
    places = [next(i for i, line in enumerate(lines) if line.startswith(mark)) for mark in marks]
    assert places == sorted(places)
    assert lines[-1] == f"  {COMMAND}"


def test_prose_is_wrapped_and_commands_are_not():
    """No line is longer than 80 columns but a command, which stays whole."""
    long = [line for line in text(answer()) if len(line) > 80]
    assert long == [f"  {COMMAND}"]


def test_a_long_silence_is_told_in_hours():
    """The last reply of a path is told as people count, and no RTT is made up."""
    lines = text(answer())
    assert "  10.0.0.11: down, silent, last reply 1h 6min ago, by eth0, 3 hops away" in lines
    assert "Of the last 100: loss 100 %, no RTT" in lines


def test_a_peer_that_was_stopped_has_left():
    """To have left is no failure and is not told as one."""
    lines = text(answer("left", "goodbye"))
    assert lines[0].startswith("db1 has left: ")


def test_what_a_stranger_said_cannot_speak_to_the_terminal():
    """Control characters in evidence are shown, not obeyed."""
    lines = text(answer(evidence=["10.0.0.11: \x1b[2Jgone\nNext:\n  reboot"]))
    assert "  10.0.0.11: \\x1b[2Jgone\\nNext:\\n  reboot" in lines
    assert not any("\x1b" in line for line in lines)
