"""Replies to many heartbeats at once, bent on their way: what is known is as path by path."""

from hbd.core.model import MILLISECOND, SECOND, StampOptions
from hbd.core.stamp import Keys
from hbd.wire import stamp
from tests.core.test_volleys import NAMED, REST, TIMING, Net, agree, each, exactly, told
from tests.core.test_volleys_keyed import OLD
from tests.fuzz.draws import Draws
from tests.simulation.world import peer

LONGEST = 96
ROUNDS = 4
DELAYS = (0, 1, 240 * MILLISECOND, 250 * MILLISECOND, 251 * MILLISECOND, SECOND, 3 * SECOND)
SOURCES = (None, None, None, ("10.0.0.2", 862), ("10.0.0.1", 863), ("10.9.9.9", 862))


def seeds():
    """One octet after the other, and one reply in each way."""
    bent = [bytes([form, 0, 1, 0, 0, 0, 1, at, 1]) for form in (0, 1) for at in range(3, 196, 14)]
    more = [
        bytes([form, way, 2, delay, source, 64, 0, 2, 0, 0, 61, 0, 3, delay, 0, 61, 0])
        for form in (0, 2)
        for way in range(1, 2)
        for delay in (0, 3, 6)
        for source in (0, 5)
    ]
    return [*bent, *more]


def run(octets):
    draws = Draws(octets)
    form = draws.octet()
    keys = Keys(OLD, (OLD,)) if form & 1 else None
    options = StampOptions(trust_goodbye=bool(form & 2), size=300 if form & 4 else None)
    with exactly():
        worlds = _pair(keys, options)
        rounds = 0
        while draws and rounds < ROUNDS:
            rounds += 1
            name, number = ("a", "b", "a", "a")[draws.octet() & 3], draws.octet() % 4
            changes = [_change(draws) for _ in range(number)]
            place = name, f"10.0.0.{dict(map(reversed, NAMED))[name]}"
            twist = _twist(changes, keyed=keys is not None)
            for world in worlds:
                world.twists[place] = twist
                world.run(SECOND)
            agree(*worlds)
        each(worlds, lambda world: world.run(4 * SECOND))
        agree(*worlds)
        assert told(worlds[0]) == told(worlds[1])


def _pair(keys, options):
    worlds = tuple(Net(1, volleys=volleys, weather=False, keys=keys) for volleys in (True, False))
    for world in worlds:
        if keys is not None:
            for number, _ in NAMED:
                world.hosts_at[f"10.0.0.{number}"].keys = (OLD,)
        world.watch(*(peer(name, f"10.0.0.{n}", timing=TIMING, stamp=options) for n, name in NAMED))
        world.run(5 * TIMING.interval + REST)
    return worlds


def _change(draws):
    """When a copy of the reply comes, from whom, and with which octets changed."""
    delay, source, ttl = draws.pick(DELAYS), draws.pick(SOURCES), draws.octet()
    edits = [(draws.octet(), draws.octet()) for _ in range(draws.octet() % 4)]
    cut = draws.octet() if edits and edits[0][0] > 200 else 0
    return delay, source, ttl or None, edits, cut


def _twist(changes, *, keyed):
    def twist(at, reply, source, _ttl):
        # Of copies that are read at once that one counts which is as ever, not the first.
        return [
            _bent(at + 2 * number, reply, source, change, keyed=keyed)
            for number, change in enumerate(changes)
        ]

    return twist


def _bent(at, reply, source, change, *, keyed):
    delay, another, ttl, edits, cut = change
    bent = bytearray(reply)
    for place, octet in edits:
        if place < len(bent):
            bent[place] ^= octet
    bent = bent[: len(bent) - cut] if cut < len(bent) else bent
    # An odd TTL: the reflector itself says it.
    if keyed and ttl and ttl & 1 and len(bent) > stamp.AUTH_SIZE + 20:
        stamp.seal(memoryview(bent), OLD)
    return at + delay, bytes(bent), another or source, ttl
