"""What Prometheus is told, made from the board when it asks."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from hbd import __version__
from hbd.report.words import WORST_FIRST
from hbd.web.board import BUCKETS, Board

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from hbd.web.view import View

JUDGED: Final = {"up": 1, "degraded": 1, "down": 0, "unreachable": 0, "left": 0}
"""hbd_peer_up; of a peer that is paused or unknown nothing is said."""
_NOT_A_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")


class Fleet(Collector):
    """Everything as of the last answer; only hbd_up where there is none, or an old one."""

    def __init__(self, board: Board, patience: float) -> None:
        self._board: Final = board
        self._patience: Final = patience

    def collect(self) -> Iterator[Metric]:
        """Give all families."""
        board = self._board
        answers = is_answering(board, self._patience)
        yield GaugeMetricFamily(
            "hbd_up", "Whether the daemon answers hbd web (1) or not (0).", value=answers
        )
        yield InfoMetricFamily("hbd_build", "The version of hbd web.", {"version": __version__})
        if not answers:
            return  # stale series end; nothing old passes for new
        yield from _daemon(board.head)
        views = list(board.peers.values())
        yield from _states(views)
        yield from _figures(views)
        yield _rtts(board)

    def describe(self) -> list[Metric]:
        """Nothing to collect at registration."""
        return []


def is_answering(board: Board, patience: float) -> bool:
    """Whether the daemon answered when it was asked last, and that so long ago at most."""
    return not board.trouble and board.age is not None and board.age <= patience


def _daemon(head: Mapping[str, Any]) -> Iterator[Metric]:
    states = GaugeMetricFamily("hbd_peers", "Peers by their state.", labels=["state"])
    for state, count in head["summary"].items():
        states.add_metric([state], count)
    yield states
    reflector, reloads = head["reflector"], head["reloads"]
    yield CounterMetricFamily(
        "hbd_reflector_answered",
        "Heartbeats of others that the reflector answered.",
        value=reflector["answered"],
    )
    yield _by_reason(
        "hbd_reflector_dropped", "Requests not answered.", "reason", reflector["dropped"]
    )
    yield _by_reason(
        "hbd_reflector_unsent", "Answers that could not be sent.", "errno", reflector["unsent"]
    )
    yield _by_reason("hbd_replies_dropped", "Replies refused.", "reason", head["replies_dropped"])
    yield _by_reason("hbd_weather", "Errors of the network.", "errno", head["weather"])
    yield _by_reason(
        "hbd_kernel_dropped",
        "Datagrams to us that the kernel dropped for want of buffer.",
        "kind",
        head["kernel_dropped"],
    )
    yield CounterMetricFamily(
        "hbd_journal_lost", "Entries that the journal did not get.", value=head["journal"]["lost"]
    )
    yield CounterMetricFamily(
        "hbd_clients_refused",
        "Clients that found no room at the control socket.",
        value=head["clients_refused"],
    )
    yield CounterMetricFamily(
        "hbd_config_reloads", "Reloads of the configuration.", value=reloads["done"]
    )
    yield CounterMetricFamily(
        "hbd_config_reloads_refused", "Reloads with a mistake.", value=reloads["refused"]
    )
    yield GaugeMetricFamily(
        "hbd_config_last_reload_successful",
        "Whether what is in use is what stood in the file at the last reload.",
        value=not reloads["last_refused"],
    )


def _by_reason(name: str, words: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family


def _states(views: list[View]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "hbd_peer_up",
        "Whether the peer answers; none while it is unknown or paused.",
        labels=["peer"],
    )
    state = GaugeMetricFamily(
        "hbd_peer_state", "1 for the state of the peer, 0 for all others.", labels=["peer", "state"]
    )
    cause = GaugeMetricFamily(
        "hbd_peer_cause", "Why it is in its state: 1, and one a peer.", labels=["peer", "cause"]
    )
    flapping = GaugeMetricFamily("hbd_peer_flapping", "Whether it flaps.", labels=["peer"])
    info = InfoMetricFamily(
        "hbd_peer", "What the configuration says of the peer; its labels as label_NAME."
    )
    for view in views:
        name = {"peer": view.name}
        if view.state in JUDGED:
            up.add_sample("hbd_peer_up", name, JUDGED[view.state])
        for one in WORST_FIRST:
            state.add_sample("hbd_peer_state", name | {"state": one}, one == view.state)
        if view.cause is not None:
            cause.add_sample("hbd_peer_cause", name | {"cause": view.cause}, 1)
        flapping.add_sample("hbd_peer_flapping", name, view.flapping)
        info.add_sample("hbd_peer_info", name | _labels(view), 1)
    yield from (up, state, cause, flapping, info)


def _labels(view: View) -> dict[str, str]:
    named = {f"label_{_NOT_A_LABEL.sub('_', key)}": value for key, value in view.labels}
    return {"protocol": view.protocol, "via": view.via or "", **named}


def _figures(views: list[View]) -> Iterator[Metric]:
    counters = (
        ("sent", "Heartbeats sent.", [view.sent for view in views]),
        ("received", "Heartbeats answered.", [view.received for view in views]),
        ("late", "Heartbeats answered after the timeout.", [view.late for view in views]),
        ("duplicate", "Replies that came again.", [view.duplicate for view in views]),
    )
    names = [{"peer": view.name} for view in views]
    for what, words, counts in counters:
        counter = CounterMetricFamily(f"hbd_peer_heartbeats_{what}", words, labels=["peer"])
        for name, count in zip(names, counts, strict=True):
            counter.add_sample(f"hbd_peer_heartbeats_{what}_total", name, count)
        yield counter
    loss = GaugeMetricFamily(
        "hbd_peer_loss", "Of the last 100 heartbeats.", labels=["peer"], unit="ratio"
    )
    mean = GaugeMetricFamily(
        "hbd_peer_rtt_mean", "Of the last 100 heartbeats.", labels=["peer"], unit="seconds"
    )
    p99 = GaugeMetricFamily(
        "hbd_peer_rtt_p99", "Of the last 100 heartbeats.", labels=["peer"], unit="seconds"
    )
    for name, view in zip(names, views, strict=True):
        if view.loss is not None:
            loss.add_sample("hbd_peer_loss_ratio", name, view.loss / 100)
        if view.rtt is not None:
            mean.add_sample("hbd_peer_rtt_mean_seconds", name, view.rtt.mean / 1e3)
            p99.add_sample("hbd_peer_rtt_p99_seconds", name, view.rtt.p99 / 1e3)
    yield from (loss, mean, p99)


def _rtts(board: Board) -> Metric:
    family = HistogramMetricFamily(
        "hbd_heartbeat_rtt",
        "RTTs of all peers as hbd web saw them: at each look at a peer that of its last reply.",
        labels=["protocol"],
        unit="seconds",
    )
    bounds = [str(bound) for bound in BUCKETS] + ["+Inf"]
    for protocol, histogram in list(board.rtts.items()):
        counts = list(accumulate(histogram.counts))
        family.add_metric([protocol], list(zip(bounds, counts, strict=True)), histogram.total)
    return family
