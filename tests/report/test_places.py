from pathlib import Path

from hbd.report.places import control_socket, runtime_directory, state_directory


def test_directories_are_the_systems_unless_the_environment_names_others():
    """Where systemd or a user names directories, the first of them is used."""
    assert control_socket({}) == Path("/run/hbd/io.hbd")
    assert state_directory({}) == Path("/var/lib/hbd")
    assert runtime_directory({"RUNTIME_DIRECTORY": "/tmp/a:/tmp/b"}) == Path("/tmp/a")  # noqa: S108 - only a name
    assert state_directory({"STATE_DIRECTORY": ""}) == Path("/var/lib/hbd")
