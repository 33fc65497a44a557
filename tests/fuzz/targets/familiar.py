"""Many datagrams at once to a reflector: answered as they would be one by one."""

from hbd.core.rate import Buckets, Rate
from tests.core.test_familiar import TOLD as OWN_TLV
from tests.core.test_familiar import Asked, Side
from tests.fuzz.draws import Draws, piece
from tests.fuzz.targets._asking import (
    ALLOWED,
    DESTINATIONS,
    OWN,
    ROAMING,
    SOURCES,
    STEPS,
    WALL,
    datagram,
    keys_of,
)


def seeds():
    """A request as an hbd's or a plain one, its like with an octet changed, and both again."""
    changed = (12, 13, 14, 44, 45, 47, 48, 52, 53, 54, 87)
    return [
        bytes([rules]) + 2 * (_first(region) + bytes([1, at, value] * 3 + [step]))
        for rules, step in ((2, 0), (7, 1), (2, 3))
        for region in (OWN_TLV, b"")
        for at in changed
        for value in (0, 1, 4, 0x80)
    ]


def _first(region):
    return bytes([3, 0, 0, 1]) + piece(region) + bytes([0, 0, 7, 5, 1, 61])


def run(octets):
    draws = Draws(octets)
    rules = draws.octet()
    sides = _side(rules), _side(rules)
    now = 0
    while draws:
        come, last = [], None
        for _ in range(draws.octet() % 6 + 1):
            last = _again(last, draws) if last and draws.octet() & 1 else _asked(draws)
            come.append(last)
        now += draws.pick(STEPS)
        one, together = sides
        assert together.together(come, now, WALL + now) == one.one_by_one(come, now, WALL + now)
        assert _known(together) == _known(one)


def _known(side):
    """Who is the newest in a table matters where it is crowded, and none is here."""
    answered, dropped, *tables, overall, refused, heard = side.state()
    return answered, dropped, overall, refused, heard, *map(sorted, tables)


def _side(rules):
    side = Side(Buckets(Rate(per_second=2, burst=6), Rate(per_second=4, burst=12)))
    reflector = side.reflector
    reflector.own, reflector.admission.keys = OWN, keys_of
    reflector.admission.roaming = {"laptop": (ROAMING,)} if rules & 1 else {}
    if not rules & 2:
        reflector.admission.accepts = ALLOWED.__contains__
    if rules & 4:
        side.familiar.is_heeded = SOURCES[0][0].__eq__
    return side


def _asked(draws):
    source, destination = draws.pick(SOURCES), draws.pick(DESTINATIONS)
    asked, _ = datagram(draws)
    stamped = draws.octet()
    return Asked(
        asked,
        source=source,
        destination=destination,
        ttl=draws.octet() or None,
        stamped=WALL - stamped if stamped else None,
    )


def _again(last, draws):
    """The same with an octet changed, or none: who is familiar asks again and again."""
    at, octet = draws.octet(), draws.octet()
    octets = last.octets[:at] + bytes([octet]) + last.octets[at + 1 :] if octet else last.octets
    return Asked(
        octets, source=last.source, destination=last.destination, ttl=61, stamped=last.stamped
    )
