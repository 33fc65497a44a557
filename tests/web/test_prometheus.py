"""Prometheus and Alertmanager themselves, with three monitors in namespaces of their own."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging/prometheus"

MONITORS = ("a", "b", "c")
TARGET = "10.31.9.2"
ALERT = "HbdPeerDown"

pytestmark = pytest.mark.slow


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; tests/run.sh installs it")


def test_the_rules_are_good():
    """Promtool finds no mistake in the rules."""
    needs("promtool")
    words = ["promtool", "check", "rules", "hbd.rules.yml"]
    subprocess.run(words, cwd=RULES, check=True, capture_output=True)


def test_the_rules_do_what_they_say():
    """Each alert fires when it should, says what it should, and is silent just before."""
    needs("promtool")
    told = subprocess.run(
        ["promtool", "test", "rules", "hbd.rules.test.yml"],
        cwd=RULES, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


class Lab:
    """A hub with Prometheus, three monitors, and one host that they all watch through it."""

    def __init__(self, network, directory):
        from topology import Daemon  # noqa: PLC0415 - needs root

        self._daemons = []
        self.hub = network.router("hub")
        target = network.host("target")
        network.link((self.hub, "to9", ["10.31.9.1/24"]), (target, "up9", [f"{TARGET}/24"]))
        target.ip("route add default via 10.31.9.1")
        for host in (target, self.hub):
            self._daemons.append(Daemon(host, listen=["0.0.0.0:862"], accept="any"))
        for number, name in enumerate(MONITORS, 1):
            monitor = network.host(name)
            ours, gateway = f"10.31.{number}.2", f"10.31.{number}.1"
            network.link(
                (self.hub, f"to{number}", [f"{gateway}/24"]),
                (monitor, f"up{number}", [f"{ours}/24"]),
            )
            monitor.ip(f"route add default via {gateway}")
            peers = [
                {"name": f"gw-{name}", "address": gateway},
                {"name": "db1", "address": TARGET},
            ]
            daemon = Daemon(monitor, node=name, peers=peers)
            self._daemons.append(daemon)
            monitor.start(
                "env", f"RUNTIME_DIRECTORY={daemon.runtime}", f"PYTHONPATH={ROOT}",
                sys.executable, "-m", "hbd", "web", "--listen", f"{ours}:8621",
            )  # fmt: skip
        self._begin(directory)

    def _begin(self, directory):
        targets = [f"10.31.{number}.2:8621" for number in range(1, len(MONITORS) + 1)]
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "hbd.rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
            "scrape_configs": [{"job_name": "hbd", "static_configs": [{"targets": targets}]}],
        }
        (directory / "prometheus.yml").write_text(json.dumps(configuration))
        routes = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
        (directory / "alertmanager.yml").write_text(json.dumps(routes))
        self.hub.start(
            "prometheus-alertmanager", f"--config.file={directory}/alertmanager.yml",
            f"--storage.path={directory}/alerts", "--cluster.listen-address=",
            "--web.listen-address=127.0.0.1:9093",
        )  # fmt: skip
        self.hub.start(
            "prometheus", f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/series", "--web.listen-address=127.0.0.1:9090",
        )  # fmt: skip

    def get(self, url):
        """Ask over HTTP from the hub; None while nobody answers."""
        with self.hub.inside():
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
                    return answer.read().decode()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return None

    def query(self, expression):
        """The value of an expression to Prometheus; None where it has none."""
        words = urllib.parse.quote(expression)
        told = self.get(f"http://127.0.0.1:9090/api/v1/query?query={words}")
        result = json.loads(told)["data"]["result"] if told else []
        return float(result[0]["value"][1]) if result else None

    def alerts(self):
        """What Alertmanager has: (alert, peer)."""
        told = self.get("http://127.0.0.1:9093/api/v2/alerts") or "[]"
        labels = [one["labels"] for one in json.loads(told)]
        return {(one["alertname"], one.get("peer")) for one in labels}

    def cut(self, number):
        """Let nothing of a monitor reach the target."""
        rule = f"ip saddr 10.31.{number}.2 ip daddr {TARGET} drop"
        self.hub.block("forward", rule, f"cut{number}")

    def mend(self, number):
        self.hub.unblock(f"cut{number}")

    def until(self, condition, seconds=30.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (
                self.get("http://127.0.0.1:9090/api/v1/alerts"), self.alerts()
            )  # fmt: skip
            time.sleep(0.1)

    def close(self):
        for daemon in self._daemons:
            daemon.end()


@pytest.mark.root
def test_two_monitors_have_to_agree(tmp_path):
    """Alertmanager has the alert when, and only when, two of three monitors lose the peer."""
    needs("prometheus", "prometheus-alertmanager", "promtool")
    for module in ("aiohttp", "prometheus_client"):
        pytest.importorskip(module, reason=f"{module} is not installed; tests/run.sh does it")
    from namespaces import network  # noqa: PLC0415 - needs root

    os.environ.pop("NOTIFY_SOCKET", None)
    with network() as made:
        lab = Lab(made, tmp_path)
        try:
            _agree(lab)
        finally:
            lab.close()


def _agree(lab):
    lab.until(lambda: lab.query('sum(hbd_peer_up{peer="db1"})') == 3)
    told = lab.get("http://10.31.1.2:8621/metrics")
    good = subprocess.run(
        ["promtool", "check", "metrics"],
        input=told, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (good.returncode, good.stdout + good.stderr) == (0, "")
    assert (ALERT, "db1") not in lab.alerts()

    lab.cut(1)
    lab.until(lambda: lab.query('sum(hbd_peer_state{peer="db1", state="down"})') == 1)
    _some_evaluations(lab)
    assert (ALERT, "db1") not in lab.alerts()

    lab.cut(2)
    lab.until(lambda: (ALERT, "db1") in lab.alerts())
    assert lab.query('sum(hbd_peer_state{peer="db1", state="down"})') == 2
    assert not [one for one in lab.alerts() if one[1] and one[1].startswith("gw-")]

    lab.mend(1)
    lab.mend(2)
    lab.until(lambda: lab.query('sum(hbd_peer_up{peer="db1"})') == 3)
    lab.until(lambda: lab.query(f'ALERTS{{alertname="{ALERT}"}}') is None)


def _some_evaluations(lab, more=3):
    """Wait until the rules were evaluated some times more."""

    def last():
        groups = json.loads(lab.get("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
        return min(group["lastEvaluation"] for group in groups)

    for _ in range(more):
        before = last()
        lab.until(lambda before=before: last() > before)
