import os
from pathlib import Path

import pytest

from hbd.report.places import (
    changed_queue,
    control_socket,
    make,
    runtime_directory,
    state_directory,
)


def test_directories_are_the_systems_unless_the_environment_names_others():
    """Where systemd or a user names directories, the first of them is used."""
    assert control_socket({}) == Path("/run/hbd/io.hbd")
    assert state_directory({}) == Path("/var/lib/hbd")
    assert runtime_directory({"RUNTIME_DIRECTORY": "/tmp/a:/tmp/b"}) == Path("/tmp/a")  # noqa: S108 - only a name
    assert state_directory({"STATE_DIRECTORY": ""}) == Path("/var/lib/hbd")


@pytest.mark.parametrize(
    ("runtime", "queue"),
    [("", "/run/hbd-changed"), ("/run/second", "/run/second-changed"), ("/", "/-changed")],
)
def test_queue_lies_beside_the_runtime_directory(runtime, queue):
    """A second daemon has a queue of its own, and does not fill the first one's."""
    assert changed_queue({"RUNTIME_DIRECTORY": runtime}) == Path(queue)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_directory_has_its_mode_whatever_the_umask(tmp_path, umask):
    """What was missing is for its owner to write and for all to read; what was there stays."""
    tmp_path.chmod(0o700)
    before = os.umask(umask)
    try:
        for _ in range(2):
            make(tmp_path / "run/hbd")
    finally:
        os.umask(before)
    made = (tmp_path, tmp_path / "run", tmp_path / "run/hbd")
    assert [one.stat().st_mode & 0o777 for one in made] == [0o700, 0o755, 0o755]
