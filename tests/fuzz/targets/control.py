"""Clients of the control socket who send anything in any pieces, and read as they like."""

import json
import socket
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from hbd.daemon.desk import EVIDENCE_PATIENCE, Desk
from hbd.daemon.poller import Poller
from hbd.report import varlink
from hbd.report.connection import OUTPUT_LIMIT, READ_SLICE, WRITE_SLICE
from hbd.report.credentials import Credentials
from hbd.report.varlink import INTERFACE, SERVICE
from tests.fuzz.draws import Draws, piece
from tests.simulation.world import WALL, World, peer

STRANGER = Credentials(pid=1, uid=12_345, gid=12_345)
OURS = [f"{INTERFACE}.{name}" for name in "Status Explain Watch Reload Pause Resume".split()]
CHANGES = set(OURS[3:])
TELLS = {OURS[0]: "summary", OURS[1]: "words", OURS[4]: "until", OURS[5]: "peers"}
"""What stands in the answer, and in no other's."""
REFUSALS = {
    *(f"{INTERFACE}.{name}" for name in "NoSuchPeer PermissionDenied ReloadRefused Busy".split()),
    f"{SERVICE}.InterfaceNotFound",
    f"{SERVICE}.MethodNotFound",
    f"{SERVICE}.InvalidParameter",
    f"{SERVICE}.ExpectedMore",
}
METHODS = (
    *OURS,
    *(f"{SERVICE}.{name}" for name in ("GetInfo", "GetInterfaceDescription", "Nothing")),
    *("", ".", "Status", "io.hbd.", "io.hbd.Nothing", "a.b.c", "io.hbd\0.Status"),
)
NAMES = (
    *("peers", "peer", "labels", "duration_usec", "reason", "interface", "other"),
    *("states", "most", "recent", "known"),
)
PEERS = ("10.0.0.1", "10.0.0.2")
VALUES = (
    *"null true 0 -1 60000000 1e400 1.5 NaN [] [[]] [null] {} 1".split(),
    *(json.dumps(PEERS[0]), json.dumps(PEERS), json.dumps([PEERS[0]] * 3), '["nobody"]', '""'),
    *('{"site":"ams"}', '{"site":1}', '{"":""}', '{"a":"\\ud800"}', '"\\ud800"'),
    *(
        '"\\u0000\\n\\u202e"',
        '"io.hbd"',
        '"org.varlink.service"',
        f'"{"x" * 300}"',
        "1" + "0" * 400,
        "[" * 2_000 + "]" * 2_000,
        *('["up", "down"]', '["10.*"]', '["*?[", "[a-"]'),
    ),
)
DICTIONARY = [
    *(f'{{"method":"{method}"'.encode() for method in METHODS),
    *(f'"{name}":'.encode() for name in NAMES),
    *(value.encode() for value in VALUES if len(value) < 60),
    *(b'"parameters":{', b'"more":true', b'"oneway":true', b"}}\0", b"}\0"),
]
MOST_TURNS = 10_000


class Daemon(SimpleNamespace):
    """What the desk asks for, with a real fleet."""

    def __init__(self, directory):
        world = World(1)
        world.watch(peer(PEERS[0], labels=(("site", "ams"),)), peer(PEERS[1]), link=None)
        poller = Poller()
        super().__init__(
            world=world,
            fleet=world.fleet,
            poller=poller,
            wanted=[],
            station=world.station,
            started=WALL,
            configuration=SimpleNamespace(file="/etc/hbd.yaml"),
            clock=SimpleNamespace(now=lambda: world.now, wall=lambda: world.wall),
            teller=SimpleNamespace(listeners=[], counts=dict, keep=lambda _: None),
            reflector=SimpleNamespace(answered=0, dropped=Counter()),
            mirror=SimpleNamespace(sockets={}, drops=lambda: 0),
            monitor=SimpleNamespace(weather=Counter(), drops=0),
        )
        self.reloading = SimpleNamespace(want=self.wanted.append, counts=dict)
        self.desk = Desk(self, directory)
        complaint = self.desk.open()
        assert not complaint, complaint
        self.server = self.desk._server

    def turn(self):
        """One turn of the loop; tell whether there was anything to do."""
        ready = self.poller.wait(0)
        self.poller.call(ready, first=False)
        wanted, self.wanted[:] = self.wanted[:], []
        for done in wanted:
            done(["no"])
        self.desk.work(self.world.now)
        self.fleet.outputs()
        return bool(ready)


_SCRATCH = tempfile.TemporaryDirectory(prefix="hbd-fuzz.")
DAEMON = Daemon(Path(_SCRATCH.name))


LONGEST = 512


def seeds():
    requests = [
        varlink.request(method, {name: json.loads(value)})
        for method in METHODS[:9]
        for name, value in (("peers", VALUES[14]), ("peer", VALUES[13]), ("labels", VALUES[18]))
    ]
    requests.append(varlink.request("io.hbd.Watch", {}, more=True))
    requests.append(b'{"method":"io.hbd.Status","oneway":true}\0' * 3)
    sent = [bytes([0]) + piece(one) for one in requests]
    sent += [bytes([1, method, flags, 0]) for method in range(6) for flags in range(3)]
    # One value after the other where each may stand, beside peers that there are.
    sent += [
        bytes([1, method, 0, 2, 0, 14, name, value])
        for method, name in ((4, 3), (4, 4), (4, 2), (0, 0), (5, 2))
        for value in range(len(VALUES))
    ]
    explain = varlink.request("io.hbd.Explain", {"peer": PEERS[0]})
    in_turn = bytes([0, 0]) + piece(explain + varlink.request("io.hbd.Status", {}) + explain)
    endless = bytes([0, 4]) + piece(b"x" * 400) + b"\xff"
    unread = bytes([0, 1, 2, 1, 0]) + bytes([5, 0, 255]) * 24
    return [
        in_turn,
        endless,
        unread,
        *(bytes([stranger]) + one for stranger in (0, 1) for one in sent),
    ]


class Client:
    """One end of a connection, and all that went through it."""

    def __init__(self, *, is_stranger):
        self.is_stranger = is_stranger
        self.end, other = socket.socketpair()
        self.end.setblocking(False)  # noqa: FBT003 - its only argument
        known = set(DAEMON.server._connections)
        DAEMON.server._welcome(other)
        (self.connection,) = set(DAEMON.server._connections) - known
        if is_stranger:
            DAEMON.server._users[self.connection.credentials.uid] -= 1
            DAEMON.server._users[STRANGER.uid] += 1
            self.connection.credentials = STRANGER
        self.sent = b""
        self.got = b""

    def send(self, octets):
        try:
            self.sent += octets[: self.end.send(octets)]
        except OSError:
            return

    def read(self, most=1 << 20):
        try:
            octets = self.end.recv(most)
        except OSError:
            return False
        self.got += octets
        return bool(octets)


def run(octets):
    draws = Draws(octets)
    client = Client(is_stranger=bool(draws.octet() & 1))
    while draws:
        match draws.octet() % 8:
            case 0 | 2:
                client.send(draws.piece())
            case 3:
                client.read(draws.octet())
            case 4:
                client.send(draws.piece() * draws.octet())
            case 5:
                _publish(draws)
            case _:
                client.send(_request(draws))
        DAEMON.turn()
        _look_at(client.connection)
    _finish(client)


def _request(draws):
    method, flags = draws.pick(METHODS), draws.octet()
    given = ",".join(
        f'"{draws.pick(NAMES)}":{draws.pick(VALUES)}' for _ in range(draws.octet() % 4)
    )
    told = f'{{"method":{json.dumps(method)},"parameters":{{{given}}}'
    told += (("", ',"more":true', ',"oneway":true', ',"more":1')[flags & 3]) + "}"
    return told.encode() + b"\0"


def _publish(draws):
    DAEMON.server.publish(draws.pick(PEERS), {"name": "x" * (draws.octet() << 8)})


def _look_at(connection):
    assert len(connection._in) <= varlink.LONGEST + READ_SLICE
    assert len(connection._out) <= OUTPUT_LIMIT + 2 * WRITE_SLICE


def _finish(client):
    _settle(client)
    if DAEMON.desk.is_explaining:
        DAEMON.world.run(EVIDENCE_PATIENCE)
        _settle(client)
        assert not DAEMON.desk.is_explaining
    was_open = client.connection.is_open
    _check_answers(client, was_open=was_open)
    if client.is_stranger:
        assert all(one.pause is None for one in DAEMON.fleet.peers.values())
    client.end.close()
    DAEMON.turn()
    assert not client.connection.is_open
    assert not DAEMON.server._connections
    assert not +DAEMON.server._users
    for name in DAEMON.fleet.peers:
        DAEMON.fleet.resume(name)


def _settle(client):
    for _ in range(MOST_TURNS):
        went_on = DAEMON.turn()
        if not client.read() and not went_on:
            return
        _look_at(client.connection)
    raise AssertionError("it does not come to rest")


def _check_answers(client, *, was_open):
    """Each request that is one is answered in turn; after what is none nobody listens."""
    *answers, rest = client.got.split(b"\0")
    assert not rest or not was_open
    told = [json.loads(answer) for answer in answers]
    for answer in told:
        assert answer.keys() <= {"parameters", "error", "continues"}
        assert answer.get("error", f"{INTERFACE}.Busy") in REFUSALS
        assert isinstance(answer["parameters"], dict)
    asked = list(_asked(client.sent))
    final = [answer for answer in told if not answer.get("continues")]
    assert len(final) <= len(asked)
    for request, answer in zip(asked, final, strict=False):
        if client.is_stranger and request.method in CHANGES:
            assert answer.get("error") == f"{INTERFACE}.PermissionDenied"
        if "error" not in answer:
            assert TELLS.get(request.method, "") in {"", *answer["parameters"]}
    if was_open and not any(answer.get("continues") for answer in told):
        assert len(final) == len(asked)


def _asked(octets):
    for message in octets.split(b"\0")[:-1]:
        try:
            request = varlink.parse(message)
        except varlink.RequestError:
            return
        if not request.oneway:
            yield request
