"""hbd is measured against programs that speak as it does: its own codecs read what they send."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/network")]

import namespaces  # noqa: E402 - found next door

from hbd.core.model import PeerSettings, State  # noqa: E402
from hbd.core.stamp import Keys, StampSession  # noqa: E402
from hbd.core.station import Station  # noqa: E402
from hbd.wire import hbd_tlv, stamp, tlv  # noqa: E402
from hbd.wire.auth import Key  # noqa: E402
from tests.bench.lab import Lab  # noqa: E402

pytestmark = [pytest.mark.root, pytest.mark.slow]

PEER = "127.1.0.0"
PORT = 862
INTERVAL_USEC = 1_000_000


@pytest.fixture(scope="module")
def lab():
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with Lab(quick=True, runs=None, say=print) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["open", "authenticated"])
def keyed(request):
    return request.param


@pytest.fixture
def key(lab, keyed):
    return Key(bytes.fromhex(lab.key.read_text())) if keyed else None


def listening(lab, address, port=0):
    with lab.host.inside():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, port))
    opened.settimeout(5)
    return opened


def test_monitor(lab, keyed, key):
    """The heartbeats of the monitor in C are what hbd's codecs write for the same facts."""
    with ExitStack() as stack:
        peer = stack.enter_context(listening(lab, PEER, PORT))
        monitor = stack.enter_context(lab.monitor(1, keyed=keyed))
        monitor.go()
        heartbeats = [peer.recv(2048) for _ in range(2)]
    for sequence, heartbeat in enumerate(heartbeats):
        request = (
            stamp.parse_request_auth(heartbeat, key) if keyed else stamp.parse_request(heartbeat)
        )
        assert (request.sequence, request.ssid) == (sequence, 1)
        assert request.timestamp & 1  # that our TLV is in it
        words = hbd_tlv.parse(tlv.split(request.tlvs)[0][0].value)
        assert (words.state, words.interval_usec) == (hbd_tlv.Seen.UNKNOWN, INTERVAL_USEC)
        tlvs = tlv.pack(hbd_tlv.TYPE, words.pack())
        fields = (request.sequence, request.timestamp, request.estimate, request.ssid)
        if not keyed:
            assert heartbeat == stamp.pack_request(*fields, tlvs)
            continue
        tlvs += tlv.sign(key, sequence, tlvs)
        assert heartbeat == stamp.pack_request_auth(*fields, tlvs, key=key)


def test_reflector(lab, keyed, key):
    """hbd takes the replies of the reflector in C for those of an hbd that counts."""
    keys = Keys(sign=key, accept=(key,)) if keyed else None
    station = Station("bench", 1, Random(1))  # noqa: S311
    session = StampSession(PeerSettings("a", (PEER,)), station, keys)
    with lab.reflector(keyed=keyed), listening(lab, "127.0.0.1") as asking:
        for sequence in range(3):
            heartbeat, token = session.compose(sequence, 1_700_000_000 * 10**9, State.UP)
            asking.sendto(heartbeat, (PEER, PORT))
            reply, source = asking.recvfrom(2048)
            answer = session.read(reply)
            assert source == (PEER, PORT)
            assert len(reply) == len(heartbeat)
            assert (answer.sequence, answer.token, answer.uncounted) == (sequence, token, 0)
            assert answer.incarnation
            assert 0 <= answer.dwell < 10**9
            parsed = stamp.parse_reply_auth(reply, key) if keyed else stamp.parse_reply(reply)
            assert hbd_tlv.from_reply(parsed.tlvs).accepted == sequence + 1


def test_monitor_takes_replies_of_hbd(lab, keyed):
    """The monitor in C finds an hbd up, and refuses nothing that it answers."""
    # With keys it answers its peers: the monitor asks from the address of one.
    options = {"keyed": True, "first": 0x7F000001, "each": {"port": "863"}}
    with (
        lab.hbd(1, listen='["127.1.0.0:862"]', **options)
        if keyed
        else lab.hbd(0, listen='["127.1.0.0:862"]', accept="any"),
        lab.monitor(1, keyed=keyed) as monitor,
    ):
        assert monitor.all_up()
        assert (monitor["lost"], monitor["refused"]) == (0, 0)


def test_nothing_else_is_taken(lab, keyed):
    """Neither takes what is of the other mode."""
    with lab.reflector(keyed=not keyed), lab.monitor(1, keyed=keyed) as monitor:
        monitor.go()
        assert not monitor.until("up", 1, seconds=1.5)
        assert monitor["sent"]
