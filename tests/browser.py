"""Debian's chromium without a window, driven through its debugging pipe: what does a page do at this width?"""

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
OVERFLOWING = """
(() => {
  const wide = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest(".scroll, pre, svg")) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 1 || box.left < -1)) wide.push(e.tagName + "." + e.className);
  }
  if (document.documentElement.scrollWidth > innerWidth) wide.push("page: " + document.documentElement.scrollWidth);
  return wide;
})()
"""


@dataclass
class Browser:
    """with Browser(profile) as browser: browser.open(page, width)"""

    profile: Path
    problems: list[str] = field(default_factory=list)

    def __enter__(self) -> "Browser":
        assert CHROMIUM is not None
        read_end, self.to_browser = os.pipe()
        self.from_browser, write_end = os.pipe()
        script = f'exec "$0" "$@" 3<&{read_end} 4>&{write_end}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self.answers: BinaryIO = os.fdopen(self.from_browser, "rb")
        self.count = 0
        self.session: str | None = None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.to_browser)
        self.answers.close()
        self.process.terminate()
        self.process.wait(20)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        return self.wait("id", self.count).get("result", {})

    def wait(self, key: str, value: Any) -> dict[str, Any]:
        """Reads on to the message in which key has this value; notes what the page complains of."""
        while True:
            message = json.loads(self._message())
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]))
            if message.get("method") == "Log.entryAdded":
                self.problems.append(message["params"]["entry"]["text"])
            if message.get("method") == "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(message["params"]["args"]))
            if "error" in message:
                raise RuntimeError(message["error"])
            if message.get(key) == value:
                return dict(message)

    def _message(self) -> bytes:
        letters = bytearray()
        while (letter := self.answers.read(1)) != b"\0":
            if not letter:
                raise RuntimeError("the browser ended")
            letters += letter
        return bytes(letters)

    def open(self, page: Path, width: int, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("method", "Page.loadEventFired")

    def ask(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def overflowing(self) -> list[str]:
        """Elements that reach beyond the window, where nothing lets them be scrolled."""
        return list(self.ask(OVERFLOWING))

    def screenshot(self, path: Path) -> None:
        height = int(self.ask("document.documentElement.scrollHeight"))
        width = int(self.ask("innerWidth"))
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
