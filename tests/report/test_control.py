import contextlib
import gc
import json
import os
import selectors
import socket
import struct
import threading
import time
import weakref
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hbd.core.model import SECOND
from hbd.report import connection, control, varlink
from hbd.report.answer import NoDaemonError
from hbd.report.call import Follow, Later, Stream
from hbd.report.client import Client, RemoteError
from hbd.report.connection import IDLE, OUTPUT_LIMIT, STALLED
from hbd.report.control import CLIENTS, RESERVED, ControlServer, SocketTakenError
from hbd.report.credentials import Credentials, credentials_of
from hbd.report.varlink import RefusedError


class Loop:
    """A poller over epoll, as the daemon's is; turned by hand."""

    def __init__(self):
        self.epoll = selectors.EpollSelector()
        self.longest = 0
        self.after = lambda: None
        """What else is done in each turn."""

    def watch(self, fd, callback, *, write=False):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if fd in self.epoll.get_map():
            self.epoll.modify(fd, events, callback)
        else:
            self.epoll.register(fd, events, callback)

    def unwatch(self, fd):
        self.epoll.unregister(fd)

    def turn(self, timeout=0):
        begun = time.perf_counter_ns()
        found = self.epoll.select(timeout)
        for key, _ in found:
            if key.fd in self.epoll.get_map():
                key.data()
        self.after()
        if not timeout:
            self.longest = max(self.longest, time.perf_counter_ns() - begun)
        return bool(found)

    def settle(self, turns=10_000):
        for _ in range(turns):
            if not self.turn():
                return
        pytest.fail("the loop does not come to rest")


class Daemon:
    """A control server with a few methods, and a thread that turns its loop while clients wait."""

    def __init__(self, path):
        self.loop = Loop()
        self.peers = []
        self.later = []
        methods = {
            "Status": self.status,
            "Reload": self.reload,
            "Watch": self.watch,
            "Big": lambda _: Stream(b"%b" % piece for piece in big()),
            "Echo": lambda call: {"peers": list(call.texts("peers")), "n": call.number("n")},
        }
        self.server = ControlServer(path, methods, self.loop)
        self.loop.after = self.server._allowance.renew
        self.stopping = False

    def status(self, call):
        if call.texts("peers") == ("nobody",):
            raise RefusedError("NoSuchPeer", name="nobody")
        return {"pid": call.credentials.pid, "may_change": call.may_change}

    def reload(self, call):
        call.require_change()
        self.later.append(call)
        return Later()

    def watch(self, call):
        call.require_more()
        named = call.texts("peers")
        first = ({"name": name} for name in self.peers)
        return Follow(frozenset(named) if named else None, first)

    def run(self):
        while not self.stopping:
            self.loop.turn(0.005)
            self.server.turn(time.monotonic_ns())

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()


def big():
    yield b'{"peers":['
    for number in range(100_000):
        yield b"%s%d" % (b"," * bool(number), number)
    yield b"]}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "io.hbd"


@pytest.fixture
def daemon(path):
    daemon = Daemon(path)
    yield daemon
    if daemon.server._socket.fileno() >= 0:
        daemon.server.close()
    daemon.loop.epoll.close()


def connect(path):
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    stream.connect(str(path))
    return stream


def ask(stream, method, **parameters):
    stream.send(varlink.request(f"io.hbd.{method}", parameters, more=method == "Watch"))


def answers(stream):
    """What came, and whether the daemon still listens."""
    found = b""
    while True:
        try:
            octets = stream.recv(1 << 20)
        except BlockingIOError:
            return [json.loads(part) for part in found.split(b"\0")[:-1]], True
        except ConnectionResetError:
            octets = b""
        if not octets:
            return [json.loads(part) for part in found.split(b"\0")[:-1]], False
        found += octets


def test_command_gets_its_answer(daemon, path):
    """A call is answered, with the caller's credentials known."""
    with daemon:
        assert Client(path).call("Status") == {"pid": os.getpid(), "may_change": True}


def test_error_of_the_daemon_reaches_the_command(daemon, path):
    """A refusal arrives with its name and its parameters."""
    with daemon, pytest.raises(RemoteError) as caught:
        Client(path).call("Status", peers=["nobody"])
    assert caught.value.name == "NoSuchPeer"
    assert caught.value.parameters == {"name": "nobody"}


def test_varlink_clients_can_introspect(daemon, path):
    """GetInfo and GetInterfaceDescription answer as org.varlink.service says."""
    with daemon:
        client = Client(path)
        told = client.call("org.varlink.service.GetInfo")
        assert told["interfaces"] == ["io.hbd", "org.varlink.service"]
        for name in told["interfaces"]:
            method = "org.varlink.service.GetInterfaceDescription"
            text = client.call(method, interface=name)["description"]
            assert f"interface {name}\n" in text
        for method, error in [
            ("io.hbd.None", "org.varlink.service.MethodNotFound"),
            ("org.varlink.service.None", "org.varlink.service.MethodNotFound"),
            ("io.none.None", "org.varlink.service.InterfaceNotFound"),
            ("None", "org.varlink.service.InterfaceNotFound"),
        ]:
            with pytest.raises(RemoteError) as caught:
                client.call(method if "." in method else f".{method}")
            assert caught.value.name == error


@pytest.mark.parametrize(
    "parameters",
    [{"peers": "db1"}, {"peers": [1]}, {"peers": [None]}, {"n": True}, {"n": 1.5}, {"n": "1"}],
)
def test_parameter_of_a_wrong_type_is_named(daemon, path, parameters):
    """A parameter that does not fit the interface is refused by its name."""
    with daemon, pytest.raises(RemoteError) as caught:
        Client(path).call("Echo", **parameters)
    assert caught.value.name == "org.varlink.service.InvalidParameter"
    assert caught.value.parameters == {"parameter": next(iter(parameters))}


def test_command_gets_a_big_answer_as_it_was_written(daemon, path):
    """The JSON text comes through as the daemon has it, octet for octet."""
    with daemon:
        octets = Client(path).octets("Big")
        with pytest.raises(RemoteError, match=r"^NoSuchPeer: name=nobody$"):
            Client(path).octets("Status", peers=["nobody"])
    assert octets == b"".join(big())


def test_missing_daemon_is_said(path):
    """No socket, or one that nobody serves, is one clear error."""
    with pytest.raises(NoDaemonError):
        Client(path).call("Status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    with pytest.raises(NoDaemonError):
        Client(path).call("Status")


def test_hung_daemon_is_said(daemon, path):
    """A daemon that does not answer in time is an error, not a hang."""
    assert daemon.server
    with pytest.raises(NoDaemonError, match="does not answer"):
        Client(path, timeout=0.01).call("Status")


def test_big_answer_is_made_in_slices(daemon, path):
    """A big answer arrives whole, and no turn of the loop makes more than a slice of it."""
    stream = connect(path)
    ask(stream, "Big")
    ask(stream, "Status")
    found, turns = b"", 0
    while found.count(b"\0") < 2:
        daemon.loop.turn()
        turns += 1
        try:
            octets = stream.recv(1 << 20)
        except BlockingIOError:
            continue
        assert len(octets) <= 2 * connection.WRITE_SLICE
        found += octets
    first, second, _ = found.split(b"\0")
    assert first.startswith(varlink.BEGIN)
    assert json.loads(first)["parameters"]["peers"] == list(range(100_000))
    assert json.loads(second)["parameters"]["pid"] == os.getpid()
    assert turns >= len(found) // (2 * connection.WRITE_SLICE)
    stream.close()
    daemon.loop.settle()


def test_an_empty_piece_of_an_answer_ends_the_turn(daemon, path):
    """Who has worked long on a piece that is small leaves the rest to another turn."""
    daemon.server._methods["Slow"] = lambda _: Stream(iter([b"{", b"", b"", b'"n":1}']))
    stream = connect(path)
    ask(stream, "Slow")
    found = [b""]
    while not found[-1].endswith(b"\0"):
        daemon.loop.turn()
        with contextlib.suppress(BlockingIOError):
            found.append(stream.recv(1 << 20))
    assert [octets for octets in found if octets] == [
        varlink.BEGIN + b"{",
        b'"n":1}' + b"}\0",
    ]
    stream.close()
    daemon.loop.settle()


def test_many_big_answers_take_no_longer_of_a_turn_than_one(daemon, path):
    """Of all who ask together no turn makes more than a slice; each gets a little of every one."""
    streams = [connect(path) for _ in range(CLIENTS)]
    daemon.loop.settle()
    for stream in streams:
        ask(stream, "Big")
    found = [b""] * CLIENTS
    while not all(octets.endswith(b"\0") for octets in found):
        before = sum(map(len, found))
        daemon.loop.turn()
        for number, stream in enumerate(streams):
            with contextlib.suppress(BlockingIOError):
                got = stream.recv(1 << 20)
                found[number] += got
        made = sum(map(len, found)) - before
        assert made < connection.WRITE_SLICE + CLIENTS * 32
        assert all(found)
        if made > 0 and sum(map(len, found)) > 4 * connection.WRITE_SLICE:
            break
    for stream in streams:
        stream.close()
    daemon.loop.settle()


def test_many_requests_take_no_longer_of_a_turn_than_a_few(daemon, path):
    """Of all who ask over and over no turn answers more than a slice, or one of each."""
    streams = [connect(path) for _ in range(CLIENTS)]
    daemon.loop.settle()
    for stream in streams:
        for _ in range(20):
            ask(stream, "Status")
    counts = [0] * CLIENTS
    while min(counts) < 20:
        before = counts.copy()
        daemon.loop.turn()
        for number, stream in enumerate(streams):
            counts[number] += len(answers(stream)[0])
        got = [now - then for now, then in zip(counts, before, strict=True)]
        assert sum(got) <= connection.REQUESTS_SLICE + CLIENTS
        assert all(more or count == 20 for more, count in zip(got, counts, strict=True))
    for stream in streams:
        stream.close()
    daemon.loop.settle()


def test_put_off_call_is_answered_later_and_in_order(daemon, path):
    """A reload is answered when it is done, and what was asked after it comes after it."""
    stream = connect(path)
    ask(stream, "Reload")
    ask(stream, "Status")
    daemon.loop.settle()
    assert answers(stream) == ([], True)
    daemon.server.turn(0)
    daemon.server.turn(1000 * SECOND)
    daemon.later[0].reply({"added": []})
    daemon.loop.settle()
    found, listening = answers(stream)
    assert listening
    assert [one["parameters"] for one in found] == [
        {"added": []},
        {"pid": os.getpid(), "may_change": True},
    ]
    stream.close()
    daemon.loop.settle()
    daemon.later[0].fail("ReloadRefused", errors=[])


def test_subscribers_hear_of_their_peers(daemon, path):
    """A subscription brings each change of the peers named, and no other, for as long as wanted."""
    one, every = connect(path), connect(path)
    ask(one, "Watch", peers=["db1"])
    ask(every, "Watch")
    daemon.loop.settle()
    daemon.server.turn(0)
    daemon.server.turn(1000 * SECOND)
    for name in ("db1", "gw"):
        daemon.server.publish(name, {"name": name})
    daemon.loop.settle()
    assert answers(one) == ([{"parameters": {"name": "db1"}, "continues": True}], True)
    assert len(answers(every)[0]) == 2
    for stream in (one, every):
        stream.close()
    daemon.loop.settle()
    daemon.server.publish("db1", {})


def test_first_answers_of_many_peers_are_made_in_slices(daemon, path):
    """A subscription to a big fleet begins with every peer, and changes come in between."""
    daemon.peers = [f"peer-{number}" for number in range(20_000)]
    stream = connect(path)
    ask(stream, "Watch")
    daemon.loop.turn()
    daemon.loop.turn()
    served = next(iter(daemon.server._connections))
    assert len(served._out) < 2 * connection.WRITE_SLICE
    daemon.server.publish("db1", {"name": "db1"})
    octets = b""
    for _ in range(1000):
        daemon.loop.turn()
        with contextlib.suppress(BlockingIOError):
            octets += stream.recv(1 << 20)
    names = [json.loads(one)["parameters"]["name"] for one in octets.split(b"\0")[:-1]]
    assert names.count("db1") == 1
    assert names.index("db1") < 20_000
    names.remove("db1")
    assert names == daemon.peers
    stream.close()
    daemon.loop.settle()


def test_subscriptions_end_with_their_connections(daemon, path):
    """Who comes and goes leaves nothing behind, though nothing ever changes."""
    gone = []
    for number in range(20):
        stream = connect(path)
        ask(stream, "Watch", peers=[f"p{number}"])
        daemon.loop.settle()
        gone.append(weakref.ref(next(iter(daemon.server._connections))))
        stream.close()
        daemon.loop.settle()
    gc.collect()
    assert [one() for one in gone] == [None] * 20


def test_command_that_waits_sees_changes_until_its_time_is_over(daemon, path):
    """A waiting command gets each change as it comes, and an error when its time is over."""
    with daemon:
        seen = Client(path).stream("Watch", timeout=0.1, peers=["db1"])
        threading.Timer(0.02, daemon.server.publish, ("db1", {"state": "up"})).start()
        assert next(seen) == {"state": "up"}
        with pytest.raises(TimeoutError):
            next(seen)
        with pytest.raises(RemoteError, match="ExpectedMore"):
            Client(path).call("Watch")


def test_oneway_call_is_not_answered(daemon, path):
    """Who wants no answer gets none, and the next call is answered."""
    stream = connect(path)
    stream.send(
        b'{"method":"io.hbd.Status","oneway":true}\0{"method":"io.hbd.Big","oneway":true}\0'
    )
    ask(stream, "Status")
    daemon.loop.settle()
    assert len(answers(stream)[0]) == 1
    stream.close()
    daemon.loop.settle()


def test_slow_reader_is_dropped_and_holds_nobody_up(daemon, path):
    """A subscriber that does not read is dropped at its bound; others get their answers."""
    slow, quick = connect(path), connect(path)
    ask(slow, "Watch")
    daemon.loop.settle()
    connection = next(iter(daemon.server._connections))
    for number in range(100_000):
        daemon.server.publish("db1", {"name": "x" * 100, "n": number})
        if not connection.is_open:
            break
    assert number * 100 < 4 * OUTPUT_LIMIT
    assert not connection.is_open
    ask(quick, "Status")
    daemon.loop.settle()
    assert len(answers(quick)[0]) == 1
    assert not answers(slow)[1]
    slow.close()
    quick.close()
    daemon.loop.settle()


def test_reader_that_stops_in_a_big_answer_is_dropped(daemon, path):
    """Who reads nothing for ten seconds is dropped; who reads a little is not."""
    stream = connect(path)
    ask(stream, "Big")
    daemon.loop.settle()
    daemon.server.turn(0)
    assert daemon.server.next_deadline() == STALLED
    stream.recv(300_000)
    daemon.loop.settle()
    daemon.server.turn(STALLED - 1)
    daemon.server.turn(2 * STALLED - 2)
    assert len(daemon.server._connections) == 1
    daemon.server.turn(2 * STALLED - 1)
    assert len(daemon.server._connections) == 0
    assert daemon.server.next_deadline() is None
    stream.close()


def test_half_written_request_is_dropped(daemon, path):
    """Octets without an end do not keep a connection: thirty seconds, or 64 KiB."""
    slow, long = connect(path), connect(path)
    slow.send(b'{"method":')
    daemon.loop.settle()
    daemon.server.turn(0)
    slow.send(b'"io.hbd.')
    daemon.loop.settle()
    daemon.server.turn(IDLE - 1)
    assert answers(slow) == ([], True)
    daemon.server.turn(IDLE)
    assert answers(slow) == ([], False)
    sent = 0
    with pytest.raises(BrokenPipeError):  # noqa: PT012 - the bound is what is looked for
        while sent < 2 * varlink.LONGEST:
            sent += long.send(b"x" * 1024)
            daemon.loop.settle()
    assert sent <= varlink.LONGEST + 32 * 1024
    slow.close()
    long.close()


@pytest.mark.slow
def test_a_thousand_connections_leave_room_for_the_operator(daemon, path, monkeypatch):
    """A flood of connections is bounded and told Busy; one who may change things still gets in."""
    monkeypatch.setattr(Credentials, "may_change", lambda self, _: self.uid == 0 and privileged)
    privileged = False
    streams = []
    for _ in range(1000):
        streams.append(connect(path))
        daemon.loop.settle()
    assert len(daemon.server._connections) == control.CLIENTS_OF_ONE_USER < CLIENTS
    assert daemon.server.refused == 1000 - control.CLIENTS_OF_ONE_USER
    assert answers(streams[-1]) == ([{"error": "io.hbd.Busy", "parameters": {}}], False)
    privileged = True
    operators = [connect(path) for _ in range(CLIENTS + RESERVED)]
    daemon.loop.settle()
    assert len(daemon.server._connections) == CLIENTS + RESERVED
    ask(operators[0], "Status")
    daemon.loop.settle()
    assert len(answers(operators[0])[0]) == 1
    print(f"1,000 connections: longest turn {daemon.loop.longest / 1e6:.1f} ms")
    for stream in (*streams, *operators):
        stream.close()
    daemon.loop.settle()
    assert not daemon.server._connections
    assert not daemon.server._users


def test_no_descriptor_left_makes_new_clients_wait(daemon, path, monkeypatch):
    """Without descriptors the loop does not spin; a second later clients are let in again."""
    stream = connect(path)

    class Full:
        def __getattr__(self, name):
            return getattr(real, name)

        def accept(self):
            raise OSError(24, "Too many open files")

    real = daemon.server._socket
    monkeypatch.setattr(daemon.server, "_socket", Full())
    daemon.loop.settle()
    daemon.server.turn(5)
    assert daemon.server.next_deadline() == 5 + control.ACCEPT_PAUSE
    assert not daemon.loop.turn()
    monkeypatch.setattr(daemon.server, "_socket", real)
    daemon.server.turn(4 + control.ACCEPT_PAUSE)
    assert not daemon.loop.turn()
    daemon.server.turn(5 + control.ACCEPT_PAUSE)
    ask(stream, "Status")
    daemon.loop.settle()
    assert len(answers(stream)[0]) == 1
    stream.close()
    daemon.loop.settle()


def as_user(uid, gid, groups, path, request):
    """What another user is answered; a child process takes that user's place."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.connect(str(path))
                stream.send(request)
                os.write(writing, stream.recv(4096))
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "allowed"),
    [(0, 0, [], True), (4242, 4242, [], False), (4242, 777, [], True), (4242, 4242, [777], True)],
)
def test_changes_need_root_or_the_group(tmp_path, uid, gid, groups, allowed):
    """Anyone may ask; only root and members of the group may change something."""
    for directory in (tmp_path, *tmp_path.parents[:-1]):
        if directory.stat().st_uid == os.getuid() and Path("/tmp") in directory.parents:  # noqa: S108 - pytest's own
            directory.chmod(0o755)
    path = tmp_path / "io.hbd"
    loop = Loop()

    def change(call):
        call.require_change()
        return {}

    server = ControlServer(path, {"Reload": change}, loop, group=777)
    assert path.stat().st_mode & 0o777 == 0o666
    request = varlink.request("io.hbd.Reload", {})
    child, reading = as_user(uid, gid, groups, path, request)
    for _ in range(100):
        loop.turn(0.05)
        if os.waitpid(child, os.WNOHANG)[0]:
            break
    answer = json.loads(os.read(reading, 4096).rstrip(b"\0"))
    os.close(reading)
    server.close()
    loop.epoll.close()
    assert ("error" not in answer) == allowed
    if not allowed:
        assert answer["error"] == "io.hbd.PermissionDenied"
        assert "sudo" in answer["parameters"]["help"]


def test_credentials_are_of_the_process_at_the_other_end():
    """Process, user and groups come from the kernel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        told = credentials_of(ours)
    assert (told.pid, told.uid, told.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert told.groups == frozenset(os.getgroups())
    assert struct.calcsize("iII") == 12


def test_second_daemon_is_refused_and_a_stale_socket_replaced(daemon, path):
    """A socket that answers is left alone, a dead one is replaced, another file is not touched."""
    loop = Loop()
    with pytest.raises(SocketTakenError, match=f"process {os.getpid()}"):
        ControlServer(path, {}, loop)
    daemon.server.close()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    ControlServer(path, {}, loop).close()
    path.write_text("mine")
    with pytest.raises(SocketTakenError, match="remove it"):
        ControlServer(path, {}, loop)
    assert path.read_text() == "mine"
    with pytest.raises(SocketTakenError, match="cannot make"):
        ControlServer(path / "deeper", {}, loop)
    path.unlink()
    loop.epoll.close()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_socket_is_for_everybody_whatever_the_umask(path, umask):
    """Everybody may open the socket, and nobody may do more to it; the umask is as before."""
    before = os.umask(umask)
    try:
        server = ControlServer(path, {}, Loop())
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666
    server.close()


def test_stopping_leaves_a_successors_socket_alone(daemon, path):
    """A daemon that stops removes only the socket it made itself."""
    path.unlink()
    loop = Loop()
    successor = ControlServer(path, {}, loop)
    daemon.server.close()
    assert path.exists()
    successor.close()
    assert not path.exists()
    loop.epoll.close()


garbage = st.binary(max_size=300) | st.builds(
    lambda value: json.dumps(value).encode(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["method", "parameters", "more", "oneway", "peers", "interface"]),
                inner | st.sampled_from(["io.hbd.Status", "org.varlink.service.GetInfo"]),
                max_size=4,
            )
        ),
        max_leaves=10,
    ),
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(garbage, max_size=5))
def test_garbage_ends_a_connection_at_most(daemon, path, requests):
    """Whatever a client sends, the daemon answers it or hangs up, and serves the next one."""
    stream = connect(path)
    stream.send(b"\0".join([*requests, b""]))
    daemon.loop.settle()
    found, _ = answers(stream)
    assert all("error" in one or "parameters" in one for one in found)
    stream.close()
    stream = connect(path)
    ask(stream, "Status")
    daemon.loop.settle()
    assert len(answers(stream)[0]) == 1
    stream.close()
    daemon.loop.settle()
    assert not daemon.server._connections


def test_deeply_nested_request_is_garbage(daemon, path):
    """A request nested beyond all measure ends its connection only."""
    stream = connect(path)
    stream.send(b"[" * 60_000 + b"\0")
    daemon.loop.settle()
    assert answers(stream) == ([], False)
    stream.close()


def test_who_the_daemon_is_is_known_without_a_word_of_it(tmp_path):
    """Its process; and one that takes no more connections is not waited for."""
    path = tmp_path / "io.hbd"
    with pytest.raises(NoDaemonError):
        Client(path).process()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        assert Client(path).process() == os.getpid()
        with pytest.raises(NoDaemonError):
            Client(path).process()
