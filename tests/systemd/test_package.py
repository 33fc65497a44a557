import re

import pytest

from tests.systemd.container import booted, eventually

pytestmark = [pytest.mark.systemd, pytest.mark.slow]


@pytest.fixture(scope="module")
def installed(machine):
    machine.run("dpkg", "-i", "/root/hbd.deb")
    return machine


def everything_called_hbd(machine):
    """What hbd may leave on a disk or in /run; the package itself in /root is ours."""
    found = machine.run(
        "find", "/etc", "/usr", "/var", "/run", "/opt", "/srv", "/tmp",  # noqa: S108 - looked at only
        "-name", "*hbd*", "-not", "-path", "/var/log/*",
    ).stdout  # fmt: skip
    return found.splitlines()


def test_installing_enables_and_starts(installed):
    """After dpkg -i the service is enabled, active, and runs as user hbd."""
    shown = installed.show("hbd", "UnitFileState", "ActiveState", "SubState", "MainPID")
    assert (shown["UnitFileState"], shown["ActiveState"], shown["SubState"]) == (
        "enabled", "active", "running",
    )  # fmt: skip
    user = installed.run("ps", "-o", "user=", "-p", shown["MainPID"]).stdout.strip()
    assert user == "hbd"


def test_the_shipped_configuration_shows_one_peer_up(installed):
    """Without any editing, hbd status shows this machine's own reflector up."""
    status = eventually(
        lambda: (s := installed.run("hbd", "status", check=False)).returncode == 0 and s.stdout
    )
    assert re.search(r"\bup\b", status)


def test_the_shipped_configuration_is_good(installed):
    """hbd check finds no mistake in it."""
    installed.run("hbd", "check")


def test_manual_pages_are_where_man_looks(installed):
    """hbd(8) and hbd.yaml(5) are installed."""
    for page in ("man8/hbd.8.gz", "man5/hbd.yaml.5.gz"):
        assert installed.path(f"/usr/share/man/{page}").exists()


def test_completion_is_where_bash_looks(installed):
    """The completion of bash is installed, under the name of the command."""
    file = installed.path("/usr/share/bash-completion/completions/hbd")
    assert "complete -F _hbd hbd" in file.read_text()


def test_the_queue_of_changes_is_the_groups(installed):
    """/run/hbd-changed belongs to root, and group hbd may write to it."""
    shown = installed.run("stat", "-c", "%U:%G %a", "/run/hbd-changed").stdout.strip()
    assert shown == "root:hbd 770"


def test_ping_sockets_are_open_to_the_daemon(installed):
    """The sysctl file lets the group of hbd send ICMP echo."""
    assert installed.run("cat", "/proc/sys/net/ipv4/ping_group_range").stdout.split() == [
        "0", "2147483647",
    ]  # fmt: skip


def test_upgrading_keeps_the_configuration_and_restarts(installed):
    """Installing again restarts the daemon and keeps an edited /etc/hbd.yaml."""
    before = installed.show("hbd", "MainPID")["MainPID"]
    configuration = installed.path("/etc/hbd.yaml")
    with configuration.open("a") as file:
        file.write("\n# edited\n")
    installed.run("dpkg", "-i", "/root/hbd.deb")
    assert configuration.read_text().endswith("# edited\n")
    shown = installed.show("hbd", "MainPID", "ActiveState")
    assert shown["ActiveState"] == "active"
    assert shown["MainPID"] != before


def test_an_upgrade_respects_who_disabled_it(installed):
    """A disabled service stays disabled when the package is installed again."""
    installed.run("systemctl", "disable", "hbd")
    installed.run("dpkg", "-i", "/root/hbd.deb")
    assert installed.show("hbd", "UnitFileState")["UnitFileState"] == "disabled"
    installed.run("systemctl", "enable", "hbd")


def test_a_policy_against_starting_is_respected(package, tmp_path):
    """Where policy-rc.d forbids it, installing does not start the service."""
    with booted(tmp_path / "console") as machine:
        machine.path("/root/hbd.deb").write_bytes(package.read_bytes())
        policy = machine.path("/usr/sbin/policy-rc.d")
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        machine.run("dpkg", "-i", "/root/hbd.deb")
        assert machine.show("hbd", "ActiveState")["ActiveState"] == "inactive"


def test_purging_leaves_nothing(installed):
    """After dpkg --purge no file, directory or process of hbd is left."""
    installed.run("dpkg", "--purge", "hbd")
    assert everything_called_hbd(installed) == []
    assert installed.run("pgrep", "-u", "hbd", check=False).stdout == ""
    assert installed.show("hbd", "LoadState")["LoadState"] == "not-found"
