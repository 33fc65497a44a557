"""The truth: peers behind two links, who answer or not as this run says."""

import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress

from tests.daemon.reflectors import PORT, Reflector, plain, silent
from tests.network.namespaces import _run

LINKS = {"east": "10.71.0", "west": "10.72.0"}
PEERS = 5
"""Behind each link. The first never falls silent: a witness that the link is well."""
SPARE = 4
"""From this one on a peer is in some configurations only."""
BEAT = 1.0
PATIENCE = 0.5
"""Of the outsider's heartbeats: hbd's own defaults, seconds."""


class _Answering(Reflector):
    def _send(self, reply, source):
        with suppress(OSError):  # the link may be cut between request and reply
            super()._send(reply, source)


class Peer:
    """A host that can fall silent, or close its port."""

    def __init__(self, host, link, number):
        self.name, self.link, self.number = f"{link}{number}", link, number
        self.address = f"{LINKS[link]}.{10 + number}"
        self.way = "answers"
        self._host = host
        self._earlier = 0
        self._reflector = self._opened()

    def _opened(self):
        with self._host.inside():
            return _Answering(self.address).__enter__()

    def turn(self, way):
        """From now on it answers, is silent, or its port is closed."""
        if self.way == "closed":
            self._reflector = self._opened()
        if way == "closed":
            self.close()
        else:
            self._reflector.behave = plain if way == "answers" else silent
        self.way = way

    def close(self):
        if self.way != "closed":
            self._earlier = self.heartbeats
            self._reflector.__exit__()

    @property
    def heartbeats(self):
        """How many have come here."""
        return self._earlier + (0 if self.way == "closed" else len(self._reflector.requests))


class Outsider(threading.Thread):
    """Watches the daemon as a peer of it would: a heartbeat a second to its reflector."""

    def __init__(self, host, address):
        super().__init__(name="outsider", daemon=True)
        self.address = address
        with host.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.missed = []
        """When heartbeats were sent that nobody answered in time."""
        self._ending = False
        self.start()

    def run(self):
        sequence = 0
        while not self._ending:
            sequence, sent = sequence + 1, time.monotonic()
            if not self._is_answered(sequence, sent + PATIENCE):
                self.missed.append(sent)
            time.sleep(max(0.0, sent + BEAT - time.monotonic()))

    def _is_answered(self, sequence, until):
        request = struct.pack("!IQHH28x", sequence, 0x83AA7E80 << 32, 0x8001, 0)
        with suppress(OSError):  # the link may be cut
            self._socket.sendto(request, (self.address, PORT))
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with suppress(OSError):
                if struct.unpack_from("!I", self._socket.recv(2048), 24)[0] == sequence:
                    return True
        return False

    def close(self):
        self._ending = True
        self.join()
        self._socket.close()


class World:
    """Two links from the daemon's namespace to that of all peers."""

    def __init__(self, network, monitor):
        self._monitor, self._far = monitor, network.host("far")
        self._far.answer_all()
        self.cut = {}
        """Links that are cut, and how."""
        self._own = dict.fromkeys(LINKS, 1)
        for link in LINKS:
            self._plug(link)
        made = [Peer(self._far, link, number) for link in LINKS for number in range(PEERS)]
        self.peers = {peer.name: peer for peer in made}
        self.outsider = Outsider(self._far, f"{LINKS['west']}.1")

    def close(self):
        self.outsider.close()
        for peer in self.peers.values():
            peer.close()

    def state(self, name):
        """Give what must be told of a peer."""
        peer = self.peers[name]
        if peer.link in self.cut:
            return "unknown"
        return "up" if peer.way == "answers" else "down"

    def draw(self, dice, names):
        """Give some changes, each as its words and what makes it; of a peer at most one."""
        if dice.random() < 0.15 or self.cut:
            return [self._draw_cut(dice)]
        able = [self.peers[name] for name in names if self.peers[name].number]
        changes = []
        for peer in dice.sample(able, dice.choice([0, 1, 1, 2, 3])):
            way = dice.choice(["silent", "closed"]) if peer.way == "answers" else "answers"
            changes.append((f"{peer.name} {way}", lambda peer=peer, way=way: peer.turn(way)))
        return changes

    def _draw_cut(self, dice):
        if self.cut:
            link, how = next(iter(self.cut.items()))
            return f"link {link} mended", lambda: self._mend(link, how)
        link, how = dice.choice([*LINKS]), dice.choice(["down", "far end down", "removed"])
        return f"link {link} {how}", lambda: self._cut(link, how)

    def _cut(self, link, how):
        self.cut[link] = how
        if how == "removed":
            self._monitor.ip(f"link del {link}")
        else:
            self._end(how).ip(f"link set {link} down")

    def _mend(self, link, how):
        if how == "removed":
            self._plug(link)
            self._tell_outsider(link)
        else:
            self._end(how).ip(f"link set {link} up")
        del self.cut[link]

    def _end(self, how):
        return self._monitor if how == "down" else self._far

    def _plug(self, link):
        net, far = LINKS[link], self._far
        _run(*f"ip link add {link} netns {self._monitor.name} type veth".split(),
             *f"peer name {link} netns {far.name}".split())  # fmt: skip
        for address in [2, *range(10, 10 + PEERS)]:
            far.ip(f"addr add {net}.{address}/24 dev {link}")
        far.ip(f"link set {link} up")
        self._own[link] = 1
        self._monitor.ip(f"addr add {net}.1/24 dev {link}")
        self._monitor.ip(f"link set {link} up")

    def readdress(self, link):
        """Take the daemon's address behind a link away and give it another."""
        net, before = LINKS[link], self._own[link]
        self._own[link] = 201 if before == 1 else 1
        self._at_once(
            f"addr del {net}.{before}/24 dev {link}",
            f"addr add {net}.{self._own[link]}/24 dev {link}",
        )
        self._tell_outsider(link)

    def blink(self, link):
        """Down and up again, too short for a verdict."""
        self._at_once(f"link set {link} down", f"link set {link} up")

    def _at_once(self, *commands):
        words = ["ip", "-n", self._monitor.name, "-batch", "-"]
        subprocess.run(words, input="\n".join(commands), text=True, check=True)

    def _tell_outsider(self, link):
        if link == "west":
            self.outsider.address = f"{LINKS[link]}.{self._own[link]}"
