"""The live peers of the tests, without hbd: what they tell can be trusted."""

import contextlib
import socket
import subprocess
import time

import programs
import pytest
import toys
from brokers import Mosquitto
from certificates import Authority
from routers import Bird, Frr
from sessions import Neighbour

pytestmark = [pytest.mark.root, pytest.mark.slow]

HERE, THERE = "10.99.0.1", "10.99.0.2"
HERE6, THERE6 = "fd99::1", "fd99::2"
CUT = "udp dport { 3784, 4784 }"

needs_routers = pytest.mark.skipif(
    bool(reason := programs.missing(bird="bird2", vtysh="frr")), reason=str(reason)
)
needs_broker = pytest.mark.skipif(
    bool(reason := programs.missing(mosquitto="mosquitto", mosquitto_sub="mosquitto-clients")),
    reason=str(reason),
)


def routers(pair, stack, there="", here="", **settings):
    """Start BIRD here and FRR there, neighbours by one hop."""
    bird = Bird(pair.here, Neighbour(there or THERE, "va", here or None), **settings)
    frr = Frr(pair.there, Neighbour(here or HERE, "vb", there or None), **settings)
    return stack.enter_context(bird), stack.enter_context(frr)


@needs_routers
def test_bird_and_frr_notice_a_cut_and_a_shutdown(pair):
    """BIRD and FRR come up, negotiate, notice a cut within three intervals and say AdminDown."""
    with contextlib.ExitStack() as stack:
        bird, frr = routers(pair, stack, tx=100, rx=100)
        seen = [router.sees("up") for router in (bird, frr)]
        assert [(s.interval, s.detection) for s in seen] == [(0.1, 0.3)] * 2
        before = [len(router.changes()) for router in (bird, frr)]
        with toys.dropping(pair.here, CUT):
            cut = time.time()
            for router, since in zip((bird, frr), before, strict=True):
                change = router.changed("down", since)
                assert "expired" in change.reason
                assert 0 < change.at - cut < 0.5
        for router in (bird, frr):
            router.sees("up")
        frr.reconfigure(tx=200, multiplier=5)
        programs.until(lambda: bird.session().detection == 1.0, words=bird.sessions)
        bird.reconfigure(rx=400)
        programs.until(lambda: frr.session().interval == 0.4, words=frr.sessions)
        since = len(bird.changes())
        frr.reconfigure(shutdown=True)
        asked = time.time()
        assert bird.changed("down", since).at - asked < 0.3
        frr.reconfigure(shutdown=False)
        bird.sees("up")
        frr.freeze()
        bird.sees("down")
        frr.thaw()
        bird.sees("up")
        assert frr.stop() == 0
        assert bird.changed("down", since + 3).reason == "expired"
        frr.start()
        bird.sees("up")


@needs_routers
def test_routers_use_ipv6_many_hops_and_keys(pair):
    """BIRD and FRR meet by IPv6 and by many hops; two BIRDs need one key."""
    with contextlib.ExitStack() as stack:
        for router in routers(pair, stack, THERE6, HERE6):
            router.sees("up")
    with contextlib.ExitStack() as stack:
        bird = stack.enter_context(Bird(pair.here, Neighbour(THERE, local=HERE)))
        frr = Frr(pair.there, Neighbour(HERE, local=THERE), minimum_ttl=60)
        for router in (bird, stack.enter_context(frr)):
            router.sees("up")
    key = {"auth": "meticulous keyed sha1", "password": "hbdsecret", "key_id": 7}
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Bird(pair.here, Neighbour(THERE, "va"), **key))
        other = stack.enter_context(Bird(pair.there, Neighbour(HERE, "vb"), **key))
        for router in (one, other):
            router.sees("up")
        other.reconfigure(**key | {"password": "another"})
        for router in (one, other):
            router.sees("down")
            assert any("wrong authentication code" in line.words for line in router.log())


@needs_broker
def test_mosquitto_wants_the_password_and_publishes_wills(pair, tmp_path):
    """Mosquitto lets in who has the password, by TLS too, and a frozen one answers nobody."""
    authority = Authority(tmp_path / "ca")
    tls = authority.issue("broker.example", THERE)
    user = ("-u", "hbd", "-P", "secret")
    with Mosquitto(pair.there, THERE, users={"hbd": "secret"}, tls=tls) as broker:
        trust = ("--cafile", str(authority.ca))
        with broker.subscriber("t/#", *user, *trust) as subscriber:
            assert broker.publish("t/one", "some words", *user, *trust).returncode == 0
            subscriber.find("some words")
            (message,) = subscriber.messages()
            assert (message.topic, message.qos, message.payload) == ("t/one", 1, "some words")
            assert abs(message.at - time.time()) < 1
            since = broker.count()
            refused = broker.publish("t/two", "x", "-u", "hbd", "-P", "wrong", *trust)
            assert (refused.returncode, "not authorised" in refused.stdout) == (5, True)
            broker.find("not authorised", since)
        assert broker.publish("t/three", "x", *user).returncode != 0
    with Mosquitto(pair.there, THERE) as broker:
        with broker.subscriber("will") as subscriber:
            with broker.client("dying", "--will-topic", "will", "--will-payload", "gone") as client:
                client.kill()
            subscriber.find("gone")
        broker.freeze()
        with pytest.raises(subprocess.TimeoutExpired):
            broker.run("mosquitto_pub", "-h", THERE, "-t", "t", "-m", "x", seconds=0.5)
        broker.thaw()
        assert broker.publish("t", "x").returncode == 0
        assert broker.stop() == 0
        assert broker.publish("t", "x").returncode != 0


def test_toys_talk_to_each_other(pair):
    """The toy sender reaches the toy receiver; each TCP server has its fault."""
    with (
        toys.receiver(pair.there) as receiver,
        toys.sender(pair.here, THERE, every=0.2),
        toys.board(pair.here, THERE),
    ):
        receiver.find(f"received heartbeat from {HERE}")
        receiver.find("received " + "\0" * 60)
        since = receiver.count()
        receiver.find("heartbeat", since + 1)
    with contextlib.ExitStack() as stack:
        for number, (toy, said) in enumerate(
            [
                (toys.resetting(pair.there, THERE, 7001, 0.1), "Connection reset"),
                (toys.replying(pair.there, THERE, 7002, b"PONG"), "b'PONG'"),
                (toys.closing(pair.there, THERE, 7003, 0.1), "b''"),
                (toys.hanging(pair.there, THERE, 7004), "timed out"),
            ],
            start=7001,
        ):
            stack.enter_context(toy)
            assert said in answer(pair, number)
        assert "Connection refused" in answer(pair, 7005)
        with toys.dropping(pair.there, "tcp dport 7002"):
            assert "timed out" in answer(pair, 7002)
        assert "PONG" in answer(pair, 7002)


def answer(pair, port):
    """Give what a client gets from a TCP server, or its error."""
    with pair.here.inside():
        try:
            with socket.create_connection((THERE, port), timeout=0.5) as connection:
                connection.sendall(b"PING")
                return repr(connection.recv(100))
        except OSError as error:
            return str(error)
