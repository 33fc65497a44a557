"""Volleys of paths with keys: nothing counts that was not signed."""

import pytest

from hbd.core.model import SECOND, StampOptions
from hbd.core.stamp import Keys
from hbd.wire import hbd_tlv, stamp, tlv
from hbd.wire.auth import Key
from tests.core.test_volleys import (
    NAMED,
    REST,
    TIMING,
    A,
    Net,
    agree,
    each,
    exactly,
    flipped,
    stands,
)
from tests.simulation.world import peer

OLD, NEW = Key(b"old" * 8), Key(b"new" * 8)
WORDS = stamp.AUTH_SIZE + 4
"""Where the value of hbd's TLV begins."""


def pair(accept=(OLD,), **settings):
    """Give two worlds with the same keys, one of them without volleys, between two rounds."""
    worlds = tuple(
        Net(1, volleys=volleys, weather=False, keys=Keys(OLD, accept)) for volleys in (True, False)
    )
    for world in worlds:
        for n, _ in NAMED:
            world.hosts_at[f"10.0.0.{n}"].keys = (OLD, NEW)
        world.watch(*(peer(name, f"10.0.0.{n}", timing=TIMING, **settings) for n, name in NAMED))
        world.run(5 * TIMING.interval + REST)
    assert worlds[0].standing == len(NAMED)
    return worlds


def is_sealed(request, key):
    sequence = int.from_bytes(request[:4], "big")
    told = request[stamp.AUTH_SIZE :]
    return stamp.is_signed(request, key) and tlv.verifies(key, sequence, told)


def forged(change):
    """Have a reply changed by somebody who has no key."""
    return lambda at, reply, source, ttl: [(at, change(reply), source, ttl)]


def signed(change, key=OLD):
    """Have the reflector itself say something else."""

    def twist(at, reply, source, ttl):
        octets = bytearray(change(reply))
        stamp.seal(memoryview(octets), key)
        return [(at, bytes(octets), source, ttl)]

    return twist


@pytest.mark.parametrize("size", [None, 300])
def test_who_has_keys_is_asked_with_others(size):
    """What is sent and known is as path by path, and no reply is taken by itself."""
    with exactly():
        worlds = together, _ = pair(stamp=StampOptions(size=size))
        before = together.by_itself
        for _ in range(10):
            each(worlds, lambda world: world.run(SECOND))
            agree(*worlds)
            requests = [world.last["a"] for world in worlds]
            assert all(is_sealed(datagram, OLD) for _, datagram in requests)
        assert together.by_itself == before
        assert stands(together)


def test_whoever_changes_an_octet_of_a_reply_changes_nothing_else():
    """Wherever it is: the reply is as none, or its TLVs are; all is as path by path."""
    with exactly():
        worlds = together, _ = pair()
        size = len(together.last["a"][1])
        assert size == stamp.AUTH_SIZE + 44 + 20
        for at in range(size):
            before, lost = together.by_itself, lost_of(together)
            each(worlds, lambda world, at=at: world.twists.update({A: forged(flipped(at))}))
            for _ in range(3):
                each(worlds, lambda world: world.run(SECOND))
                agree(*worlds)
            while together.path("a").asked is not None:
                each(worlds, lambda world: world.run(SECOND // 100))
            assert stands(together), at
            assert together.by_itself > before, at
            # Of one whose TLVs alone were changed the rest counts.
            assert lost_of(together) == lost + (at < stamp.AUTH_SIZE), at


def lost_of(world):
    figures = world.path("a").figures
    return figures.sent - figures.received


ODD = {
    "another incarnation": signed(flipped(WORDS + 15)),
    "another state": signed(flipped(WORDS + 6)),
    "goodbye": signed(flipped(WORDS + 5, hbd_tlv.GOODBYE)),
    "another node": signed(flipped(WORDS + 23)),
    "another SSID": signed(flipped(27)),
    "another estimate": signed(flipped(25)),
    "another number asked": signed(flipped(51)),
    "another T1": signed(flipped(71)),
    "another TTL there": signed(flipped(80)),
    "what has to be zero": signed(flipped(90)),
    "no HMAC TLV at the end": signed(flipped(stamp.AUTH_SIZE + 45, 1)),
    "another TTL": lambda at, reply, source, _: [(at, reply, source, 63)],
    "more octets": signed(lambda reply: reply + bytes(4)),
    "signed by another key": signed(lambda reply: reply, NEW),
    "open mode": forged(lambda reply: reply[:44]),
    "no reply": lambda *_: [],
}
EVEN = {
    "another number of those accepted": signed(flipped(WORDS + 35)),
    "signed anew": signed(lambda reply: reply),
}


@pytest.mark.parametrize("twist", ODD.values(), ids=ODD)
def test_a_reply_that_is_not_as_ever_is_judged_by_itself(twist):
    """What comes of it is as path by path, at once and later; the path leaves and comes back."""
    with exactly():
        worlds = together, _ = pair()
        before = together.by_itself
        each(worlds, lambda world: world.twists.update({A: twist}))
        for span in (REST + TIMING.timeout - 1, 1, *[SECOND + 7] * 6):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
        assert together.by_itself > before
        assert stands(together)


@pytest.mark.parametrize("twist", EVEN.values(), ids=EVEN)
def test_a_reply_that_says_nothing_new_is_taken_with_the_others(twist):
    with exactly():
        worlds = together, _ = pair()
        before = together.by_itself
        each(worlds, lambda world: world.twists.update({A: twist}))
        for span in (REST + TIMING.timeout - 1, 1, SECOND, 3 * SECOND):
            each(worlds, lambda world, span=span: world.run(span))
            agree(*worlds)
        assert together.by_itself == before


def test_a_reflector_with_keys_that_counts():
    with exactly():
        worlds = pair()
        for uncounted in (0, 1, 2, 300, 2, 0, 0):
            for world in worlds:
                world.hosts_at["10.0.0.1"].flags = hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL
                world.hosts_at["10.0.0.1"].uncounted = uncounted
                world.run(2 * SECOND)
            agree(*worlds)


def test_another_key_takes_the_place_of_the_first():
    """We sign with the new one from the next heartbeat on; both are taken as long as both count."""
    with exactly():
        worlds = together, alone = pair(accept=(NEW, OLD))
        for world in worlds:
            world.fleet.peers["a"].paths[0].session._keys.sign = NEW
        before = together.by_itself
        for _ in range(4):
            each(worlds, lambda world: world.run(SECOND))
            agree(*worlds)
        assert together.by_itself == before
        assert is_sealed(together.last["a"][1], NEW)
        for world in worlds:
            world.fleet.peers["a"].paths[0].session._keys.accept = (OLD,)
        for _ in range(8):
            each(worlds, lambda world: world.run(SECOND))
            agree(*worlds)
        assert together.fleet.dropped == alone.fleet.dropped
        assert sum(together.fleet.dropped.values()) > 0
