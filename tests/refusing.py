"""Run a program that is refused system calls: `python refusing.py ERRNO CALL[,CALL] COMMAND...`.

As under a seccomp filter of a container or of a unit: see seccomp(2) and linux/filter.h.
"""

import ctypes
import errno
import os
import struct
import sys

NUMBERS = {
    "x86_64": {"sendmmsg": 307, "recvmmsg": 299},
    "aarch64": {"sendmmsg": 269, "recvmmsg": 243},
}

LOAD_NUMBER = (0x20, 0, 0, 0)
IF_EQUAL = 0x15
RETURN = 0x06
REFUSE = 0x00050000
ALLOW = 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


def refuse(calls, number):
    """Let these system calls fail with this errno from now on, also in all that is started."""
    known = NUMBERS[os.uname().machine]
    steps = [LOAD_NUMBER]
    for call in calls:
        steps += [(IF_EQUAL, 0, 1, known[call]), (RETURN, 0, 0, REFUSE | number)]
    steps.append((RETURN, 0, 0, ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    header = struct.pack("@HP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, header, 0, 0)):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    name, calls, *command = sys.argv[1:]
    refuse(calls.split(","), getattr(errno, name))
    os.execvp(command[0], command)  # noqa: S606 - that is what it is for
