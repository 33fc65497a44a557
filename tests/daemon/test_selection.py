"""Which peers `hbd status` is about: names, patterns, labels, states."""

import json

import pytest
from running import network, peer

from hbd.report.client import RemoteError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(shared):
    """A daemon with peers that are up, down and paused, with labels."""
    make_daemon, make_reflector = shared
    net = network()
    make_reflector(net(1))
    ams, fra = {"site": "ams", "role": "db"}, {"site": "fra", "role": "db"}
    peers = [
        peer("db1", net(1), labels=ams),
        peer("db2", net(2), labels=fra),
        peer("db10", net(1), labels=fra),
        peer("web1", net(1), labels={"site": "ams"}),
        peer("rest", net(1)),
    ]
    daemon = make_daemon(peers=peers).start()
    assert daemon.hbd("pause", "rest").returncode == 0
    daemon.wait("db2", "down")
    for name in ("db1", "db10", "web1"):
        daemon.wait(name, "up")
    return daemon


@pytest.mark.parametrize(
    ("words", "found", "status"),
    [
        (("db*",), "db1 db2 db10", 2),
        (("db?",), "db1 db2", 2),
        (("db[!2]*",), "db1 db10", 0),
        (("web1", "*0"), "db10 web1", 0),
        (("web1", "db1", "web1"), "web1 db1", 0),
        (("--label", "site=ams"), "db1 web1", 0),
        (("--label", "site=fra", "--label", "role=db"), "db2 db10", 2),
        (("*1", "--label", "role=db"), "db1", 0),
        (("--state", "down"), "db2", 2),
        (("--state", "up,paused", "db*"), "db1 db10", 0),
        (("--state", "down", "--state", "paused"), "db2 rest", 2),
        (("--state", "left"), "", 0),
        (("--state", "down", "web*"), "", 0),
    ],
)
def test_filters(fleet, words, found, status):
    """All of them apply, to the table as to the JSON, and the status is of what is shown."""
    done = fleet.hbd("status", "--json", *words)
    answer = json.loads(done.stdout)
    assert [view["name"] for view in answer["peers"]] == found.split()
    assert done.returncode == status
    assert sum(answer["summary"].values()) == 5
    table = fleet.hbd("status", *words)
    assert table.returncode == status
    rows = table.stdout.splitlines()[1:-2]
    assert sorted(row.split()[0] for row in rows) == sorted(found.split())
    assert table.stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dbb*",), "no peer is like dbb*"),
        (("db*", "wbe*"), "no peer is like wbe*"),
        (("--label", "site=nowhere"), "no peer has the label site=nowhere"),
        (("web1", "--label", "role=db"), "no peer of those named has the label role=db"),
        (("\x1b[2J*",), r"no peer is like \x1b[2J*"),
        (("--label", "site=ams", "db*", "nosuch"), "no peer nosuch in the configuration"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_nobody_is_meant(fleet, form, words, said):
    """What fits no peer at all is a mistake, and is named."""
    done = fleet.hbd("status", *form, *words)
    assert done.returncode == 69
    assert done.stderr == f"hbd: {said}; see hbd status\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    "parameters",
    [
        {"states": ["sideways"]},
        {"states": "down"},
        {"most": -1},
        {"most": 1 << 63},
        {"most": True},
        {"recent": 1},
        {"labels": ["site"]},
        {"peers": ["*" * 101]},
        {"peers": [f"{number}*" for number in range(33)]},
    ],
)
def test_what_cannot_be_asked_for_is_refused(fleet, parameters):
    """A stranger's parameters are checked: none makes the daemon work for long, or fail."""
    (name,) = parameters
    with pytest.raises(RemoteError) as caught:
        fleet.client.call("Status", **parameters)
    assert caught.value.name == "org.varlink.service.InvalidParameter"
    assert caught.value.parameters == {"parameter": name}


def test_the_worst_are_told_where_only_some_are_asked_for(fleet):
    """So many, the worst first, and how many there are beside them."""
    answer = fleet.client.call("Status", most=2, recent=True)
    assert [view["state"] for view in answer["peers"]] == ["down", "paused"]
    assert answer["selected"] == answer["summary"]
    assert set(answer["peers"][0]["recent"]) == {"x"}
    none = fleet.client.call("Status", most=0, labels={"site": "ams"}, states=["up"])
    assert (none["peers"], none["selected"]["up"]) == ([], 2)


def test_who_asks_for_nothing_of_it_gets_nothing_of_it(fleet):
    """The answer to a plain Status has no key more than before."""
    answer = fleet.status()
    assert not {"selected", "unmatched"} & answer.keys()
    assert not any("recent" in view for view in answer["peers"])


def test_pause_and_resume_by_pattern(fleet):
    """Maintenance of all that are like a pattern, named or not; of nobody it is a mistake."""
    done = fleet.hbd("pause", "db1*", "web1")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["db1", "db10", "web1"]
    done = fleet.hbd("resume", "db*", "web1")
    assert done.stdout.splitlines() == [f"{n} is judged again" for n in ("db1", "db10", "web1")]
    assert fleet.hbd("resume", "db*").stdout == "none of them was paused\n"
    assert fleet.hbd("pause", "dbb*").returncode == 69
    for name in ("db1", "db10", "web1"):
        fleet.wait(name, "up")
