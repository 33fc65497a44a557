"""hbd and a real Mosquitto, with each fault that a broker can have."""

import contextlib
import time
from functools import partial
from pathlib import Path

import pytest
import seen
import toys
from brokers import Mosquitto
from certificates import Authority
from programs import missing, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(reason := missing(mosquitto="mosquitto", mosquitto_sub="mosquitto-clients")),
        reason=str(reason),
    ),
]

HERE, THERE, THERE6 = "10.99.0.1", "10.99.0.2", "fd99::2"
DETECTION = 0.2 + 4 * 0.1
"""Of the tests' defaults: interval + (retries + 1) x timeout, seconds."""


def peer(name="broker", address=THERE, **settings):
    return {"name": name, "address": address, "protocol": "mqtt", **settings}


def reload(monitor, **configuration):
    monitor.configure(**configuration)
    return monitor._client.call("Reload")


def secret(directory, password):
    """Write a password file."""
    file = Path(directory) / "password"
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    return {"file": str(file)}


def test_brokers_fall_and_come_back(pair):
    """A broker that is stopped, killed, frozen or cut off has the cause of that, then is up."""
    ports = {"stopped": 1884, "killed": 1885, "frozen": 1886, "cut": 1887, "witness": 1888}
    with contextlib.ExitStack() as stack:
        brokers = {
            name: stack.enter_context(Mosquitto(pair.there, THERE, port))
            for name, port in ports.items()
        }
        peers = [peer(name, port=port) for name, port in ports.items()]
        monitor = pair.run(pair.here, peers=peers).all_up()
        until(lambda: monitor.status("witness")["received"] > 5)
        assert 0 < monitor.status("witness")["rtt_ms"]["min"] < 20
        assert "as hbd-" in brokers["witness"].find("New client connected from 10.99.0.1").words
        since = monitor.count()
        lines = {name: broker.count() for name, broker in brokers.items()}
        brokers["stopped"].stop()
        brokers["killed"].kill()
        brokers["frozen"].freeze()
        with toys.dropping(pair.there, "tcp dport 1887"):
            for name, cause, fault in (
                ("stopped", "refused", "stopped"),
                ("killed", "refused", "killed"),
                ("frozen", "hung", "frozen by SIGSTOP"),
                ("cut", "keepalive-failed", "DROP while connected"),
            ):
                log = partial(seen.last, brokers[name], "", lines[name])
                seen.falls(
                    monitor, name, cause, f"mqtt: {fault}", DETECTION, since=since, logged=log
                )
            monitor.told("cut", since, state="down", cause="connect-timeout")
            other = pair.run(pair.here, peers=[peer(port=1887)])
            seen.falls(other, "broker", "connect-timeout", "mqtt: DROP from the start", DETECTION)
        brokers["stopped"].start()
        brokers["killed"].start()
        brokers["frozen"].thaw()
        for name in ("stopped", "killed", "frozen", "cut"):
            seen.rises(monitor, name, since)
        seen.rises(other, "broker")
        assert monitor.changes("witness", since) == []


def test_a_quick_restart_is_no_event(pair):
    """A broker that is back within the detection time was never down."""
    slow = {"interval": "500ms", "timeout": "500ms"}
    with Mosquitto(pair.there, THERE) as broker:
        monitor = pair.run(pair.here, peers=[peer(**slow)]).all_up()
        for end in (broker.stop, broker.kill):
            before = broker.count()
            end()
            broker.start()
            broker.find("New client connected", before)
        received = monitor.status("broker")["received"]
        until(lambda: monitor.status("broker")["received"] >= received + 4)
        assert monitor.changes("broker") == [("up", "")]


def test_passwords(pair, tmp_path):
    """A wrong password, none, and none needed; one that a reload changes."""
    right = secret(tmp_path, "s3cret")
    (tmp_path / "wrong").mkdir()
    wrong = secret(tmp_path / "wrong", "guess")
    with Mosquitto(pair.there, THERE, users={"hbd": "s3cret"}) as broker:
        peers = {
            "right": peer("right", username="hbd", password=right),
            "wrong": peer("wrong", username="hbd", password=wrong),
            "none": peer("none"),
            "later": peer("later", username="hbd"),
        }
        monitor = pair.run(pair.here, peers=list(peers.values()))
        refused = lambda: seen.last(broker, "not authorised")  # noqa: E731
        for name, fault in (
            ("wrong", "wrong password"), ("none", "no user name"), ("later", "no password"),
        ):  # fmt: skip
            entry = seen.falls(
                monitor, name, "mqtt-not-authorized", f"mqtt: {fault}", DETECTION, logged=refused
            )
            assert "CONNACK 5" in entry["HBD_EVIDENCE"]
        seen.rises(monitor, "right")
        # Now they are right, each in another way.
        secret(tmp_path / "wrong", "s3cret")
        peers["none"] |= {"username": "hbd", "password": wrong}
        peers["later"] |= {"password": right}
        reload(monitor, peers=list(peers.values()))
        for name in ("wrong", "none", "later"):
            seen.rises(monitor, name)
        assert monitor.changes("right") == [("up", "")]
        # Another password there and here: who has not read it is refused when it connects again.
        since = monitor.count()
        broker.run("mosquitto_passwd", "-b", str(broker.directory / "passwords"), "hbd", "n3w")
        secret(tmp_path, "n3w")
        reload(monitor, peers=list(peers.values()))
        broker.stop()
        broker.start()
        seen.falls(
            monitor, "wrong", "mqtt-not-authorized", "mqtt: another password there", DETECTION,
            since=since, logged=refused,
        )  # fmt: skip
        received = monitor.status("right")["received"]
        until(lambda: monitor.status("right")["received"] > received + 3)
        assert monitor.changes("right", since) == monitor.changes("later", since) == []


def test_tls(pair, tmp_path):
    """TLS to a broker is up; another authority, name or time is `tls`, in OpenSSL's words."""
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "somebody else")
    good = authority.issue("broker.example", THERE)
    with (
        Mosquitto(pair.there, THERE, 8883, tls=good) as broker,
        Mosquitto(pair.there, THERE, 8884, tls=authority.issue("old.example", THERE, days=-1)),
        Mosquitto(pair.there, THERE, 1883),
        toys.hanging(pair.there, THERE, 8885),
    ):
        tls = {"tls": "on", "ca": str(authority.ca)}
        monitor = pair.run(
            pair.here,
            peers=[
                peer("good", **tls),
                peer("named", **tls, tls_name="broker.example"),
                peer("ca", tls="on", ca=str(other.ca)),
                peer("later", tls="on", ca=str(tmp_path / "later.pem")),
                peer("system", tls="on"),
                peer("name", **tls, tls_name="other.example"),
                peer("expired", port=8884, **tls),
                peer("plain", port=1883, **tls),
                peer("none", port=8883),
                peer("hung", port=8885, **tls),
            ],
        )
        for name, words in (
            ("ca", "unable to get local issuer certificate"),
            ("system", ""),
            ("name", "Hostname mismatch"),
            ("expired", "certificate has expired"),
            ("plain", ""),
        ):
            entry = seen.falls(
                monitor, name, "tls", f"mqtt: TLS, {name}", DETECTION,
                logged=lambda: seen.last(broker, "error"),
            )  # fmt: skip
            assert words in entry["HBD_EVIDENCE"]
        seen.falls(monitor, "hung", "hung", "mqtt: TLS, accepted and no handshake", DETECTION)
        entry = seen.falls(monitor, "none", "reset", "mqtt: without TLS to its port", DETECTION)
        assert "before it had said anything" in entry["HBD_EVIDENCE"]
        for name in ("good", "named"):
            seen.rises(monitor, name)
            assert monitor.changes(name) == [("up", "")]
        ours = monitor.told("later", state="unknown", cause="send-blocked")
        assert "later.pem: No such file" in ours["HBD_EVIDENCE"]
        # A reload reads the files again, though the configuration is the same.
        (tmp_path / "later.pem").write_bytes(authority.ca.read_bytes())
        other.ca.write_bytes(authority.ca.read_bytes())
        monitor._client.call("Reload")
        seen.rises(monitor, "later")
        seen.rises(monitor, "ca")


def test_the_last_will(pair):
    """The will is published when hbd is killed; not when it stops, nor when the broker hung."""
    will = {"topic": "hbd/here", "message": "gone", "qos": 1, "retain": "on"}
    with Mosquitto(pair.there, THERE) as broker, broker.subscriber("hbd/here") as subscriber:
        stopped = pair.run(pair.here, peers=[peer(will=will)])
        killed = pair.run(pair.here, peers=[peer("killed", will=will | {"message": "killed"})])
        for monitor in (stopped.all_up(), killed.all_up()):
            assert monitor
        since = killed.count()
        broker.freeze()
        killed.told("killed", since, state="down", cause="hung")
        time.sleep(2)
        broker.thaw()
        seen.rises(killed, "killed", since)
        assert subscriber.messages() == []
        stopped.process.terminate()
        assert stopped.process.wait(10) == 0
        broker.find("Received DISCONNECT")
        time.sleep(0.5)
        assert subscriber.messages() == []
        killed.kill()
        began = time.time()
        (message,) = until(subscriber.messages)
        assert (message.topic, message.payload, message.qos) == ("hbd/here", "killed", 1)
        assert message.at - began < 2


def test_two_addresses_of_one_broker(pair):
    """Each address has a connection of its own with an id of its own; one that fails degrades."""
    with Mosquitto(pair.there, THERE, more=f"listener 1883 {THERE6}") as broker:
        monitor = pair.run(pair.here, peers=[peer(address=[THERE, THERE6])]).all_up()
        time.sleep(1)
        connected = [line.words for line in broker.lines() if "New client connected" in line.words]
        assert len({words.split(" as ")[1].split()[0] for words in connected}) == 2
        assert len(connected) == 2
        since = monitor.count()
        with toys.dropping(pair.there, f"ip6 daddr {THERE6} tcp dport 1883"):
            seen.falls(
                monitor, "broker", "path-down", "mqtt: one of two addresses cut", DETECTION,
                since=since, state="degraded",
            )  # fmt: skip
        seen.rises(monitor, "broker", since)
