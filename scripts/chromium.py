"""Headless Chromium, steered over its debugging pipe (CDP): for tests of pages. Needs `chromium`, and nothing but Python's own library.

In: what to open, press and type. Out: what the page says. Whatever the page complains of on its console is kept in `complaints`.
"""

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 60

# What is serious: rules that are broken, with the first elements that break them.
FINDINGS = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
  .filter(of => of.impact === 'serious' || of.impact === 'critical')
  .map(of => `${of.impact}: ${of.help} (${of.id}): ` + of.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(' | ')))"""


class Gone(Exception):
    """The browser ended, or does not answer."""


class Chromium:
    """A browser with one page. Use it in a `with`."""

    def __init__(self, width=1280, height=900):
        self.directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self.to = os.pipe()
        self.source, to_write = os.pipe()

        def place():
            # First out of the way of each other.
            for number, place in [(os.dup(to_read), 3), (os.dup(to_write), 4)]:
                os.dup2(number, place)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                   f"--user-data-dir={self.directory.name}", f"--window-size={width},{height}",
                   "--autoplay-policy=no-user-gesture-required", "about:blank"]
        self.process = subprocess.Popen(["chromium", *options], preexec_fn=place, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.complaints, self.session = 0, b"", [], None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(of["targetId"] for of in pages if of["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.size(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.source)
        self.directory.cleanup()

    def call(self, method, **params):
        """One call of the protocol; what comes meanwhile is noted."""
        self.number += 1
        wanted = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith("Target."):
            wanted["sessionId"] = self.session
        os.write(self.to, json.dumps(wanted).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            message = self.message(until - time.monotonic())
            if message.get("id") == wanted["id"]:
                if "error" in message:
                    raise Gone(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def message(self, patience):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.source], [], [], max(0, patience))
            some = os.read(self.source, 1 << 16) if ready else b""
            if not some:
                raise Gone("Chromium does not answer")
            self.rest += some
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def note(self, message):
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.complaints.append(" ".join(str(of.get("value", of.get("description"))) for of in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def size(self, width, height, is_phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone)

    def theme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, script, what=None, patience=PATIENCE):
        """Waits until an expression is true; returns its value."""
        until = time.monotonic() + patience
        while not (value := self.run(script)):
            if time.monotonic() > until:
                raise TimeoutError(f"{what or script}; the page says: {self.run('document.body.innerText')}")
            time.sleep(0.1)
        return value

    def element(self, selector, text=None):
        """An expression for the visible element of this selector, and with this text or label."""
        has = f"(of.innerText.trim() || of.ariaLabel || '').startsWith({json.dumps(text)}) || of.ariaLabel === {json.dumps(text)}" if text else "true"
        return f"[...document.querySelectorAll({json.dumps(selector)})].find(of => of.offsetParent !== null && ({has}))"

    def press(self, selector, text=None):
        """Clicks it, once it is there, can be pressed, and nothing is in front of it: looked at and done in one go, since pages move."""
        self.wait("(of => { if (!of || of.disabled) return false; of.scrollIntoView({block: 'center'});"
                  " const at = of.getBoundingClientRect();"
                  " if (!of.contains(document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2))) return false;"
                  f" of.focus(); of.click(); return true; }})({self.element(selector, text)})",
                  f"nothing to press: {selector} {text or ''}")

    def type(self, label, text):
        """Types into the field of this label, in place of what is there."""
        field = (f"[...document.querySelectorAll('label.field')].find(of => of.offsetParent !== null &&"
                 f" of.firstElementChild.innerText === {json.dumps(label)})?.querySelector('input, textarea')")
        self.wait(f"!!{field}", f"no field {label}")
        self.run(f"(of => {{ of.focus(); of.select(); }})({field})")
        self.call("Input.insertText", text=text)

    def choose(self, label, value):
        """Chooses in the list of this label."""
        self.set(label, value, "select", "change")

    def set(self, label, value, kind="input", event="input"):
        """Gives the field of this label a value, however that would be done by hand."""
        field = (f"[...document.querySelectorAll('label.field')].find(of => of.offsetParent !== null &&"
                 f" of.firstElementChild.innerText === {json.dumps(label)})?.querySelector('{kind}')")
        self.wait(f"!!{field}", f"no {kind} {label}")
        self.run(f"(of => {{ of.value = {json.dumps(value)}; of.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})({field})")

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def picture(self, path, whole=True):
        """The page as a PNG, from its top."""
        self.run("window.scrollTo(0, 0); new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shown = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shown["data"]))


class Axe:
    """Looks at views with axe-core, which scripts/for_browser.sh gets: whether something serious keeps people out of them."""

    def __init__(self):
        got = subprocess.run([Path(__file__).with_name("for_browser.sh"), "axe-core"], stdout=subprocess.PIPE, check=True)
        self.script = Path(got.stdout.decode().strip()).read_text()
        self.found = []

    def look(self, browser, name):
        if not browser.run("!!window.axe"):
            browser.run(self.script + "; true")
        self.found.extend(f"{name}: {found}" for found in browser.run(FINDINGS))

    def say(self):
        if self.found:
            raise AssertionError("\n".join(["axe found:", *self.found]))
