import json
import re
from pathlib import Path

import pytest

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
