"""BIRD 2 and FRR as BFD neighbours (RFC 5880), each with a configuration of its own."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from programs import Program, until
from sessions import Change, Neighbour, Router, Seen, Settings

if TYPE_CHECKING:
    from namespaces import Namespace

FRR: Final = "/usr/lib/frr"
LONG: Final = 60.0
"""Seconds; with five hundred neighbours FRR takes eight to start."""


class Bird(Router):
    """BIRD; `birdc` asks it."""

    SESSION = re.compile(
        r"^(\S+) +\S+ +(AdminDown|Down|Init|Up) .* ([\d.]+) +([\d.]+)$", re.MULTILINE
    )
    CHANGED = re.compile(r"Session to (\S+) changed state from (\w+) to (\w+)")
    EXPIRED = re.compile(r"Session to (\S+) expired")
    COMPLAINT = re.compile(r"<(RMT|AUTH|WARN|ERR|BUG)>")
    HOP_TTL = 63

    def __init__(self, host: Namespace, *neighbours: Neighbour, **settings: object) -> None:
        super().__init__(host, *neighbours, **settings)
        self.control = str(self.directory / "bird.ctl")
        self.configuration = self.directory / "bird.conf"
        pid_file = str(self.directory / "bird.pid")
        self.command = tuple(
            f"bird -f -c {self.configuration} -s {self.control} -P {pid_file}".split()
        )
        self._configure()

    def ready(self) -> None:
        until(
            lambda: self.ask("show status").returncode == 0 or not self.is_running,
            words=self.told,
        )
        assert self.is_running, self.told()

    def ask(self, words: str) -> Any:
        """Give what birdc says, as a finished process."""
        return self.run("birdc", "-s", self.control, *words.split())

    def reconfigure(self, **changes: object) -> None:
        """Change some of the settings in the configuration and let BIRD read it again."""
        self.settings = replace(self.settings, **changes)
        self._configure()
        told = self.ask("configure")
        assert "econfigur" in told.stdout, told.stdout

    def sessions(self) -> list[Seen]:
        return [
            Seen(address, state.lower(), float(interval), float(detection), {})
            for address, state, interval, detection in self.SESSION.findall(
                self.ask("show bfd sessions").stdout
            )
        ]

    def changes(self, address: str | None = None) -> list[Change]:
        changes = []
        expired = set()
        for at, words in self.log():
            if found := self.EXPIRED.search(words):
                expired.add(found[1])
            elif found := self.CHANGED.search(words):
                who, old, new = found.groups()
                # In Down, too, it tells of each silence that it expired.
                reason = "expired" if who in expired and new == "Down" else ""
                expired.discard(who)
                changes.append(Change(at, who, old.lower(), new.lower(), reason))
        return [change for change in changes if address in (None, change.address)]

    def _configure(self) -> None:
        options = self._options()
        neighbours = "\n".join(f"  {_bird_neighbour(n)};" for n in self.neighbours)
        self.configuration.write_text(f"""
log "{self.directory}/log" all;
timeformat log iso long us;
router id 192.0.2.1;
protocol device {{ }}
protocol bfd bfd1 {{
  disabled {_yes(self.settings.shutdown)};
  debug {{ states, events }};
  interface "*" {{ {options} }};
  multihop {{ {options} }};
{neighbours}
}}
""")

    def _options(self) -> str:
        given = self.settings
        options = (
            f"min tx interval {given.tx} ms; min rx interval {given.rx} ms; "
            f"idle tx interval 1 s; multiplier {given.multiplier}; passive {_yes(given.passive)};"
        )
        if given.auth is None:
            return options
        return (
            f"{options} authentication {given.auth}; "
            f'password "{given.password}" {{ id {given.key_id}; }};'
        )


def _bird_neighbour(neighbour: Neighbour) -> str:
    words = f"neighbor {neighbour.address}"
    if neighbour.interface:
        words += f' dev "{neighbour.interface}"'
    if neighbour.local:
        words += f" local {neighbour.local}"
    return words if neighbour.interface else f"{words} multihop on"


def _yes(value: object) -> str:
    return "yes" if value else "no"


class Frr(Router):
    """FRR's bfdd, and zebra for the interfaces; `vtysh` asks it.

    It is bfdd that is frozen; both are stopped and killed. Its log has no change to Init, nor
    its own `shutdown`.
    """

    CHANGED = re.compile(
        r"state-change: \[.*?peer:(\S+) .*?\] ([\w-]+) -> ([\w-]+)(?: reason:(.*))?"
    )
    COMPLAINT = re.compile(r"control-packet|packet-recv|packet-send")
    HOP_TTL = 254

    def __init__(self, host: Namespace, *neighbours: Neighbour, **settings: object) -> None:
        super().__init__(host, *neighbours, **settings)
        here = self.directory
        common = f"-z {here}/zserv.api --vty_socket {here} -A 127.0.0.1 -P 0"
        self.zebra = Program(
            host, *f"{FRR}/zebra -f {here}/zebra.conf -i {here}/zebra.pid {common}".split()
        )
        self.command = tuple(
            f"{FRR}/bfdd -f {here}/bfdd.conf -i {here}/bfdd.pid {common} "
            f"--bfdctl {here}/bfdd.sock".split()
        )
        self._configure()

    def start(self) -> Self:
        """Start zebra, then bfdd, which asks it for the interfaces."""
        if not self.zebra.is_running:
            (self.directory / "zserv.api").unlink(missing_ok=True)
            self.zebra.start()
            until((self.directory / "zserv.api").exists, words=self.zebra.told)
        return super().start()

    def ready(self) -> None:
        until(
            lambda: self.ask("show bfd peers json").returncode == 0 or not self.is_running,
            LONG,
            self.told,
        )
        assert self.is_running, self.told()

    def ask(self, *lines: str) -> Any:
        """Give what vtysh says to these lines, as a finished process."""
        given = [word for line in lines for word in ("-c", line)]
        here = str(self.directory)
        command = ["vtysh", "--vty_socket", here, "--config_dir", here, "-d", "bfdd", *given]
        return self.run(*command, seconds=LONG)

    def reconfigure(self, **changes: object) -> None:
        """Change some of the settings, as an administrator types it: only what is new."""
        before, self.settings = self.settings, replace(self.settings, **changes)
        for neighbour in self.neighbours:
            old = _frr_peer(neighbour, before)
            lines = [line for line in _frr_peer(neighbour, self.settings) if line not in old]
            said = self.ask("configure terminal", "bfd", _frr_name(neighbour), *lines)
            assert (said.returncode, said.stdout) == (0, ""), said.stdout

    def sessions(self) -> list[Seen]:
        return [_frr_session(shown) for shown in json.loads(self.ask("show bfd peers json").stdout)]

    def changes(self, address: str | None = None) -> list[Change]:
        changes = [
            Change(at, found[1], found[2], found[3], found[4] or "")
            for at, words in self.log()
            if (found := self.CHANGED.search(words))
        ]
        return [change for change in changes if address in (None, change.address)]

    def stop(self) -> int:
        status = super().stop()
        self.zebra.stop()
        return status

    def kill(self) -> int:
        status = super().kill()
        self.zebra.kill()
        return status

    def close(self) -> None:
        self.zebra.close()
        super().close()

    def told(self) -> str:
        return f"{self.zebra.told()}\n{super().told()}"

    def _configure(self) -> None:
        """Write the files; the daemons become the user frr before they open them."""
        peers = [
            line
            for neighbour in self.neighbours
            for line in (_frr_name(neighbour), *_frr_peer(neighbour, self.settings), "exit")
        ]
        wanted = [
            f"log file {self.directory}/log debugging",
            "log timestamp precision 6",
            "debug bfd peer",
            "debug bfd network",
            "bfd",
            *peers,
            "exit",
        ]
        for name, lines in (("bfdd.conf", wanted), ("zebra.conf", []), ("vtysh.conf", [])):
            file = self.directory / name
            file.write_text("".join(f"{line}\n" for line in lines))
            shutil.chown(file, "frr", "frr")
        shutil.chown(self.directory, "frr", "frr")


def _frr_name(neighbour: Neighbour) -> str:
    words = f"peer {neighbour.address}"
    if neighbour.interface is None:
        words += " multihop"
    if neighbour.local:
        words += f" local-address {neighbour.local}"
    return f"{words} interface {neighbour.interface}" if neighbour.interface else words


def _frr_peer(neighbour: Neighbour, settings: Settings) -> list[str]:
    """Every setting as a line, so that the lines that differ are the change."""
    minimum_ttl = [] if neighbour.interface else [f"minimum-ttl {settings.minimum_ttl}"]
    return [
        *minimum_ttl,
        f"detect-multiplier {settings.multiplier}",
        f"receive-interval {settings.rx}",
        f"transmit-interval {settings.tx}",
        "passive-mode" if settings.passive else "no passive-mode",
        "shutdown" if settings.shutdown else "no shutdown",
    ]


def _frr_session(shown: dict[str, Any]) -> Seen:
    """Both times are by RFC 5880 6.8.4 and 6.8.7, from what each side announces."""
    far_rx, far_tx = shown["remote-receive-interval"], shown["remote-transmit-interval"]
    patience = shown["remote-detect-multiplier"] * max(shown["receive-interval"], far_tx)
    interval = max(shown["transmit-interval"], far_rx)
    return Seen(shown["peer"], shown["status"], interval / 1000, patience / 1000, shown)
