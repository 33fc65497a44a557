"""What a daemon measures, and `hbd check` says of it."""

import pytest
from reflectors import Lossy
from running import peer, until

pytestmark = pytest.mark.slow

TIMING = {"interval": "100ms", "timeout": "50ms", "retries": 3}


def test_check_speaks_of_what_the_daemon_has_measured(daemon, reflector, net):
    """One heartbeat of three is lost: check says so of that very peer while the daemon runs."""
    reflector(net(1), Lossy(3))
    one = daemon(peers=[peer("a", net(1), **TIMING)])
    assert one.hbd("check", one.file).stderr == ""
    one.start()
    until(lambda: sum(one.peer("a")["paths"][0]["rounds"][1:]) >= 12, 20)
    done = one.hbd("check", one.file)
    assert done.returncode == 0
    assert ": warning: peer a: at the measured loss of " in done.stderr
    assert "`retries: 3` expects " in done.stderr
    one.configure(peers=[peer("a", net(2), **TIMING)])
    assert one.hbd("check", one.file).stderr == ""
