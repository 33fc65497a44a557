"""The page of `hbd report` in a real browser."""

import json

import pytest

from tests.report.history.test_page import EVIL, fleet, page_of

pytestmark = pytest.mark.slow

BARS = """[...document.querySelectorAll("svg.line rect.down")].map(
    (bar) => [getComputedStyle(bar).fill, bar.getBoundingClientRect().width])"""
RED = {"light": "rgb(179, 0, 27)", "dark": "rgb(255, 107, 107)"}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_it(browser, axe, tmp_path, width, theme):
    """Nothing is fetched, nothing is wider than the window, and axe-core finds no violation."""
    file = tmp_path / "report.html"
    file.write_text(page_of(fleet("db1", EVIL, outages=3)))
    opened = browser.open(file.as_uri(), width=width, theme=theme)
    bars = opened.ask(BARS)
    assert len(bars) >= 2
    assert all(drawn > 0.5 for _, drawn in bars)
    assert {colour for colour, _ in bars} == {RED[theme]}
    assert opened.ask("document.documentElement.scrollWidth") <= width
    opened.do("Runtime.evaluate", expression=axe)  # as a debugger, whom the policy does not bind
    found = json.loads(
        opened.ask("axe.run(document).then((all) => JSON.stringify(all.violations))")
    )
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
    assert not opened.complaints
    assert opened.requested <= {file.as_uri()}
    opened.close()
