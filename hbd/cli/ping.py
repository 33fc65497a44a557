"""`hbd ping`: heartbeats from the shell, towards any STAMP reflector; no daemon needed."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from hbd.cli.asking import AskError, complain, declare, span
from hbd.cli.table import directions
from hbd.core import icmp
from hbd.core.directions import LOST, split
from hbd.core.model import MILLISECOND, SECOND, PeerSettings, State
from hbd.core.session import Fact
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from hbd.net.clock import Clock
from hbd.net.resolver import resolve
from hbd.net.sender import SenderSocket
from hbd.wire import ports

if TYPE_CHECKING:
    from argparse import Namespace

    from hbd.core.address import Address
    from hbd.core.directions import Directions
    from hbd.net.icmp import IcmpError

SHORTEST: Final = 10 * MILLISECOND
PATIENCE: Final = 1 * SECOND
"""How long the last reply is waited for."""

NO_ANSWER: Final = """\
Nothing came back. hbd answers only whom it lists in peers: or accept:, and of a
peer with a key: only what is signed, which hbd ping never is; else look for a
firewall. A peer that is configured here: hbd explain PEER."""

EPILOG: Final = """\
Without -c until Ctrl-C. Exit status: 0 all answered, 1 some not, 2 none.

examples:
  hbd ping -c 3 192.0.2.7
  hbd ping -i 200ms --port 8620 db1 fd00::11
"""


@dataclass(slots=True)
class Target:
    """One address that is asked, and what came of it."""

    name: str
    address: Address
    session: StampSession
    unanswered: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Sequence number: when it was sent and its token."""
    uncounted: dict[int, int | None] = field(default_factory=dict)
    """Sequence number of an answered one: what the reflector has not counted."""
    rtts: list[int] = field(default_factory=list)
    sent: int = 0
    duplicate: int = 0
    errors: dict[str, int] = field(default_factory=dict)


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = declare(
        subparsers, "ping", "Send heartbeats from the shell, without a daemon.", EPILOG
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    parser.add_argument("-c", dest="count", type=int, metavar="N", help="heartbeats to each")
    parser.add_argument(
        "-i", dest="interval", type=span, default=SECOND, metavar="DURATION", help="default: 1s"
    )
    parser.add_argument("--port", type=int, default=ports.STAMP, metavar="N", help="default: 862")
    parser.add_argument("--json", action="store_true", help="a summary for programs")


def run(arguments: Namespace) -> int:
    """Ask all addresses in turn, then print a summary."""
    try:
        ping = Ping(arguments)
    except AskError as error:
        return complain(error)
    for number in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored behind `&` of a script
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        ping.run()
    if arguments.json:
        sys.stdout.write(json.dumps({"version": 1, "targets": ping.summary()}, indent=2) + "\n")
    else:
        for one in ping.summary():
            sys.stdout.write("\n".join(_summary_lines(one)) + "\n")
    return ping.status()


class Ping:
    """The loop of `hbd ping`."""

    def __init__(self, arguments: Namespace) -> None:
        if not 0 < arguments.port <= 0xFFFF:  # noqa: PLR2004 - 16 bits
            raise AskError(f"--port {arguments.port} is no port; write 1 to 65535", os.EX_USAGE)
        if arguments.count is not None and arguments.count < 1:
            raise AskError(f"-c {arguments.count}: write 1 or more", os.EX_USAGE)
        if arguments.interval < SHORTEST:
            raise AskError("-i is too short; write 10ms or more", os.EX_USAGE)
        self._count: Final[int | None] = arguments.count
        self._interval: Final[int] = arguments.interval
        self._say: Final = (lambda _: None) if arguments.json else _print
        self._clock: Final = Clock()
        dice = SystemRandom()
        self._station: Final = Station(socket.gethostname(), secrets.randbits(64), dice)
        self._unresolved = 0
        targets = [self._target(name, arguments.port) for name in arguments.addresses]
        self._targets: Final = [target for target in targets if target is not None]
        self._senders: Final = self._open()

    def _target(self, name: str, port: int) -> Target | None:
        """Resolve a name; the others are asked even if this one has no address."""
        answer = resolve(name, port)
        if not answer.addresses:
            sys.stderr.write(f"hbd: {name} does not resolve: {answer.error}\n")
            self._unresolved += 1
            return None
        settings = PeerSettings(name=name, addresses=(name,), port=port)
        return Target(name, answer.addresses[0], StampSession(settings, self._station))

    def _open(self) -> dict[int, SenderSocket]:
        try:
            return {
                size: SenderSocket(socket.AF_INET if size == 2 else socket.AF_INET6)  # noqa: PLR2004
                for size in {len(target.address) for target in self._targets}
            }
        except OSError as error:
            raise AskError(f"cannot open a socket: {error.strerror}", os.EX_OSERR) from error

    def run(self) -> None:
        """Ask and listen."""
        start = self._clock.now()
        number = 0
        if not self._targets:
            return
        while self._count is None or number < self._count:
            self._listen(start + number * self._interval)
            for target in self._targets:
                self._ask(target, number)
            number += 1
        self._listen(self._clock.now() + max(self._interval, PATIENCE), until_answered=True)

    def _ask(self, target: Target, sequence: int) -> None:
        now = self._clock.now()
        datagram, token = target.session.compose(sequence, self._clock.wall(), State.UNKNOWN)
        target.unanswered[sequence] = now, token
        target.sent += 1
        refusal = self._senders[len(target.address)].send(datagram, target.address)
        if refusal is not None:
            self._note(target, f"cannot send: {os.strerror(refusal)}")

    def _listen(self, until: int, *, until_answered: bool = False) -> None:
        while (rest := until - self._clock.now()) > 0:
            if until_answered and not any(target.unanswered for target in self._targets):
                return
            select.select(list(self._senders.values()), (), (), rest / SECOND)
            for sender in self._senders.values():
                now, wall = self._clock.now(), self._clock.wall()
                for error in sender.errors(64):
                    self._take_error(error)
                for datagram, source, stamp, ttl in sender.receive(64):
                    at = now if stamp is None else min(now, now - (wall - stamp))
                    self._take(datagram, source, at, ttl)

    def _take(self, datagram: bytes, source: Address, at: int, ttl: int | None) -> None:
        for target in self._targets:
            if target.address != source or not target.session.claims(datagram):
                continue
            answer = target.session.read(datagram)
            if isinstance(answer, Fact):
                self._note(target, answer.text)
                return
            sent = target.unanswered.get(answer.sequence)
            if sent is None:
                target.duplicate += 1
                return
            if answer.token not in (None, sent[1]):
                self._note(target, "replies do not bring back our timestamp")
                return
            del target.unanswered[answer.sequence]
            target.session.accepted(answer, sent[1])
            target.uncounted[answer.sequence] = answer.uncounted
            rtt = at - sent[0]
            rtt -= answer.dwell if 0 <= answer.dwell <= rtt else 0
            target.rtts.append(max(rtt, 0))
            ttl_read = "" if ttl is None else f" ttl={ttl}"
            kind = " hbd" if answer.incarnation is not None else ""
            self._say(
                f"reply from {target.address[0]}: seq={answer.sequence}"
                f" rtt={rtt / MILLISECOND:.3f} ms{ttl_read}{kind}"
            )
            return

    def _take_error(self, error: IcmpError) -> None:
        for target in self._targets:
            if target.address == error.destination and error.offender is not None:
                report = icmp.Report(
                    error.origin,
                    error.type,
                    error.code,
                    error.offender,
                    is_own=False,
                    mtu=error.mtu,
                )
                fact = icmp.read(report, target.address[0], None)
                if fact is not None:
                    self._note(target, f"{fact.cause}: {fact.text}")

    def _note(self, target: Target, words: str) -> None:
        target.errors[words] = target.errors.get(words, 0) + 1
        self._say(f"{target.name}: {words}")

    def summary(self) -> list[dict[str, Any]]:
        """Give the figures of each target."""
        return [_summary(target) for target in self._targets]

    def status(self) -> int:
        """Give the exit status: 0 all answered, 1 some not, 2 none."""
        received = sum(len(target.rtts) for target in self._targets)
        if received == 0:
            return 2
        all_answered = received == sum(target.sent for target in self._targets)
        return 0 if all_answered and not self._unresolved else 1


def _summary(target: Target) -> dict[str, Any]:
    rtts = [rtt / MILLISECOND for rtt in target.rtts]
    lost = target.sent - len(rtts)
    loss_out, loss_in = _directions(target, lost) or (None, None)
    return {
        "address": target.name,
        "target": target.address[0],
        "port": target.address[1],
        "sent": target.sent,
        "received": len(rtts),
        "duplicate": target.duplicate,
        "loss_percent": _percent(lost / target.sent if target.sent else None),
        "loss_out_percent": _percent(loss_out),
        "loss_in_percent": _percent(loss_in),
        "rtt_ms": {
            "min": round(min(rtts), 3) if rtts else None,
            "mean": round(sum(rtts) / len(rtts), 3) if rtts else None,
            "max": round(max(rtts), 3) if rtts else None,
        },
        "errors": list(target.errors),
    }


def _directions(target: Target, lost: int) -> Directions | None:
    if not any(uncounted is not None for uncounted in target.uncounted.values()):
        return None
    fates = (target.uncounted.get(number, LOST) or 0 for number in range(target.sent))
    return split(fates, lost)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 1)


def _summary_lines(one: dict[str, Any]) -> list[str]:
    sent = "1 heartbeat" if one["sent"] == 1 else f"{one['sent']} heartbeats"
    loss = "-" if one["loss_percent"] is None else f"{one['loss_percent']:g} %"
    lost = f"{loss} lost{directions(one)}"
    duplicates = f", {one['duplicate']} duplicates" if one["duplicate"] else ""
    lines = [
        "",
        f"--- {one['address']} port {one['port']} ---",
        f"{sent} sent, {one['received']} answered, {lost}{duplicates}",
    ]
    rtt = one["rtt_ms"]
    if not (one["received"] or one["errors"]):
        lines.append(NO_ANSWER)
    if rtt["min"] is not None:
        lines.append(f"rtt min/mean/max = {rtt['min']:.3f}/{rtt['mean']:.3f}/{rtt['max']:.3f} ms")
    return lines


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
