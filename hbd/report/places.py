"""Where the files of a running daemon are, for the daemon and for the commands that look for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATION: Final = "/etc/hbd.yaml"
RUNTIME: Final = Path("/run/hbd")
STATE: Final = Path("/var/lib/hbd")
SOCKET_NAME: Final = "io.hbd"


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """Control socket and state files; systemd sets the variable, a user may."""
    return _first(environ.get("RUNTIME_DIRECTORY"), RUNTIME)


def state_directory(environ: Mapping[str, str]) -> Path:
    """What survives a restart."""
    return _first(environ.get("STATE_DIRECTORY"), STATE)


def control_socket(environ: Mapping[str, str]) -> Path:
    """Where the daemon answers."""
    return runtime_directory(environ) / SOCKET_NAME


def changed_queue(environ: Mapping[str, str]) -> Path:
    """Where names of changed peers wait for units that follow them, if somebody made it.

    Beside the other, not in it: it is root's, and whoever may replace a directory owns its content.
    """
    runtime = runtime_directory(environ)
    return runtime.parent / f"{runtime.name}-changed"


def make(directory: Path, mode: int = 0o755) -> None:
    """Make what is missing of it with that mode, whatever the umask; what is there stays."""
    if directory.is_dir():
        return
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    for one in reversed(missing):
        try:
            one.mkdir(0o700)
        except FileExistsError:
            continue
        one.chmod(mode)


def _first(value: str | None, default: Path) -> Path:
    """systemd.exec(5): several directories are separated by colons."""
    first = (value or "").partition(":")[0]
    return Path(first) if first else default
