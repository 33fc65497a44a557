"""Single values: durations, percentages, numbers, addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.config.addresses import address, listening, prefix
from hbd.config.nodes import Scalar
from hbd.config.values import Mistake, nanoseconds_of, one_of, percent, show_duration, shown, whole
from hbd.core.model import MILLISECOND, SECOND


def plain(text):
    return Scalar("f", 1, 1, text, plain=True)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("250ms", 250 * MILLISECOND),
        ("1s", SECOND),
        ("1.5s", 1500 * MILLISECOND),
        ("2min", 120 * SECOND),
        ("2 min", 120 * SECOND),
        ("1h", 3600 * SECOND),
        ("1min 30s", 90 * SECOND),
        ("1min30s", 90 * SECOND),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("1d", 86400 * SECOND),
        ("1 week", 7 * 86400 * SECOND),
        ("0s", 0),
        ("0.0000000019s", 1),
    ],
)
def test_duration_is_read_as_systemd_writes_it(text, nanoseconds):
    """A duration is a sum of numbers with units, down to whole nanoseconds."""
    assert nanoseconds_of(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.5", "s", "1S", "1,5s", "1s,", "-1s", "1e3s", "٣s", "1 s 2", "9" * 200 + "s"],
)
def test_what_is_no_duration_is_refused(text):
    """Text without a number, without a unit or with more than those is no duration."""
    with pytest.raises(Mistake):
        nanoseconds_of(text)


@given(st.integers(0, 3600 * 1000).map(lambda count: count * MILLISECOND))
def test_shown_duration_reads_back_the_same(nanoseconds):
    """A duration in a message can be copied into the file."""
    assert nanoseconds_of(show_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "fraction"), [("5%", 0.05), ("0.5%", 0.005), ("100%", 1), ("5 %", 0.05)]
)
def test_percentage_becomes_a_fraction(text, fraction):
    """A percentage is read as the fraction it is."""
    assert percent(plain(text)) == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["5", "0.05", "0%", "100.1%", "-5%", "5,5%", "%", "5%%", "nan%"])
def test_what_is_no_percentage_is_refused(text):
    """A number without its sign, or outside of 0 to 100, is no percentage."""
    with pytest.raises(Mistake):
        percent(plain(text))


@pytest.mark.parametrize(
    "text", ["010", "0x10", "1_0", "1.0", "1e1", "+1", "", " 1", "٣", "9" * 50]
)
def test_number_is_read_as_everybody_reads_it(text):
    """What YAML readers take for different numbers is no number."""
    with pytest.raises(Mistake):
        whole(0, 99)(plain(text))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("FD00:0:0::11", "fd00::11"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("db1", "db1"),
        ("db1.example.", "db1.example."),
        ("_db.example-1", "_db.example-1"),
        ("10.example", "10.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_address_or_host_name_is_read(text, canonical):
    """An address is given in its usual form, a host name as it was written."""
    assert address(plain(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *(
            "10.0.0.300",
            "010.0.0.1",
            "10.1",
            "1",
            "0x7f000001",
            "10.0.0.0x1",
            "1.2.3.4.5",
            "10.0.0.1.",
        ),
        *("-a", "a-", "a..b", ".a", "a" * 64, "a." * 127 + "a", "a b", "a\tb", "a@b", "udp://a"),
        *("fe80::1%", "fe80::1%a/b", "fe80::1%averylongethernet0", "fe80::1%a%b", "10.0.0.1%eth0"),
        *(
            "::ffff:10.0.0.1",
            "ff02::1%eth0",
            "239.1.1.1",
            "::",
            "0.0.0.0",  # noqa: S104 - refused here
            "no",
            "",
            "a:1",
            "[::1]:1",
        ),
    ],
)
def test_what_is_no_address_is_refused(text):
    """Nonsense is refused here, not resolved for ever."""
    with pytest.raises(Mistake):
        address(plain(text))


@pytest.mark.parametrize(
    "text",
    ["862", ":862", "::1:862", "a:862", "[a]:862", "[::]", "[::]:", "0.0.0.0:65536", "0.0.0.0:-1"],
)
def test_listen_needs_address_and_port(text):
    """Where to listen is an address with a port, an IPv6 address in brackets."""
    with pytest.raises(Mistake):
        listening(862)(plain(text))


def test_bare_address_is_a_prefix_of_full_length():
    """One machine may be accepted by its address alone."""
    assert str(prefix(plain("192.0.2.1"))) == "192.0.2.1/32"
    assert str(prefix(plain("fd00::1"))) == "fd00::1/128"


def test_shown_text_is_short_and_printable():
    """A message stays in one line, whatever the file holds."""
    assert shown("db1") == "db1"
    assert shown("a\nb\x1b[2J") == '"a\\u000ab\\u001b[2J"'
    assert len(shown("x " * 1000)) < 70
    assert shown("ab" * 32) == "(a key)"


def test_words_are_listed_as_people_do():
    """One, two and more words read well."""
    assert [one_of(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a or b",
        "a, b or c",
    ]
