"""What this machine cannot run is skipped by name; in CI a skip that could be cured fails."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import settings

# The tree under test comes before a package that may be installed.
sys.path.insert(0, str(Path(__file__).parent.parent))

# Started in the background by a shell, we and all we start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's matter; tests/run.sh bounds each test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

IMPOSSIBLE = "impossible here: "
IN_CI = os.environ.get("CI") == "true"

TOOLS = {
    "root": ("ip", "nft"),
    "systemd": ("systemd-nspawn", "debootstrap", "nsenter", "dpkg-deb"),
}


def reason_to_skip(mark):
    """Why tests with this mark cannot run here, or None."""
    if os.geteuid() != 0:
        return IMPOSSIBLE + "needs root"
    missing = [tool for tool in TOOLS[mark] if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed; tests/run.sh installs it"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, check=False
    )
    if probe.returncode != 0:
        return IMPOSSIBLE + "this machine allows no namespaces, not even root"
    return None


def pytest_collection_modifyitems(items):
    for mark in TOOLS:
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = reason_to_skip(mark) if marked else None
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


def judged(report):
    """In CI, a skip is a failure unless the machine makes it impossible."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2])
        if IMPOSSIBLE not in reason:
            report.outcome = "failed"
            report.longrepr = f"in CI nothing may be skipped that could run: {reason}"
    return report


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    outcome.force_result(judged(outcome.get_result()))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    outcome = yield
    outcome.force_result(judged(outcome.get_result()))


@contextmanager
def _one_by_one():
    from hbd.net import batch  # noqa: PLC0415 - of the tree under test

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "inbox", lambda _family: None)
        patch.setattr(batch, "outbox", lambda _family, _control=0: None)
        yield


@pytest.fixture
def one_by_one():
    """Let sockets that are made within do as where many datagrams at once cannot be had."""
    return _one_by_one


@pytest.fixture(params=["at once", "one by one"])
def way(request):
    """Datagrams are sent and received many at once, or as where that cannot be had."""
    with _one_by_one() if request.param == "one by one" else nullcontext():
        yield request.param
