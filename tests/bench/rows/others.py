"""hbd beside programs that people use, each on the first core at the near end of a cable.

What is at the far end, and the kernel's work for what comes back, is on the last core.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from tests.bench.hbd import Hbd
from tests.bench.lab import ON_CABLE, Cost, Lab, Pairs, address, kernel_count, on_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.bench.table import Row
    from tests.network.namespaces import Namespace

    Ends = Sequence[tuple[str, str]]
    """Of BFD sessions: address here, address there."""

PATIENCE: Final = 30.0
NEAR: Final = 0x0A320000
"""10.50.0.0: here are the near ends of sessions."""

BIRD: Final = """\
router id 192.0.2.1;
protocol device {{ }}
protocol bfd {{
  multihop {{ interval 1 s; idle tx interval 1 s; multiplier 3; }};
{neighbours}
}}
"""


def fping_100(lab: Lab) -> Iterator[Row]:
    yield _pinger(lab, "fping", 100)


def fping_1000(lab: Lab) -> Iterator[Row]:
    yield _pinger(lab, "fping", 1_000)


def fping_5000(lab: Lab) -> Iterator[Row]:
    yield _pinger(lab, "fping", 5_000)


def oping_1000(lab: Lab) -> Iterator[Row]:
    """It sends to all at once, and so wakes once a second: to know, not to be reached."""
    yield _pinger(lab, "oping", 1_000)


def _pinger(lab: Lab, program: str, peers: int) -> Row:
    name = f"{program}-{peers}"
    peers = min(peers, 200) if lab.quick else peers
    targets = lab.directory / "targets"
    targets.write_text("".join(f"{address(ON_CABLE + n)}\n" for n in range(peers)))
    command = {
        # Spread over the second, as hbd's heartbeats are.
        "fping": f"fping -q -l -p 1000 -i {1000 / peers:g} -f {targets}",
        "oping": f"oping -i 1 -f {targets}",
    }[program].split()
    near, far = lab.cable
    pairs, up, lost = Pairs([], []), peers, 0
    with lab.reflector(host=far) as reflector:
        on_core(reflector.pid, -1)
        for _ in range(lab.runs):
            with lab.hbd(peers, first=ON_CABLE, host=near) as hbd:
                on_core(hbd.pid, 0)
                up = min(up, hbd.all_are("up"))
                pairs.ours.append(lab.cost(hbd.pid, lambda: reflector["received"]))
                lost += hbd.counts().lost
            with _started(near, command) as pid:
                on_core(pid, 0)
                pairs.theirs.append(lab.cost(pid, lambda: kernel_count(far, "Icmp", "InEchos")))
    facts = {"peers": peers, "up": up, "lost": lost}
    what = f"CPU per heartbeat, {peers:,} peers at 1 s"
    goal = {"fping": "<= 1/3", "oping": "-"}[program]
    return pairs.row(name, what, program, goal=goal, remarks=f"up {up:,}", facts=facts)


def bird_100(lab: Lab) -> Iterator[Row]:
    yield from _bird_beside(lab, 100)


def bird_300(lab: Lab) -> Iterator[Row]:
    yield from _bird_beside(lab, 300)


def bird_1000(lab: Lab) -> Iterator[Row]:
    yield from _bird_beside(lab, 1_000)


def _bird_beside(lab: Lab, sessions: int) -> Iterator[Row]:
    """BIRD's BFD beside hbd's, both towards another BIRD; and beside hbd's STAMP."""
    count = 20 if lab.quick else sessions
    near, far = lab.cable
    ends = [(address(NEAR + number), address(ON_CABLE + number)) for number in range(count)]
    for here, _ in ends:
        near.ip(f"addr replace {here}/32 dev lo")
    far.ip(f"route replace {address(NEAR)}/16 via 10.99.0.1")

    def sent() -> int:
        return kernel_count(near, "Udp", "OutDatagrams")

    bfd, stamp = Pairs([], []), Pairs([], [])
    ups: dict[str, list[int]] = {"BFD": [], "STAMP": [], "BIRD": []}
    with ExitStack() as stack:
        other = stack.enter_context(lab.reflector(host=far)).pid
        router = _bird(lab.directory / "far", [end[::-1] for end in ends])
        for pid in (other, stack.enter_context(_started(far, router))):
            on_core(pid, -1)
        for _ in range(lab.runs):
            for pairs, kind, peers in (
                (bfd, "BFD", [_bfd_peer(*end) for end in ends]),
                (stamp, "STAMP", [{"address": there} for _, there in ends]),
            ):
                with Hbd(near, lab.directory, peers) as hbd:
                    on_core(hbd.pid, 0)
                    ups[kind].append(hbd.all_are("up"))
                    pairs.ours.append(lab.cost(hbd.pid, sent))
            up, theirs = _bird_alone(lab, ends, sent)
            ups["BIRD"].append(up)
            bfd.theirs.append(theirs)
            stamp.theirs.append(theirs)
    for pairs, kind in ((bfd, "BFD"), (stamp, "STAMP")):
        what = f"CPU per heartbeat of {kind}, {count:,} sessions at 1 s"
        facts = {"peers": count, "up": min(ups[kind]), "other_up": min(ups["BIRD"])}
        name = f"bird-{kind.lower()}-{sessions}"
        remarks = f"up {facts['up']:,}"
        yield pairs.row(name, what, "BIRD", goal="<= 1/10", remarks=remarks, facts=facts)


def _bfd_peer(here: str, there: str) -> dict[str, str]:
    return {
        "address": there,
        "source": here,
        "protocol": "bfd",
        "multihop": "on",
        "min_ttl": "1",
        "interval": "1s",
    }


def _bird(directory: Path, ends: Ends) -> list[str]:
    """Configure one; give the command that starts it."""
    directory.mkdir(exist_ok=True)
    neighbours = "\n".join(f"  neighbor {there} local {here} multihop on;" for here, there in ends)
    (directory / "bird.conf").write_text(BIRD.format(neighbours=neighbours))
    files = f"-c {directory}/bird.conf -s {directory}/bird.ctl -P {directory}/bird.pid"
    return f"bird -f {files}".split()


def _bird_alone(lab: Lab, ends: Ends, sent: Callable[[], int]) -> tuple[int, Cost]:
    """Give how many sessions came up, and the cost of what it sent."""
    directory = lab.directory / "near"
    with _started(lab.cable.near, _bird(directory, ends)) as pid:
        on_core(pid, 0)
        deadline = time.monotonic() + PATIENCE
        while (up := _bird_up(directory)) < len(ends) and time.monotonic() < deadline:
            time.sleep(0.2)
        return up, lab.cost(pid, sent)


def _bird_up(directory: Path) -> int:
    command = ["birdc", "-s", f"{directory}/bird.ctl", "show", "bfd", "sessions"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return sum("Up" in line.split() for line in told.stdout.splitlines())


@contextmanager
def _started(host: Namespace, command: list[str]) -> Iterator[int]:
    """Give the pid of a program that runs in a namespace, until it is no longer needed."""
    with host.inside():
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        yield process.pid
        if (ended := process.poll()) is not None:
            raise ChildProcessError(f"{command[0]} ended by itself: {ended}")
    finally:
        process.kill()
        process.wait()
