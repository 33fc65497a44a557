"""Configurations that change at random: good ones, whose change is known, and bad ones."""

import json
import random
import string
from typing import NamedTuple

from running import PORT

STEADY = 60
"""Peers that no change touches,"""
LOOSE = 40
"""and about so many that come, go and change."""

PACE = {"interval": "200ms", "timeout": "200ms", "retries": 3, "rise": 2}
TOLD_PORTS = (18_964, 18_965)
"""Of this test alone: they are listened on at all addresses."""
NOWHERE = "/nonexistent/hbd"
KEY = "fleet"


class Bad(NamedTuple):
    """A configuration that is to be refused, and a part of what is said of it."""

    text: str
    said: str


class Changing:
    """A configuration as it is by now; `change` and `spoil` give the next one.

    `net` gives addresses: 1 to 60 of steady peers, up to 120 of others that answer, up to 239 of
    nobody; `taken` is a socket address that cannot be listened on.
    """

    def __init__(self, seed, net, tcp_port, key_file, taken):
        self.dice = random.Random(seed)  # noqa: S311 - to be replayed
        self.net, self.tcp_port, self.taken = net, tcp_port, taken
        self.number = 0
        self.whole = {
            "listen": [f"{net(250)}:{PORT}"],
            "start_grace": "0s",
            "keys": {KEY: {"file": key_file}},
        }
        self.steady = [self.stamp(f"steady{n}", net(1 + n)) for n in range(STEADY)]
        self.loose = {}
        for _ in range(LOOSE):
            self.add()

    # -- peers --------------------------------------------------------------------------------

    def stamp(self, name, address, **more):
        return {"name": name, "address": address, "port": PORT, **PACE, **more}

    def live(self):
        return self.net(self.dice.randint(61, 120))

    def dead(self):
        """Give an address that no other has: some protocols tell peers by it."""
        taken = [one.get("address") for one in self.loose.values()]
        hosts = map(self.net, range(121, 240))
        return self.dice.choice([host for host in hosts if host not in taken])

    def name(self, kind):
        self.number += 1
        return f"{kind}{self.number}"

    def new(self):
        """Give a peer of any kind; of those that are called live none is ever down."""
        dice, host = self.dice, self.dead()
        silent = self.name("silent")
        return dice.choice(
            [
                self.stamp(self.name("live"), self.live()),
                self.stamp(self.name("live"), self.live()),
                self.stamp(self.name("live"), [self.live(), self.net(121)][: dice.randint(1, 2)]),
                self.stamp(silent, host),
                self.stamp(silent, host, key=KEY),
                self.stamp(silent, "localhost"),
                self.stamp(silent, f"{silent}.invalid"),
                {"name": silent, "key": KEY, "ssid": self.number, "expect": "1s"},
                {"name": silent, "address": host, "protocol": "plain", "expect": "1s"}
                | {"port": dice.choice(TOLD_PORTS)},
                {"name": silent, "address": host, "protocol": "plain", "send": "x", "port": 9},
                {"name": silent, "address": host, "protocol": "bfd", "interval": "300ms"},
                {"name": self.name("tcp"), "address": self.net(240), "protocol": "tcp"}
                | {"port": self.tcp_port, "interval": "1s"},
                {"name": silent, "address": self.net(240), "protocol": "mqtt"}
                | {"port": self.tcp_port, "interval": "1s"},
            ]
        )

    @property
    def peers(self):
        """Give all by name, in the order of the file."""
        return {one["name"]: one for one in (*self.steady, *self.loose.values())}

    def some(self, kind=""):
        return self.dice.choice([name for name in self.loose if name.startswith(kind)])

    # -- changes ------------------------------------------------------------------------------

    def change(self):
        """Change one thing or some; give the new text."""
        of_peers = [self.add, self.remove, self.rename, self.readdress, self.shuffle]
        of_settings = [self.pace, self.labels, self.via, self.limits, self.mark]
        of_all = [self.listen, self.accept, self.clients, self.call]
        for _ in range(self.dice.randint(1, 3)):
            self.dice.choice([*of_peers, *of_settings, *of_all])()
        return self.text()

    def text(self):
        return json.dumps({**self.whole, "peers": list(self.peers.values())})  # JSON is YAML

    def add(self):
        if len(self.loose) < LOOSE + 10:
            one = self.new()
            self.loose[one["name"]] = one

    def remove(self):
        if len(self.loose) > LOOSE - 10:
            name = self.some()
            del self.loose[name]
            self.follow(name, None)

    def rename(self):
        name = self.some()
        one = self.loose.pop(name)
        new = self.name(name.rstrip(string.digits))
        self.loose[new] = {**one, "name": new}
        self.follow(name, new)

    def follow(self, before, after):
        """Let those that are behind a peer follow it."""
        for name, one in self.loose.items():
            if one.get("via") == before:
                kept = {key: value for key, value in one.items() if key != "via"}
                self.loose[name] = kept | ({"via": after} if after else {})

    def set(self, name, **keys):
        self.loose[name] = {**self.loose[name], **keys}

    def pace(self):
        name = self.some("live")
        interval = self.dice.choice((100, 200, 300, 1_000, 3_600_000))
        self.set(name, interval=f"{interval}ms", timeout=f"{min(interval, 200)}ms")

    def labels(self):
        self.set(self.some(), labels={"site": self.dice.choice("abc"), "x": str(self.number)})

    def via(self):
        name = self.some("live")
        parent = self.dice.choice([*self.peers])
        above = parent
        while above is not None:
            if above == name:
                return
            above = self.peers[above].get("via")
        self.set(name, via=parent)

    def limits(self):
        name = self.some("live")
        self.set(name, max_loss=f"{self.dice.randint(90, 99)}%", max_rtt="10s")

    def readdress(self):
        self.set(self.some("live"), address=self.live())

    def mark(self):
        self.set(self.some("live"), dscp=self.dice.choice((0, 46)))

    def shuffle(self):
        names = [*self.loose]
        self.dice.shuffle(names)
        self.loose = {name: self.loose[name] for name in names}

    def listen(self):
        others = [f"{self.net(host)}:{PORT}" for host in (251, 252, 253)]
        few = self.dice.sample(others, self.dice.randint(0, 3))
        self.whole["listen"] = [f"{self.net(250)}:{PORT}", *few]

    def accept(self):
        self.whole["accept"] = self.dice.choice(
            ("peers", "any", ["127.0.0.0/8"], ["::/0", "127.0.0.0/8"])
        )

    def clients(self):
        where = [f"{self.net(host)}:{PORT}" for host in (251, 252)]
        self.whole["listen_tcp"] = self.dice.sample(where, self.dice.randint(0, 2))

    def call(self):
        self.whole["node"] = f"node{self.dice.randint(1, 9)}"

    # -- mistakes -----------------------------------------------------------------------------

    def spoil(self):
        """Give a text that is wrong in some way, after changes that are not to come to be."""
        text, peers = self.text(), list(self.peers.values())
        self_made = self.stamp("bad", self.live())

        def with_peers(*more, **keys):
            return json.dumps({**self.whole, **keys, "peers": [*peers, *more]})

        cycle = [{**self_made, "name": one, "via": other} for one, other in ("xy", "yz", "zx")]
        return self.dice.choice(
            [
                Bad(text[: len(text) // 2], "not YAML"),
                Bad("peers: 3", "peers"),
                Bad(text + "\x07", "U+0007"),
                Bad(with_peers(self_made, self_made), "bad"),
                Bad(with_peers(*cycle), "via"),
                Bad(with_peers({**self_made, "via": "nobody"}), "nobody"),
                Bad(with_peers(include=f"{NOWHERE}.yaml"), f"{NOWHERE}.yaml"),
                Bad(with_peers({**self_made, "adress": "::1"}), "did you mean address?"),
                Bad(with_peers({**self_made, "interval": "1ms"}), "interval"),
                Bad(with_peers({**self_made, "timeout": "1h"}), "timeout"),
                Bad(with_peers(keys={KEY: {"file": NOWHERE}}), NOWHERE),
                Bad(with_peers(listen=[self.taken]), f"cannot listen on {self.taken}"),
                Bad(with_peers(self_made, listen_tcp=["x"]), "listen_tcp"),
            ]
        )
