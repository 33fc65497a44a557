import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hbd.net import resolver as module
from hbd.net.resolver import Answer, Resolver, numeric

ROOT = Path(__file__).parents[2]


@pytest.fixture
def resolver():
    opened = Resolver()
    yield opened
    opened.close()


@pytest.fixture
def stuck(monkeypatch):
    """Name servers that answer for `stuck` only when the event is set, and at once for others."""
    release = threading.Event()

    def resolve(name, port):
        if name == "stuck":
            release.wait(5)
        return Answer(name, port, (("192.0.2.1", port),), None)

    monkeypatch.setattr(module, "resolve", resolve)
    yield release
    release.set()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 862)),
        ("::1", ("::1", 862, 0, 0)),
        ("2001:DB8:0::1", ("2001:db8::1", 862, 0, 0)),
        ("fe80::1%lo", ("fe80::1", 862, 0, socket.if_nametoindex("lo"))),
        ("fe80::1%hbd-none", None),
        ("localhost", None),
        ("[::1]", None),
        ("", None),
        ("a..b", None),
        ("a" * 64, None),
        ("a\0b", None),
    ],
)
def test_numeric_addresses_need_no_resolver(address, expected):
    """An address becomes a socket address at once, its scope an index; a name becomes None."""
    assert numeric(address, 862) == expected


def test_a_name_is_answered(resolver, gather):
    """A name comes back with its addresses, each once, fit for a UDP socket."""
    assert resolver.answers() == []
    assert resolver.request("localhost", 862)
    [answer] = gather(lambda _: resolver.answers(), resolver, 1)
    assert (answer.name, answer.port, answer.error) == ("localhost", 862, None)
    assert set(answer.addresses) & {("127.0.0.1", 862), ("::1", 862, 0, 0)}
    assert len(set(answer.addresses)) == len(answer.addresses)
    assert resolver.answers() == []


def test_an_impossible_name_is_answered(resolver, gather):
    """A name that no resolver would take has an error, not an exception."""
    resolver.request("a..b", 862)
    answers = gather(lambda _: resolver.answers(), resolver, 1)
    assert answers == [Answer("a..b", 862, (), "not a possible name")]


def test_a_name_is_asked_for_once_at_a_time(resolver, stuck, gather):
    """As long as a name is in question, asking again asks nothing; after its answer it does."""
    for _ in range(3):
        assert resolver.request("stuck", 862)
    assert resolver.request("stuck", 863)
    stuck.set()
    answers = gather(lambda _: resolver.answers(), resolver, 2)
    assert sorted(answer.port for answer in answers) == [862, 863]
    assert resolver.answers() == []
    resolver.request("stuck", 862)
    assert len(gather(lambda _: resolver.answers(), resolver, 1)) == 1


def test_a_stuck_name_holds_up_its_thread_only(stuck, gather):
    """While one name hangs, others are answered by the other threads."""
    resolver = Resolver(threads=2)
    resolver.request("stuck", 862)
    for number in range(20):
        resolver.request(f"name-{number}", 862)
    answers = gather(lambda _: resolver.answers(), resolver, 20)
    assert {answer.name for answer in answers} == {f"name-{number}" for number in range(20)}
    assert resolver.answers() == []
    stuck.set()
    assert [answer.name for answer in gather(lambda _: resolver.answers(), resolver, 1)] == [
        "stuck"
    ]
    resolver.close()


def test_there_is_a_limit_to_questions(resolver, stuck, monkeypatch, gather):
    """Above the limit a name is not asked for, and the caller is told; later it is again."""
    monkeypatch.setattr(module, "LIMIT", 2)
    assert resolver.request("stuck", 1)
    assert resolver.request("stuck", 2)
    assert not resolver.request("stuck", 3)
    assert resolver.request("stuck", 2)
    stuck.set()
    assert len(gather(lambda _: resolver.answers(), resolver, 2)) == 2
    assert resolver.request("stuck", 3)


def test_an_answer_after_the_end_goes_nowhere(stuck):
    """A thread that finishes after close() touches no descriptor that may be another's by then."""
    others = set(threading.enumerate())
    resolver = Resolver(threads=1)
    resolver.request("stuck", 862)
    [thread] = set(threading.enumerate()) - others
    bell = resolver.fileno()
    resolver.close()
    heir = os.eventfd(0, os.EFD_NONBLOCK)
    os.dup2(heir, bell)
    stuck.set()
    thread.join(5)
    assert not thread.is_alive()
    assert not select.select([heir], [], [], 0)[0]
    for fd in {heir, bell}:
        os.close(fd)


def test_a_stuck_name_does_not_keep_the_process():
    """A process ends although all its threads wait for name servers."""
    program = (
        "import time\n"
        "from hbd.net import resolver\n"
        "resolver.resolve = lambda name, port: time.sleep(60)\n"
        "asking = resolver.Resolver()\n"
        "for port in range(8):\n"
        "    asking.request('stuck', port)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=10, check=True)
