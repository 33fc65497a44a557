"""Why there is no connection, or nothing comes on it; and what MQTT brokers say."""

from __future__ import annotations

from typing import Final

from hbd.core.model import Cause
from hbd.report.explanation import Explanation

STREAM: Final = {
    Cause.REFUSED: Explanation(
        "connection refused{on} (host answers, nothing listens on {service})",
        "The host is alive, but nothing takes connections on the port, or a firewall refuses them.",
        "Start the service there, or correct port: of this peer.",
        "What listens there tells a service that does not run from one on another port or address;"
        " if it listens, a firewall refuses in its name.",
        ("ssh {host} ss -lnt sport = :{port}", "ssh {host} systemctl --failed"),
    ),
    Cause.TLS: Explanation(
        "TLS failed{on}{proof}",
        "There is a connection, but no TLS on it: the certificate, its name or its time does not"
        " fit, or that port speaks no TLS.",
        "Correct ca:, tls_name: or port: here, or the certificate there; the evidence says which.",
        "A handshake by hand shows the certificate with its names, issuer and end; no certificate"
        " at all means a port without TLS.",
        ("openssl s_client -connect {endpoint}{openssl_tls} </dev/null",),
    ),
    Cause.RESET: Explanation(
        "connection reset{on} (the other end broke it off)",
        "The peer, or a firewall on the way, broke the connection off: most often the program"
        " there crashed or was killed.",
        "Look at the log of the service there at the time that the evidence names.",
        "A crash or a kill stands in the log there; if there is none, a firewall on the way has"
        " forgotten the connection.",
        ("ssh {host} journalctl -p warning --since -1h", "nc -zv {host} {port}"),
    ),
    Cause.CLOSED: Explanation(
        "connection closed{on} (the peer ended it)",
        "The peer's program ended the connection: it stops, is full, or does not want us.",
        "Look at the log of the service there at the time that the evidence names.",
        "If a new connection stays, the program was started anew; if it ends at once, too, the"
        " program is full or does not want us.",
        ("nc -v {host} {port}", "ssh {host} journalctl --since -1h"),
    ),
    Cause.HUNG: Explanation(
        "hung{on} (its kernel acknowledges, the program does not answer)",
        "The host is alive and gets our heartbeats, but the program there answers none of them.",
        "See what the program there waits for (its log, processor, disk), then restart it.",
        "A Recv-Q that grows means that the program reads nothing: it is stuck; if it is empty,"
        " the program reads and waits for something else.",
        ("ssh {host} ss -nt sport = :{port}", "ssh {host} top -bn1"),
    ),
    Cause.KEEPALIVE_FAILED: Explanation(
        "keep-alive failed{on} (nothing on the connection is acknowledged)",
        "The connection was open, then nothing came back on it: the host is off, the way is cut,"
        " or a firewall has forgotten the connection.",
        "Look at the host's console, then at the way there and its firewalls.",
        "If it answers ping, a firewall has forgotten the connection or refuses it; if it does"
        " not, the host is off or the way is cut.",
        ("ping -c 3{by} {host}", "nc -zv {host} {port}"),
    ),
    Cause.CONNECT_TIMEOUT: Explanation(
        "no connection{on} ({service} does not answer)",
        "Nothing answers when we connect: the host is off, the way is cut, or a firewall drops it.",
        "Look at the host's console, then at firewalls on the way. Is port: right?",
        "If it answers ping, a firewall drops the connection or the program there takes no more;"
        " if it does not, the trace tells how far the way reaches.",
        ("ping -c 3{by} {host}", "tracepath -n {host}"),
    ),
}

BROKER_LOG: Final = "ssh {host} tail /var/log/mosquitto/mosquitto.log"
SUBSCRIBE: Final = "mosquitto_sub -d -h {host} -p {port}{mosquitto_tls} -t hbd -C 1 -W 3"

MQTT: Final = {
    Cause.MQTT_VERSION: Explanation(
        "the broker refuses us{on}: not with MQTT 3.1.1",
        "The broker is alive, but does not take version 3.1.1 of MQTT, which hbd speaks.",
        "Allow MQTT 3.1.1 in the broker's configuration.",
        "",
        (f"{SUBSCRIBE} -V 311", f"{SUBSCRIBE} -V 5"),
    ),
    Cause.MQTT_CLIENT_ID: Explanation(
        "the broker refuses us{on}: not with this client id",
        "The broker is alive, but does not allow our client id.",
        "Set client_id: to one that the broker allows and no other client has.",
        "",
        (BROKER_LOG,),
    ),
    Cause.MQTT_UNAVAILABLE: Explanation(
        "the broker refuses us{on}: its service is unavailable",
        "The broker is alive, but says that it cannot serve now: it starts, stops or is full.",
        "Wait, if it starts; else see in the broker's log what it lacks.",
        "The log there tells a broker that starts or stops from one that is full.",
        (BROKER_LOG, "ssh {host} systemctl status mosquitto"),
    ),
    Cause.MQTT_PASSWORD: Explanation(
        "the broker refuses us{on}: wrong user name or password",
        "The broker is alive, but does not accept our user name or password.",
        "Correct username: and password:; a changed credential needs systemctl restart hbd.",
        "If the broker takes both from another client, hbd was not restarted since its credential"
        " changed.",
        (BROKER_LOG, "systemctl show hbd -p LoadCredential -p ActiveEnterTimestamp"),
    ),
    Cause.MQTT_NOT_AUTHORIZED: Explanation(
        "the broker refuses us{on}: not authorized",
        "The broker is alive, but does not let us in; Mosquitto says so of a wrong password, too.",
        "Correct username: and password:, or allow this user in the broker's configuration.",
        "The log there tells a wrong password from a user that is not allowed; if we give neither,"
        " the broker wants both.",
        (BROKER_LOG, "systemctl show hbd -p LoadCredential -p ActiveEnterTimestamp"),
    ),
}
