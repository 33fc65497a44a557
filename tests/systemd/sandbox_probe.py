"""Runs inside the sandbox of hbd.service: what of the daemon's needs does it let through?

Prints {"name of the need": "ok" or the error}.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

RTM_GETROUTE, NLM_F_REQUEST = 26, 1


def bind_862():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", 862))


def thread():
    seen = []
    worker = threading.Thread(target=lambda: seen.append(1))
    worker.start()
    worker.join()
    assert seen


def child():
    subprocess.run([sys.executable, "-c", "import yaml"], check=True)


def ping_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2)
        sock.sendto(b"\x08\0\0\0\0\0\0\1", ("127.0.0.1", 0))
        assert sock.recv(100)


def route_lookup():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        attribute = (8).to_bytes(2, sys.byteorder) + (1).to_bytes(2, sys.byteorder)
        body = bytes([socket.AF_INET, 32]) + bytes(10) + attribute + bytes([127, 0, 0, 1])
        head = (
            (16 + len(body)).to_bytes(4, sys.byteorder)
            + RTM_GETROUTE.to_bytes(2, sys.byteorder)
            + NLM_F_REQUEST.to_bytes(2, sys.byteorder)
            + bytes(8)
        )
        sock.send(head + body)
        answer = sock.recv(4096)
        assert int.from_bytes(answer[4:6], sys.byteorder) == 24, answer  # RTM_NEWROUTE


def control_socket_for_everybody():
    path = Path(os.environ["RUNTIME_DIRECTORY"], "probe")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        path.chmod(0o666)
        assert path.stat().st_mode & 0o777 == 0o666


def state_survives():
    new = Path(os.environ["STATE_DIRECTORY"], "probe.new")
    with new.open("w") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
    new.rename(new.with_suffix(".old"))
    new.with_suffix(".old").unlink()


def queue_of_changes():
    Path("/run/hbd-changed/probe").touch()
    Path("/run/hbd-changed/probe").unlink()


def resolver():
    socket.getaddrinfo("localhost", 862)


NEEDS = (
    bind_862, thread, child, ping_socket, route_lookup, control_socket_for_everybody,
    state_survives, queue_of_changes, resolver,
)  # fmt: skip

if __name__ == "__main__":
    found = {}
    for need in NEEDS:
        try:
            need()
        except (OSError, AssertionError, subprocess.CalledProcessError) as error:
            found[need.__name__] = repr(error)
        else:
            found[need.__name__] = "ok"
    print(json.dumps(found))
