"""Planned stops: who says goodbye has left, who comes back at once was never gone."""

import time

import pytest
from running import PORT, peer, until

pytestmark = pytest.mark.slow

KEY = "11" * 32
SOON = 5.0
"""Within so long whoever said goodbye may come back, seconds."""


@pytest.fixture
def pair(daemon, net):
    """Give a function: two daemons that watch each other, b with these settings of its peer a."""

    def make(key=None, **settings):
        keys = {}
        if key is not None:
            for one in ("a", "b"):
                keys[one] = {"fleet": {"file": str(_key_file(daemon_of[one].directory, key))}}
            settings["key"] = "fleet"
        both = []
        for here, there, more in (("a", "b", {}), ("b", "a", settings)):
            named = settings if key is not None else more
            daemon_of[here].configure(
                listen=[f"{address[here]}:{PORT}"],
                keys=keys.get(here, {}),
                peers=[peer(there, address[there], source=address[here], **named)],
            )
            both.append(daemon_of[here].start())
        both[0].wait("b", "up")
        both[1].wait("a", "up")
        both[1].beats("a", 2)
        return both

    address = {"a": net(1), "b": net(2)}
    daemon_of = {"a": daemon(), "b": daemon()}
    return make


def _key_file(directory, key):
    file = directory / "fleet.key"
    file.write_text(key)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "how", [{"key": KEY}, {"trust_goodbye": True}], ids=["authenticated", "trusted"]
)
def test_who_is_stopped_has_left(pair, how):
    """Five seconds after a goodbye that no heartbeat follows a peer has left; it is not down."""
    a, b = pair(**how)
    stopped = time.monotonic()
    a.stop()
    view = b.wait("a", "left", "goodbye")
    assert SOON - 0.5 < time.monotonic() - stopped < SOON + 2
    assert "said goodbye (reason: stop)" in view["evidence"][0]
    assert b.states("a") == ["up", "left"]
    entry = b.entry("state", peer="a", state="left")
    assert (entry["PRIORITY"], entry["HBD_CAUSE"]) == ("5", "goodbye")
    a.start()
    b.wait("a", "up")


def test_a_goodbye_of_anybody_is_not_obeyed(pair):
    """Unsigned and not trusted, it changes nothing: who is silent is down, in its own time."""
    a, b = pair()
    a.stop()
    b.wait("a", "down", "port-closed", seconds=3)


def test_a_crash_says_no_goodbye(pair):
    """Who is killed has not left."""
    a, b = pair(key=KEY)
    a.kill()
    b.wait("a", "down", "port-closed", seconds=3)


def test_a_quick_restart_is_nothing(pair):
    """Who is back within five seconds was never gone to its peers, but has a new incarnation."""
    a, b = pair(key=KEY)
    for pause in (0.0, 1.5):
        a.stop()
        time.sleep(pause)
        a.start()
        b.beats("a", 3)
        time.sleep(SOON)
    assert b.states("a") == ["up"]
    until(lambda: len(b.entries("restarted", peer="a")) == 2)
