"""Encrypted connections to a server on loopback, with certificates made for the test."""

import ctypes
import ctypes.util
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from hbd.core.model import Cause
from hbd.net.stream import READ_SLICE, Stream
from hbd.net.tcp import End
from hbd.net.tls import UNSENT, tls_context

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory, name):
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.certificate = directory / f"{name}.crt"
        self._openssl(self._key, "-x509", "-out", self.certificate, "-subj", f"/CN={name}")

    def _openssl(self, key, *arguments):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key)
        run = ["openssl", "req", *curve, *arguments]
        subprocess.run(run, check=True, capture_output=True, timeout=20)

    def server(self, name, alternatives):
        """Return a server's context with a certificate for these names."""
        key, request = self._directory / f"{name}.key", self._directory / f"{name}.csr"
        certificate = request.with_suffix(".crt")
        extension = f"subjectAltName={alternatives}"
        self._openssl(key, "-out", request, "-subj", f"/CN={name}", "-addext", extension)
        sign = ("-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key)
        options = ("-CAcreateserial", "-copy_extensions", "copy", "-out", certificate)
        run = ["openssl", "x509", *sign, *options]
        subprocess.run(run, check=True, capture_output=True, timeout=20)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.load_cert_chain(certificate, key)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="module")
def server_tls(authority):
    return authority.server("broker", "DNS:broker.example,IP:127.0.0.1")


@pytest.fixture(scope="module")
def trust(authority):
    return tls_context(authority.certificate.read_bytes())


@pytest.fixture
def pair(trust):
    """A stream, started, and the socket of the server that it has connected to."""
    opened = []

    def started(name="broker.example", *, context=trust):
        with socket.create_server(("127.0.0.1", 0)) as server:
            stream = Stream(server.getsockname(), tls=context, server_name=name)
            assert stream.start() is None
            peer, _ = server.accept()
        opened.extend((stream, peer))
        return stream, peer

    yield started
    for each in opened:
        each.close()


def encrypted(peer, context):
    peer.settimeout(0)
    return context.wrap_socket(
        peer, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )


def go_on(stream, peer, until):
    """Let both sides of a handshake go on until the stream is where it should be."""
    opened, octets, end = False, b"", None
    deadline = time.monotonic() + 2
    while end is None and not until(opened, octets) and time.monotonic() < deadline:
        with suppress(ssl.SSLError, ConnectionError):  # what the server thinks of it is not asked
            peer.do_handshake()
        select.select([stream], [stream] if stream.wants_write else [], [], 0.01)
        progress = stream.on_ready()
        opened, octets, end = opened or progress.opened, octets + progress.octets, progress.end
    return opened, octets, end


def go_on_alone(stream, seconds=2.0):
    """Turn the stream's side alone until its end, or so long."""
    opened, octets, end = False, b"", None
    deadline = time.monotonic() + seconds
    while end is None and (left := deadline - time.monotonic()) > 0:
        select.select([stream], [stream] if stream.wants_write else [], [], left)
        progress = stream.on_ready()
        opened, octets, end = opened or progress.opened, octets + progress.octets, progress.end
    return opened, octets, end


def is_opened(opened, _octets):
    return opened


def never(_opened, _octets):
    return False


def test_octets_go_both_ways(pair, server_tls):
    """A handshake with a certificate that we trust opens the stream, and what waits goes out."""
    stream, peer = pair()
    stream.write(b"CONNECT")
    with encrypted(peer, server_tls) as server:
        assert go_on(stream, server, is_opened) == (True, b"", None)
        assert stream.is_open
        server.settimeout(2)
        assert server.recv(100) == b"CONNECT"
        server.sendall(b"CON")
        server.sendall(b"NACK")
        assert go_on(stream, server, lambda _, octets: len(octets) == 7)[1] == b"CONNACK"
        stream.write(b"PINGREQ")
        assert server.recv(100) == b"PINGREQ"
        assert stream.acknowledged().rtt_ns > 0
        stream.close()
        assert server.recv(100) == b""  # a goodbye: an end without one would raise


def test_a_large_answer_leaves_nothing_behind(pair, server_tls):
    """After each slice either the kernel has more to read or nothing is left in OpenSSL."""
    stream, peer = pair()
    with encrypted(peer, server_tls) as server:
        go_on(stream, server, is_opened)
        server.settimeout(2)
        server.sendall(bytes(100_000))
        read = 0
        while read < 100_000:
            assert select.select([stream], [], [], 2)[0]
            read += len(stream.on_ready().octets)
            assert stream._encrypted._incoming.pending == 0
    assert read == 100_000


UPDATES = 100_000


def change_keys(peer, certificate, key, wants):
    """Be a server that changes its keys and says nothing; as Python cannot."""
    openssl = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for call in (openssl.TLS_server_method, openssl.SSL_CTX_new, openssl.SSL_new):
        call.restype = ctypes.c_void_p
    context = ctypes.c_void_p(openssl.SSL_CTX_new(ctypes.c_void_p(openssl.TLS_server_method())))
    openssl.SSL_CTX_use_certificate_file(context, str(certificate).encode(), 1)
    openssl.SSL_CTX_use_PrivateKey_file(context, str(key).encode(), 1)
    server = ctypes.c_void_p(openssl.SSL_new(context))
    peer.settimeout(None)
    openssl.SSL_set_fd(server, peer.fileno())
    openssl.SSL_accept(server)
    for _ in range(UPDATES):
        openssl.SSL_key_update(server, wants)
        if openssl.SSL_do_handshake(server) != 1:
            return


@pytest.fixture
def key_changer(pair, authority, server_tls):
    """A stream to a server that changes its keys, and wants ours changed, or not."""
    assert server_tls
    files = [authority.certificate.with_name(f"broker.{kind}") for kind in ("crt", "key")]
    talking = []

    def started(*, wants):
        stream, peer = pair()
        stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        thread = threading.Thread(target=change_keys, args=(peer, *files, int(wants)))
        thread.start()
        talking.append((stream, thread))
        return stream

    yield started
    for stream, thread in talking:
        stream.abort()
        thread.join()


def turn(stream):
    """Take a turn when there is something to do."""
    assert any(select.select([stream], [stream] if stream.wants_write else [], [], 10))
    return stream.on_ready()


def test_a_server_that_only_changes_keys_holds_nobody_up(key_changer):
    """However fast it sends what is no data, a turn takes a slice of it, and is counted."""
    stream = key_changer(wants=False)
    taken = []
    while sum(taken) < 20 * READ_SLICE:
        assert turn(stream)[1:] == (b"", None)
        taken.append(stream.taken)
    assert max(taken) <= READ_SLICE


def test_a_server_that_takes_no_answers_is_left(key_changer):
    """What TLS has to say to who does not read is kept up to a limit."""
    stream, end = key_changer(wants=True), None
    while end is None:
        end = turn(stream).end
        assert len(stream._encrypted._unsent) <= UNSENT + READ_SLICE
    assert end == End(Cause.TLS, "it does not take what TLS answers")


def test_the_server_closes(pair, server_tls):
    """A server that says goodbye, or only hangs up, has closed the connection."""
    for says_goodbye in (True, False):
        stream, peer = pair()
        server = encrypted(peer, server_tls)
        go_on(stream, server, is_opened)
        server.settimeout(2)
        server.do_handshake()
        server.settimeout(0)
        if says_goodbye:
            with pytest.raises(ssl.SSLWantReadError):
                server.unwrap()
        server.close()
        assert go_on_alone(stream)[2].cause is Cause.CLOSED


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other.example", "Hostname mismatch, certificate is not valid for 'other.example'."),
        ("127.0.0.2", "IP address mismatch, certificate is not valid for '127.0.0.2'."),
    ],
)
def test_a_certificate_for_another_name_is_refused(pair, server_tls, name, words):
    """A certificate must be for the name that we ask for, be that a name or an address."""
    stream, peer = pair(name)
    with encrypted(peer, server_tls) as server:
        opened, _, end = go_on(stream, server, never)
    assert (opened, end) == (False, End(Cause.TLS, f"certificate verify failed: {words}"))


def test_the_address_is_the_name_where_none_is_given(pair, server_tls):
    """Without a server name the certificate must be for the address."""
    stream, peer = pair(None)
    with encrypted(peer, server_tls) as server:
        assert go_on(stream, server, is_opened)[0]


@pytest.mark.parametrize("ca", ["system", "other"])
def test_a_certificate_of_another_authority_is_refused(pair, server_tls, tmp_path, ca):
    """Neither the system's authorities nor another of our own vouch for the server's."""
    trusted = None if ca == "system" else Authority(tmp_path, "other").certificate.read_bytes()
    stream, peer = pair(context=tls_context(trusted))
    with encrypted(peer, server_tls) as server:
        opened, _, end = go_on(stream, server, never)
    words = "certificate verify failed: unable to get local issuer certificate"
    assert (opened, end) == (False, End(Cause.TLS, words))


def test_a_server_without_tls_is_told(pair):
    """Words that are no TLS end the handshake, in OpenSSL's words."""
    stream, peer = pair()
    peer.sendall(b"220 welcome to a server of old\r\n")
    with peer:
        _, _, end = go_on_alone(stream)
    assert end == End(Cause.TLS, "wrong version number")


def test_a_handshake_that_the_server_breaks_off_is_told(pair):
    """A server that hangs up during the handshake, or resets the connection, is named so."""
    stream, peer = pair()
    go_on_alone(stream, seconds=0.05)
    peer.recv(10_000)
    peer.close()
    words = "closed in the middle of TLS, without a reason"
    assert go_on_alone(stream)[2] == End(Cause.TLS, words)
    stream, peer = pair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    peer.close()
    assert go_on_alone(stream)[2].cause is Cause.RESET


def test_a_server_that_says_nothing_is_waited_for(pair):
    """A handshake without an answer is neither open nor at an end, and costs no turns."""
    stream, _ = pair()
    assert go_on_alone(stream, seconds=0.05) == (False, b"", None)
    assert stream.is_connected
    assert not stream.is_open
    assert not stream.wants_write


@pytest.mark.parametrize("name", [".example", "a" * 70 + ".example", "broker\0.example"])
def test_an_impossible_name_is_a_fault_of_tls(pair, name):
    """A name that no certificate can have ends the connection, and nothing else."""
    stream, _ = pair(name)
    fd = stream.fileno()
    _, _, end = go_on_alone(stream)
    assert end.cause is Cause.TLS
    assert "no server can have the name" in end.words
    assert stream.fileno() == fd


def test_a_scope_is_no_part_of_a_name(pair, server_tls):
    """An address with its interface is looked for in the certificate without it."""
    stream, peer = pair("fe80::1%lo")
    with encrypted(peer, server_tls) as server:
        _, _, end = go_on(stream, server, never)
    assert end.words.endswith("certificate is not valid for 'fe80::1'.")


def test_what_a_context_insists_on(trust):
    """A certificate and its name are required; a server cannot make us wait while we write."""
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname
    assert trust.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    "octets", [b"", b"\xff\xfe", b"a word\n", b"-----BEGIN CERTIFICATE-----\n"]
)
def test_no_certificate_is_an_oserror(octets):
    """What cannot be trusted is known before any connection, and nothing else is trusted for it."""
    with pytest.raises(OSError, match="it has no certificate"):
        tls_context(octets)


def test_words_of_any_language_may_stand_beside_certificates(authority):
    """A comment in UTF-8 is no mistake."""
    tls_context("# Autorité\n".encode() + authority.certificate.read_bytes())
