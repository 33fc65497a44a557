"""Runs inside the container, with nothing of hbd: STAMP from the outside, both roles.

send SECONDS RATE        heartbeats to 127.0.0.1:862; prints {"sent": N, "answered": N,
                         "slowest": SECONDS}
reflect PORT COUNT FILE  answers on COUNT ports; FILE gets the time of each request, a line each
"""

import json
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path


def send(seconds, rate):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 862))
        sock.setblocking(False)  # noqa: FBT003 - its only form
        answered = {}  # when, by number
        start = time.monotonic()
        count = int(seconds * rate)
        for sequence in range(count):
            request = struct.pack("!IQHH28x", sequence, 0x83AA7E80 << 32, 0x8001, 0)
            with suppress(ConnectionRefusedError):  # of an earlier one, and then this is not sent
                sock.send(request)
            receive_until(sock, start + (sequence + 1) / rate, answered)
        receive_until(sock, time.monotonic() + 2, answered)
    slowest = max(at - start - sequence / rate for sequence, at in answered.items())
    print(json.dumps({"sent": count, "answered": len(answered), "slowest": slowest}))


def receive_until(sock, moment, answered):
    while (left := moment - time.monotonic()) > 0:
        try:
            reply = sock.recv(2048)
        except BlockingIOError:
            time.sleep(min(left, 0.001))
        except ConnectionRefusedError:
            continue  # nothing listened: that heartbeat is lost
        else:
            answered.setdefault(struct.unpack_from("!I", reply, 24)[0], time.monotonic())


def reflect(port, count, file):
    selector = selectors.DefaultSelector()
    for number in range(port, port + count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", number))
        selector.register(sock, selectors.EVENT_READ)
    with Path(file).open("w", buffering=1) as times:
        while True:
            for key, _ in selector.select():
                request, source = key.fileobj.recvfrom(2048)
                times.write(f"{time.monotonic()}\n")
                # RFC 8762 4.3.1, stateless: the sender's number is ours too.
                head, sender = request[:4], request[:14]
                reply = (
                    head + request[4:14] + request[14:16] + request[4:12] + sender
                    + b"\0\0" + b"\xff\0\0\0" + request[44:]
                )  # fmt: skip
                key.fileobj.sendto(reply, source)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", seconds, rate]:
            send(float(seconds), float(rate))
        case ["reflect", port, count, file]:
            reflect(int(port), int(count), file)
