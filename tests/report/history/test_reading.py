"""What is read of a journal that is damaged; a whole one is read in tests/systemd."""

import errno
from itertools import repeat

import pytest

from hbd.report.history.reading import BEYOND, Reading, Unit

WHOLE = {
    "_BOOT_ID": "b",
    "_PID": "7",
    "__REALTIME_TIMESTAMP": 2_000,
    "__MONOTONIC_TIMESTAMP": (1_000, "b"),
}


class Damaged:
    """Gives entries, or fails where libsystemd does."""

    def __init__(self, *found):
        self._found = iter(found)

    def get_next(self):
        one = next(self._found, {})
        if isinstance(one, Exception):
            raise one
        return one


def read(*found):
    reading = Reading(Unit())
    return reading, list(reading._received(Damaged(*found)))


@pytest.mark.parametrize(
    "damage",
    [
        OSError(errno.EBADMSG, "Bad message"),
        OSError("journal gave us a field without '='"),
        UnicodeDecodeError("utf-8", b"_\xceID", 1, 2, "invalid continuation byte"),
        {key: WHOLE[key] for key in WHOLE if key != "_PID"},
        WHOLE | {"_PID": ["7", "8"]},
        WHOLE | {"_PID": "seven"},
    ],
    ids=str,
)
def test_a_damaged_entry_is_counted_and_what_follows_is_read(damage):
    """A machine that lost power has a journal with holes; the report says so, and goes on."""
    reading, found = read(WHOLE, damage, WHOLE)
    assert [(fields["_PID"], receipt.process) for fields, receipt in found] == [("7", 7)] * 2
    assert reading.unreadable == 1


def test_damage_without_end_is_the_end():
    """A file in which libsystemd does not move on keeps nobody waiting."""
    reading, found = read(WHOLE, *repeat(OSError(errno.EBADMSG, "Bad message"), BEYOND), WHOLE)
    assert (len(found), reading.unreadable) == (1, BEYOND)
