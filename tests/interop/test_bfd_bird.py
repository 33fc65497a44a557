"""hbd as a BFD neighbour of BIRD."""

import contextlib
import time

import bfd_scenes
import live_figures
import namespaces
import programs
import pytest
from bfd_lan import DETECTION, PEER, Hbd, Lan, bfd
from routers import Bird
from sessions import Neighbour
from test_harness import HERE, THERE

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason := programs.missing(bird="bird2")), reason=str(reason)),
]


@pytest.fixture
def kind():
    return Bird


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """Give BIRD and two hbds."""
    with namespaces.network() as net:
        made = Lan(net, tmp_path_factory.mktemp("bird"))
        with contextlib.closing(made):
            made.start(Bird)
            yield made


class TestFaults(bfd_scenes.Faults):
    """On a LAN."""


class TestTimers(bfd_scenes.Timers):
    """On the same LAN."""


class TestSessions(bfd_scenes.Sessions):
    """Each on a cable of its own."""


class TestDetection(bfd_scenes.Detection):
    """On cables that are cut one by one."""


OLD, NEW = "the secret", "a new one"
SECRETS = {"keyed-sha1": "keyed sha1", "meticulous-sha1": "meticulous keyed sha1"}


class TestKeys:
    """Only BIRD has authentication of RFC 5880."""

    @pytest.mark.parametrize("auth", list(SECRETS))
    def test_keys(self, pair, tmp_path, auth):
        """With one key both are up; with another type, id or secret hbd says auth."""
        secret = tmp_path / "secret"
        write_secret(secret, OLD)
        key = {"auth": SECRETS[auth], "password": OLD, "key_id": 7}
        peer = bfd(address=THERE, auth=auth, key_id=7, password={"file": str(secret)})
        with (
            Bird(pair.there, Neighbour(HERE, "vb"), **key) as router,
            Hbd(pair.here, tmp_path / "hbd", peer) as hbd,
        ):
            hbd.up()
            router.sees("up")
            time.sleep(0.5)
            assert router.complaints() == []
            for fault, other, words in (
                ("another secret", {"password": "another"}, "SHA1 hash"),
                ("another key id", {"key_id": 8}, "key id 8"),
                ("another type", {"auth": SECRETS[next(a for a in SECRETS if a != auth)]}, "SHA1,"),
                ("MD5", {"auth": "keyed md5"}, "keyed MD5"),
                ("a password", {"auth": "simple"}, "a simple password"),
                ("no key", {"auth": None}, "no authentication"),
            ):
                since, log = len(hbd.changes()), len(router.log())
                router.reconfigure(**key | other)
                entry = hbd.told(since, state="down", cause="auth")
                assert words in entry["HBD_EVIDENCE"], entry["HBD_EVIDENCE"]
                live_figures.note(
                    "Bird",
                    f"{auth}: {fault}",
                    "down",
                    "auth",
                    seconds=live_figures.took(entry),
                    formula=DETECTION,
                    other=router.complaints(log)[-1],
                )
                router.reconfigure(**key)
                hbd.up()
                router.sees("up")

    @pytest.mark.parametrize("auth", list(SECRETS))
    def test_secret_changes(self, pair, tmp_path, auth):
        """A new secret at both ends, one after the other, ends in Up; so do their restarts."""
        secret = tmp_path / "secret"
        write_secret(secret, OLD)
        peer = bfd(address=THERE, auth=auth, password={"file": str(secret)})
        with (
            Bird(pair.there, Neighbour(HERE, "vb"), auth=SECRETS[auth], password=OLD) as router,
            Hbd(pair.here, tmp_path / "hbd", peer) as hbd,
        ):
            hbd.up()
            write_secret(secret, NEW)
            hbd.reload()
            hbd.wait(PEER, "down", "auth")
            router.reconfigure(password=NEW)
            hbd.up()
            router.sees("up")
            for restart in (router, hbd):
                restart.stop()
                restart.start()
                hbd.up()
                router.sees("up")


def write_secret(file, text):
    file.write_text(f"{text}\n")
    file.chmod(0o600)


def test_disabled(lan):
    """BIRD forgets its sessions in silence when its administrator disables them."""
    lan.up()
    since = lan.marks()
    lan.router.reconfigure(shutdown=True)
    lan.seen("disabled", since, "down", "port-closed", formula=DETECTION)
    lan.router.reconfigure(shutdown=False)
    lan.up()
