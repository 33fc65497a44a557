"""Varlink on the control socket: requests, replies and errors as JSON, each ended by a zero octet.

https://varlink.org/Method-Call
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

INTERFACE: Final = "io.hbd"
SERVICE: Final = "org.varlink.service"
END: Final = b"\0"
LONGEST: Final = 64 * 1024
"""Octets of a request, and of those that wait."""
BEGIN: Final = b'{"parameters":'
"""An answer that is no error."""
PEERS: Final = b', "peers": ['
"""Of an answer to Status: what stands before is of the daemon, what follows of a peer a line."""

JsonObject = Mapping[str, object]

DESCRIPTION: Final = """\
# Asks and steers the heartbeat monitor hbd. Anyone may ask; Reload, Pause and
# Resume need uid 0, the daemon's own user or the group hbd.
interface io.hbd

# rounds, overdue: how many rounds ended with no heartbeat missed, with one missed
# and so on, and how many of those missed were answered after all.
# "hops" is how far away it was when it answered last.
type Path (
  address: string,
  target: ?string,
  state: string,
  cause: ?string,
  egress: ?string,
  hops: ?int,
  last_reply_s_ago: ?float,
  missed: int,
  loss_percent: ?float,
  rounds: ?[]int,
  overdue: ?int
)

# Of the last 100 heartbeats; null where nothing is known.
type Rtt (last: ?float, min: ?float, mean: ?float, p99: ?float, max: ?float)

# "recent", where asked for: the last 100 heartbeats, the oldest first: "." answered,
# "s" slowly (above max_rtt, else half the timeout), "x" not, "-" counts for nothing.
type Peer (
  name: string,
  state: string,
  cause: ?string,
  since: ?string,
  flapping: bool,
  via: ?string,
  labels: [string]string,
  protocol: string,
  way: string,
  authenticated: bool,
  interval_ms: float,
  timeout_ms: ?float,
  retries: ?int,
  evidence: []string,
  restored: bool,
  paused_until: ?string,
  sent: int,
  received: int,
  late: int,
  duplicate: int,
  loss_percent: ?float,
  loss_out_percent: ?float,
  loss_in_percent: ?float,
  rtt_ms: Rtt,
  paths: []Path,
  recent: ?string
)

type Summary (
  up: int,
  degraded: int,
  down: int,
  unreachable: int,
  unknown: int,
  paused: int,
  left: int
)

# Requests not answered, by reason, and answers that could not be sent, by errno.
type Reflector (answered: int, dropped: [string]int, unsent: [string]int)

# Of all counters: since the start.
type KernelDropped (replies: int, requests: int)
type Journal (waiting: int, lost: int)
type Store (not_stored: int, damaged_lines: int)
type Files (failed: int)
# Of the configuration; last_refused: what is in use is not what stands in the file.
type Reloads (done: int, refused: int, last_refused: bool)

# Every peer, or of those that "peers" names (or is like, as db*) and that have all the
# labels: those in one of the states, or of these so many, the worst first.
# Where any of that is asked for, "selected" has how many there are, in whatever state,
# and "unmatched" the patterns that no peer is like.
method Status(
  peers: ?[]string,
  labels: ?[string]string,
  states: ?[]string,
  most: ?int,
  recent: ?bool
) -> (
  version: int,
  node: string,
  pid: int,
  started: string,
  config: string,
  summary: Summary,
  peers: []Peer,
  reflector: Reflector,
  weather: [string]int,
  replies_dropped: [string]int,
  kernel_dropped: KernelDropped,
  journal: Journal,
  store: Store,
  files: Files,
  clients_refused: int,
  reloads: Reloads,
  selected: ?Summary,
  unmatched: ?[]string
)

# Gathers fresh evidence first, unless "known" asks for what is known already.
# "apart" is empty where nothing remains to be told apart.
method Explain(peer: string, known: ?bool) -> (
  version: int,
  peer: Peer,
  words: string,
  meaning: string,
  judged: string,
  apart: string,
  advice: string,
  commands: []string
)

# With "more": the present state of each peer named, or of all, then every change.
# NoSuchPeer ends it once one of those named is removed.
method Watch(peers: ?[]string) -> (name: string, state: string, cause: ?string, since: ?string)

# Reads the configuration again.
method Reload() -> (
  added: []string,
  removed: []string,
  changed: []string,
  warnings: []string
)

# Takes peers out of judgement; for one hour unless a duration is given.
method Pause(
  peers: ?[]string,
  labels: ?[string]string,
  duration_usec: ?int,
  reason: ?string
) -> (peers: []string, until: string)

method Resume(peers: ?[]string, labels: ?[string]string) -> (peers: []string)

error NoSuchPeer (name: string)
error PermissionDenied (help: string)
error ReloadRefused (errors: []string)
error Busy ()
"""

SERVICE_DESCRIPTION: Final = """\
interface org.varlink.service

method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""


class RequestError(Exception):
    """What came in is no Varlink request."""


class RefusedError(Exception):
    """A request is answered with an error of the interface."""

    def __init__(self, name: str, /, **parameters: object) -> None:
        """`name` is that of an error of io.hbd, or a full one."""
        self.name = name if "." in name else f"{INTERFACE}.{name}"
        self.parameters = parameters
        super().__init__(self.name)


class Request(NamedTuple):
    """One call; no dataclass, which would take `hbd status` longer to make than all it does."""

    method: str
    parameters: dict[str, Any]
    more: bool
    """Several replies are welcome."""
    oneway: bool
    """None is."""


def parse(message: bytes) -> Request:
    """A request without its zero octet; RequestError where it is none."""
    try:
        told = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RequestError("not JSON") from error
    if not isinstance(told, dict):
        raise RequestError("not an object")
    method, parameters = told.get("method"), told.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(method, str) or not isinstance(parameters, dict):
        raise RequestError("no method, or parameters that are no object")
    return Request(method, parameters, told.get("more") is True, told.get("oneway") is True)


def request(method: str, parameters: JsonObject, *, more: bool = False) -> bytes:
    """A call, ready to be sent."""
    told: dict[str, object] = {"method": method, "parameters": parameters}
    return _message(told | ({"more": True} if more else {}))


def reply(parameters: JsonObject, *, continues: bool = False) -> bytes:
    """An answer, ready to be sent."""
    told: dict[str, object] = {"parameters": parameters}  # first, see BEGIN
    return _message(told | ({"continues": True} if continues else {}))


def whole(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An answer whose parameters come in pieces of JSON text."""
    return chain((BEGIN,), pieces, (b"}" + END,))


def refusal(error: RefusedError) -> bytes:
    """An error, ready to be sent."""
    return _message({"error": error.name, "parameters": error.parameters})


def _message(told: JsonObject) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode() + END
