# ruff: noqa: E501 - a rule a line
"""Break each rule of the core once and see who notices: `python tests/core/mutate.py [NUMBER...]`.

Works on a copy. A rule whose breaking nobody notices needs a test.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]

MUTATIONS = [  # file, old text, new text
    ("model.py", "", ""),  # nothing broken: it must not be noticed
    ("model.py", "self.interval + (self.retries + 1)", "self.interval + self.retries"),
    ("model.py", "max(2 * self.interval,", "max(self.interval,"),
    ("model.py", "2 * self.interval, (self.retries + 1) * self.timeout", "2 * self.interval, 0"),
    ("model.py", "max(self.interval, PROBE_SPACING)", "self.interval"),
    ("path.py", "self.missed > self.timing.retries", "self.missed >= self.timing.retries"),
    ("path.py", "return self.is_exhausted or self.state is State.DOWN", "return self.is_exhausted"),
    ("path.py", "if self.is_put_off and now >= self.judge_from:", "if False:"),
    ("path.py", "self.doubted = timing.retries > 0 or", "self.doubted = True or"),
    ("path.py", "(self.missed > 1 or self.is_exhausted)", "self.missed > 1"),
    ("path.py", "(self.missed > 1 or self.is_exhausted)", "False"),
    ("path.py", "        self.asked = None\n        self.rising = 0\n        if not", "        self.asked = None\n        if not"),
    ("path.py", "self.deadline = max(self.last_sent + self.timing.probe, now + 1)", "self.deadline = now + self.timing.probe"),
    ("path.py", "            self._await_reply(now)\n        self._forget", "            pass\n        self._forget"),
    ("path.py", "            self.window.annulled(sequence)", "            pass"),
    ("path.py", "keep = oldest > sequence - WINDOW", "keep = True"),
    ("path.py", "now - unanswered[oldest].sent <= life", "True"),
    ("path.py", "        if self.window.was_answered(sequence):", "        if not self.window.was_answered(sequence):"),
    ("path.py", "if max(0, self.sequence - THAW) <= sequence:", "if False:"),
    ("fleet.py", "path.deadline = now + self._delay(path)  # many", "pass  # many"),
    ("flapping.py", "max(self.peer.settings.timing.detection, PROBE_SPACING)", "self.peer.settings.timing.detection"),
    ("stamp.py", "        self._interval = settings.timing.interval\n", "        self._interval = getattr(self, '_interval', settings.timing.interval)\n"),
    ("path.py", "answer.token is not None and answer.token != heartbeat.token", "False"),
    ("path.py", "& 0xFFFFFFFF)\n        heartbeat", ")\n        heartbeat"),
    ("path.py", "rtt -= answer.dwell", "pass"),
    ("path.py", "if 0 <= answer.dwell <= rtt:", "if True:"),
    ("path.py", "if now - heartbeat.sent > self.timing.timeout:", "if False:"),
    ("path.py", "if now - heartbeat.sent > self.timing.life:", "if False:"),
    ("path.py", "sequence > self.last_answered\n            and", "True\n            and"),
    ("path.py", "self.icmp = self.bad = None\n        if", "if"),
    ("path.py", "self.rising >= self.timing.rise", "self.rising >= 1"),
    ("path.py", "max(self.last_sent + self.timing.timeout, now + 1)", "max(self.last_sent + self.timing.probe, now + 1)"),
    ("path.py", "(1.0 - JITTER * dice)", "1.0"),
    ("path.py", "self.deadline = max(self.due + spacing, now + 1)", "self.deadline = now + spacing"),
    ("path.py", "self.deadline = max(self.due + spacing, now + 1)", "self.deadline = max(self.last_sent + spacing, now + 1)"),
    ("path.py", "self.due = self.deadline or now", "self.due = now"),
    ("path.py", "            self.deadline += late\n", ""),
    ("path.py", "if self.asked is not None:\n            self._begin_round(now)", "pass"),
    ("path.py", "        self.annul_waiting(now)\n        if self.asked", "        if self.asked"),
    ("path.py", "self.lossy = self.slow = False\n            self.window", "pass\n            self.window"),
    ("path.py", "self.window.restart(self.last_answered)", "pass"),
    ("path.py", "return not self.window.is_full or lost >= limit / 2", "return lost >= limit / 2"),
    ("path.py", "lost >= limit / 2", "lost >= limit"),
    ("path.py", "limit * 4 // 5 if self.slow else limit", "limit"),
    ("path.py", "self.deadline = min(self.deadline, self.last_sent + spacing)", "pass"),
    ("path.py", "self.deadline = min(self.deadline, self.judge_from)", "pass"),
    ("path.py", "        self.missed = 0\n        self.repeated = False\n        self.is_put_off = False\n        if", "        self.repeated = False\n        self.is_put_off = False\n        if"),
    ("path.py", "self.repeated = True\n", "pass\n"),
    ("path.py", "        waiting = self._in_time(now)", "        waiting = 0"),
    ("clock.py", "self._lag += late", "pass"),
    ("clock.py", "if late >= STALL:", "if late > 0:"),
    ("clock.py", "late if late < STALL else 0", "late"),
    ("clock.py", "self._untold + self._small if is_overload else 0", "self._untold + self._small"),
    ("clock.py", "or real - self._told < OVERLOAD_SPACING", ""),
    ("clock.py", "min(real - self._lag_before, self.now)", "real - self._lag"),
    ("clock.py", "min(real - self._lag_before, self.now)", "real - self._lag_before"),
    ("clock.py", "self.real + max(self._tick, 1)", "self.real"),
    ("clock.py", "late if late > self._tick else 0", "late"),
    ("timers.py", "if at != timer.scheduled:", "if False:"),
    ("timers.py", "if 2 * self._left_behind > len(self._heap) + SPARE:", "if False:"),
    ("timers.py", "            self.schedule(timer)\n        return None", "        return None"),
    ("window.py", "if self._next - WINDOW <= sequence < self._next:\n            self", "if True:\n            self"),
    ("window.py", "max(rtt // MICROSECOND, 1)", "rtt // MICROSECOND"),
    ("egress.py", "return self.last_answer >= moment", "return True"),
    ("egress.py", "if not path.is_exhausted and", "if"),
    ("egress.py", "        else:\n            self._up.pop(path, None)", ""),
    ("egress.py", "        self._up.pop(path, None)\n\n    def note", "\n    def note"),
    ("egress.py", "islice(self._up, LOOKED_AT)", "self._up"),
    ("fleet.py", "            path.remember(was_up=peer.answers)\n", ""),
    ("path.py", "            self.egress.note(self)", "            pass"),
    ("egress.py", "return path is not suspect and (path.last_rtt is None or path.last_rtt < reach)", "return path is not suspect"),
    ("egress.py", "self._up.move_to_end(path)", "pass"),
    ("egress.py", "if len(chosen) == WITNESSES:", "if len(chosen) == 1:"),
    ("fleet.py", "if late >= STALL:", "if late > 0:"),
    ("fleet.py", "self._grace_until = self.clock.now + self.start_grace\n        for", "for"),
    ("fleet.py", "path.annul_waiting(self.clock.now)", "pass"),
    ("fleet.py", "path.unresolved = error if not path.targets else None", "path.unresolved = error"),
    ("fleet.py", "            case Step.ASK:\n                path.witnessed = _is_witnessed(path)", "            case Step.ASK:\n                pass"),
    ("fleet.py", "                path.witnessed = _is_witnessed(path)\n                self._missed(path)", "                self._missed(path)"),
    ("fleet.py", "            case Step.DOUBT:\n                self._missed(path)", "            case Step.DOUBT:\n                pass"),
    ("fleet.py", "path.annul(path.sequence - 1)", "pass"),
    ("fleet.py", "            self._ask_witnesses(path)\n        parent", "        parent"),
    ("fleet.py", "            self._ask_parent(parent)", "            pass"),
    ("fleet.py", "if not path.is_probing and now - path.last_sent >= WITNESS_SPACING:", "if not path.is_probing:"),
    ("fleet.py", "now - egress.last_asked < WITNESS_SPACING", "False"),
    ("fleet.py", "                self._outputs.append(Ask(witness))", "                pass"),
    ("fleet.py", "self._dropped_at >= began", "False"),
    ("fleet.py", "self._dropped_at >= began", "self._dropped_at >= 0"),
    ("fleet.py", "paths = [path for path in paths if path.session.claims(datagram)] or paths", "pass"),
    ("fleet.py", "rises = path.state is not State.DOWN or path.has_risen", "rises = True"),
    ("fleet.py", "                if witness:\n", "                if True:\n"),
    ("fleet.py", "                if path.state is State.DOWN:\n                    self._refresh(path.peer)\n                return", "                return"),
    ("fleet.py", "fault = fault or path.send_error", "pass"),
    ("fleet.py", "elif path.fault is not None and path.judged:", "elif False:"),
    ("fleet.py", "elif self.clock.now < path.judge_from:", "elif False:"),
    ("fleet.py", "if witnessed and not path.witnessed and path.timing.retries > 1 and not path.repeated:", "if False:"),
    ("fleet.py", "elif egress is None or witnessed or path.lonely or self._is_behind_silence(path):", "elif True:"),
    ("fleet.py", "witnessed or path.lonely or self._is_behind_silence(path):", "witnessed or self._is_behind_silence(path):"),
    ("fleet.py", "if fault.cause is Cause.OWN_LINK:\n            self._fault_over", "if False:\n            self._fault_over"),
    ("fleet.py", "max(self._grace_until, now + path.timing.detection)", "now"),
    ("fleet.py", "max(self._grace_until, path.judge_from)", "0"),
    ("fleet.py", "path.lonely or self._is_behind_silence(path):", "path.lonely:"),
    ("fleet.py", "(State.UNREACHABLE, State.UNKNOWN) if peer.answers else ()", "()"),
    ("fleet.py", "(State.UNREACHABLE, State.UNKNOWN) if peer.answers else ()", "(State.UNREACHABLE,) if peer.answers else ()"),
    ("fleet.py", "self._begin_anew(path, self._delay(path))\n\n    def _begin_anew", "self._begin_anew(path, 0)\n\n    def _begin_anew"),
    ("fleet.py", "        if egress.fault is not None:\n            self._fault_over(egress, except_for=path)", "        return"),
    ("fleet.py", "        self._tell_some()\n        while (timer", "        while (timer"),
    ("fleet.py", "for _ in range(TOLD_AT_ONCE):", "for _ in range(10**6):"),
    ("fleet.py", "self.clock.now if self._telling else", ""),
    ("fleet.py", "while self._telling and path.peer.settings.via is not None:", "while False:"),
    ("fleet.py", "return self.peers.get(peer.name) is peer", "return True"),
    ("fleet.py", "waiting += reversed(self._behind(one))", "self._look_behind(one)"),
    ("peer.py", "if self.restored and not self._replaces_restored(verdict):\n            return False", "pass"),
    ("peer.py", "return whole or answers or", "return True or"),
    ("peer.py", "return self.state is State.PAUSED", "return False"),
    ("peer.py", "if len(down) < len(peer.paths):", "if not down:"),
    ("peer.py", "for path in down:\n        fact = path.failure()\n        words", "for path in ():\n        fact = path.failure()\n        words"),
    ("peer.py", "return silent and not _has_answered_since(parent, peer)", "return silent"),
    ("peer.py", "if parent.state is State.UNKNOWN and parent.cause is not None:", "if False:"),
    ("peer.py", "path.is_failing or path.state is State.DOWN for path", "path.state is State.DOWN for path"),
    ("peer.py", "first = min(verdicts", "first = max(verdicts"),
    ("roster.py", "path.adopt(settings)", "pass"),
    ("roster.py", "if not _is_same_path(before, settings) or", "if"),
    ("roster.py", "self.aim(path, ())", "pass"),
    ("roster.py", "or settings.key in renewed", ""),
    ("fleet.py", "            path.ask_anew(self.clock.now)", "            pass"),
    ("fleet.py", "min(left, PAUSE_LOOK)", "left"),
    ("fleet.py", "- (clock.wall - known.since), clock.real)", "- (clock.wall - known.since), clock.real + 10**18)"),
    ("roster.py", "path.egress.drop(path)", "pass"),
    ("news.py", "if peer.refinements <= REFINEMENTS:", "if True:"),
    ("news.py", "        peer.refinements = 0\n", ""),
    ("news.py", "if in_storm is None and not (event.first and peer.answers):", "if in_storm is None:"),
    ("storm.py", "if now - at <= span]", "]"),
    ("storm.py", "if len(self._recent) <= ALOUD:", "if len(self._recent) < ALOUD:"),
    ("storm.py", "self._shared &= traits(peer)", "pass"),
    ("storm.py", "            self.deadline = now + span\n            return False", "            return False"),
    ("flapping.py", "BEGINS: Final = 0.30", "BEGINS: Final = 0.25"),
    ("flapping.py", "ENDS if before else BEGINS", "BEGINS"),
    ("flapping.py", "self.changes + 1 if self.is_flapping else 0", "self.changes + 1"),
    ("stamp.py", "if self._silent >= GIVE_UP_AFTER and sequence % 2:", "if False:"),
    ("stamp.py", "self._is_hbd is not False or sequence % TRY_AGAIN_EVERY == 0", "self._is_hbd is not False"),
    ("stamp.py", "self._is_hbd = None if self._is_hbd else False", "pass"),
    ("stamp.py", "self._is_hbd = None if self._is_hbd else False", "self._is_hbd = False"),
    ("path.py", "self.incarnation = None  # who", "pass  # who"),
    ("stamp.py", "self._is_hbd, self._without = True, 0", "self._is_hbd = True"),
    ("stamp.py", "if reply.ssid not in (None, self._ssid):", "if False:"),
    ("stamp.py", "if reply.sender_timestamp == 0 and reply.sender_estimate == 0:", "if False:"),
    ("stamp.py", "station.dice.getrandbits(NOISE_BITS)", "0"),
    ("stamp.py", "if missing >= 0 else", "if missing > 0 else"),
    ("stamp.py", "if not self._options.echo_timestamp:\n            return False", "if False:\n            return False"),
]  # fmt: skip


def tried(number: int) -> str:
    """Break one rule in a copy of the tree and run the tests of the core."""
    name, old, new = MUTATIONS[number]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for part in ("hbd", "tests/core", "tests/simulation"):
            shutil.copytree(ROOT / part, copy / part)
        for part in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / part, copy / part)
        source = copy / "hbd/core" / name
        text = source.read_text()
        if old and text.count(old) != 1:
            return f"NOT FOUND ONCE ({text.count(old)})"
        source.write_text(text.replace(old, new) if old else text)
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "tests/core"]
        try:
            done = subprocess.run(
                [*command, "-m", "not slow"],
                cwd=copy, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "noticed: it never ends"
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return f"noticed by {failed[0].split()[1]}" if failed else "NOT NOTICED"


def main() -> int:
    numbers = [int(number) for number in sys.argv[1:]] or range(len(MUTATIONS))
    unnoticed = 0
    with ThreadPoolExecutor(2) as pool:
        for number, words in zip(numbers, pool.map(tried, numbers), strict=True):
            name, old, _ = MUTATIONS[number]
            print(f"{number:3} {name:12} {' '.join(old.split())[:60]:60} {words}", flush=True)
            unnoticed += words.startswith("NOT")
    print(
        f"{len(numbers) - unnoticed} of {len(numbers)} noticed; the first is sound and must not be"
    )
    return unnoticed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
