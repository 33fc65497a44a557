import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.report.entry import (
    FACTS_LIMIT,
    Entry,
    facts,
    field_name,
    from_json,
    json_line,
    native,
    text_line,
    to_json,
)

INJECTED = "a\nMESSAGE=injected"


def fields_of(datagram):
    """What journald reads out of a datagram (systemd: JOURNAL_NATIVE_PROTOCOL)."""
    found = []
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        found.append((name.decode(), value.decode()))
        datagram = rest
    return found


def entry(message="m", *fields):
    return Entry(message, "0" * 32, 6, fields)


def test_value_with_a_line_break_stays_one_field():
    """A value that looks like a field of its own is not one."""
    found = fields_of(native(entry(INJECTED, ("HBD_EVIDENCE", INJECTED))))
    assert found == [
        ("MESSAGE", INJECTED),
        ("MESSAGE_ID", "0" * 32),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "hbd"),
        ("HBD_EVIDENCE", INJECTED),
    ]


@given(st.text(), st.lists(st.text()))
def test_native_form_brings_back_what_went_in(message, values):
    """Whatever the values hold, journald reads the same fields."""
    given_entry = entry(message, *((f"HBD_F{n}", value) for n, value in enumerate(values)))
    raw = [
        (name, value.encode("utf-8", "backslashreplace").decode())
        for name, value in given_entry.pairs()
    ]
    assert fields_of(native(given_entry)) == raw


@given(st.text(st.characters()))
def test_text_and_json_are_one_line_of_what_was_said(message):
    """Neither form breaks its line, and JSON gives the message back."""
    assert text_line(entry(message)).count(b"\n") == 1
    line = json_line(entry(message))
    assert line.count(b"\n") == 1
    assert json.loads(line)["MESSAGE"] == message


def test_text_line_has_time_and_priority():
    """A text line begins with the moment of the event and its priority."""
    since = ("HBD_SINCE", "2026-11-22T10:05:00.000000+00:00")
    assert text_line(entry("db1 is up", since)) == b"2026-11-22T10:05:00Z info: db1 is up\n"


def test_json_line_lists_a_repeated_name():
    """Two labels that fall on one field name are both kept."""
    line = json_line(entry("m", ("HBD_LABEL_A", "1"), ("HBD_LABEL_A", "2")))
    assert json.loads(line)["HBD_LABEL_A"] == ["1", "2"]


def test_field_name_is_one_that_journald_takes():
    """Label keys become upper case letters, digits and underscores, at most 64."""
    assert field_name("HBD_LABEL_", "data-centre.ß") == "HBD_LABEL_DATA_CENTRE_SS"
    assert len(field_name("HBD_LABEL_", "k" * 100)) == 64


def test_evidence_is_bounded():
    """At most 16 facts go out, each on one line, and the rest is counted."""
    told = facts(["a\nb"] + [f"fact {n}" for n in range(99)]).splitlines()
    assert len(told) == FACTS_LIMIT
    assert told[0] == "a\\nb"
    assert told[-1] == "and 85 more"


names = st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True)


@given(st.text(), st.lists(st.tuples(names, st.text())))
def test_stored_form_brings_the_entry_back(message, fields):
    """An entry read back from the store is equal."""
    stored = json.dumps(to_json(Entry(message, "0" * 32, 3, tuple(fields))))
    assert from_json(json.loads(stored)) == Entry(message, "0" * 32, 3, tuple(fields))


@pytest.mark.parametrize("name", ["", "\ud800", "A\nMESSAGE", "a", "_A", "1", "A" * 65])
def test_stored_field_that_the_journal_would_not_take_is_refused(name):
    """An entry out of a damaged file cannot pretend to be another one, nor end the daemon."""
    with pytest.raises(ValueError, match="not an entry"):
        from_json(["down", "0" * 32, 3, [[name, "x"]]])


@pytest.mark.parametrize("priority", [-1, 8, 10**30])
def test_stored_priority_is_one_of_syslog(priority):
    """There are eight of them."""
    with pytest.raises(ValueError, match="not an entry"):
        from_json(["down", "0" * 32, priority, []])
