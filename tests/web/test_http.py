"""What hbd web answers over HTTP, to honest and to other clients, from a real daemon."""

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
from running import network, peer, until
from serving import Hosts, makers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site():
    """A daemon with one peer up and one down, and an hbd web."""
    pytest.importorskip("aiohttp", reason="python3-aiohttp is not installed; tests/run.sh does it")
    net = network()
    with ExitStack() as stack:
        daemon, web = makers(stack)
        hosts = Hosts(up=net(1))
        stack.callback(hosts.close)
        peers = [peer("up", net(1), labels={"site": 'a"b\\c'}), peer("down", net(2))]
        one = daemon(peers=peers)
        one.start()
        one.wait("up", "up")
        one.wait("down", "down", "port-closed")
        served = web(one)
        until(lambda: b" 200 " in ask(served, "/healthz"))
        yield served


def send(web, octets, *, patience=5.0):
    """Send octets as they are; give all that comes until the other end hangs up."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=patience) as stream:
        stream.sendall(octets)
        got = b""
        while True:
            try:
                more = stream.recv(65536)
            except (TimeoutError, ConnectionResetError):
                return got
            if not more:
                return got
            got += more


def ask(web, path, *headers, method="GET", host="localhost"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return send(web, "\r\n".join([*lines, "", ""]).encode())


def body(answer):
    return answer.partition(b"\r\n\r\n")[2]


def code(answer):
    return int(answer.split()[1])


def test_the_json_is_that_of_hbd_status(site):
    """/api/status has what `hbd status --json` prints, all keys of it."""
    here = json.loads(body(ask(site, "/api/status")))
    there = site.daemon.status()
    assert here.keys() == there.keys()
    assert here["version"] == 1
    assert [one.keys() for one in here["peers"]] == [one.keys() for one in there["peers"]]
    states = {one["name"]: one["state"] for one in here["peers"]}
    assert states == {"up": "up", "down": "down"}


def test_metrics_in_both_formats(site):
    """States, causes and figures are there, escaped, and OpenMetrics ends as it has to."""
    text = body(ask(site, "/metrics")).decode()
    for line in (
        "hbd_up 1.0",
        'hbd_peer_up{peer="up"} 1.0',
        'hbd_peer_up{peer="down"} 0.0',
        'hbd_peer_state{peer="down",state="down"} 1.0',
        'hbd_peer_state{peer="down",state="up"} 0.0',
        'hbd_peer_cause{cause="port-closed",peer="down"} 1.0',
        r'hbd_peer_info{label_site="a\"b\\c",peer="up",protocol="stamp",via=""} 1.0',
    ):
        assert f"\n{line}\n" in f"\n{text}", line
    until(lambda: re.search(r"rtt_seconds_count\S* [1-9]", body(ask(site, "/metrics")).decode()))
    accept = "Accept: application/openmetrics-text; version=1.0.0"
    answer = ask(site, "/metrics", accept, "Accept-Encoding: gzip")
    assert b"application/openmetrics-text" in answer
    assert gzip.decompress(body(answer)).endswith(b"\n# EOF\n")


def test_counters_never_fall(site):
    """Each _total and _bucket of a later answer is at least that of an earlier one."""

    def counts():
        text = body(ask(site, "/metrics")).decode()
        found = re.findall(r"^(\S+_(?:total|bucket|count)\S*) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    before = counts()
    until(lambda: counts()['hbd_peer_heartbeats_sent_total{peer="up"}'] > max(
        before['hbd_peer_heartbeats_sent_total{peer="up"}'], 1
    ))  # fmt: skip
    after = counts()
    assert before.keys() <= after.keys()
    assert all(after[name] >= value for name, value in before.items())
    buckets = [after[name] for name in after if "rtt_seconds_bucket" in name]
    assert buckets == sorted(buckets)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_questions_are_answered(site, method):
    """Whatever would change something is refused, on every path."""
    for path in ("/", "/peer/up", "/api/status", "/metrics", "/events"):
        assert code(ask(site, path, method=method)) == 405


def test_a_foreign_name_is_refused(site):
    """A page whose name was made to point here is not answered; our names and addresses are."""
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        assert code(ask(site, "/api/status", host=host)) in (400, 421), host
    for host in ("localhost:1234", "127.0.0.1", "[::1]:8621", socket.gethostname()):
        assert code(ask(site, "/healthz", host=host)) == 200, host


def test_who_names_no_host_has_nobody_asked_for_ours(site):
    """Old programs that send no Host are answered, without a look into the DNS."""
    script = (
        "import socket, sys\n"
        "def ask(*_): raise SystemExit('the DNS was asked')\n"
        "socket.getfqdn = ask\n"
        "from hbd.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    with ExitStack() as stack:
        _, web = makers(stack)
        served = web(site.daemon, program=("-c", script))
        assert code(send(served, b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_every_answer_has_the_policy(site):
    """No answer may be framed, sniffed or run what is not ours."""
    for path in ("/", "/peer/up", "/nothing", "/static/status.js", "/metrics"):
        answer = ask(site, path)
        assert b"Content-Security-Policy: default-src 'none'; script-src 'self'" in answer
        assert b"frame-ancestors 'none'" in answer
        assert b"X-Content-Type-Options: nosniff" in answer
        assert b"aiohttp" not in answer


def test_no_such_peer_is_said_without_its_markup(site):
    """A name that is not there gives 404, and what it looks like is only text."""
    answer = ask(site, "/peer/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert code(answer) == 404
    assert b"<script>alert" not in answer
    assert b"&lt;script&gt;alert(1)" in answer


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e%2fserver.py", "/static//etc/passwd"]
)
def test_no_other_file_is_given(site, path):
    """Only the four files of the page can be had."""
    assert code(ask(site, path)) == 404


@pytest.mark.parametrize(
    "octets",
    [
        b"GARBAGE\r\n\r\n",
        b"\0\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.0\r\nHost: \xff\xfe\r\n\r\n",
        b"GET /peer/\xff\xfe HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /peer/up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: \xff\r\n\r\n",
        b"GET http://[x/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT \r\n\r\n",
        b"CONNECT /peer/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=[
        *("words", "octets", "header", "line", "length", "chunk", "host", "path", "expect", "url"),
        *("nowhere", "tunnel"),
    ],
)
def test_nonsense_is_refused_without_a_traceback(site, octets):
    """It is refused or hung up on; the log stays clean (see Web.stop), others are served."""
    got = send(site, octets, patience=2.0)
    refusals = (b"400", b"404", b"414", b"421", b"431", b"200")
    assert not got or got.split()[1] in refusals or b"\nExpect: " in octets, got[:100]
    assert b"Traceback" not in got
    assert code(ask(site, "/healthz")) == 200
    assert "Traceback" not in site.log.read_text()


def test_viewers_are_bounded_and_resume(site):
    """The 65th event stream is asked to come later; who comes back gets only what is new."""
    with ExitStack() as stack:
        streams = []
        for _ in range(64):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            stream.settimeout(5)
            stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stream.recv(100).startswith(b"HTTP/1.1 200")
            streams.append(stream)
        refused = ask(site, "/events")
        assert code(refused) == 503
        assert b"Retry-After" in refused
    until(lambda: code(head(site)) == 200)
    first = head(site, size=4000)
    number = int(re.search(rb"id: (\d+)", first)[1])
    again = head(site, f"Last-Event-ID: {number}", size=4000)
    assert b"event: all" in first
    assert b"event: all" not in again
    assert int(re.search(rb"id: (\d+)", again)[1]) > number


def head(web, *headers, size=200):
    """The beginning of an event stream, until there is an event."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as stream:
        lines = ["GET /events HTTP/1.1", "Host: localhost", *headers, "", ""]
        stream.sendall("\r\n".join(lines).encode())
        got = b""
        while b"\nid: " not in got and b" 503 " not in got and len(got) < size:
            got += stream.recv(size)
        return got


def test_connections_that_say_nothing_do_not_keep_others_out(site):
    """256 silent connections are all there is room for; they are ended, and others served."""
    with ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port)))
        until(lambda: ask(site, "/healthz") == b"", 5)
        until(lambda: ask(site, "/healthz").startswith(b"HTTP/1.1 200"), 30)


def test_health_follows_the_daemon(made):
    """200 while the daemon answers; 503 with the reason once it does not, and hbd_up is 0."""
    daemon, web = made
    net = network()
    one = daemon(peers=[peer("down", net(2))])
    served = web(one)
    assert code(ask(served, "/healthz")) == 503
    assert code(ask(served, "/api/status")) == 503
    assert b"has not answered yet" in body(ask(served, "/peer/down"))
    one.start()
    until(lambda: code(ask(served, "/healthz")) == 200)
    one.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: code(ask(served, "/healthz")) == 503, 20)
        text = body(ask(served, "/metrics")).decode()
        assert "\nhbd_up 0.0\n" in text
        assert "hbd_peer" not in text
        # What was known last is still shown, and said to be old.
        assert b"answered" in ask(served, "/peer/down")
    finally:
        one.process.send_signal(signal.SIGCONT)
    until(lambda: code(ask(served, "/healthz")) == 200, 15)
    one.stop()
    until(lambda: code(ask(served, "/healthz")) == 503, 20)


def test_a_reload_adds_and_takes_away(made):
    """Peers that a reload adds or removes come and go, and a refused one is told."""
    daemon, web = made
    net = network()
    one = daemon(peers=[peer("old", net(2)), peer("kept", net(3))])
    one.start()
    served = web(one)

    def names():
        told = body(ask(served, "/api/status"))
        return {one["name"] for one in json.loads(told).get("peers", ())}

    until(lambda: names() == {"old", "kept"})
    one.configure(peers=[peer("kept", net(3)), peer("new", net(4))])
    one.reload()
    until(lambda: names() == {"kept", "new"}, 5)
    one.file.write_text("peers: [")
    one.reload()
    wanted = "\nhbd_config_last_reload_successful 0.0\n"
    until(lambda: wanted in body(ask(served, "/metrics")).decode(), 5)
    assert "\nhbd_config_reloads_refused_total 1.0\n" in body(ask(served, "/metrics")).decode()
    one.configure(peers=[])
    one.reload()
    until(lambda: names() == set(), 5)


def test_a_viewer_who_reads_nothing_holds_up_nobody(made):
    """The others are told in time."""
    daemon, web = made
    net = network()
    one = daemon(peers=[peer(f"peer-{n}", net(2), labels={"x": "y" * 60}) for n in range(400)])
    one.start()
    served = web(one)
    until(lambda: code(ask(served, "/healthz")) == 200)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        assert b"event: all" in head(served, size=4000)
        assert time.monotonic() - began < 2
        served.stop()  # which waits for nobody


def test_an_address_that_is_taken_is_said(made):
    """Exit status 71 and what to do; a wrong one is a mistake of usage."""
    daemon, web = made
    one = daemon(peers=[])
    served = web(one)
    again = one.hbd("web", "--listen", f"127.0.0.1:{served.port}")
    assert (again.returncode, again.stdout) == (71, "")
    assert f"cannot listen at 127.0.0.1 port {served.port}: " in again.stderr
    assert "--listen" in again.stderr
    for wrong in ("8621", "localhost:http", "127.0.0.1:70000", "::1"):
        told = one.hbd("web", "--listen", wrong)
        assert told.returncode == 64, wrong
        assert "ADDRESS:PORT" in told.stderr


def test_a_missing_package_is_named(made):
    """Where aiohttp is not installed the command says what to install."""
    daemon, _ = made
    one = daemon(peers=[])
    script = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from hbd.cli.main import main; sys.exit(main(['web']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=one.environment, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 71
    assert "apt install python3-aiohttp python3-prometheus-client" in done.stderr
    assert "Traceback" not in done.stderr


def test_who_asks_for_explanations_without_end_is_slowed_down(site):
    """The daemon is asked for a hundred in a second, however many are wanted."""
    end, answers = time.monotonic() + 1.0, []

    def one():
        while time.monotonic() < end:
            answers.append(code(ask(site, "/peer/up")))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200}
    assert len(answers) < 140


def test_requests_behind_an_event_stream_are_not_gathered(site):
    """Who asks on and on while the first answer goes on is hung up on; a patient one is not."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionError):
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500_000)
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as stream:
        for _ in range(100):
            padding = b"a" * 2000
            stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: a.b\r\nX: " + padding + b"\r\n\r\n")
            got = stream.recv(10_000)
            while not got.endswith(b"--host\n"):
                more = stream.recv(10_000)
                assert more
                got += more
            assert got.startswith(b"HTTP/1.1 421")


def test_many_ask_at_once(site):
    """Twenty who ask for everything are answered, each in full."""
    answers = []

    def one():
        answers.append(code(ask(site, "/metrics")))

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == [200] * 20
