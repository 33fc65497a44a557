import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

# With --import-mode=importlib no test directory is on the path; the namespaces are next door.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "network"))
sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

import live_figures
import namespaces
import seen
from topology import Daemon

HERE = {"4": "10.99.0.1", "6": "fd99::1"}
THERE = {"4": "10.99.0.2", "6": "fd99::2"}


class Pair:
    """Two hosts on one cable; what passes there can be listened to."""

    def __init__(self, net):
        self.here, self.there = net.host("here"), net.host("there")
        bits = {"4": 24, "6": 64}
        self.net = net
        net.link(
            (self.here, "va", [f"{HERE[v]}/{bits[v]}" for v in "46"]),
            (self.there, "vb", [f"{THERE[v]}/{bits[v]}" for v in "46"]),
        )
        self._stack = ExitStack()

    def run(self, host, **configuration):
        """Start an hbd that ends with the test."""
        return self._stack.enter_context(Daemon(host, **configuration))

    def capture(self):
        """Note every frame from now on; calling the result ends it and gives them."""
        with self.there.inside():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.bind(("vb", 3))
        tap.settimeout(0.05)
        frames, ending = [], threading.Event()

        def listen():
            while not ending.is_set():
                try:
                    frames.append(tap.recv(2048))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()

        def end():
            ending.set()
            thread.join()
            tap.close()
            return frames

        return end

    def close(self):
        self._stack.close()


@pytest.fixture
def pair():
    """Two hosts, gone after the test."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with namespaces.network() as net:
        made = Pair(net)
        try:
            yield made
        finally:
            made.close()


def pytest_terminal_summary(terminalreporter):
    """Print what was told of each fault, by hbd and by the peer."""
    if lines := seen.lines() + live_figures.lines():
        terminalreporter.section("live peers")
        for line in lines:
            terminalreporter.write_line(line)
