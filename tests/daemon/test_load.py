"""What it costs: memory of one peer, and two thousand peers at a second each."""

import os
import time
from pathlib import Path

import pytest
from running import PORT, peer, until

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20


def memory(pid):
    """Give RSS and PSS, octets."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in rollup}
    return sizes["Rss:"], sizes["Pss:"]


def processor(pid):
    """Give the seconds of processor time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_memory_of_an_idle_daemon(daemon, reflector, net, capsys):
    """A daemon with one peer takes less than 25 MB, and no more after some reloads."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"]).start()
    one.beats("a", 5)
    rss, pss = memory(one.process.pid)
    for _ in range(5):
        one.reload()
    later, _ = memory(one.process.pid)
    with capsys.disabled():
        print(f"\nidle: RSS {rss / MEGABYTE:.1f} MB, PSS {pss / MEGABYTE:.1f} MB")
    assert rss < 25 * MEGABYTE
    assert later < rss + 2 * MEGABYTE


def test_two_thousand_peers(daemon, net, capsys):
    """2,000 peers at 1 s, answered by one daemon: no loss, no DOWN, and the figures are printed."""
    block = net(1).rpartition(".")[0].rpartition(".")[0]
    addresses = [f"{block}.{number // 250}.{1 + number % 250}" for number in range(2_000)]
    port = PORT + 7
    far = daemon(peers=[], listen=[f"0.0.0.0:{port}"], accept="any").start()
    one = daemon()
    one.configure(
        peers=[{"name": f"p{n}", "address": a, "port": port} for n, a in enumerate(addresses)],
        defaults={"interval": "1s", "timeout": "500ms"},
        start_grace="10s",
    )
    began = time.monotonic()
    one.launch()
    until(one.answers, 20)
    until(lambda: one.status()["summary"]["up"] == 2_000, 30)
    all_up = time.monotonic() - began
    used = {each: processor(each.process.pid) for each in (one, far)}
    began = time.monotonic()
    time.sleep(5)
    span = time.monotonic() - began
    shares = [(processor(each.process.pid) - used[each]) / span for each in (one, far)]
    status = one.status()
    sent = sum(view["sent"] for view in status["peers"])
    received = sum(view["received"] for view in status["peers"])
    rtts = sorted(view["rtt_ms"]["p99"] for view in status["peers"])
    sizes = [memory(each.process.pid)[0] / MEGABYTE for each in (one, far)]
    with capsys.disabled():
        print(
            f"\n2,000 peers at 1 s: all up after {all_up:.1f} s; processor {shares[0]:.0%} sender,"
            f" {shares[1]:.0%} reflector; RSS {sizes[0]:.1f} and {sizes[1]:.1f} MB;"
            f" {sent} sent, {sent - received} without a reply yet;"
            f" RTT p99 {rtts[1_000]:.2f} ms (median peer), {rtts[-1]:.2f} ms (worst)"
        )
    assert status["summary"]["up"] == 2_000
    assert one.entries("state", state="down") == []
    assert sent - received < 2_000 * 0.5  # what is in question at one moment
    assert max(view["loss_percent"] for view in status["peers"]) == 0.0
    assert shares[0] < 0.9
    assert sizes[0] < 80
