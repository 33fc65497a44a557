"""Runs inside the container, with nothing of hbd: one peer of each kind, for as long as it runs.

CERTIFICATE KEY: files for the TLS server.
"""

import socket
import ssl
import sys
import threading
import time

HERE = "127.0.0.1"


def serve(port, answer, context=None):
    listener = socket.create_server((HERE, port))

    def talk(connection):
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            while octets := connection.recv(1024):
                connection.sendall(answer(octets))
        except OSError:
            return

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=[connection], daemon=True).start()


def pong(octets):
    return b"PONG\n" * octets.count(b"PING")


def broker(octets):
    """Answer as MQTT 3.1.1 does: CONNACK if the password is right, PINGRESP."""
    if octets[:1] == b"\x10":
        return b"\x20\x02\x00\x00" if octets.endswith(b"s3cret") else b"\x20\x02\x00\x04"
    return b"\xd0\x00" * octets.count(b"\xc0\x00")


def board():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.2", 0))
    while True:
        sock.sendto(bytes(60), (HERE, 12345))
        time.sleep(0.2)


def client():
    while True:
        try:
            with socket.create_connection((HERE, 8620), source_address=("127.0.0.3", 0)) as sock:
                while True:
                    sock.sendall(b"alive\n")
                    time.sleep(0.2)
        except OSError:
            time.sleep(0.2)


def main(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    for work in (
        board,
        client,
        lambda: serve(7001, pong),
        lambda: serve(7002, pong, context),
        lambda: serve(1883, broker),
    ):
        threading.Thread(target=work, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
