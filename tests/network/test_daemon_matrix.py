"""The matrix of faults: each made for real, several at once, told by one monitor that runs on.

A seed says which hosts are the victims, how often each peer is asked, in which moment a fault
begins and how long it lasts. HBD_TESTS_SEED sets the first seed, HBD_TESTS_SEEDS their number.
"""

import contextlib
import itertools
import os
import random
import signal
import time
from datetime import datetime

import faults
import figures
import pytest
from faults import LISTEN, OPEN, PORT, Fault, Place
from test_daemon_own_side import CASES as OWN_FAULTS
from topology import ADDRESS, MARGIN, PROBE, ROUTER, Fake, peer

pytestmark = [pytest.mark.root, pytest.mark.slow]

FIRST = int(os.environ.get("HBD_TESTS_SEED", "7"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("HBD_TESTS_SEEDS", "2")))
HOSTS = "abcedf"
WELL = ("up", "")
ROUNDS = itertools.count(1)
LATER = 2 * PROBE + 4
"""So long evidence may take that comes after the verdict, or a peer to be up again, seconds."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Give two keys, as configuration."""
    made = {}
    for name, secret in (("fleet", faults.FLEET), ("other", faults.OTHER)):
        file = tmp_path_factory.mktemp("keys") / name
        file.write_text(f"{secret.hex()}\n")
        file.chmod(0o600)
        made[name] = {"file": str(file)}
    return made


@pytest.fixture(scope="module")
def fakes(lab):
    """Give a reflector at PORT for each address of each host."""
    with contextlib.ExitStack() as stack:

        def start(name, version):
            fake = Fake(
                lab.hosts[name], ADDRESS[f"{name}{version}"], PORT, faults.answers(faults.FLEET)
            )
            return stack.enter_context(fake)

        yield {name: [start(name, version) for version in "46"] for name in HOSTS}


@pytest.fixture(scope="module")
def monitor(lab):
    """One for all faults."""
    with lab.watch([], listen=LISTEN) as running:
        yield running.ready()


@pytest.fixture(params=SEEDS)
def stage(request, lab, monitor, fakes, keys):
    """Where a seed is played."""
    return Stage(lab, monitor, fakes, keys, random.Random(request.param))  # noqa: S311 - for chance


class Stage:
    """The lab, with its one monitor and the dice."""

    def __init__(self, lab, monitor, fakes, keys, dice):
        self.lab, self.monitor, self.fakes, self.keys, self.dice = lab, monitor, fakes, keys, dice
        self.mark = ""
        """What the names of all peers end with: with another they need not come back first."""

    def place(self, fault, name):
        timing = fault.draw(self.dice)
        return Place(self.lab, fault, name, timing, self.fakes, self.dice, self.mark)

    def watch(self, *places, **more):
        """Have every host watched, these places as their faults want it, until all are up.

        `more`: by peer further settings of it. Gives the timing of each peer by its name.
        """
        timings, watched = {}, {}
        for each in (f"{host}{version}" for host in HOSTS for version in "46"):
            name = f"{each}{self.mark}"
            timings[name] = faults.usual(self.dice)
            watched[name] = peer(name, ADDRESS[each], **timings[name].settings)
        for place in places:
            if place.fault.there:
                self.lab.daemons[place.name].reload(**OPEN | place.fault.there)
            if not place.fault.is_of_fake:  # what is said of its peers would be said of these
                for version in "46":
                    del watched[f"{place.name}{version}{self.mark}"]
            watched |= {each["name"]: each for each in place.peers}
            timings |= dict.fromkeys(place.names, place.timing)
        for name, settings in more.items():
            watched[name] |= settings
        self.monitor.reload(peers=list(watched.values()), listen=LISTEN, keys=self.keys)
        self.until_up(watched)
        time.sleep(0.3)  # each has been asked by its own schedule
        return {name: timings[name] for name in watched}

    def until_up(self, names):
        """Wait until these answer, though perhaps not as they should yet."""
        self.monitor.until(
            lambda: (
                (states := self.states()).keys() >= set(names)
                and all(states[name] in ("up", "degraded") for name in names)
            ),
            LATER,
        )
        # What is so is told a little later.
        self.monitor.until(lambda: all(self.is_told_up(name) for name in names), LATER)

    def is_told_up(self, name):
        told = self.monitor.changes(name)
        return told and told[-1][0] in ("up", "degraded")

    def states(self):
        return {each["name"]: each["state"] for each in self.monitor.status()["peers"]}

    def wait(self, longest=0.3):
        """Go on in some moment of everybody's interval."""
        time.sleep(self.dice.uniform(0.0, longest))

    def until_told(self, name, since, told):
        """Wait until that is told of a peer, or for so long as it may take."""
        if told == WELL:
            return
        with contextlib.suppress(AssertionError):
            self.monitor.until(lambda: told in self.monitor.changes(name, since), LATER)


def note(stage, fault, name, since, *, timing=None, began=None):
    """Put down what was told of one peer; give it in words if that is wrong."""
    changes = stage.monitor.changes(name, since) or [WELL]
    detection = formula = None
    if began is not None and changes != [WELL] and fault.formula:
        detection = took(stage.monitor.told(name, since), began)
        formula = fault.formula(timing)
    figures.ROWS.append(
        figures.Row(fault.name, name, fault.told, changes[0], changes[-1], detection, formula)
    )
    # Where all of an egress were silent for a while, they are asked once more.
    is_late = detection is not None and detection > formula + timing.round + MARGIN
    allowed = {fault.told, *fault.first}
    if changes[-1] == fault.told and set(changes) <= allowed and not is_late:
        return []
    entries = [e for e in stage.monitor.entries()[since:] if e.get("HBD_PEER") == name]
    words = "\n  ".join(f"{e['MESSAGE']} {e.get('HBD_EVIDENCE')}" for e in entries)
    told = f"{changes} after {detection} s, not {fault.told} in {formula} s"
    return [f"{fault.name} on {name}, {timing}: {told}\n  {words}"]


def took(entry, began):
    """Give the time until a verdict: from the last good reply, else from the fault."""
    usec = entry.get("HBD_DETECTION_USEC")
    if usec is not None:
        return int(usec) / 1e6
    return datetime.fromisoformat(entry["HBD_SINCE"]).timestamp() - began


NOT_YET = (("down", "silent"), ("down", "filtered"))
"""What may be told before all evidence is there."""

NOTHING = Fault("nothing, others have faults", WELL, None, formula=None)


def rounds(dice, table):
    """Deal all faults out to hosts; on each egress one stays well but for a port of its own."""
    waiting = dice.sample(table, len(table))
    while waiting:
        ill = {*dice.sample("abce", 3), dice.choice("df")}
        dealt = {}
        for fault in waiting:
            fit = {host for host in fault.places if (host in ill) is not fault.is_of_fake}
            if free := sorted(fit - dealt.keys()):
                dealt[dice.choice(free)] = fault
        waiting = [fault for fault in waiting if fault not in dealt.values()]
        yield dealt


def play(stage, places):
    """Make some faults at once, then end them; give what was told wrongly."""
    timings = stage.watch(*places)
    since = stage.monitor.count()
    ill = {name: place for place in places for name in place.names}
    began, wrong = {}, []
    with contextlib.ExitStack() as made:
        for place in places:
            if place.fault.there:
                made.callback(stage.lab.daemons[place.name].reload, **OPEN)
        for place in places:
            stage.wait()
            made.enter_context(place.fault.make(place))
            began[place.name] = time.time()
        for name, place in ill.items():
            stage.until_told(name, since, place.fault.told)
        stage.wait(1.0)
        for name, place in ill.items():
            wrong += note(
                stage, place.fault, name, since, timing=place.timing, began=began[place.name]
            )
            wrong += without_evidence(stage, place, name)
        for name in timings.keys() - ill.keys():
            wrong += note(stage, NOTHING, name, since)
    return wrong


def without_evidence(stage, place, name):
    """Say so if the words of a fault are missing in the evidence."""
    told = "\n".join(stage.monitor.status(name)["evidence"])
    peers = dict(zip("46", place.addresses, strict=True))
    version = name.partition("-")[0][-1]
    words = place.fault.evidence.format(peer=peers.get(version), router=ROUTER.get(version))
    if place.fault.told[1] == "lossy" and "direction not known" in told:
        return []  # it says so
    is_sure = place.fault.told[0] == "down"
    if words not in told or (is_sure and "cannot be told apart" in told):
        return [f"{place.fault.name} on {name}: {words!r} is not all in {told!r}"]
    return []


def test_each_fault_is_told_as_what_it_is(stage):
    """No wrong state and no wrong cause of anybody, be the faults of others what they may."""
    wrong = []
    for dealt in rounds(stage.dice, faults.rows(stage.keys)):
        stage.mark = f"-{next(ROUNDS)}"
        wrong += play(stage, [stage.place(fault, host) for host, fault in dealt.items()])
    assert not wrong, "\n".join(wrong)


def of_a_host(stage, name):
    """Draw a fault that is of one host alone, wherever that is."""
    alone = ("host drops heartbeats", "host's firewall rejects", "host drops everything")
    fault = stage.dice.choice([row for row in faults.rows(stage.keys) if row.name in alone])
    return stage.place(fault, name)


def behind(hosts):
    return [f"{host}{version}" for host in hosts for version in "46"]


class Watch:
    """Some faults in turn, and what was told wrongly of them."""

    def __init__(self, stage, *places, **more):
        self.stage = stage
        self.timings = stage.watch(*places, **more)
        self.wrong = []
        self.mark()

    def mark(self):
        """What follows begins now."""
        self.since, self.began = self.stage.monitor.count(), time.time()

    def told(self, names, fault, *, in_time=True):
        """Wait for what is to be told of some peers, and note it."""
        for name in names:
            self.stage.until_told(name, self.since, fault.told)
        began = self.began if in_time else None
        for name in names:
            timing = self.timings.get(name)
            self.wrong += note(self.stage, fault, name, self.since, timing=timing, began=began)

    def end(self):
        self.stage.until_up(self.timings)
        assert not self.wrong, "\n".join(self.wrong)


def test_a_fault_of_ours_beside_faults_of_peers(stage):
    """Who is dead before our own fault is unknown in it and down after it, whoever dies behind our
    other interface is down at once, and nobody else is down at all."""
    case = stage.dice.choice(OWN_FAULTS)
    own = Fault(case.name, ("unknown", case.cause), case.make)
    over = Fault(f"{case.name}, over", WELL, None, first=(("unknown", "no-route"),), formula=None)
    dead, other = of_a_host(stage, stage.dice.choice("abce")), of_a_host(stage, "d")
    alive = behind(sorted(set("abce") - {dead.name}))
    watch = Watch(stage, dead, other)
    with dead.fault.make(dead):
        watch.told(dead.names, dead.fault)
        watch.mark()
        with contextlib.ExitStack() as made:
            for make in stage.dice.sample([case.make(stage.lab), other.fault.make(other)], 2):
                stage.wait()
                made.enter_context(make)
            watch.began = time.time()
            watch.told(alive, own)
            watch.told(dead.names, own, in_time=False)
            watch.told(other.names, other.fault)
            watch.told(behind("f"), NOTHING)
            stage.wait(1.0)
            watch.mark()
        stage.until_up(alive)
        watch.told(dead.names, dead.fault._replace(first=(*over.first, *NOT_YET)), in_time=False)
        watch.told(alive, over)
    watch.end()


def test_a_dead_parent_beside_a_fault_of_its_child(stage):
    """A silent child is unreachable while its parent is off, and down by its own fault after."""
    off = Fault("parent off", ("down", "host-unreachable"), faults.off, first=NOT_YET)
    parent, child = stage.place(off, "c"), of_a_host(stage, "e")
    # The child may be judged before its parent falls.
    alone = *NOT_YET, ("down", "host-unreachable")
    hidden = Fault("behind a parent that is off", ("unreachable", "parent-down"), None, first=alone)
    watch = Watch(stage, parent, child, e4={"via": "c4"}, e6={"via": "c6"})
    with contextlib.ExitStack() as later:
        with off.make(parent):
            later.enter_context(child.fault.make(child))
            watch.told(parent.names, off)
            watch.told(child.names, hidden, in_time=False)
            stage.wait(1.0)
            watch.mark()
        stage.lab.hosts["c"].ip("-6 route replace fd13::/64 dev to-e")
        stage.until_up(parent.names)
        watch.told(child.names, child.fault._replace(first=NOT_YET), in_time=False)
    watch.end()


def test_what_is_no_outage(stage):
    """A pause, a restart and a stall of ours are told as such, and nobody is down by them."""
    paused, again = (of_a_host(stage, name) for name in stage.dice.sample("abce", 2))
    patient = {"interval": "500ms", "timeout": "500ms", "retries": 20}
    watch = Watch(stage, **dict.fromkeys(behind(again.name), patient))
    monitor = stage.monitor
    monitor.call("Pause", peers=paused.names)
    stage.lab.stop(again.name)
    with paused.fault.make(paused):
        stage.lab.start(again.name)
        stage.wait(2.0)
        monitor.process.send_signal(signal.SIGSTOP)
        time.sleep(stage.dice.uniform(0.3, 2.0))
        monitor.process.send_signal(signal.SIGCONT)
        monitor.find(lambda entry: entry.get("HBD_EVENT") == "stall", watch.since)
        monitor.until(lambda: restarted(monitor, watch.since) == set(behind(again.name)))
        stage.wait(1.0)
        watch.told(paused.names, Fault("paused", ("paused", "paused"), None), in_time=False)
        watch.told(behind(again.name), Fault("hbd restarted", WELL, None))
        others = sorted(watch.timings.keys() - {*paused.names, *behind(again.name)})
        watch.told(others, Fault("hbd itself was stopped", WELL, None))
        watch.mark()
        monitor.call("Resume", peers=paused.names)
        watch.told(paused.names, paused.fault._replace(first=NOT_YET), in_time=False)
    watch.end()


def restarted(monitor, since):
    """Give those that are said to have restarted."""
    told = monitor.entries()[since:]
    return {entry["HBD_PEER"] for entry in told if entry.get("HBD_EVENT") == "restarted"}


def test_a_name_without_an_address_is_unresolved(stage):
    """Nobody is down because a name cannot be resolved."""
    watch = Watch(stage)
    stage.monitor.reload(peers=[peer("nowhere", "nowhere.invalid"), peer("b4")], listen=LISTEN)
    fault = Fault("name without an address", ("unknown", "unresolved"), None)
    watch.told(["nowhere"], fault, in_time=False)
    assert not watch.wrong, watch.wrong
