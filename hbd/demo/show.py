"""Shows the scenes to a newcomer, step by step, in the very words of hbd."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from hbd.demo.scenes import CAST, NOT_SHOWN, Play, Scene
from hbd.demo.stage import LOOK_S, PATIENCE_S, DemoError, Journal, Stage

if TYPE_CHECKING:
    from hbd.demo.scenes import Seen

TOLD: Final = ("state", "flapping", "storm", "restarted")
"""Events that are of interest here; the rest is of daemons that start and stop."""
LEFT_OUT: Final = ("Paths:", "Heartbeats:")
"""Paragraphs of hbd explain that would make this too long."""


def show(stage: Stage) -> None:
    """Show everything; DemoError at the first scene in which something else was seen."""
    play = Play(stage)
    scenes = play.scenes()
    _say(CAST)
    journal = Journal(stage, "monitor")
    for number, scene in enumerate(scenes, 1):
        _say(f"\n{_bold(f'{number}. {scene.title}')}")
        scene.act()
        _wait(stage, journal, scene)
        if scene.explain:
            _say(f"  $ hbd explain {scene.explain}")
            _say(_indented(_shortened(stage.command("monitor", "explain", scene.explain))))
    _say(f"\n{_bold('$ hbd status')}")
    _say(_indented(stage.command("monitor", "status")))
    _say(f"\n{NOT_SHOWN}")
    _say("\nAll of it was seen as announced. hbd(8) explains each cause; nothing is left behind.")


def _wait(stage: Stage, journal: Journal, scene: Scene) -> None:
    """Print what the monitor tells until it has told all that has to be seen, and it is so."""
    client, end = stage.client("monitor"), time.monotonic() + PATIENCE_S
    told: dict[str, dict[str, Any]] = {}
    while True:
        _take(journal, told)
        missing = [seen for seen in scene.seen if not _is_told(told.get(seen.peer, {}), seen)]
        is_over = time.monotonic() > end
        if not missing or is_over:
            views = {view["name"]: view for view in client.call("Status")["peers"]}
            missing = missing or [seen for seen in scene.seen if not _is_so(views[seen.peer], seen)]
            if not missing:
                return
            if is_over:
                raise DemoError("; ".join(_words(views[seen.peer], seen) for seen in missing))
        stage.look()
        time.sleep(LOOK_S)


def _take(journal: Journal, told: dict[str, dict[str, Any]]) -> None:
    """Print what is new, and keep the last change of each peer."""
    for entry in journal.new():
        if entry.get("HBD_EVENT") in TOLD:
            _say(f"  {entry['MESSAGE']}")
        if entry.get("HBD_EVENT") == "state":
            told[entry["HBD_PEER"]] = entry


def _is_told(entry: dict[str, Any], seen: Seen) -> bool:
    return entry.get("HBD_STATE") == seen.state and entry.get("HBD_CAUSE") in seen.causes


def _is_so(view: dict[str, Any], seen: Seen) -> bool:
    return view["state"] == seen.state and view["cause"] in seen.causes


def _words(view: dict[str, Any], seen: Seen) -> str:
    announced = " or ".join(cause or "no cause" for cause in seen.causes)
    return (
        f"{seen.peer} should be told {seen.state} ({announced}) within {PATIENCE_S:.0f} s,"
        f" and is {view['state']} ({view['cause'] or 'no cause'})"
    )


def _shortened(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(one for one in paragraphs if not one.startswith(LEFT_OUT))


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}".rstrip() for line in text.strip().splitlines())


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
