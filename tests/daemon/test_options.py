"""What a peer's keys change on the wire, as its reflector sees it; and keys that sign."""

import time
from itertools import pairwise

import pytest
import reflectors as manners
from running import NOBODY, PORT, peer, until

pytestmark = pytest.mark.slow

ONE, TWO = "11" * 32, "22" * 32


@pytest.fixture
def seen(daemon, reflector, net):
    """Give a function: a peer's settings -> what its reflector sees, once it is up."""

    def see(behave=manners.with_ssid, count=4, **settings):
        asked = reflector(net(1), behave)
        one = daemon(peers=[peer("a", net(1), **settings)]).start()
        until(lambda: len(asked.requests) >= count)
        one.wait("a", "up")
        return one, asked.requests

    return see


def test_heartbeats_by_default(seen):
    """Sequence from 0 by 1, a random session id, hbd's TLV until it is not known there."""
    _, requests = seen(count=14)
    numbers = [int.from_bytes(r.datagram[:4], "big") for r in requests]
    assert numbers == list(range(len(numbers)))
    assert len({r.datagram[14:16] for r in requests}) == 1
    assert requests[0].datagram[14:16] != b"\0\0"
    assert len({r.source for r in requests}) == 1
    assert len(requests[0].datagram) == 88
    assert requests[0].datagram[44] & 0x80
    assert [len(r.datagram) for r in requests[4:9]] == [44] * 5
    assert all(int.from_bytes(r.datagram[12:14], "big") & 0xFF for r in requests)


def test_tlv_off(seen):
    """Without the TLV a heartbeat is 44 octets."""
    _, requests = seen(tlv=False)
    assert {len(r.datagram) for r in requests} == {44}


def test_tlv_on(seen):
    """With it, it is always there."""
    _, requests = seen(count=8, tlv=True)
    assert {len(r.datagram) for r in requests} == {88}


def test_tlv_auto_tries_without(seen):
    """Where nothing comes back with a TLV, heartbeats without it are tried."""
    one, requests = seen(lambda r: manners.plain(r) if len(r) == 44 else [], count=4)
    assert 44 in {len(r.datagram) for r in requests}
    one.wait("a", "up")
    one.beats("a", 4)
    assert one.state("a") == ("up", None)


@pytest.mark.parametrize("ssid", [0, 1, 65_535])
def test_ssid(seen, ssid):
    """A session id that is given is sent; 0 is none."""
    _, requests = seen(ssid=ssid)
    assert {r.datagram[14:16] for r in requests} == {ssid.to_bytes(2, "big")}


@pytest.mark.parametrize("size", [88, 200, 1_472])
def test_size(seen, size):
    """Heartbeats are padded to the size that is given."""
    _, requests = seen(size=size)
    assert {len(r.datagram) for r in requests} == {size}


def test_dscp(seen):
    """Heartbeats are marked."""
    _, requests = seen(dscp=46)
    assert {r.tos for r in requests} == {46 << 2}


def test_source(seen, net):
    """Heartbeats leave from the address that is given."""
    _, requests = seen(source=net(200))
    assert {r.source[0] for r in requests} == {net(200)}


def test_a_source_that_is_not_ours(daemon, net):
    """A foreign source is a fault of ours, not of the peer."""
    one = daemon(peers=[peer("a", net(1), source="192.0.2.1")]).start()
    view = one.wait("a", "unknown", "own-link")
    assert "192.0.2.1 is no address of this machine" in view["evidence"][0]


def test_intervals_are_shortened_at_random(seen):
    """Heartbeats come at 90 % to 100 % of the interval, and not in step."""
    _, requests = seen(count=15)
    times = [r.at for r in requests]
    spans = [b - a for a, b in pairwise(times)]
    assert min(spans) > 0.2 * 0.9 - 0.02
    assert sum(spans) / len(spans) < 0.2 + 0.02
    assert len({round(span, 3) for span in spans}) > 3


# -- keys --------------------------------------------------------------------------------------


@pytest.fixture
def keyed(daemon, net):
    """Give (monitor, reflector) daemons: the peer `b` at net(2), with these keys on both ends."""

    def make(ours, theirs, *, rights=0o600):
        far, near = daemon(), daemon()
        for one, lines in ((far, theirs), (near, ours)):
            file = one.directory / "fleet.key"
            file.write_text("".join(f"{line}\n" for line in lines))
            file.chmod(rights)
        keys = {"fleet": {"file": str(far.directory / "fleet.key")}}
        far.configure(
            peers=[peer("monitor", "127.0.0.1", key="fleet", interval="1h", timeout="100ms")],
            listen=[f"{net(2)}:{PORT}"],
            keys=keys,
        )
        keys = {"fleet": {"file": str(near.directory / "fleet.key")}}
        near.configure(peers=[peer("b", net(2), key="fleet")], keys=keys)
        return near, far

    return make


def test_the_same_key_is_up(keyed):
    """Both ends have the key: up, and nothing unsigned is answered."""
    near, far = keyed([ONE], [ONE])
    far.start()
    near.start()
    near.wait("b", "up")
    near.beats("b")
    view = near.peer("b")
    assert view["loss_percent"] == 0.0
    address = view["paths"][0]["address"]
    done = far.hbd("ping", "-c", "2", "-i", "50ms", "--port", PORT, address)
    assert done.returncode == 2
    assert far.status()["reflector"]["dropped"]["hmac"] == 2


def test_keys_are_replaced_while_both_run(keyed):
    """Both keys are accepted: the ends change one after the other, and the peer stays up."""
    near, far = keyed([ONE], [ONE])
    far.start()
    near.start()
    near.wait("b", "up")
    for one, lines in ((far, [ONE, TWO]), (near, [TWO, ONE]), (far, [TWO]), (near, [TWO])):
        (one.directory / "fleet.key").write_text("".join(f"{line}\n" for line in lines))
        (changed,) = one.reload()["changed"]
        assert changed in ("b", "monitor")
        near.beats("b")
    assert near.reload()["changed"] == []
    view = near.peer("b")
    assert view["loss_percent"] == 0.0
    assert len(near.entries("state", peer="b")) == 1


def test_a_wrong_key_is_named(daemon, reflector, net):
    """Replies that are not signed with our key: down for auth, and what to do."""
    one = daemon()
    file = one.directory / "fleet.key"
    file.write_text(ONE)
    file.chmod(0o600)
    reflector(net(2), lambda request: [manners.base(request) + bytes(len(request) - 44)])
    keys = {"fleet": {"file": str(file)}}
    one.configure(peers=[peer("b", net(2), key="fleet")], keys=keys)
    one.start()
    view = one.wait("b", "down", "auth")
    assert "HMAC" in view["evidence"][0]
    assert "key" in one.hbd("explain", "b").stdout.partition("What to do:")[2]


def test_a_peer_with_another_key_does_not_answer(keyed):
    """hbd does not answer what another key signed, and counts it."""
    near, far = keyed([ONE], [TWO])
    far.start()
    near.start()
    near.wait("b", "down", "filtered")
    assert far.status()["reflector"]["dropped"]["hmac"] > 0


@pytest.mark.parametrize(
    ("content", "rights", "words"),
    [
        ("short", 0o600, "64 hexadecimal digits"),
        (ONE, 0o644, "rights"),
        (f"{ONE}\n{TWO}\n{ONE}", 0o600, "one or two lines"),
    ],
)
def test_a_bad_key_file_stops_the_start(daemon, net, content, rights, words):
    """A key that cannot be used is a mistake of the configuration, with its place; never shown."""
    one = daemon()
    file = one.directory / "fleet.key"
    file.write_text(content)
    file.chmod(rights)
    one.configure(peers=[peer("a", net(1), key="fleet")], keys={"fleet": {"file": str(file)}})
    status, said = one.refuses_to_start()
    assert status == 78
    assert str(one.file) in said
    assert "key" in said
    assert words in said
    assert ONE not in said


@pytest.mark.root
def test_a_key_that_may_not_be_read(daemon, net):
    """hbd check warns of a key it may not read; the daemon refuses it."""
    one = daemon()
    file = one.directory / "fleet.key"
    file.write_text(ONE)
    file.chmod(0o600)
    one.configure(peers=[peer("a", net(1), key="fleet")], keys={"fleet": {"file": str(file)}})
    done = one.hbd("check", one.file, user=NOBODY)
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert one.refuses_to_start(user=NOBODY)[0] == 78


def test_a_new_key_is_used_from_the_reload_on(keyed):
    """A reload reads key files again."""
    near, far = keyed([ONE], [TWO])
    far.start()
    near.start()
    near.wait("b", "down")
    (near.directory / "fleet.key").write_text(f"{TWO}\n")
    near.reload()
    began = time.monotonic()
    near.wait("b", "up")
    assert time.monotonic() - began < 5
