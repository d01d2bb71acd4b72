"""Headless Chromium, told what to do over a pipe (DevTools protocol), without any network."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.players.conftest import LIMIT, tool

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"),
)


class Browser:
    """One tab. `asked` has the address of everything that it asked for."""

    def __init__(self, to: int, from_: int) -> None:
        self._to = to
        self._from = from_
        self._number = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path | str) -> None:
        """Opens a file, or an address, and waits until it is loaded."""
        address = path.as_uri() if isinstance(path, Path) else path
        self.asked.clear()
        self._events.clear()
        self._call("Page.navigate", url=address)
        self.wait_for("Page.loadEventFired")

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next event of this kind that has not been waited for."""
        end = time.monotonic() + LIMIT
        while True:
            for place, message in enumerate(self._events):
                if message["method"] == event:
                    del self._events[place]
                    return dict(message["params"])
            assert time.monotonic() < end, f"{event} did not come"
            self._receive()

    def evaluate(self, script: str) -> Any:
        """The value of an expression, or of its promise."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def show(
        self, width: int = 1280, height: int = 900, *, scheme: str = "light", mobile: bool = False
    ) -> None:
        """Sets size and colour scheme (`light`, `dark`)."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen."""
        done = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(done["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"])

    def press(self, key: str) -> None:
        """One key, such as `Tab` or `Enter`."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._from, 1 << 16)
            assert data, "the browser ended"
            self._rest += data
        one, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        if "method" in message:
            self._events.append(message)
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
            if message["method"] == "Page.javascriptDialogOpening":
                self.dialogs.append(message["params"]["message"])
        return message


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-browser-"))
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        log = stack.enter_context(Path(home, "log").open("wb"))
        # The browser wants to be told on descriptor 3, and answers on 4.
        place = (
            "import fcntl, os, sys; up = fcntl.F_DUPFD; a, b = (fcntl.fcntl(int(n), up, 10) for n in sys.argv[1:3]); "
            "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
        )
        words = [sys.executable, "-c", place, str(theirs_in), str(theirs_out), tool("chromium"), *QUIET]
        browser = subprocess.Popen(
            [*words, f"--user-data-dir={home}/profile"],
            stdout=log,
            stderr=log,
            pass_fds=(theirs_in, theirs_out),
            env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            os.close(ours_out)
            os.close(ours_in)
            browser.terminate()
            browser.wait(LIMIT)
