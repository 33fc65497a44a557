"""`hbd check` and the neighbour table of the kernel."""

from __future__ import annotations

import pytest

from hbd.net.crowding import crowded

pytestmark = pytest.mark.root


def test_more_peers_on_a_link_than_neighbours_fit_are_warned_about(net, tmp_path):
    """Only peers that are on-link count, and the warning names the setting that helps."""
    here, there = net.host("here"), net.host("there")
    net.link((here, "near0", ["10.99.0.1/16"]), (there, "far0", ["10.99.0.2/16"]))
    table = tmp_path / "gc_thresh3"
    table.write_text("3\n")
    near = [f"10.99.1.{host}" for host in range(1, 5)]
    with here.inside():
        assert crowded([*near[:3], "127.0.0.2", "::1"], {"IPv4": table}) == []
        (warning,) = crowded(near, {"IPv4": table})
    assert "net.ipv4.neigh.default.gc_thresh3=8" in warning
