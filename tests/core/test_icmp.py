"""Who may be a witness that our own side is sound."""

import pytest

from hbd.core.icmp import Report, is_first_hop, is_witness, read
from hbd.core.model import Cause
from hbd.core.session import Fact

PEER, GATEWAY = "198.51.100.7", "10.0.0.254"


@pytest.mark.parametrize(
    ("offender", "is_own", "is_on_link", "first_hop", "witness"),
    [
        (PEER, False, False, False, True),
        (PEER, False, True, False, True),
        ("203.0.113.1", False, False, False, True),
        (GATEWAY, False, True, True, False),
        (GATEWAY, False, False, True, False),
        ("10.0.0.253", False, True, True, False),
        ("10.0.0.1", True, False, False, False),
    ],
    ids=["peer", "peer-on-link", "beyond", "gateway", "far-gateway", "vrrp", "ourselves"],
)
def test_only_from_beyond_the_first_hop_is_a_witness(
    offender, is_own, is_on_link, first_hop, witness
):
    """The peer and routers further on show that our side is sound, our own router does not."""
    report = Report("icmp", 3, 0, offender, is_own=is_own, is_on_link=is_on_link)
    assert is_first_hop(report, PEER, GATEWAY) is first_hop
    assert is_witness(report, PEER, GATEWAY) is witness


@pytest.mark.parametrize(
    ("mtu", "more"), [(1300, ": its next link takes 1300 octets"), (0, ""), (None, "")]
)
def test_a_router_at_a_narrow_link_says_how_narrow_it_is(mtu, more):
    """Old routers say nothing of it, or 0 (RFC 1191 3)."""
    report = Report("icmp", 3, 4, GATEWAY, is_own=False, mtu=mtu)
    words = f"ICMP fragmentation needed from {GATEWAY}{more}"
    assert read(report, PEER, GATEWAY) == Fact(Cause.MTU, words)
