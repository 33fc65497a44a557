import errno
import os
import resource
import socket
import struct

import pytest

from hbd.core.model import Leaving
from hbd.net.resolver import numeric
from hbd.net.routes import KEPT, Link, NoRouteError, Route, Routes

LO = socket.if_nametoindex("lo")


@pytest.fixture
def routes():
    opened = Routes()
    yield opened
    opened.close()


def test_loopback_is_local(routes, loopback):
    """The way to ourselves is the loopback interface, from the address itself."""
    [address, *_] = loopback(862)
    assert routes.lookup(loopback(862)) == Route("lo", LO, None, address, is_local=True)


def test_the_source_asked_for_is_the_source(routes):
    """A lookup with a source tells that source."""
    assert routes.lookup(("127.0.0.1", 862), Leaving(source="127.0.0.7")).source == "127.0.0.7"


def test_an_interface_that_does_not_exist_has_no_route(routes):
    """Without its interface a path has no route, and the words name the interface."""
    with pytest.raises(NoRouteError, match="no interface hbd-none") as caught:
        routes.lookup(("127.0.0.1", 862), Leaving(interface="hbd-none"))
    assert caught.value.errno == errno.ENODEV


def test_a_way_is_known_without_a_free_descriptor(routes):
    """Where no file can be opened any more, interfaces are still there, by name and by index."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        route = routes.lookup(("127.0.0.1", 862), Leaving(interface="lo"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (route.interface, route.index) == ("lo", LO)


def test_a_link_that_is_up_is_up(routes):
    """The loopback interface is up and has a carrier."""
    assert routes.link("lo") == Link(up=True, carrier=True)


@pytest.mark.parametrize("name", ["hbd-none", "", "sixteen-letters!", "ünterfacenamen!"])
def test_no_link_is_none(routes, name):
    """A name without an interface, or that no interface can have, is None."""
    assert routes.link(name) is None


def test_no_neighbour_is_none(routes):
    """An address nobody has asked for has no neighbour entry, nor has a missing interface."""
    assert routes.neighbour(LO, "127.0.0.99") is None
    assert routes.neighbour(999_999, "fe80::1%lo") is None


def test_an_answer_nobody_waits_for_is_passed_over(routes):
    """What is left of an earlier question is never taken for the answer to this one."""
    routes._socket.send(
        struct.pack("=IHHIIBBBBBBBBIHH4s", 36, 26, 1, 0, 0, 2, 32, *[0] * 7, 8, 1, b"\x7f\0\0\1")
    )
    assert routes.link("hbd-none") is None
    assert routes.lookup(("127.0.0.1", 862)).interface == "lo"


def test_many_questions_keep_their_answers_apart(routes):
    """Each question gets its own answer, whatever came before."""
    for _ in range(50):
        assert routes.link("hbd-none") is None
        assert routes.lookup(numeric("127.0.0.1", 862)).interface == "lo"
        assert routes.link("lo").up


def test_a_question_is_asked_once_until_all_is_forgotten(routes):
    """In one turn of the loop the kernel is asked once what ten thousand paths ask."""

    def asked():
        before = routes._sequence
        routes.link("lo")
        routes.neighbour(LO, "127.0.0.99")
        about_links = routes._sequence - before
        routes.lookup(("127.0.0.1", 862), Leaving(interface="lo"))
        return about_links, routes._sequence - before - about_links

    first = asked()
    assert min(first) > 0
    assert asked() == (0, 0)
    routes.forget(1)
    # Where that leads is known until the kernel says that it may be another, but not for long.
    assert asked() == (first[0], 0)
    routes.forget(KEPT)
    assert asked() == first


def test_each_way_is_known_for_as_long(routes):
    """What was asked for later is known for longer, though the kernel tells of no change."""

    def is_asked(port):
        before = routes._sequence
        routes.lookup(("127.0.0.1", port))
        return routes._sequence > before

    turns = [
        (0, {1: True}),
        (KEPT - 1, {1: False, 2: True}),
        (KEPT, {1: True, 2: False}),
        (2 * KEPT - 2, {1: False, 2: False}),
        (2 * KEPT - 1, {1: False, 2: True}),
    ]
    for now, expected in turns:
        routes.forget(now)
        assert {port: is_asked(port) for port in expected} == expected, now
