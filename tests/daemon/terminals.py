"""A command in a pseudo-terminal, and what one would see there."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

_TOKEN = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])|([^\x1b]+)|\x1b", re.DOTALL)
_UNFINISHED = re.compile(rb"(\x1b(\[[?0-9;]*)?)?\Z")


class Terminal:
    """As much of xterm as hbd uses, with a command that it belongs to; fails at anything else."""

    def __init__(self, daemon, *words, columns=80, lines=24, **environment):
        self.master, self.slave = pty.openpty()
        self.columns, self.lines = columns, lines
        self._set_size()
        self.modes = termios.tcgetattr(self.slave)
        self.sent = self._rest = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.rows = {}
        self.row = self.column = 0
        self.is_alternate = False
        self.has_cursor = True
        self.wraps = 0
        """How often a line was longer than the screen is wide."""
        self.style = ""
        self.styles = {}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, words)],
            cwd="/",
            env=daemon.environment | {"TERM": "xterm", "LANG": "C.UTF-8"} | environment,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
        )

    def _set_size(self):
        size = struct.pack("HHHH", self.lines, self.columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.rows.clear()
        self._set_size()

    def type(self, octets):
        os.write(self.master, octets)

    def has_modes_as_before(self):
        """Whether keys show as before, and lines are made of them."""
        return termios.tcgetattr(self.slave)[3] == self.modes[3]

    def read(self, seconds=0.0):
        """Take what has been written meanwhile."""
        end = time.monotonic() + seconds
        while True:
            left = max(end - time.monotonic(), 0)
            if select.select([self.master], [], [], left)[0]:
                octets = os.read(self.master, 1 << 16)
                self.sent += octets
                self._show(octets)
            elif left == 0:
                return self

    def until(self, words, seconds=10.0):
        """Wait until these words stand on the screen."""
        end = time.monotonic() + seconds
        while not re.search(words, self.text()):
            assert time.monotonic() < end, f"no {words!r} in:\n{self.text()}"
            self.read(0.05)
        return self

    def text(self):
        return "\n".join(self.shown())

    def shown(self):
        """Give the lines of the screen, without what follows the last one."""
        last = max((row for row, line in self.rows.items() if line.strip()), default=-1)
        return [self.rows.get(row, "").rstrip() for row in range(last + 1)]

    def style_of(self, beginning):
        """Give how the last text of the line that begins so is shown, as its code."""
        (row,) = [row for row, line in self.rows.items() if line.startswith(beginning)]
        return self.styles[row]

    def end(self, seconds=5.0):
        """Wait for the command's end; give its status."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.02)
        self.read()
        return self.process.wait(0)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    # -- what it shows ------------------------------------------------------------------------

    def _show(self, octets):
        octets = self._rest + octets
        self._rest = _UNFINISHED.search(octets)[0]
        for match in _TOKEN.finditer(octets, 0, len(octets) - len(self._rest)):
            values, letter, text = match.groups()
            assert letter or text, octets
            if text:
                self._put(self._decoder.decode(text))
            else:
                self._control(values.decode(), letter.decode())

    def _put(self, text):
        for letter in text:
            if letter == "\r":
                self.column = 0
            elif letter == "\n":
                self.row += 1
                assert self.row < self.lines or self.has_cursor, "scrolled"
            else:
                self.wraps += self.column >= self.columns
                line = self.rows.get(self.row, "").ljust(self.column)
                self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
                self.styles[self.row] = self.style
                self.column += 1

    def _control(self, values, letter):
        match values + letter:
            case "H":
                self.row = self.column = 0
            case "999;1H":
                self.row, self.column = self.lines - 1, 0
            case "K":
                self.rows[self.row] = self.rows.get(self.row, "")[: self.column]
            case "J":
                self.rows[self.row] = self.rows.get(self.row, "")[: self.column]
                self.rows = {row: line for row, line in self.rows.items() if row <= self.row}
            case "?1049h" | "?1049l":
                self.is_alternate = letter == "h"
                self.rows, self.row, self.column = {}, 0, 0
            case "?25h" | "?25l":
                self.has_cursor = letter == "h"
            case "?7h" | "?7l":
                pass
            case _ if letter == "m":
                self.style = "" if values == "0" else values
            case other:
                raise AssertionError(f"{other!r} was sent")
