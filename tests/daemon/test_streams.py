"""Connections of a daemon to servers on loopback, sound and otherwise."""

import contextlib
import os
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.interop.certificates import Authority

KEPT = {"protocol": "tcp", "interval": "1s", "timeout": "1s", "retries": 1, "rise": 1}
PASSWORD = "S3cretPassword!"  # noqa: S105 - of nothing

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


@pytest.fixture
def server(net):
    """Serve each connection with a function of its own, in a thread; give address and port."""
    with contextlib.ExitStack() as stack:

        def started(serve):
            listener = stack.enter_context(socket.create_server((net(1), 0)))

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        accepted, _ = listener.accept()
                        stack.callback(accepted.close)
                        threading.Thread(target=guarded, args=(accepted,), daemon=True).start()

            def guarded(accepted):
                with contextlib.suppress(OSError):
                    serve(accepted)

            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=accept, daemon=True).start()
            host, port = listener.getsockname()
            return {"address": host, "port": port}

        yield started


def hold(_accepted):
    """Accept, and leave the rest to the kernel."""


def echo(accepted):
    while octets := accepted.recv(4096):
        accepted.sendall(octets)


def flood(accepted):
    while True:
        accepted.sendall(b"y" * 65536)


def cpu(process):
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speak(accepted):
    """Say something now and then, so that the client's kernel never asks by itself."""
    while True:
        time.sleep(0.9)
        accepted.sendall(b"x")


@pytest.mark.slow
@pytest.mark.parametrize("serve", [hold, speak])
def test_the_kernel_asks_when_we_ask(daemon, server, net, serve):
    """One that is only held is asked when we want, not when its kernel would: here for a child."""
    kept = {**KEPT, "interval": "3s", "retries": 0}
    child = {"name": "child", "address": net(9), "port": 9, "via": "kept"}
    peers = [{"name": "kept", **server(serve), **kept}]
    monitor = daemon(peers=peers, defaults={"interval": "1s", "timeout": "500ms"}).start()
    monitor.wait("kept", "up")
    monitor.configure([*peers, child])
    monitor.reload()
    monitor.beats("kept", 3)
    assert monitor.states("kept") == ["up"]
    assert monitor.peer("kept")["rtt_ms"]["max"] < 100


@pytest.mark.slow
def test_what_never_ends_is_not_read_for_ever(daemon, server):
    """Servers that never stop sending cost little, and what they say still answers."""
    flooded = server(flood)
    monitor = daemon(
        peers=[
            {"name": "asked", **flooded, "protocol": "tcp", "send": "x"},
            {"name": "kept", **flooded, **KEPT},
            {"name": "other", **flooded, "protocol": "tcp", "send": "x", "expect_reply": "z"},
        ]
    ).start()
    monitor.wait("asked", "up")
    monitor.wait("kept", "up")
    monitor.wait("other", "down", "bad-reply")
    before, began = cpu(monitor.process), time.monotonic()
    monitor.beats("asked", 10)
    assert cpu(monitor.process) - before < 0.3 * (time.monotonic() - began)
    assert (monitor.states("asked"), monitor.states("kept")) == (["up"], ["up"])


@pytest.mark.slow
def test_no_password_comes_back_into_evidence(daemon, server, tmp_path):
    """A service that sends our own CONNECT back is told as that, without a word of it."""
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    login = {"client_id": "h", "username": "u", "password": {"file": str(secret)}}
    monitor = daemon(
        peers=[{"name": "echo", **server(echo), "protocol": "mqtt", **login}],
    ).start()
    [words] = monitor.wait("echo", "down", "bad-reply")["evidence"]
    assert "it sends back what we send: no broker, but an echo service" in words
    assert "cret" not in monitor.log.read_text()


@pytest.mark.slow
def test_a_handshake_that_hangs_is_hung(daemon, server):
    """TCP is acknowledged and TLS is not begun: hung, with and without octets of ours."""
    hanging = server(hold)
    monitor = daemon(
        peers=[
            {"name": "kept", **hanging, **KEPT, "tls": "on"},
            {"name": "asked", **hanging, **KEPT, "tls": "on", "send": "x"},
        ]
    ).start()
    for name in ("kept", "asked"):
        assert "completes no TLS handshake" in monitor.wait(name, "down", "hung")["evidence"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _path: None, "No such file or directory"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.write_text("a word\n"), "it has no certificate"),
    ],
    ids=["missing", "FIFO", "no certificate"],
)
def test_an_authority_that_cannot_be_read_is_our_fault(daemon, server, tmp_path, make, words):
    """Without the file of `ca:` nothing is known of the peer; the words say what to do."""
    file = tmp_path / "ca.pem"
    make(file)
    tls = {"protocol": "tcp", "send": "x", "tls": "on", "ca": str(file)}
    monitor = daemon(peers=[{"name": "asked", **server(hold), **tls}]).start()
    [told] = monitor.wait("asked", "unknown", "send-blocked")["evidence"]
    assert f"ca: {file}: {words}; " in told
    assert "Errno" not in told
    assert monitor.states("asked") == ["unknown"]


@needs_openssl
@pytest.mark.slow
def test_a_renewed_authority_is_read_at_reload(daemon, server, tmp_path):
    """Certificates that are others now count from the next reload on."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "another")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def shake(accepted):
        with context.wrap_socket(accepted, server_side=True) as encrypted:
            echo(encrypted)

    address = server(shake)
    issued = ours.issue(address["address"])
    context.load_cert_chain(issued.certificate, issued.key)
    file = tmp_path / "trusted.pem"
    file.write_text("# Autorité\n" + other.ca.read_text())
    tls = {"protocol": "tcp", "send": "x", "tls": "on", "ca": str(file)}
    monitor = daemon(peers=[{"name": "asked", **address, **tls}]).start()
    monitor.wait("asked", "down", "tls")
    file.write_text("# Autorité\n" + ours.ca.read_text())
    monitor.reload()
    monitor.wait("asked", "up")


@pytest.mark.slow
def test_service_that_answers_too_late_is_not_hung(daemon, server):
    """An answer on the connection later than all life shows that the program runs, but slowly."""

    def late(accepted):
        while octets := accepted.recv(4096):
            time.sleep(delay)
            accepted.sendall(octets)

    delay = 0.0
    asked = {"protocol": "tcp", "send": "x", "expect_reply": "x"}
    monitor = daemon(peers=[{"name": "late", **server(late), **asked}]).start()
    monitor.wait("late", "up")
    delay = 0.9
    view = monitor.wait("late", "down", "too-tight", seconds=15)
    assert "would do" in view["evidence"][0]


def test_of_connections_that_a_reload_removes_nothing_is_heard_any_more(daemon, server):
    """What comes of them in that very moment keeps nobody, and stops nothing."""
    ends = []

    def serve(accepted):
        ends.append(accepted)
        while octets := accepted.recv(4096):
            accepted.sendall(octets.replace(b"PING", b"PONG"))

    where = server(serve)
    each = {"interval": "200ms", "timeout": "100ms", "retries": 1, "rise": 1}
    asked = {"protocol": "tcp", "send": "PING\\n", "expect_reply": "PONG", **each, **where}
    names = [f"t{number}" for number in range(60)]
    running = daemon()
    running.configure(peers=[{"name": name, **asked} for name in names])
    running.start()
    for round_ in range(6):
        for name in names:
            running.wait(name, "up")
        kept = names[round_ : round_ + 1]
        running.configure(peers=[{"name": name, **asked} for name in kept])
        running.reload()
        running.wait(kept[0], "up")
        time.sleep(0.5)  # whoever was forgotten would be asked again by then
        assert len(ends) - sum(end.fileno() < 0 or is_over(end) for end in ends) <= 1
        running.configure(peers=[{"name": name, **asked} for name in names])
        running.reload()
    assert running.process.poll() is None


def is_over(connection):
    """Whether the other end has closed it."""
    with contextlib.suppress(OSError):
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    return False
