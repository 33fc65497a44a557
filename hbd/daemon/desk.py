"""What the control socket answers: status, explanations, changes."""

from __future__ import annotations

import fnmatch
import grp
import json
import os
import pwd
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hbd.core.model import SECOND
from hbd.core.peer import Pause
from hbd.daemon import status
from hbd.daemon.selection import Selection
from hbd.daemon.teller import began
from hbd.report import places, tally, varlink
from hbd.report.call import Answer, Call, Follow, Later, Stream
from hbd.report.control import ControlServer, SocketTakenError
from hbd.report.varlink import RefusedError
from hbd.report.words import is_pattern, moment, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hbd.core.events import StateChanged
    from hbd.core.model import Cause, State
    from hbd.core.peer import Peer
    from hbd.core.roster import Change
    from hbd.daemon.daemon import Daemon
    from hbd.daemon.reloading import Done

GROUP: Final = "hbd"
"""Its members may reload, pause and resume."""

DEFAULT_PAUSE_USEC: Final = 3_600 * 1_000_000
LONGEST_PAUSE_USEC: Final = 10 * 365 * 86_400 * 1_000_000
REASON_LIMIT: Final = 200
CHANGES: Final = 100
"""Peers that are paused or resumed in one turn of the loop, about seven milliseconds."""

EVIDENCE_PATIENCE: Final = 4 * SECOND
"""So long an explanation waits for fresh evidence; what comes later is in the next one."""
EXPLANATIONS: Final = 64
"""So many may wait at a time; who comes then is told what is known already."""

OPEN_AGAIN: Final = 3 * SECOND
"""A socket that could not be made (a full /run, say) is tried again so often."""


class Desk:
    """Answers the clients of the control socket."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon: Final = daemon
        self._directory: Final = directory
        self._server: ControlServer | None = None
        self._open_again = 0
        """Where there is none: when it is tried again."""
        self._explaining: list[tuple[Call, str, int]] = []
        """Who waits for evidence on whom, and until when."""
        self._changing: deque[Iterator[None]] = deque()
        """Pauses and ends of them, of which a step is done in each turn."""
        daemon.teller.listeners.append(self._publish)

    def open(self) -> str:
        """Open the socket; give why not, if it is for want of permission or room.

        SocketTakenError where another daemon answers there.
        """
        try:
            self._server = self._made()
        except (OSError, SocketTakenError) as error:
            cause = error.__cause__ if isinstance(error, SocketTakenError) else error
            if not isinstance(cause, OSError):
                raise
            return (
                f"hbd status will not find this daemon: cannot make a socket in {self._directory}:"
                f" {cause.strerror or cause}; make room there, or set RUNTIME_DIRECTORY and"
                " STATE_DIRECTORY to directories of your own, for the commands too"
            )
        return ""

    def _made(self) -> ControlServer:
        places.make(self._directory)
        return ControlServer(
            self._directory / places.SOCKET_NAME,
            {
                "Status": self._status,
                "Explain": self._explain,
                "Watch": self._watch,
                "Reload": self._reload,
                "Pause": self._pause,
                "Resume": self._resume,
            },
            self._daemon.poller,
            _gid(GROUP),
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def work(self, now: int) -> None:
        """Do what is due at the end of a turn."""
        if self._server is not None:
            self._change_some()
            self._explain_some(now)
            self._server.turn(now)
        elif now >= self._open_again:
            self._open_again = now + OPEN_AGAIN
            with suppress(OSError, SocketTakenError):
                self._server = self._made()

    @property
    def is_explaining(self) -> bool:
        """Whether somebody waits for evidence, which may have become complete in any turn."""
        return bool(self._explaining)

    def next_deadline(self) -> int | None:
        if self._server is None:
            return self._open_again
        if self._changing:
            return 0
        deadlines = [self._server.next_deadline(), *(until for *_, until in self._explaining)]
        return min((one for one in deadlines if one is not None), default=None)

    # -- questions ----------------------------------------------------------------------------

    def _status(self, call: Call) -> Answer:
        peers = self._daemon.fleet.peers
        selection = Selection(call, peers)
        recent = call.flag("recent")
        if selection.is_of_all:
            return Stream(self._status_pieces(self._head(), list(peers.values()), recent=recent))
        return Stream(self._selected_pieces(selection, recent=recent))

    def _selected_pieces(self, selection: Selection, *, recent: bool) -> Iterator[bytes]:
        for _ in selection.look():
            yield b""
        told = {"selected": tally.every(selection.counts), "unmatched": list(selection.unmatched)}
        yield from self._status_pieces(self._head() | told, selection.found, recent=recent)

    def _status_pieces(
        self, head: dict[str, Any], peers: list[Peer], *, recent: bool
    ) -> Iterator[bytes]:
        """Give the JSON in pieces, so that ten thousand peers do not hold up a heartbeat."""
        yield json.dumps(head)[:-1].encode() + varlink.PEERS + b"\n"
        for number, peer in enumerate(peers):
            text = status.written(self._daemon.fleet, peer, recent=recent)
            yield (",\n" * (number > 0) + text).encode()
        yield b"\n]}"

    def _head(self) -> dict[str, Any]:
        """Give what concerns the daemon itself."""
        daemon = self._daemon
        reflector, mirror, monitor = daemon.reflector, daemon.mirror, daemon.monitor
        return {
            "version": status.VERSION,
            "node": daemon.station.name,
            "pid": os.getpid(),
            "started": moment(daemon.started),
            "config": daemon.configuration.file,
            "summary": status.summary(daemon.fleet),
            "reflector": {
                "answered": reflector.answered,
                "dropped": {reason: count for reason, count in reflector.dropped.items() if count},
                "unsent": sum((bound.unsent for bound in mirror.sockets.values()), Counter[str]()),
            },
            "weather": monitor.weather,
            "replies_dropped": daemon.fleet.dropped,
            "kernel_dropped": {"replies": monitor.drops, "requests": mirror.drops()},
            **daemon.teller.counts(),
            "clients_refused": 0 if self._server is None else self._server.refused,
            "reloads": daemon.reloading.counts(),
        }

    def _explain(self, call: Call) -> Answer:
        (peer,) = self._named([call.text("peer") or ""])
        if call.flag("known"):
            return self._explained(peer)
        fleet = self._daemon.fleet
        fleet.inquire(peer)
        if not fleet.is_inquiring(peer) or len(self._explaining) >= EXPLANATIONS:
            return self._explained(peer)
        until = self._daemon.clock.now() + EVIDENCE_PATIENCE
        self._explaining.append((call, peer.name, until))
        return Later()

    def _explain_some(self, now: int) -> None:
        """Answer those whose evidence is complete, or has to do."""
        waiting, self._explaining = self._explaining, []
        fleet = self._daemon.fleet
        for call, name, until in waiting:
            peer = fleet.peers.get(name)
            if peer is None:
                call.fail("NoSuchPeer", name=name)
            elif now < until and fleet.is_inquiring(peer):
                self._explaining.append((call, name, until))
            else:
                call.reply(self._explained(peer))

    def _explained(self, peer: Peer) -> dict[str, Any]:
        return {"version": status.VERSION, **status.explain(self._daemon.fleet, peer)}

    def _watch(self, call: Call) -> Answer:
        call.require_more()
        names = call.texts("peers")
        peers = self._named(names) or list(self._daemon.fleet.peers.values())
        return Follow(
            frozenset(names) if names else None,
            (_change(peer.name, peer.state, peer.cause, peer.since) for peer in peers),
        )

    def take_over(self, change: Change) -> None:
        """The peers are others now."""
        if self._server is not None and change.removed:
            self._server.removed(change.removed)

    def _publish(self, event: StateChanged) -> None:
        if self._server is not None:
            change = _change(event.peer, event.state, event.cause, began(event))
            self._server.publish(event.peer, change)

    def _named(self, names: tuple[str, ...] | list[str]) -> list[Peer]:
        peers = self._daemon.fleet.peers
        for name in names:
            if name not in peers:
                raise RefusedError("NoSuchPeer", name=name)
        return [peers[name] for name in names]

    def _like(self, texts: tuple[str, ...]) -> Iterator[Peer]:
        """Give those named, and those like a pattern, which must be some."""
        for text in texts:
            like = fnmatch.filter(self._daemon.fleet.peers, text) if is_pattern(text) else []
            yield from self._named(like or [text])

    # -- changes ------------------------------------------------------------------------------

    def _reload(self, call: Call) -> Answer:
        call.require_change()

        def done(outcome: Done) -> None:
            if isinstance(outcome, list):
                call.fail("ReloadRefused", errors=outcome)
                return
            change, warnings = outcome
            call.reply({**change._asdict(), "warnings": warnings})

        self._daemon.reloading.want(done)
        return Later()

    def _pause(self, call: Call) -> Answer:
        call.require_change()
        peers = self._chosen(call)
        usec = call.number("duration_usec")
        if usec is None:
            usec = DEFAULT_PAUSE_USEC
        until = self._daemon.clock.wall() + max(min(usec, LONGEST_PAUSE_USEC), 1) * 1_000
        reason = one_line(call.text("reason") or "", REASON_LIMIT)
        pause = Pause(until, reason, _user(call.credentials.uid))

        def begin(peer: Peer) -> bool:
            self._daemon.fleet.pause(peer.name, pause)
            return True

        self._changing.append(self._changes(call, peers, begin, {"until": moment(until)}))
        return Later()

    def _resume(self, call: Call) -> Answer:
        call.require_change()
        peers, fleet = self._chosen(call), self._daemon.fleet
        self._changing.append(self._changes(call, peers, lambda peer: fleet.resume(peer.name), {}))
        return Later()

    def _changes(
        self, call: Call, peers: list[Peer], change: Callable[[Peer], bool], more: dict[str, str]
    ) -> Iterator[None]:
        """Change those that are still watched, a slice at each step, and answer who was changed."""
        changed = []
        for number, peer in enumerate(peers, 1):
            if self._daemon.fleet.peers.get(peer.name) is peer and change(peer):
                self._daemon.teller.keep(peer)
                changed.append(peer.name)
            if number % CHANGES == 0:
                yield
        call.reply({"peers": changed, **more})

    def _change_some(self) -> None:
        is_done = bool(self._changing) and next(self._changing[0], True)
        if is_done:
            self._changing.popleft()

    def _chosen(self, call: Call) -> list[Peer]:
        """Give the peers that are named, of these or else of all those with all the labels."""
        texts, labels = call.texts("peers"), call.mapping("labels").items()
        some = self._like(texts) if texts else iter(self._daemon.fleet.peers.values())
        chosen = {
            peer.name: peer
            for peer in some
            if (texts or labels) and labels <= dict(peer.settings.labels).items()
        }
        if not chosen:
            among = "of those named " if texts and labels else ""
            raise RefusedError("NoSuchPeer", name=among + _words(dict(labels)))
        return list(chosen.values())


def _change(name: str, state: State, cause: Cause | None, since: int) -> dict[str, Any]:
    return {
        "name": name,
        "state": state.value,
        "cause": cause.value if cause is not None else None,
        "since": moment(since),
    }


def _words(labels: dict[str, str]) -> str:
    named = " ".join(f"{key}={value}" for key, value in labels.items())
    return f"with label {named}" if named else "named"


def _gid(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
