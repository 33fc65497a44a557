"""sd_notify(3) without ever waiting for PID 1, and without raising.

`systemd.daemon.notify` blocks when PID 1 is stuck, while it holds the interpreter.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Tells systemd how the service is; without NOTIFY_SOCKET everything does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1) or None
        if self._address and self._address[0] not in "/\0":
            self._address = None
        self._waiting: dict[str, tuple[str, int | None]] = {}
        """Messages for a stuck PID 1, of each kind the newest, with a descriptor of our own.

        STATUS= and WATCHDOG=1 do not wait: another follows anyway.
        """
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )

    def ready(self) -> None:
        """The start, or a reload, is complete."""
        self._keep("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._try(f"STATUS={' '.join(text.split())}")

    def reloading(self, now_usec: int) -> None:
        """A reload began; `now_usec` is CLOCK_MONOTONIC in microseconds."""
        self._keep("RELOADING=1", f"MONOTONIC_USEC={now_usec}")

    def stopping(self) -> None:
        self._keep("STOPPING=1")

    def watchdog(self) -> None:
        """A whole turn was on time; what waited for a stuck PID 1 is tried again too."""
        self._try("WATCHDOG=1")

    def store(self, fd: int, name: str) -> None:
        """Keep `fd` over a restart; without FDPOLL=0 a pending ICMP error would drop it."""
        # With no descriptor left, a restart has to open the socket anew.
        with suppress(OSError):
            self._keep(_stored(name), "FDPOLL=0", fd=os.dup(fd))

    def remove(self, name: str) -> None:
        """Forget what was stored under that name."""
        self._drop(_stored(name))
        self._keep(f"FDSTOREREMOVE=1\nFDNAME={_stored_name(name)}")

    def close(self) -> None:
        for message in list(self._waiting):
            self._drop(message)
        if self._socket:
            self._socket.close()
            self._socket = None

    def _keep(self, message: str, more: str = "", fd: int | None = None) -> None:
        """Send it now or later; `fd` is closed once it has gone."""
        self._drop(message)
        self._waiting[message] = (f"{message}\n{more}" if more else message, fd)
        self._send_waiting()

    def _drop(self, message: str) -> None:
        """It has gone, or is out of date."""
        _, fd = self._waiting.pop(message, ("", None))
        if fd is not None:
            os.close(fd)

    def _try(self, message: str) -> None:
        if self._send_waiting():
            self._sent(message, None)

    def _send_waiting(self) -> bool:
        """Whether nothing waits any more."""
        for message, waiting in list(self._waiting.items()):
            if not self._sent(*waiting):
                return False
            self._drop(message)
        return True

    def _sent(self, message: str, fd: int | None) -> bool:
        """False where it is worth another try."""
        if self._socket is None or self._address is None:
            return True
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))] if fd is not None else []
        )
        try:
            # Not socket.send_fds: Python before 3.12 leaves out the address there.
            self._socket.sendmsg([message.encode("utf-8", "replace")], rights, 0, self._address)
        except BlockingIOError:
            return False
        except OSError:
            # Nobody there: no other try would help.
            return True
        return True


def _stored(name: str) -> str:
    return f"FDSTORE=1\nFDNAME={_stored_name(name)}"


def _stored_name(name: str) -> str:
    """FDNAME= takes printable ASCII without `:`, at most 255 characters."""
    return "".join(c if c.isascii() and c.isprintable() and c != ":" else "_" for c in name)[:255]


def watchdog_interval(environ: Mapping[str, str]) -> int | None:
    """Nanoseconds within which systemd wants WATCHDOG=1 of this process; None: it does not."""
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID") or str(os.getpid())
    if not (usec.isascii() and usec.isdigit()) or pid != str(os.getpid()):
        return None
    return int(usec) * 1000 or None
