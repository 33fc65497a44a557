"""A real browser, driven by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

PROGRAMS = ("chromium-headless-shell", "chromium")


def program():
    """The browser that this machine has, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One browser with a profile of its own; pages are opened in it."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(
            prefix="hbd-browser-", ignore_cleanup_errors=True
        )
        self._log = Path(self._profile.name) / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                    "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
                    "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}",
                    "about:blank",
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env=os.environ | {"HOME": self._profile.name}, start_new_session=True,
            )  # fmt: skip
        self.loop = asyncio.new_event_loop()
        self._session = None
        self._endpoint = self._found()

    def _found(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process.poll() is None, self._log.read_text()
            if found := re.search(r"listening on ws://([^/]+)/", self._log.read_text()):
                return f"http://{found[1]}"
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def open(self, url, **look):
        """Open a page; see Page.look for the rest."""
        return self.loop.run_until_complete(self._open(url, look))

    async def _open(self, url, look):
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.put(f"{self._endpoint}/json/new?about:blank") as answer:
            target = json.loads(await answer.text())
        socket = await self._session.ws_connect(
            target["webSocketDebuggerUrl"], max_msg_size=64 << 20
        )
        page = Page(self.loop, socket)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.send(f"{domain}.enable")
        await page.look(**look)
        await page.send("Page.navigate", url=url)
        there = "location.href !== 'about:blank' && document.readyState === 'complete'"
        is_there = False
        while not is_there:
            told = await page.send("Runtime.evaluate", expression=there)
            is_there = told["result"]["value"]
        return page

    def close(self):
        if self._session is not None:
            self.loop.run_until_complete(self._session.close())
        self.loop.close()
        # Debian's program is a shell that waits for the browser: the signal is for both.
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
        self._wait_for_group()
        self._profile.cleanup()

    def _wait_for_group(self):
        end = time.monotonic() + 10
        with suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.killpg(self.process.pid, 0)
                time.sleep(0.02)
            os.killpg(self.process.pid, signal.SIGKILL)


class Page:
    """A tab."""

    def __init__(self, loop, socket):
        self._loop, self._socket = loop, socket
        self._number = 0
        self.complaints = []
        """What the browser's console says is wrong, a breach of the page's own policy included."""
        self.requested = set()
        """Every URL that was asked for."""

    async def send(self, method, **parameters):
        self._number += 1
        number = self._number
        await self._socket.send_str(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            told = json.loads((await self._socket.receive(timeout=30)).data)
            self._note(told)
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    def _note(self, told):
        match told.get("method"):
            case "Log.entryAdded" if told["params"]["entry"]["level"] == "error":
                self.complaints.append(told["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))
            case "Network.requestWillBeSent":
                self.requested.add(told["params"]["request"]["url"])

    async def look(self, width=1280, height=800, theme="light"):
        """How big the window is, and which theme the reader prefers."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": theme}
        await self.send("Emulation.setEmulatedMedia", features=[feature])

    def do(self, method, **parameters):
        """One command of the protocol."""
        return self._loop.run_until_complete(self.send(method, **parameters))

    def ask(self, expression):
        """The value of an expression in the page."""
        told = self.do(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, expression, seconds=10.0):
        """Wait until it is true in the page; give its value."""
        end = time.monotonic() + seconds
        while True:
            found = self.ask(expression)
            if found:
                return found
            assert time.monotonic() < end, (
                f"{expression}\n{self.ask('document.body.innerText')[:2000]}"
            )
            time.sleep(0.02)

    def press(self, key, code=0):
        """Press a key of the keyboard."""
        for kind, text in (("keyDown", "\r" if key == "Enter" else ""), ("keyUp", "")):
            self.do(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, text=text,
            )  # fmt: skip

    def picture(self, file):
        """Write what is seen to a PNG."""
        shot = self.do("Page.captureScreenshot", format="png")
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        """Close the tab: of one server a browser has no more than six event streams."""
        self.do("Page.close")
        self._loop.run_until_complete(self._socket.close())
