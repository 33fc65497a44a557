"""One machine: its paths, and the verdict over them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.figures import NOTHING
from hbd.core.model import RANK, SECOND, Cause, PeerSettings, State
from hbd.core.rate import Rate, spend
from hbd.core.spans import shown, timeout_for
from hbd.core.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.core.directions import Directions
    from hbd.core.path import Path

LEAVING: Final = (Cause.BFD_ADMIN_DOWN, Cause.GOODBYE)
"""It stopped on purpose, and said so."""

TOLD: Final = Rate(per_second=1, burst=60)
"""Changes of one peer's state and restarts that are told. What we measure changes less often; but a
router may say a thousand times a second that it is up or down, and each is an entry, a record and a
file."""

ANSWERING: Final = (State.UP, State.DEGRADED)

REFINEMENTS: Final = 3
"""So many times a cause may become known better within one state, each an entry; more are shown."""


class Verdict(NamedTuple):
    """A state with its reasons."""

    state: State
    cause: Cause | None = None
    address: str | None = None
    evidence: tuple[str, ...] = ()


class Pause(NamedTuple):
    """Maintenance: measured, not judged."""

    until: int
    """Wall clock, nanoseconds."""
    reason: str
    by: str

    @property
    def words(self) -> str:
        until = datetime.fromtimestamp(self.until // SECOND, UTC).isoformat()
        return f"paused by {self.by} until {until}" + (f": {self.reason}" if self.reason else "")


class Peer(Timer):
    """A peer; its deadline is when its pause, or a withheld verdict, is looked at again."""

    __slots__ = (
        "cause",
        "children",
        "evidence",
        "first_verdict",
        "former",
        "paths",
        "pause",
        "refinements",
        "restored",
        "settings",
        "since",
        "since_real",
        "state",
        "told_full_at",
    )

    def __init__(self, settings: PeerSettings, since: int, since_real: int) -> None:
        super().__init__()
        self.settings = settings
        self.paths: tuple[Path, ...] = ()
        self.former = NOTHING
        """What was counted on paths that it has no more."""
        self.children: tuple[Peer, ...] = ()
        """The peers whose `via` this one is."""
        self.state = State.UNKNOWN
        self.cause: Cause | None = None
        self.evidence: tuple[str, ...] = ()
        self.since = since
        """Wall clock."""
        self.since_real = since_real
        """Monotonic; of a state from before the start it lies in the past."""
        self.restored = False
        """State and since are from before the start; no verdict has been given since."""
        self.first_verdict = True
        self.refinements = 0
        self.pause: Pause | None = None
        self.told_full_at = 0
        """When as much of it may be told at once as ever: see `rate.spend`."""

    def may_be_told(self, now: int) -> bool:
        """Whether something of it may be told now, which then counts as told."""
        full_at = spend(self.told_full_at, now, TOLD)
        if full_at is not None:
            self.told_full_at = full_at
        return full_at is not None

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def last_reply_real(self) -> int | None:
        return max((p.last_reply_real for p in self.paths if p.last_reply_real), default=None)

    @property
    def last_rtt(self) -> int | None:
        rtts = (path.figures.window.last_rtt() for path in self.paths)
        return next((rtt for rtt in rtts if rtt is not None), None)

    def loss(self, now: int) -> float | None:
        """The loss of the worst path, of those that are up where there are any."""
        return self._most_lossy(now).loss(now)

    def directions(self, now: int) -> Directions | None:
        """Where that path loses; None where that is not known."""
        return self._most_lossy(now).directions(now)

    def _most_lossy(self, now: int) -> Path:
        if len(self.paths) == 1:
            return self.paths[0]
        paths = [path for path in self.paths if path.state is State.UP] or self.paths
        return max(paths, key=lambda path: _known(path.loss(now)))

    @property
    def answers(self) -> bool:
        return self.state in ANSWERING

    @property
    def is_heard(self) -> bool:
        """Whether it answers, whatever is told of it: it may be paused."""
        return any(path.state is State.UP for path in self.paths)

    def is_news(self, verdict: Verdict) -> bool:
        """Whether a verdict is another than the one before."""
        if verdict.state is State.UNKNOWN and verdict.cause is None:
            # To know nothing yet is no news, unless there was nothing but a pause before.
            return self.state is State.PAUSED
        if self.restored and not self._replaces_restored(verdict):
            return False
        return (verdict.state, verdict.cause) != (self.state, self.cause)

    def confirm(self, verdict: Verdict) -> None:
        """Take a verdict that is no news: what was stored holds, the evidence may be fresher."""
        if (verdict.state, verdict.cause) != (self.state, self.cause):
            return
        self.evidence = verdict.evidence
        if self.restored and self._replaces_restored(verdict):
            self.restored = self.first_verdict = False

    def _replaces_restored(self, verdict: Verdict) -> bool:
        # Half the paths tell half the story: a stored state gives way only to a whole one, or to
        # an answer where there was none.
        whole = all(path.judged or path.unresolved is not None for path in self.paths)
        answers = verdict.state in ANSWERING and not self.answers
        return whole or answers or verdict.state is State.PAUSED


def _known(loss: float | None) -> float:
    return -1.0 if loss is None else loss


def measure(peer: Peer, now: int) -> Verdict:
    """Judge a peer by its paths alone."""
    up = [path for path in peer.paths if path.state is State.UP]
    down = [path for path in peer.paths if path.state is State.DOWN]
    if up:
        return _answering(up, [path for path in down if path.goodbye is None], now)
    if len(down) < len(peer.paths):
        return _unknown(peer.paths)
    return _silent(down)


def evidence(peer: Peer, now: int) -> tuple[str, ...]:
    """Give what its state rests on: figures are of now, where they still say the same."""
    if peer.state is State.DEGRADED:
        verdict = measure(peer, now)
        if (verdict.state, verdict.cause) == (peer.state, peer.cause):
            return verdict.evidence
    return peer.evidence


def _answering(up: list[Path], down: list[Path], now: int) -> Verdict:
    troubles = [
        Verdict(State.DEGRADED, cause, path.address, (f"{path.address}: {words(path, now)}",))
        for path in up
        for cause, is_so, words in (
            (Cause.TOO_TIGHT, path.figures.tight, _tight),
            (Cause.LOSSY, path.figures.lossy, _lossy),
            (Cause.SLOW, path.figures.slow, _slow),
        )
        if is_so
    ]
    for path in down:
        fact = path.failure()
        words = f"{path.address}: {fact.cause}: {fact.text}"
        troubles.append(Verdict(State.DEGRADED, Cause.PATH_DOWN, path.address, (words,)))
    if troubles:
        return _worst(troubles)
    # Of several that which came up last: it is what has changed.
    newest = min(up, key=lambda path: len(path.figures.window))
    return Verdict(State.UP, None, newest.address)


def _lossy(path: Path, now: int) -> str:
    loss, limit = path.loss(now), path.limits.max_loss
    if loss is None or limit is None:
        return "loss above max_loss before the start"
    # It ends well below the limit only.
    side = "above" if loss > limit else "not below half of"
    last = f"the last {path.figures.window.measured()}"
    words = f"loss {100 * loss:.3g} % of {last}, {side} max_loss {100 * limit:.3g} %"
    return words + _directions(path, now)


def _directions(path: Path, now: int) -> str:
    directions = path.directions(now)
    if directions is not None:
        out, back = (f"{100 * share:.3g} %" for share in directions)
        return f": {out} on the way there, {back} on the way back"
    if path.peer.settings.protocol != "stamp":
        return ""
    if not path.figures.window.is_counted:
        return ", direction not known: the reflector is not known to be stateful"
    return ", direction not known: the reflector's count does not tell of most of them"


def _slow(path: Path, _: int) -> str:
    return _above(path, path.limits.max_rtt, "max_rtt")


def _tight(path: Path, _: int) -> str:
    timing, latest = path.timing, path.figures.p99_rtt
    words = _above(path, timing.timeout, "timeout")
    return words if latest is None else f"{words}; {timeout_for(latest, timing.interval)}"


def _above(path: Path, limit: int | None, name: str) -> str:
    median = path.figures.median_rtt
    if median is None or limit is None:
        return f"RTT above {name} before the start"
    side = "above" if median > limit else "not below four fifths of"
    return f"RTT median {shown(median)}, {side} {name} {shown(limit)}"


def _unknown(paths: Iterable[Path]) -> Verdict:
    reasons = []
    for path in paths:
        if path.fault is not None and path.state is State.UNKNOWN:
            words = f"{path.address}: {path.fault.text}"
            reasons.append(Verdict(State.UNKNOWN, path.fault.cause, path.address, (words,)))
        elif path.unresolved is not None:
            words = f"{path.address}: {path.unresolved}"
            reasons.append(Verdict(State.UNKNOWN, Cause.UNRESOLVED, path.address, (words,)))
    return _worst(reasons) if reasons else Verdict(State.UNKNOWN)


def _silent(down: list[Path]) -> Verdict:
    verdicts = []
    for path in down:
        fact = path.failure()
        facts = [f"{path.address}: {words}" for words in path.evidence(fact)]
        if path.lonely and path.goodbye is None:
            facts.append(f"{path.address}: {_lonely(path)}")
        state = State.LEFT if fact.cause in LEAVING else State.DOWN
        verdicts.append(Verdict(state, fact.cause, path.address, tuple(facts)))
    return _worst(verdicts)


def _lonely(path: Path) -> str:
    where = "it is not known how it is reached"
    if path.egress is not None:
        where = f"no other peer was up on {path.egress.key}"
    ours = (
        "a firewall there and one of our own" if path.is_alive else "this peer and our own uplink"
    )
    return f"{where}: {ours} cannot be told apart"


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Give the most telling cause, with the evidence of all."""
    if len(verdicts) == 1:
        return verdicts[0]
    first = min(verdicts, key=lambda verdict: RANK[verdict.cause] if verdict.cause else len(RANK))
    others = [fact for verdict in verdicts if verdict is not first for fact in verdict.evidence]
    return first._replace(evidence=first.evidence + tuple(others))


def judge(peer: Peer, parent: Peer | None, now: int) -> Verdict:
    """Judge a peer, its pause and what lies between us and it included."""
    if peer.pause is not None:
        return Verdict(State.PAUSED, Cause.PAUSED, None, (peer.pause.words,))
    verdict = measure(peer, now)
    if verdict.state is not State.DOWN or parent is None:
        return verdict
    return _behind(parent, peer, verdict, now)


def _behind(parent: Peer, peer: Peer, verdict: Verdict, now: int) -> Verdict:
    """Judge a silent peer by its parent: who has answered since may not be to blame."""
    # A pause hides what is told of the parent, not what is known.
    known = parent if parent.pause is None else measure(parent, now)
    if known.state is State.UNKNOWN and known.cause is not Cause.UNWATCHED:
        why = f" ({known.cause})" if known.cause else ": it has had no verdict yet"
        words = f"via {parent.name}: unknown{why}"
        return Verdict(State.UNKNOWN, known.cause, verdict.address, (words, *known.evidence))
    if not is_behind_silence(parent, peer, now):
        return verdict
    words = f"via {parent.name}: {parent.state}" + (f" ({parent.cause})" if parent.cause else "")
    if parent.answers:
        has_left = any(path.goodbye for path in parent.paths)
        why = "it said goodbye" if has_left else "silent as well, its own verdict is yet to come"
        words = f"via {parent.name}: {why}"
    return Verdict(
        State.UNREACHABLE, Cause.PARENT_DOWN, verdict.address, (words, *verdict.evidence)
    )


def is_behind_silence(parent: Peer, peer: Peer, now: int) -> bool:
    """Whether the parent, judged or on its way to it, is silent since the peer began to miss."""
    is_down = _is_down(parent, now)
    if is_down and peer.state is State.UNREACHABLE:
        return True  # it is free when the parent is up, not when that begins to answer
    silent = is_down or all(path.is_failing or path.goodbye for path in parent.paths)
    return silent and not _has_answered_since(parent, peer, now)


def _is_down(parent: Peer, now: int) -> bool:
    """Whether it is known not to be there; a pause hides what is told, not what is known."""
    if parent.pause is not None:  # who keeps a session with us may say in it that it is there
        return all(
            path.state is State.DOWN and path.last_word(now) <= path.last_life
            for path in parent.paths
        )
    is_failed = parent.cause is not Cause.BFD_ADMIN_DOWN  # RFC 5882 4.2
    return is_failed and parent.state in (State.DOWN, State.UNREACHABLE, State.LEFT)


def _has_answered_since(parent: Peer, peer: Peer, now: int) -> bool:
    """Whether the parent was heard after the child began to miss."""
    began = max(path.first_missed for path in peer.paths)
    return any(path.last_word(now) > began for path in parent.paths)
