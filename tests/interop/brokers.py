"""Mosquitto, with a configuration of its own, and its two clients."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from programs import Program, Server

if TYPE_CHECKING:
    import subprocess

    from certificates import Certificate
    from namespaces import Namespace

_numbers = itertools.count(1)


class Message(NamedTuple):
    """What a subscriber was sent."""

    at: float
    """Seconds since 1970."""
    topic: str
    qos: int
    retained: bool
    payload: str


class Mosquitto(Server):
    """A broker on one address; its log is what it prints, at the time that was read."""

    def __init__(
        self,
        host: Namespace | None,
        address: str,
        port: int = 1883,
        *,
        users: dict[str, str] | None = None,
        tls: Certificate | None = None,
        more: str = "",
    ) -> None:
        """Let in these users with their passwords, None: everyone; `more` is configuration."""
        super().__init__(host, serves=" running")
        self.address, self.port = address, port
        configuration = self.directory / "mosquitto.conf"
        self.command = ("mosquitto", "-c", str(configuration))
        lines = [
            # It would become the user mosquitto, to whom our directory is closed.
            "user root",
            "persistence false",
            "log_dest stderr",
            "log_type all",
            "log_timestamp false",
            f"listener {port} {address}",
            f"allow_anonymous {'true' if users is None else 'false'}",
        ]
        if users is not None:
            lines.append(f"password_file {self._passwords(users)}")
        if tls is not None:
            lines += [f"certfile {tls.certificate}", f"keyfile {tls.key}"]
        configuration.write_text("\n".join([*lines, more, ""]))

    def _passwords(self, users: dict[str, str]) -> str:
        file = self.directory / "passwords"
        file.touch(mode=0o600)
        for user, password in users.items():
            done = self.run("mosquitto_passwd", "-b", str(file), user, password)
            assert done.returncode == 0, done.stdout
        return str(file)

    def publish(self, topic: str, message: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Publish with mosquitto_pub; `more` such as -u NAME -P PASSWORD, --cafile FILE."""
        return self.run("mosquitto_pub", *self.at(), *more, "-t", topic, "-m", message, "-q", "1")

    def subscriber(self, topic: str, *more: str) -> Client:
        """Give one that collects the messages of a topic, such as last wills, from its start."""
        return Client(self, f"subscriber-{next(_numbers)}", "-t", topic, *more)

    def client(self, name: str, *more: str) -> Client:
        """Give a client of that identifier that stays connected; `more` such as --will-topic T."""
        return Client(self, name, "-t", "nothing", *more)

    def at(self) -> list[str]:
        return ["-h", self.address, "-p", str(self.port), "-V", "mqttv311"]


class Client(Program):
    """A mosquitto_sub."""

    def __init__(self, broker: Mosquitto, name: str, *more: str) -> None:
        self.broker, self.name = broker, name
        super().__init__(
            broker.host,
            "mosquitto_sub", *broker.at(), "-i", name, "-q", "2", "-F", "%U %q %r %t %p", *more,
        )  # fmt: skip

    def ready(self) -> None:
        self.broker.find(f"Sending SUBACK to {self.name}")

    def messages(self) -> list[Message]:
        """Give all so far, at the time at which mosquitto_sub had them."""
        rows = (line.words.split(" ", 4) for line in self.lines())
        return [
            Message(float(at), topic, int(qos), retained == "1", payload)
            for at, qos, retained, topic, payload in rows
        ]
