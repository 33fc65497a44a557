"""Requests that came together: nearly all are answered here, for next to nothing; the hot path.

Who asks without a key what it asked before in the same session, plain or with hbd's TLV, gets the
reply of before but for numbers and times. Whatever such a request says beside them, but a goodbye,
is nothing to us; so it is spared most of the rules of `Reflector.answer`, which have been asked
before. Whatever is not as expected is left to that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hbd.core.reflector import UNKNOWN_TTL
from hbd.core.visitors import IDLE
from hbd.wire import hbd_tlv, ntp, stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from struct import Struct

    from hbd.core.arrival import Requests
    from hbd.core.reflector import Reflection, Reflector

NO_TIME: Final = bytes(8)
"""In the place of T2, of a request that no reflector has written to."""
PLAIN: Final = stamp.OPEN_SIZE
TOLD: Final = PLAIN + hbd_tlv.SIZE
"""Octets of a request without TLVs, and of one that has hbd's alone."""

_AT: Final = stamp.OPEN
_COUNT_AT: Final = PLAIN + len(hbd_tlv.ANSWERED) + hbd_tlv.ACCEPTED
_FIELDS: Final = (
    (0, "I"),
    (_AT.timestamp, "Q"),
    (_AT.estimate, "H"),
    (_AT.ssid, "2s"),
    (_AT.receive_timestamp, "Q"),
    (_AT.sender_sequence, "12s"),
    (_AT.sender_estimate, "2s"),
    (_AT.sender_ttl, "B"),
)
"""Of a reply: number, T3, estimate and SSID, T2; of the request number with T1, estimate, TTL;"""
_WORDS: Final = ((PLAIN, f"{_COUNT_AT - PLAIN}s"), (_COUNT_AT, "I"))
"""hbd's TLV up to the count of those accepted, and that."""
_PLAIN: Final = stamp.reader(_FIELDS, PLAIN)
_TOLD: Final = stamp.reader((*_FIELDS, *_WORDS), TOLD)


class Familiar:
    """Answers what came together just as the reflector would, one by one in order."""

    def __init__(self, reflector: Reflector) -> None:
        self._reflector: Final = reflector
        self.is_heeded: Callable[[str], bool] = lambda _: False
        """Whether a request from an address means more than that it is to be answered."""
        self.knew_all = False
        """Whether all that came together last was familiar."""
        self._rules: tuple[object, ...] = ()
        """Those by which it was decided who is."""

    def answer(
        self,
        requests: Requests,
        answer_one: Callable[[int], Reflection | None],
        *,
        now: int,
        wall: int,
    ) -> list[bytes | None]:
        """Give the replies, None where there is none.

        `answer_one` has the reflector answer the one at an index, and notes what is to be told of
        it. `now` is monotonic, `wall` nanoseconds since 1970.
        """
        self._look_at_rules()
        reflector, visitors = self._reflector, self._reflector.visitors
        known, requests_from, buckets = visitors.familiar, visitors.requests_from, visitors.buckets
        are_crowded, awake, granted = visitors.are_crowded(), now - IDLE, 0
        is_calm, grants = buckets.have(len(requests.lengths), now), buckets.grants
        estimate, t3 = reflector.station.estimate, ntp.ntp_from_unix(wall)
        words = hbd_tlv.ANSWERED + reflector.station.answer[: hbd_tlv.ACCEPTED]
        replies: list[bytes | None] = []
        fields = _layout(requests.stride).iter_unpack(requests.octets)
        columns = zip(fields, *requests[2:], strict=True)
        for (
            asked,
            error,
            ssid,
            t2_asked,
            mark,
            flags,
        ), length, place, way, stamped, ttl in columns:
            spelling = place + way + ssid
            session = known.get(spelling)
            if (
                session is None
                or length not in (TOLD, PLAIN)
                or (length == TOLD and (mark != hbd_tlv.ASKED or flags & hbd_tlv.GOODBYE))
                or not error[1]
                or t2_asked != NO_TIME
                or session.heard < awake
                or not (is_calm and grants(session.bucket, now))
            ):
                reflection = answer_one(len(replies))
                replies.append(None if reflection is None else reflection.reply)
                if reflection is not None:
                    self._get_to_know(reflection, spelling)
                continue
            granted += 1
            sequence = session.accepted % ntp.WORD
            session.accepted += 1
            session.heard = requests_from[session.host] = now
            if are_crowded:
                visitors.renew(session)
            t2 = t3 if stamped is None else ntp.ntp_from_unix(stamped)
            hops = UNKNOWN_TTL if ttl is None else ttl
            if length == TOLD:
                accepted = session.accepted % ntp.WORD
                reply = _TOLD.pack(
                    sequence, t3, estimate, ssid, t2, asked, error, hops, words, accepted
                )
            else:
                reply = _PLAIN.pack(sequence, t3, estimate, ssid, t2, asked, error, hops)
            replies.append(reply)
        self.knew_all = granted == len(replies)
        reflector.answered += granted
        buckets.charge(granted, now)
        return replies

    def _look_at_rules(self) -> None:
        """Let nobody be familiar any more where that may be decided otherwise now."""
        reflector, admission = self._reflector, self._reflector.admission
        rules = reflector.ports, reflector.own, admission.accepts, admission.keys, self.is_heeded
        if rules != self._rules:
            reflector.visitors.familiar.clear()
            self._rules = rules

    def _get_to_know(self, reflection: Reflection, spelling: bytes) -> None:
        """Take note of how a request was spelt that was answered, if its like is familiar.

        A goodbye makes all strangers: whatever comes next from that host says that it is back.
        """
        visitors, session = self._reflector.visitors, reflection.session
        if reflection.goodbye is not None:
            visitors.familiar.clear()
        elif reflection.sender.key is None and not self.is_heeded(session.host):
            visitors.get_to_know(session, spelling)


@lru_cache(maxsize=8)
def _layout(stride: int) -> Struct:
    """Give what is read of requests, each a stride after the one before.

    Number and T1 as they are, estimate and SSID; what is T2 in a reply; of hbd's TLV the mark and
    the flags.
    """
    mark = PLAIN + 1
    fields = (
        (0, "12s"),
        (_AT.estimate, "2s"),
        (_AT.ssid, "2s"),
        (_AT.receive_timestamp, "8s"),
        (mark, f"{len(hbd_tlv.ASKED)}s"),
        (mark + len(hbd_tlv.ASKED), "B"),
    )
    return stamp.reader(fields, stride)
