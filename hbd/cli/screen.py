"""A terminal that is drawn over again and again, and left as it was found."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

# xterm's control sequences: the other screen, no cursor, and nothing is wrapped.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[999;1H\r\n\x1b[?1049l"
"""Down first: a console without another screen goes on below what was drawn."""

HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

ENDING: Final = (signal.SIGTERM, signal.SIGQUIT)
HANDLED: Final = (*ENDING, signal.SIGINT, signal.SIGTSTP, signal.SIGWINCH)


class Screen:
    """Standard output, from `with` to its end, however that comes; Ctrl-Z included."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)
        self._modes: list[Any] | None = None

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        handlers: dict[int, Any] = dict.fromkeys(ENDING, _end)
        handlers |= {signal.SIGTSTP: self._stop, signal.SIGWINCH: lambda *_: None}
        for number, handler in handlers.items():
            self._before[number] = signal.signal(number, handler)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # a second Ctrl-C changes nothing
        self._give_back()
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def draw(self, lines: Iterable[str]) -> None:
        """Show these lines, each of them narrower than the screen, and nothing else."""
        body = "\r\n".join(line + ERASE_LINE for line in lines)
        _write(HOME + body + ERASE_BELOW)

    def wait(self, seconds: float) -> bool:
        """Wait; say whether that was cut short because what is drawn is gone, or another size."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return False
        with suppress(BlockingIOError):
            os.read(self._reader, 1 << 16)
        return True

    def _take(self) -> None:
        """Show no keys either: nothing is done with them."""
        if sys.stdin is not None and sys.stdin.isatty():
            self._modes = termios.tcgetattr(sys.stdin)
            modes = termios.tcgetattr(sys.stdin)
            modes[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
        _write(ENTER)

    def _give_back(self) -> None:
        with suppress(OSError):  # who has closed the terminal wants nothing back
            _write(LEAVE)
        if self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._modes)

    def _stop(self, *_: object) -> None:
        """Ctrl-Z: the shell gets its screen, and we take it again when we go on."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        self._take()


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
