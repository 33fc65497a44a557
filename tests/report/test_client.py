"""What the commands do with what answers them."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from hbd.report import varlink


@pytest.mark.slow
@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xfe\0",
        b"[1]\0",
        b'{"error":3}\0',
        b'{"x":3}\0',
        varlink.BEGIN + b"[]}\0",
        varlink.BEGIN + b"[" * 100_000 + b"}\0",
        varlink.BEGIN + b'{"pid":' + b"9" * 5_000 + b"}}\0",
    ],
    ids=["octets", "list", "number", "nothing", "no object", "deep", "big"],
)
def test_what_is_no_daemon_is_said(octets, tmp_path):
    """Whatever it answers, the commands end with status 3 and words."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "io.hbd"))
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener, octets))
        thread.start()
        done = subprocess.run(
            [sys.executable, "-m", "hbd", "status"],
            env=os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)},
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        thread.join()
    assert done.returncode == 3, done.stderr
    assert "no hbd, or ended in the middle" in done.stderr
    assert "Traceback" not in done.stderr


def answer(listener, octets):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(octets)
