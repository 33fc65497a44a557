"""Many datagrams in one system call: sendmmsg(2) and recvmmsg(2).

A call costs Python more than the kernel, so one is made for many datagrams, and what belongs to
them is read and written a column at a time. The kernel is given the same memory in every call: all
sockets of a family share it, for they are used one at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from array import array
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import accumulate, chain
from mmap import MADV_DONTNEED, MAP_ANONYMOUS, MAP_PRIVATE, mmap
from struct import Struct, calcsize
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.core.model import SECOND
from hbd.net import linux
from hbd.net.datagrams import CONTROL, LARGEST, TRIES
from hbd.net.sockaddr import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ctypes import c_void_p

SLOTS: Final = 256
"""Datagrams read at once; from 64 on, more gain nothing."""
SENT: Final = 512
"""Datagrams laid out at once,"""
TIMED: Final = 32
"""and sent by one call: it is known when the first of them is to leave, and the last had left."""

STRIDE: Final = 1600
"""Octets kept for a datagram: those of an Ethernet frame, and an odd number of cache lines."""

REST: Final = LARGEST - STRIDE
"""Octets kept for the rest of a longer one: memory that is there only while it is used."""

ROOM: Final = 1 << 18
"""Octets sent in one call; a datagram of any length fits."""

# Of 64-bit systems: struct mmsghdr is a struct msghdr (name, iovecs, control messages, flags) and
# the length of the datagram; struct cmsghdr is a length, a level and a type.
_HEADER: Final = Struct("<QI4xQQQQi4xI4x")
_IOVEC: Final = Struct("<QQ")
_CMSG: Final = Struct("<Qii")
# In words of four and of eight octets: what each header has, and where it has the two lengths.
_INTS: Final = _HEADER.size // 4
_WORDS: Final = _HEADER.size // 8
_LENGTH: Final = 14
_CONTROL_LENGTH: Final = 5
_CONTROL_INTS: Final = CONTROL // 4
_CONTROL_WORDS: Final = CONTROL // 8


Finish = Callable[[memoryview, int], None]
"""Takes datagrams, one after the other, and the size of each."""

Gone = tuple[int, int]
"""How many of those that are sent together had left, and when: monotonic nanoseconds."""


class Calls(NamedTuple):
    """The two calls of the C library, each of which gives -1 and leaves an errno when it fails."""

    sendmmsg: Callable[[int, c_void_p, int, int], int]
    recvmmsg: Callable[[int, c_void_p, int, int, None], int]
    errno: Callable[[], int]
    address: Callable[[bytearray | mmap], int]
    """Where these octets are; they keep their place and their size."""
    pointer: Callable[[int], c_void_p]


@cache
def calls() -> Calls | None:
    """Give the calls; None where they cannot be had: another machine, C library, seccomp filter."""
    if sys.byteorder != "little" or sys.maxsize < 1 << 32:
        return None
    try:
        import ctypes  # noqa: PLC0415 - 0.3 MB: only who has sockets pays for it

        library = ctypes.CDLL(None, use_errno=True)
        sendmmsg, recvmmsg = library.sendmmsg, library.recvmmsg
    except (ImportError, OSError, AttributeError):
        return None
    # Without argtypes ctypes is quicker by a third of a microsecond.
    for call, arguments in ((sendmmsg, (-1, None, 0, 0)), (recvmmsg, (-1, None, 0, 0, None))):
        call(*arguments)
        if ctypes.get_errno() != errno.EBADF:
            return None

    def address(octets: bytearray | mmap) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(octets))

    return Calls(sendmmsg, recvmmsg, ctypes.get_errno, address, ctypes.c_void_p)


class Expected:
    """The control messages that all datagrams of a socket have: level, type and size, in order."""

    def __init__(self, *messages: tuple[int, int, int]) -> None:
        self.values: list[int] = []
        """Where the value of each begins."""
        self.heads: list[tuple[int, memoryview]] = []
        """Where level and type of each are, in words; and what is there, for as many as can be."""
        length = 0
        for level, kind, size in messages:
            self.heads.append((length // 8 + 1, _repeated(level | kind << 32)))
            self.values.append(length + _CMSG.size)
            length += socket.CMSG_SPACE(size)
        self.lengths = _repeated(length)


class Inbox:
    """Where datagrams are received, a batch at a time; it is read before the next one."""

    def __init__(self, family: int, calls: Calls) -> None:
        self.family: Final = family
        self._calls: Final = calls
        size = SIZES[socket.AddressFamily(family)]
        names, controls, iovecs = bytearray(SLOTS * size), bytearray(SLOTS * CONTROL), bytearray()
        octets, self._rests = _pages(SLOTS * STRIDE), _pages(SLOTS * REST)
        first, rest = calls.address(octets), calls.address(self._rests)
        for slot in range(SLOTS):
            iovecs += _IOVEC.pack(first + slot * STRIDE, STRIDE)
            iovecs += _IOVEC.pack(rest + slot * REST, REST)
        self._memory: Final = iovecs
        headers = _headers(calls, SLOTS, (names, size), (iovecs, 2), (controls, CONTROL))
        self._first: Final = calls.pointer(calls.address(headers))
        self._fresh: Final = bytes(headers)
        self._used = 0
        self._headers: Final = memoryview(headers)
        self._header_ints: Final = self._headers.cast("I")
        self._header_words: Final = self._headers.cast("Q")
        self._octets: Final = memoryview(octets)
        self._name: Final = Struct(f"{size}s")
        self._names: Final = memoryview(names)
        self._controls: Final = memoryview(controls)
        self._control_ints: Final = self._controls.cast("i")
        self._control_words: Final = self._controls.cast("Q")

    def fill(self, fd: int, limit: int) -> Iterator[int]:
        """Take up to so many datagrams from a socket; give how many there are each time."""
        # A pending ICMP error comes out before the datagrams, and only once: go on after it.
        for _ in range(2 * limit):
            if limit == 0:
                break
            # The kernel has written into the headers how much of the memory it used.
            self._headers[: self._used] = self._fresh[: self._used]
            count = self._calls.recvmmsg(fd, self._first, min(limit, SLOTS), 0, None)
            self._used = max(count, 0) * _HEADER.size
            if count > 0:
                limit -= count
                yield count
                continue
            number = self._calls.errno()
            if number == errno.EAGAIN:
                break
            if number not in linux.SOFT:
                raise OSError(number, os.strerror(number))

    def octets(self, count: int) -> memoryview:
        """Give all, a stride apart; of one that is longer the beginning."""
        return self._octets[: count * STRIDE]

    def lengths(self, count: int) -> list[int]:
        return self._header_ints[_LENGTH : count * _INTS : _INTS].tolist()

    def datagrams(self, count: int) -> Iterable[bytes]:
        lengths = self.lengths(count)
        length = lengths[0]
        if length <= STRIDE and lengths.count(length) == count:
            return chain.from_iterable(_cut(length)(self._octets[: count * STRIDE]))
        found = [
            self._octets[at : at + min(length, STRIDE)].tobytes()
            for at, length in zip(range(0, count * STRIDE, STRIDE), lengths, strict=True)
        ]
        if max(lengths) > STRIDE:
            for slot, length in enumerate(lengths):
                if length > STRIDE:
                    found[slot] += self._rests[slot * REST : slot * REST + length - STRIDE]
            self._rests.madvise(MADV_DONTNEED)
        return found

    def names(self, count: int) -> Iterator[bytes]:
        """Give whom each is from: see sockaddr."""
        return chain.from_iterable(self._name.iter_unpack(self._names[: count * self._name.size]))

    def joined_names(self, count: int) -> bytes:
        """Give the same, one after the other."""
        return self._names[: count * self._name.size].tobytes()

    def has(self, expected: Expected, count: int) -> bool:
        """Tell whether all have just these control messages."""
        lengths = self._header_words[_CONTROL_LENGTH : count * _WORDS : _WORDS]
        return lengths == expected.lengths[:count] and all(
            self._control_words[at : count * _CONTROL_WORDS : _CONTROL_WORDS] == heads[:count]
            for at, heads in expected.heads
        )

    def stamps(self, count: int) -> list[int]:
        """Read the timespecs that come first: nanoseconds since 1970."""
        end = count * _CONTROL_WORDS
        seconds = self._control_words[2:end:_CONTROL_WORDS].tolist()
        nanoseconds = self._control_words[3:end:_CONTROL_WORDS].tolist()
        if seconds.count(seconds[0]) == count:
            whole = seconds[0] * SECOND
            return [whole + part for part in nanoseconds]
        return [whole * SECOND + part for whole, part in zip(seconds, nanoseconds, strict=True)]

    def integers(self, at: int, count: int) -> list[int]:
        """Read the integer that is there in the control messages of each."""
        return self._control_ints[at // 4 : count * _CONTROL_INTS : _CONTROL_INTS].tolist()

    def fields(self, layout: Struct, at: int, count: int) -> Iterator[tuple[Any, ...]]:
        """Read what is there in the control messages of each."""
        return _within(layout.format, at)(self._controls[: count * CONTROL])

    def messages(self, count: int) -> Iterator[list[tuple[int, int, bytes]]]:
        """Give the control messages of each, whichever they are, as recvmsg of Python does."""
        for slot in range(count):
            length = self._header_words[slot * _WORDS + _CONTROL_LENGTH]
            yield messages(self._controls[slot * CONTROL :][:length])


class Outbox:
    """From where datagrams are sent, each with a control message of so many octets, or without."""

    def __init__(self, family: int, calls: Calls, control: int = 0) -> None:
        self._calls: Final = calls
        size = SIZES[socket.AddressFamily(family)]
        octets = _pages(ROOM)
        iovecs, names, controls = (bytearray(SENT * each) for each in (_IOVEC.size, size, control))
        self._headers: Final = _headers(
            calls, SENT, (names, size), (iovecs, 1), (controls, control)
        )
        self._first: Final = calls.address(self._headers)
        self._base: Final = calls.address(octets)
        self._octets: Final = memoryview(octets)
        self._names: Final = memoryview(names)
        self._controls: Final = memoryview(controls)
        self._iovec_words: Final = memoryview(iovecs).cast("Q")
        self._lengths: list[int] = []
        self._size = -1
        """Of all datagrams that there is room for; -1 where they differ."""

    def send(
        self,
        fd: int,
        datagrams: Sequence[bytes],
        names: Sequence[bytes],
        controls: Sequence[bytes] = (),
        finish: Finish | None = None,
    ) -> dict[int, int]:
        """Send all in order; give, by index, the errno of those that are refused.

        Just before some leave, `finish` writes into these what is not known sooner, if all are of
        one size.
        """
        count, lengths = len(datagrams), list(map(len, datagrams))
        if count > SENT or sum(lengths) > ROOM:
            if count == 1:
                return {0: errno.EMSGSIZE}  # no packet holds it
            half = count // 2
            refused = self.send(fd, datagrams[:half], names[:half], controls[:half], finish)
            others = self.send(fd, datagrams[half:], names[half:], controls[half:], finish)
            return refused | {half + index: number for index, number in others.items()}
        if not datagrams:
            return {}
        _put(self._octets, datagrams)
        _put(self._names, names)
        _put(self._controls, controls)
        if lengths.count(lengths[0]) == count:
            self._space(lengths[0])
            return self._send(fd, count, finish=finish)
        if lengths != self._lengths:
            self._lay_out(lengths)
            self._size = -1
        return self._send(fd, count)

    def send_alike(
        self, fd: int, octets: bytes | bytearray, size: int, names: bytes, gone: list[Gone]
    ) -> dict[int, int]:
        """Send datagrams of one size, which stand one after the other, as do the names.

        In `gone` it is noted when how many of them had left.
        """
        count = len(octets) // size
        if count > SENT or len(octets) > ROOM:
            raise ValueError(f"{count} datagrams of {size} octets")
        self._octets[: len(octets)] = octets
        self._names[: len(names)] = names
        self._space(size)
        return self._send(fd, count, gone=gone)

    def _space(self, size: int) -> None:
        """Lay out as many of one size as there is room for."""
        if size != self._size:
            self._lay_out([size] * min(SENT, ROOM // max(size, 1)))
            self._size = size

    def _lay_out(self, lengths: list[int]) -> None:
        """Say where in the joined octets each datagram is."""
        *begins, _ = accumulate(lengths, initial=self._base)
        end = 2 * len(lengths)
        self._iovec_words[0:end:2] = array("Q", begins)
        self._iovec_words[1:end:2] = array("Q", lengths)
        self._lengths = lengths

    def _send(
        self, fd: int, count: int, *, gone: list[Gone] | None = None, finish: Finish | None = None
    ) -> dict[int, int]:
        """Send what is laid out, after the rule of SenderSocket.send.

        The kernel stops at a datagram that it refuses, and says why if that was the first: so it
        is tried again.
        """
        refused: dict[int, int] = {}
        done = tried = 0
        while done < count:
            some = min(count - done, TIMED)
            if finish is not None:
                finish(self._octets[done * self._size : (done + some) * self._size], self._size)
            headers = self._calls.pointer(self._first + done * _HEADER.size)
            sent = self._calls.sendmmsg(fd, headers, some, 0)
            if sent > 0:
                done, tried = done + sent, 1
                if gone is not None:
                    gone.append((done, monotonic_ns()))
                continue
            number = self._calls.errno()
            if number not in linux.WEATHER:
                raise OSError(number, os.strerror(number))
            tried += 1
            if number not in linux.SOFT or tried >= TRIES:
                refused[done] = number
                done, tried = done + 1, 0
        return refused


@cache
def inbox(family: int) -> Inbox | None:
    """Give the one of a family; None where a call takes one datagram."""
    found = calls()
    return None if found is None else Inbox(family, found)


@cache
def outbox(family: int, control: int = 0) -> Outbox | None:
    """Give the one of a family and a size of control messages; None where a call sends one."""
    found = calls()
    return None if found is None else Outbox(family, found, control)


def _headers(
    calls: Calls,
    slots: int,
    names: tuple[bytearray, int],
    iovecs: tuple[bytearray, int],
    controls: tuple[bytearray, int],
) -> bytearray:
    """Write the headers of all slots; each has so many octets, iovecs, octets of these."""
    (name, size), (iovec, parts), (control, room) = (
        (calls.address(octets) if octets else 0, each) for octets, each in (names, iovecs, controls)
    )
    headers = bytearray()
    for slot in range(slots):
        vector = iovec + slot * parts * _IOVEC.size
        headers += _HEADER.pack(
            name + slot * size, size, vector, parts, control + slot * room, room, 0, 0
        )
    return headers


def _pages(size: int) -> mmap:
    """Give memory that is there only as far as it was used."""
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)


def _put(memory: memoryview, parts: Iterable[bytes]) -> None:
    joined = b"".join(parts)
    memory[: len(joined)] = joined


def _repeated(word: int) -> memoryview:
    return memoryview(array("Q", [word]) * SLOTS)


@lru_cache(maxsize=64)
def _cut(length: int) -> Callable[[memoryview], Iterator[tuple[bytes]]]:
    """Give what takes datagrams of one length out of the memory where they are received."""
    return Struct(f"{length}s{STRIDE - length}x").iter_unpack


@lru_cache(maxsize=8)
def _within(layout: str, at: int) -> Callable[[memoryview], Iterator[tuple[Any, ...]]]:
    """Give what reads the room for control messages that has this layout there."""
    order, fields = layout[0], layout[1:]
    after = CONTROL - at - calcsize(layout)
    return Struct(f"{order}{at}x{fields}{after}x").iter_unpack


def message(level: int, kind: int, value: bytes) -> bytes:
    """Write one control message, with what it needs to be followed by another."""
    head = _CMSG.pack(_CMSG.size + len(value), level, kind)
    return (head + value).ljust(socket.CMSG_SPACE(len(value)), b"\0")


def messages(control: memoryview) -> list[tuple[int, int, bytes]]:
    """Read control messages: level, kind and value of each."""
    found = []
    at = 0
    while at + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, at)
        found.append((level, kind, control[at + _CMSG.size : at + length].tobytes()))
        at += socket.CMSG_SPACE(length - _CMSG.size)
    return found
