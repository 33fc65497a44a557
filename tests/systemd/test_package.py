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


@pytest.mark.parametrize(
    ("text", "mode", "fact"),
    [("bogus\\cx: 1\n", 0o644, "unknown key"), ("", 0o600, "may not read /etc/hbd.yaml")],
    ids=["mistake", "only root may read it"],
)
def test_an_upgrade_ends_no_daemon_for_a_mistake(installed, text, mode, fact):
    """Where the new one would not start by /etc/hbd.yaml the old one watches on, and it is said."""
    configuration = installed.path("/etc/hbd.yaml")
    good, before = configuration.read_text(), installed.show("hbd", "MainPID")["MainPID"]
    configuration.write_text(f"{good}{text}")
    configuration.chmod(mode)
    said = installed.run("dpkg", "-i", "/root/hbd.deb").stderr
    assert fact in said
    assert "correct /etc/hbd.yaml, then: systemctl restart hbd" in said
    shown = installed.show("hbd", "MainPID", "ActiveState")
    assert (shown["MainPID"], shown["ActiveState"]) == (before, "active")
    configuration.write_text(good)
    configuration.chmod(0o644)
    installed.run("systemctl", "restart", "hbd")


def test_what_is_off_until_enabled_is_off_by_preset(installed):
    """The first boot of an image enables all that no preset disables: no page, and no mails."""
    installed.run("systemctl", "preset", "hbd", "hbd-web", "hbd-mail")
    for unit, state in (("hbd", "enabled"), ("hbd-web", "disabled"), ("hbd-mail", "disabled")):
        assert installed.show(unit, "UnitFileState")["UnitFileState"] == state


def test_what_was_enabled_runs_again_when_it_is_installed_again(installed):
    """Who removes the package and installs it again has a page as before, without a reboot."""
    installed.run("systemctl", "enable", "--now", "hbd-web")
    installed.run("dpkg", "--remove", "hbd")
    installed.run("dpkg", "-i", "/root/hbd.deb")
    for unit in ("hbd", "hbd-web"):
        assert installed.show(unit, "ActiveState")["ActiveState"] == "active"
    installed.run("systemctl", "disable", "--now", "hbd-web")


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
