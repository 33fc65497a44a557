"""Replies to volleys: nearly all that comes is taken here, for next to nothing.

Most of that is to get at what lies anywhere in memory, so little is touched that does not lie
beside what the last reply needed. Whatever is not as expected is left to `Hearing.receive`, which
looks closely.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from hbd.core.model import MICROSECOND
from hbd.core.window import LONGEST
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    aside: list[tuple[bytearray, int]] = []
    octets, stride, second = arrivals.octets, arrivals.stride, ntp.SECOND
    (since, until), offset = between, clock.real - clock.wall
    volley: Volley | None = None
    for index, (owner, rank, length, stamp, ttl) in enumerate(
        zip(
            *_whose(arrivals, at),
            arrivals.lengths,
            arrivals.stamps,
            arrivals.ttls,
            strict=True,
        )
    ):
        if owner is None:
            rest.append(index)
            continue
        if owner is not volley:
            volley = owner
            heard.add(volley)
            sequences, tokens, same = volley.sequences, volley.tokens, volley.same
            answered, fates, moments = volley.answered, volley.fates, volley.moments
            size, ttls, counts, read = volley.size, volley.ttls, volley.counts, volley.form.reader
            began, lefts, timeout = volley.real, volley.lefts, volley.timeout
            sessions = volley.sessions if volley.is_keyed else None
            most = volley.heading.most
        if answered[rank]:
            rest.append(index)
            continue
        counted, t3, estimates, t2, echoed, token, ours, words = read(octets, index * stride)
        moment = until if stamp is None else stamp + offset
        if moment < since or moment > until:
            moment = since if moment < since else until
        rtt = moment - lefts[rank]
        dwell = (t3 - t2) * second >> 32
        uncounted = echoed - counted
        short = (rtt - dwell) // MICROSECOND
        if (
            token != tokens[rank]
            or echoed != sequences[rank]
            or hash((estimates, ours, words)) != same[rank]
            or length != size
            or ttl != ttls[rank]
            or not 0 <= dwell <= moment - began  # each left then or later: steps are not even
            or rtt > timeout
            or short > most < LONGEST
            or (uncounted and not counts[rank])
            or (sessions and not sessions[rank].vouches(arrivals.datagram(index)))
        ):
            rest.append(index)
            answered[rank] = 1  # all of it that comes after this one is looked at after this one
            aside.append((answered, rank))
            continue
        if short < 1:
            short = 1
        elif short > LONGEST:
            short = LONGEST
        fates[rank] = (uncounted & 0xFF) << 24 | short
        answered[rank] = 1
        moments[rank] = moment
    for answered, rank in aside:
        answered[rank] = 0
    return rest, heard


def _whose(
    arrivals: Arrivals, at: Mapping[bytes, Asked]
) -> tuple[Iterable[Volley | None], Iterable[int]]:
    """Give the volley that each is to, if to one, and the rank there of the path that it is from.

    They often come in the order in which they were asked for: one look tells.
    """
    names, count = arrivals.names, len(arrivals.lengths)
    first = at.get(arrivals.place(0))
    if first is not None and first.volley is not None:
        size, volley, rank = len(names) // count, first.volley, first.rank
        if names == volley.ways[rank * size : (rank + count) * size]:
            return repeat(volley, count), range(rank, rank + count)
    paths = list(map(at.get, arrivals.places))
    volleys = [None if path is None else path.volley for path in paths]
    return volleys, [0 if path is None else path.rank for path in paths]
