"""A path while it stands in a volley: most of what changes with each heartbeat is kept there.

Nobody need know: who reads such a fact gets what is so now, who changes one makes the path leave.
What is asked by itself is of the other class, and reads its facts for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hbd.core.asked import Asked

if TYPE_CHECKING:
    from hbd.core.awaited import Awaited
    from hbd.core.figures import Figures
    from hbd.core.rounds import Rounds
    from hbd.core.volley import Volley


_UNANSWERED: Final[Any] = vars(Asked)["unanswered"]


def managed(name: str) -> Any:
    """Give a fact that is kept by the volley: written down in the path when it is read."""
    fact = getattr(Asked, name)

    def read(path: Any) -> Any:
        path.volley.settle(path)
        return fact.__get__(path)

    return property(read, _changed(name))


def stood_for(name: str) -> Any:
    """Give a fact that the volley alone knows."""

    def read(path: Any) -> Any:
        return getattr(path.volley, name)(path.rank)

    return property(read, _changed(name))


def handed_over(name: str) -> Any:
    """Give a fact that may be changed by whoever reads it: so the path leaves first."""

    def read(path: Standing) -> Any:
        path.leave()
        return getattr(path, name)

    return property(read, _changed(name))


def _changed(name: str) -> Any:
    def write(path: Standing, value: Any) -> None:
        path.leave()
        setattr(path, name, value)

    return write


class Standing(Asked):
    """A path that is asked together with others."""

    __slots__ = ()

    is_elsewhere = True

    deadline: int | None = managed("deadline")
    figures: Figures = managed("figures")
    last_life: int = stood_for("last_life")
    last_reply_real: int | None = stood_for("last_reply_real")
    last_rtt: int | None = managed("last_rtt")
    lateness = managed("lateness")
    reply_ttl = managed("reply_ttl")
    asked: int | None = managed("asked")
    due = managed("due")
    unanswered: Awaited = handed_over("unanswered")
    last_answered = managed("last_answered")
    last_sent: int = managed("last_sent")
    rounds: Rounds = managed("rounds")
    sequence = managed("sequence")

    def leave(self) -> None:
        """From now on it is asked by itself: something of it is to change."""
        if self.volley is not None:
            self.volley.leave(self)

    def _in_time(self, now: int) -> int:
        if self.volley is not None:
            self.volley.settle(self)
        return len(_UNANSWERED.__get__(self).in_time(now, self.timing.timeout))


def stand(path: Asked, volley: Volley, rank: int) -> None:
    """From now on it stands there."""
    path.volley, path.rank = volley, rank
    path.__class__ = Standing


def step_out(path: Asked) -> Asked:
    """Give a path as one that keeps its facts itself: to leave, or to have them written down."""
    path.__class__ = Asked
    return path
