import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.systemd.container import eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]


def test_the_sandbox_lets_through_what_the_daemon_needs(machine):
    """In the sandbox of hbd.service each facility works that the daemon uses."""
    machine.run("dpkg", "-i", "/root/hbd.deb")
    machine.run("systemctl", "stop", "hbd")
    probe = Path(__file__).with_name("sandbox_probe.py").read_text()
    machine.path("/usr/lib/sandbox_probe.py").write_text(probe)
    unit = machine.path("/usr/lib/systemd/system/hbd.service").read_text()
    unit = re.sub(r"(?m)^(ExecReload|Watchdog|Restart|StartLimit|NotifyAccess).*\n", "", unit)
    unit = unit.replace("ExecStart=/usr/bin/hbd run", "ExecStart=python3 /usr/lib/sandbox_probe.py")
    unit = unit.replace("Type=notify", "Type=oneshot")
    machine.path("/run/systemd/system/probe.service").write_text(unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe")
    found = json.loads(machine.journal("-u", "probe", "_COMM=python3", "-o", "cat"))
    assert {name: result for name, result in found.items() if result != "ok"} == {}


KINDS = """\
listen: []
listen_tcp: "0.0.0.0:8620"
start_grace: 1s
defaults: {interval: 200ms, timeout: 100ms}
peers:
  - {name: tcp, address: 127.0.0.1, protocol: tcp, port: 7001, send: 'PING\\n', expect_reply: PONG}
  - {name: kept, address: 127.0.0.1, protocol: tcp, port: 7001}
  - name: tls
    address: 127.0.0.1
    protocol: tcp
    port: 7002
    send: 'PING\\n'
    tls: on
    ca: /etc/hbd-ca.pem
  - {name: system, address: 127.0.0.1, protocol: tcp, port: 7002, send: PING, tls: on}
  - {name: mqtt, address: 127.0.0.1, protocol: mqtt, username: hbd, password: {credential: mqtt}}
  - {name: board, address: 127.0.0.2, protocol: plain, expect: 400ms, grace: 3}
  - {name: client, address: 127.0.0.3, protocol: tcp, expect: 400ms, grace: 3}
  - {name: screen, address: 127.0.0.4, protocol: plain, port: 12346}
  - {name: router, address: 127.0.0.5, protocol: bfd}
  - {name: far, address: 127.0.0.6, protocol: bfd, multihop: on}
"""


def test_all_protocols_in_the_sandbox(machine, tmp_path):
    """As hbd.service each protocol has its sockets, files and credentials, and finds its peer."""
    machine.run("dpkg", "-i", "/root/hbd.deb")
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", *subject, "-keyout", tmp_path / "key", "-out", tmp_path / "ca"],
        check=True, capture_output=True,
    )  # fmt: skip
    for name, inside in (("ca", "/etc/hbd-ca.pem"), ("key", "/root/server.key")):
        machine.path(inside).write_bytes((tmp_path / name).read_bytes())
    machine.path("/etc/hbd-ca.pem").chmod(0o644)
    machine.path("/root/mqtt.password").write_text("s3cret\n")
    drop_in = machine.path("/etc/systemd/system/hbd.service.d/mqtt.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nLoadCredential=mqtt:/root/mqtt.password\n")
    program = Path(__file__).with_name("peers_of_all_kinds.py").read_text()
    machine.path("/root/peers.py").write_text(program)
    machine.path("/etc/hbd.yaml").write_text(KINDS)
    machine.run("systemctl", "daemon-reload")
    machine.run(
        "systemd-run", "-q", "--unit=peers",
        "python3", "/root/peers.py", "/etc/hbd-ca.pem", "/root/server.key",
    )  # fmt: skip
    try:
        machine.run("systemctl", "restart", "hbd")
        wanted = {
            **dict.fromkeys(("tcp", "kept", "tls", "mqtt", "board", "client"), ("up", None)),
            "system": ("down", "tls"),
            "screen": ("down", "port-closed"),
            "router": ("down", "filtered"),
            "far": ("down", "filtered"),
        }
        eventually(lambda: causes(machine) == wanted)
        listening = machine.run("ss", "-Hlntu").stdout
        for port in (3784, 4784, 12345, 8620):
            assert f":{port} " in listening, listening
        pid = machine.show("hbd", "MainPID")["MainPID"]
        limits = machine.run("cat", f"/proc/{pid}/limits").stdout
        ((soft, hard),) = re.findall(r"Max open files +(\d+) +(\d+)", limits)
        assert int(soft) == int(hard) >= 16_384  # the container's own limit may be the lower one
    finally:
        machine.run("systemctl", "stop", "peers", check=False)
        drop_in.unlink()


FAR = """\
ip netns add far
ip link add near0 type veth peer name far0 netns far
ip addr add 10.9.0.1/24 dev near0
ip addr add fd09::1/64 dev near0 nodad
ip link set near0 up
ip -n far addr add 10.9.0.2/24 dev far0
ip -n far addr add fd09::2/64 dev far0 nodad
ip -n far link set far0 up
"""
ASKING = """\
listen: []
start_grace: 1s
defaults: {interval: 200ms, timeout: 100ms}
peers:
  - {name: four, address: 10.9.0.2}
  - {name: six, address: "fd09::2"}
"""
DROPPING = (
    "table inet far { chain input { type filter hook input priority 0; udp dport 862 drop; }; }"
)


def test_silence_is_inquired_into_in_the_sandbox(machine):
    """As hbd.service it learns by ICMP echo that a host lives which drops its heartbeats."""
    machine.run("dpkg", "-i", "/root/hbd.deb")
    machine.run("sh", "-ec", FAR)
    far = machine.path("/run/netns/far")
    subprocess.run(["nsenter", f"--net={far}", "nft", DROPPING], check=True)
    machine.path("/etc/hbd.yaml").write_text(ASKING)
    try:
        machine.run("systemctl", "restart", "hbd")
        wanted = dict.fromkeys(("four", "six"), ("down", "filtered"))
        eventually(lambda: causes(machine) == wanted)
        for name in wanted:
            told = machine.run("hbd", "status", "--json", name, check=False).stdout
            assert "the host answers ICMP echo" in "".join(json.loads(told)["peers"][0]["evidence"])
    finally:
        machine.run("ip", "netns", "del", "far")


def causes(machine):
    shown = machine.run("hbd", "status", "--json", check=False).stdout
    peers = json.loads(shown)["peers"] if shown else []
    return {peer["name"]: (peer["state"], peer["cause"]) for peer in peers}
