"""Heartbeats as every tutorial writes them, and TCP servers with each of the usual faults."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

from programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespaces import Namespace

SENDER: Final = """
import socket, sys, time
ip, port, every = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sock.sendto(b"heartbeat", (ip, port))
    print("heartbeat sent")
    time.sleep(every)
"""

RECEIVER: Final = """
import socket, sys
ip, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((ip, port))
print("listening")
while True:
    data, addr = sock.recvfrom(1024)
    print("received", data.decode(), "from", addr[0])
"""

BOARD: Final = """
import socket, sys, time
ip, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sock.sendto(bytes(60), (ip, port))
    time.sleep(1)
"""

TCP_SERVER: Final = """
import contextlib, socket, struct, sys, threading, time
ip, port, fault, *more = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
def serve(connection, addr):
    if fault == "hang":
        threading.Event().wait()
    if fault == "reset":
        time.sleep(float(more[0]))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if fault == "close":
        time.sleep(float(more[0]))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        with contextlib.suppress(OSError):  # unread octets would make it a reset
            while connection.recv(65536):
                pass
    if fault == "flood":
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(65536))
    if fault == "once":
        connection.recv(1024)
        connection.sendall(bytes.fromhex(more[0]))
    if fault == "reply":
        replies = [bytes.fromhex(reply) for reply in more]
        try:
            while data := connection.recv(1024):
                print("received", data)
                connection.sendall(replies.pop(0) if len(replies) > 1 else replies[0])
        except OSError as error:
            print("error", error)
    connection.close()
    print("closed", addr[0])
listener = socket.create_server(
    (ip, port), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)
print("listening")
while True:
    connection, addr = listener.accept()
    print("accepted", addr[0])
    threading.Thread(target=serve, args=(connection, addr), daemon=True).start()
"""

TCP_CLIENT: Final = """
import socket, sys, time
ip, port, every, text = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
while True:
    try:
        sock = socket.create_connection((ip, port), timeout=3)
        print("connected")
        while True:
            sock.sendall(text.encode())
            print("heartbeat sent")
            time.sleep(every)
    except OSError as error:
        print("error", error)
        time.sleep(every)
"""


def _toy(host: Namespace | None, source: str, *words: object, serves: str = "") -> Program:
    return Program(host, sys.executable, "-c", source, *map(str, words), serves=serves)


def sender(host: Namespace | None, address: str, port: int = 12345, every: float = 5.0) -> Program:
    """Send `heartbeat` every so many seconds and never read."""
    return _toy(host, SENDER, address, port, every)


def receiver(host: Namespace | None, address: str = "0.0.0.0", port: int = 12345) -> Program:  # noqa: S104 - as tutorials bind it, in a namespace
    """Print `received TEXT from ADDRESS` of every datagram, and never answer."""
    return _toy(host, RECEIVER, address, port, serves="listening")


def board(host: Namespace | None, address: str, port: int = 12345) -> Program:
    """Send 60 octets of zeros every second."""
    return _toy(host, BOARD, address, port)


def hanging(host: Namespace | None, address: str, port: int) -> Program:
    """Accept, and never read nor write."""
    return _toy(host, TCP_SERVER, address, port, "hang", serves="listening")


def resetting(host: Namespace | None, address: str, port: int, after: float = 0.0) -> Program:
    """Reset each connection after so many seconds."""
    return _toy(host, TCP_SERVER, address, port, "reset", after, serves="listening")


def closing(host: Namespace | None, address: str, port: int, after: float = 0.0) -> Program:
    """Close each connection in order after so many seconds."""
    return _toy(host, TCP_SERVER, address, port, "close", after, serves="listening")


def replying(host: Namespace | None, address: str, port: int, *replies: bytes) -> Program:
    """Answer whatever comes, first with the first reply, in the end always with the last."""
    words = [reply.hex() for reply in replies]
    return _toy(host, TCP_SERVER, address, port, "reply", *words, serves="listening")


def flooding(host: Namespace | None, address: str, port: int) -> Program:
    """Send without end and never read."""
    return _toy(host, TCP_SERVER, address, port, "flood", serves="listening")


def replying_once(host: Namespace | None, address: str, port: int, reply: bytes) -> Program:
    """Answer what comes first, then close the connection in order."""
    return _toy(host, TCP_SERVER, address, port, "once", reply.hex(), serves="listening")


def tcp_client(
    host: Namespace | None, address: str, port: int, every: float = 5.0, text: str = "heartbeat\n"
) -> Program:
    """Connect, send a text every so many seconds; connect again when that fails."""
    return _toy(host, TCP_CLIENT, address, port, every, text)


@contextlib.contextmanager
def dropping(host: Namespace, match: str) -> Iterator[None]:
    """Drop in a host, in both directions, what a rule such as `tcp dport 7` and its answers match.

    Connections that were open are half-open from then on.
    """
    answers = match.replace("dport", "sport")
    host.nft(
        "table inet dropping {\n"
        f" chain i {{ type filter hook input priority 0; {match} drop; {answers} drop; }}\n"
        f" chain o {{ type filter hook output priority 0; {match} drop; {answers} drop; }}\n"
        " }"
    )
    try:
        yield
    finally:
        host.unblock("dropping")
