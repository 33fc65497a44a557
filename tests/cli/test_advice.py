"""What `hbd check` says of timing."""

import pytest

from hbd.cli.advice import timing_warnings
from hbd.config.files import load

LOSSY = [98_000, 1_960, 40]
BURSTS = [9_800, 120, 50, 20, 10]


@pytest.fixture
def loaded(tmp_path):
    def write(text):
        file = tmp_path / "hbd.yaml"
        file.write_text(text)
        return load(str(file))

    return write


def view(name="a", address="192.0.2.1", rounds=(), overdue=0, slowest=0.4, **others):
    """The part of the daemon's view that counts; `address`: of the path that was measured."""
    return {
        "name": name,
        "protocol": "stamp",
        "timeout_ms": 500.0,
        "retries": 3,
        "rtt_ms": {"max": slowest},
        "paths": [{"address": address, "rounds": list(rounds), "overdue": overdue}],
        **others,
    }


def warnings(loaded, *views):
    """The warnings without the file's name."""
    problems = timing_warnings(loaded, {view["name"]: view for view in views})
    return [str(problem).removeprefix(loaded.configuration.file + ":") for problem in problems]


def test_defaults_are_safe(loaded):
    """The defaults, half-second timeouts and two retries give no warning where nothing is known."""
    assert warnings(loaded("- 192.0.2.1\n- {name: a, address: 192.0.2.2, interval: 200ms}\n")) == []
    assert warnings(loaded("- {name: a, address: 192.0.2.2, retries: 2}\n")) == []


def test_one_retry_is_unsafe_without_any_measurement(loaded):
    """Place, what to expect at which loss, and a setting to copy; one line for all alike."""
    text = "defaults: {retries: 1}\npeers:\n- 192.0.2.1\n- 192.0.2.2\n"
    text += "- {name: c, address: 192.0.2.3, retries: 0}\n"
    ordinary = "at a loss of 0.1 %, as any network may have,"
    better = "`retries: 2` expects one in 30 years, and an outage is found within 2s 500ms"
    assert warnings(loaded(text)) == [
        f"5:42: peer c: {ordinary} `retries: 0` expects 91 false DOWN a day; {better}",
        (
            f"3:3: peer 192.0.2.1: {ordinary} `retries: 1` expects 33 false DOWN a year; {better}; "
            "the same holds for 192.0.2.2"
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{protocol: tcp, port: 1, send: x, expect_reply: x}",  # the kernel sends again by itself
        "{protocol: mqtt}",
        "{protocol: tcp, port: 1}",
        "{protocol: bfd}",
        "{expect: 1s}",
        "{protocol: plain, port: 1}",
    ],
)
def test_nothing_is_assumed_of_other_ways(loaded, text):
    """Without a measurement only datagrams that are asked for a reply are spoken of."""
    retries = "" if "bfd" in text or "expect: " in text or "plain" in text else ", retries: 0"
    assert warnings(loaded(f"- {{name: a, address: 192.0.2.1{retries}, {text[1:]}\n")) == []


def test_measured_loss(loaded):
    """The loss that was measured, what to expect, and the smallest setting that is good."""
    text = "- {name: a, address: 192.0.2.1}\n- {name: b, address: 192.0.2.2}\n"
    views = view(rounds=LOSSY), view("b", "192.0.2.2", BURSTS)
    assert warnings(loaded(text), *views) == [
        (
            "2:3: peer b: at the measured loss of 2 % (10,000 rounds, 37 % after a miss) "
            "`retries: 3` expects 92 false DOWN a day; `retries: 14` expects one a year, "
            "and an outage is found within 8s 500ms"
        ),
        (
            "1:3: peer a: at the measured loss of 2 % (100,000 rounds, 2 % after a miss) "
            "`retries: 3` expects 5.3 false DOWN a year; `retries: 4` expects one in 9 years, "
            "and an outage is found within 3s 500ms"
        ),
    ]


def test_advice_that_was_followed_gives_no_warning(loaded):
    """With the setting that was advised in the file, what the daemon measured before is well."""
    for retries, rounds in ((4, LOSSY), (14, BURSTS)):
        text = f"- {{name: a, address: 192.0.2.1, retries: {retries}}}\n"
        assert warnings(loaded(text), view(rounds=rounds)) == []


def test_measurement_overrules_what_is_assumed(loaded):
    """Where nothing was lost for long, one retry is well."""
    one = loaded("- {name: a, address: 192.0.2.1, retries: 1}\n")
    assert len(warnings(one)) == 1
    assert len(warnings(one, view(rounds=[9_999], retries=1))) == 1
    assert warnings(one, view(rounds=[1_000_000], retries=1)) == []


def test_late_replies_ask_for_a_longer_timeout(loaded):
    """What was missed came late: the timeout to write is longer, and the words say why."""
    late = view(rounds=[9_000, 700, 250, 50], overdue=1_300, slowest=600.0)
    (told,) = warnings(loaded("- {name: a, address: 192.0.2.1}\n"), late)
    assert "(10,000 rounds, 15 % after a miss, most of it late, up to 600ms)" in told
    assert "; `timeout: 900ms, retries: 7` expects one in " in told


def test_timeout_shorter_than_replies_take(loaded):
    """A timeout that is not measured yet and that replies do not meet is named."""
    text = "- {name: a, address: 192.0.2.1, timeout: 60ms}\n"
    assert warnings(loaded(text), view(rounds=[10_000], slowest=60.0)) == [
        (
            "1:3: peer a: `timeout: 60ms` is shorter than its slowest reply of the last 100, 60ms; "
            "`timeout: 90ms` has room"
        )
    ]
    assert warnings(loaded(text), view(rounds=[10_000], slowest=59.0)) == []


@pytest.mark.parametrize(
    "other",
    [
        {"name": "b"},
        {"address": "192.0.2.9"},
        {"protocol": "mqtt"},
        {"timeout_ms": None},
        {"rounds": [90, 9]},
    ],
)
def test_another_peer_tells_nothing(loaded, other):
    """Only the very same peer counts, and only if enough was measured."""
    assert (
        warnings(loaded("- {name: a, address: 192.0.2.1}\n"), view(**{"rounds": LOSSY} | other))
        == []
    )


def test_daemon_of_before_tells_nothing(loaded):
    """A daemon that does not tell of rounds yet, after an upgrade, has measured nothing."""
    old = {"name": "a", "protocol": "stamp", "paths": [{"address": "192.0.2.1"}]}
    assert warnings(loaded("- {name: a, address: 192.0.2.1}\n"), old) == []


def test_worst_path_speaks_for_a_peer(loaded):
    """Of several paths the worst is told, by its address."""
    text = "- {name: a, address: [192.0.2.1, 192.0.2.2, 192.0.2.3]}\n"
    paths = [
        {"address": f"192.0.2.{n}", "rounds": rounds, "overdue": 0}
        for n, rounds in enumerate(([10_000], BURSTS, LOSSY), start=1)
    ]
    (told,) = warnings(loaded(text), view(paths=paths))
    assert told.startswith("1:3: peer a: 192.0.2.2: at the measured loss of 2 % (10,000 rounds")


def test_no_setting_does(loaded):
    """Where no number of retries is enough, it says so."""
    hopeless = view(rounds=[99_000, 0, 0, 0, 1_000])
    (told,) = warnings(loaded("- {name: a, address: 192.0.2.1}\n"), hopeless)
    assert told.endswith("; no retries: make that one a year, a longer interval: and timeout: may")


def test_only_the_worst_are_shown(loaded):
    """Ten lines, the worst first, and how many more there are."""
    peers = [f"- {{name: p{n}, address: 192.0.2.{n}}}\n" for n in range(1, 31)]
    views = [
        view(f"p{n}", f"192.0.2.{n}", [98_000 - 100 * n, 2_000 + 100 * n]) for n in range(1, 31)
    ]
    told = warnings(loaded("".join(peers)), *views)
    assert [line.split(":")[2].strip() for line in told[:-1]] == [
        f"peer p{n}" for n in range(30, 20, -1)
    ]
    assert told[-1] == "1:1: 20 more such warnings are not shown; these are the worst"
