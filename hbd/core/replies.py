"""Replies to volleys: nearly all that comes is taken here, for next to nothing.

Most of that is to get at what lies anywhere in memory, so little is touched that does not lie
beside what the last reply needed. Whatever is not as expected is left to who looks at it closely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hbd.core.model import MICROSECOND
from hbd.core.window import LONGEST
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hbd.core.arrival import Arrivals
    from hbd.core.asked import Asked
    from hbd.core.clock import Clock
    from hbd.core.volley import Volley


def take(
    arrivals: Arrivals, between: tuple[int, int], clock: Clock, at: Mapping[bytes, Asked]
) -> tuple[list[int], set[Volley]]:
    """Take the replies with which all is well; `at`: whose they are, by where they come from.

    `between`: when all was last read, and was now; a stamp counts from then till then. Gives the
    indices of the others, and the volleys that replies came to.
    """
    rest: list[int] = []
    heard: set[Volley] = set()
    octets, stride, second = arrivals.octets, arrivals.stride, ntp.SECOND
    (since, until), offset = between, clock.real - clock.wall
    volley: Volley | None = None
    places: Sequence[bytes] = ()
    rank = count = 0
    for index, (place, length, stamp, ttl) in enumerate(
        zip(arrivals.places, arrivals.lengths, arrivals.stamps, arrivals.ttls, strict=True)
    ):
        # They often come in the order in which they were asked for.
        rank += 1
        if rank >= count or place != places[rank]:
            path = at.get(place)
            if path is None or path.volley is None:
                rest.append(index)
                continue
            rank = path.rank
            if path.volley is not volley:
                volley = path.volley
                heard.add(volley)
                places, count, read = volley.places, len(volley.places), volley.form.reader
                sequences, tokens, same = volley.sequences, volley.tokens, volley.same
                answered, fates, moments = volley.answered, volley.fates, volley.moments
                size, ttls, counts = volley.size, volley.ttls, volley.counts
                began, step, timeout = volley.real, volley.step, volley.timeout
                sessions = volley.sessions if volley.is_keyed else None
        counted, t3, estimates, t2, echoed, token, ours, words = read(octets, index * stride)
        moment = until if stamp is None else stamp + offset
        if moment < since or moment > until:
            moment = since if moment < since else until
        since_first = moment - began
        rtt = since_first - rank * step
        dwell = (t3 - t2) * second >> 32
        uncounted = echoed - counted
        if (
            answered[rank]
            or token != tokens[rank]
            or echoed != sequences[rank]
            or hash((estimates, ours, words)) != same[rank]
            or length != size
            or ttl != ttls[rank]
            or not 0 <= dwell <= since_first  # it left then or later: steps are not even
            or rtt > timeout
            or (uncounted and not counts[rank])
            or (sessions and not sessions[rank].vouches(arrivals.datagram(index)))
        ):
            rest.append(index)
            continue
        short = (rtt - dwell) // MICROSECOND
        if short > LONGEST or short < 1:
            short = LONGEST if short > LONGEST else 1
        fates[rank] = (uncounted & 0xFF) << 24 | short
        answered[rank] = 1
        moments[rank] = moment
    return rest, heard
