"""What befalls the daemon: each fault begins, holds for a while, and is over.

Faults of different groups come together. The world changes before one, or in the midst of it.
"""

import time
from contextlib import contextmanager

TIMINGS = [
    {"interval": "300ms", "timeout": "150ms", "retries": 3, "rise": 2},
    {"interval": "250ms", "timeout": "200ms", "retries": 3, "rise": 1},
    {"interval": "400ms", "timeout": "150ms", "retries": 4, "rise": 3},
]
BAD = ["peers: [", "peers: [{name: east1}]", "no_such_key: 1\npeers: []\n", "\0\xff", ""]
"""Configurations that are refused."""


def between(begin, end=lambda _: None):
    """Make a fault of how it begins and ends."""

    @contextmanager
    def fault(run):
        begin(run)
        yield
        end(run)

    return fault


def crash_as_it_tells(run):
    """Kill -9 just as the first change is told; the start follows at once."""
    run.hears("state", seconds=2.0)
    time.sleep(run.dice.uniform(0.0, 0.004))
    run.crash()
    run.start()


def crash_as_it_starts(run):
    """Kill -9, and again while it starts."""
    for _ in range(run.dice.randint(1, 3)):
        run.crash()
        run.host.launch()
        run.oracle.expect("start", sure=False)
        time.sleep(run.dice.uniform(0.1, 0.7))
    run.crash()


@contextmanager
def restart(run):
    """SIGTERM, and after a while a start."""
    began = time.monotonic()
    run.stop()
    yield
    run.start()
    run.restarted(began)


def watchdog(run):
    """SIGSTOP, until systemd ends it."""
    run.host.await_watchdog()
    run.start()


def replaced(how):
    """Give a restart by one command of an administrator."""

    def begin(run):
        began = time.monotonic()
        how(run.host)
        run.oracle.expect("stop")
        run.start()
        run.restarted(began)

    return between(begin)


def _not_stored(run):
    """Give how many changes the process says that it could not store; none, if it cannot say."""
    return run.host.status()["store"]["not_stored"] if run.host.is_well() else 0


@contextmanager
def disk_full(run):
    """The file system of the states is full: what is not written is told all the same, and said."""
    before = _not_stored(run)
    run.host.disk.fill()
    yield
    if _not_stored(run) > before:  # some may fit into the last block
        run.oracle.owe("cannot store states")
    run.host.disk.free()
    run.await_store(time.time())


@contextmanager
def no_descriptors(run):
    """The process has no file descriptor left, or even too many."""
    before = run.host.limit_descriptors(run.dice.choice([0, 0, 3]))
    yield
    run.host.lift_limit(before)
    # What was refused for want of one.
    run.reload()
    run.oracle.expect("reload-refused", sure=False)


def bad_reload(run):
    """A bad configuration is refused, and mended."""
    good = run.host.file.read_text()
    run.host.file.write_text(run.dice.choice(BAD))
    run.host.signal("HUP")
    # Where the journal takes nothing we do not know when it was read, if in time.
    is_heard = run.hears("reload-refused", seconds=5.0)
    run.oracle.expect("reload-refused", sure=is_heard)
    run.host.file.write_text(good)
    if not is_heard:
        run.oracle.expect("reload", sure=False)


NETWORK = {
    "another address": between(lambda run: run.world.readdress(run.link())),
    "link blinks": between(lambda run: run.world.blink(run.link())),
}
CONFIGURATION = {
    "reload": between(lambda run: run.reload()),
    "bad reload": between(bad_reload),
}
CRASHES = {
    "kill -9": between(lambda run: run.crash(), lambda run: run.start()),
    "kill -9 as it tells": between(crash_as_it_tells),
    "kill -9 as it starts": between(crash_as_it_starts, lambda run: run.start()),
}
PROCESS = [
    {
        "disk full": disk_full,
        "/run full": between(
            lambda run: run.host.runtime.fill(), lambda run: run.host.runtime.free()
        ),
        "no descriptors": no_descriptors,
    },
    {
        "journald stuck": between(
            lambda run: run.host.journald.stick(), lambda run: run.host.journald.resume()
        ),
        "journald gone": between(
            lambda run: run.host.journald.gone(), lambda run: run.host.journald.back()
        ),
        "notify stuck": between(
            lambda run: run.host.pid1.stick(), lambda run: run.host.pid1.resume()
        ),
        "notify gone": between(lambda run: run.host.pid1.gone(), lambda run: run.host.pid1.back()),
    },
    NETWORK,
    CONFIGURATION,
    {
        **CRASHES,
        "restart": restart,
        "stall": between(lambda run: run.host.signal("STOP"), lambda run: run.host.signal("CONT")),
    },
]
"""Groups, in the order in which faults begin where several come together."""
CONTAINER = [
    {"disk full": disk_full},
    {
        "journald stopped": between(
            lambda run: run.host.signal("STOP", "systemd-journald"),
            lambda run: run.host.signal("CONT", "systemd-journald"),
        ),
        "journald killed": between(lambda run: run.host.signal("KILL", "systemd-journald")),
        "journald restarted": between(
            lambda run: run.host.systemctl("restart", "systemd-journald")
        ),
    },
    NETWORK,
    CONFIGURATION,
    {
        **CRASHES,
        "watchdog": between(watchdog),
        "systemctl restart": replaced(lambda host: host.systemctl("restart", "hbd")),
        "upgrade": replaced(lambda host: host.upgrade()),
        "systemctl stop": between(lambda run: run.stop(), lambda run: run.start()),
    },
]
UNSURE = {*CRASHES, "watchdog"}
"""After these an entry may come once more."""
ENDINGS = {*UNSURE, "restart", "systemctl restart", "upgrade", "systemctl stop"}
"""The process ends."""


def draw(dice, groups):
    """Give one fault, or two of different groups, by name."""
    chosen = sorted(dice.sample(range(len(groups)), dice.choice([1, 1, 2])))
    drawn = dict(dice.choice([*groups[one].items()]) for one in chosen)
    if ENDINGS & drawn.keys():
        # No daemon starts with a bad file, and a new process has the usual limit.
        for name in ("bad reload", "no descriptors"):
            drawn.pop(name, None)
    return drawn
