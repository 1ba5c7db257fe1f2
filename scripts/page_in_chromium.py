#!/usr/bin/env python3
"""Uses the page of flowcast-http in headless Chromium as a person would, from the first visit on.

    scripts/page_in_chromium.py URL TOKEN RTMP FILE... [--push RTMP PID] [--pictures DIRECTORY]

URL is the page, TOKEN may operate and issue keys, RTMP is the address of an RTMP server of the same engine (`rtmp://127.0.0.1:1935/live`), FILEs
are at least two that can be played. With `--push`, a stream goes to the RTMP server of somebody else as well, whose process PID is then killed. Prints a line for each step; fails with the first that does not work, if the page complained
of anything on its console, and if axe-core finds something serious in one of the views. Needs `chromium`; gets axe-core with
scripts/for_browser.sh.
"""

import argparse
import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chromium import Axe, Chromium  # noqa: E402

PIXELS = """(() => {
  const video = document.querySelector('video');
  if (!video || video.videoWidth === 0) return null;
  const canvas = new OffscreenCanvas(64, 36), to = canvas.getContext('2d');
  to.drawImage(video, 0, 0, 64, 36);
  return [...to.getImageData(0, 0, 64, 36).data].join();
})()"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("rtmp")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--push", nargs=2, metavar=("RTMP", "PID"))
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()

    def ask(method, path, body=None):
        request = urllib.request.Request(
            f"{options.url}/api/v1/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {options.token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    axe = Axe()

    with Chromium() as browser:
        def step(text):
            print(text, flush=True)

        def picture(name):
            """A view is complete: it is looked at by axe, and kept as a picture."""
            axe.look(browser, name)
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                browser.picture(options.pictures / f"{name}.png")

        def is_shown(text):
            return f"document.body.innerText.includes({json.dumps(text)})"

        browser.theme("light")
        browser.open(options.url + "/")
        browser.type("Token", "a-token-that-nobody-gave-out")
        browser.press("button", "Open")
        browser.wait(is_shown("the token is not accepted"))
        browser.wait(f"!!({browser.element('button', 'Open')})")
        picture("token")
        # This refusal is meant to be on the console.
        browser.complaints.clear()
        browser.type("Token", options.token)
        browser.press("button", "Open")
        browser.wait(is_shown("Nothing runs."))
        browser.wait(is_shown("● connected"))
        browser.complaints[:] = [of for of in browser.complaints if "401" not in of]
        step("a wrong token is refused, the right one opens the page")

        browser.press("a", "Keys")
        browser.press("button", "Issue a key")
        browser.type("Name", "studio")
        browser.press("dialog button", "Issue it")
        key = browser.wait("document.querySelector('dialog .secret input')?.value")
        picture("key")
        browser.press("button", "I have it")
        browser.wait(is_shown("not used now"))
        if key in browser.run("document.body.innerHTML"):
            raise AssertionError("the key is still in the page")
        step("a key is issued, and shown once")

        browser.press("a", "Streams")
        browser.press("a", "New stream")
        browser.type("File on the server", options.files[0])
        browser.type("Label", "rain")
        browser.choose("What", "url")
        browser.type("Address", options.rtmp)
        browser.type("Stream key", key)
        browser.press("button", "Check")
        browser.wait(is_shown("There is room for it."))
        picture("new")
        browser.press("button", "Start it")
        browser.wait("location.hash.startsWith('#/streams/s')")
        stream = browser.run("location.hash").rsplit("/", 1)[1]
        browser.wait(is_shown("on the air"), "the output does not get on the air")
        if key in browser.run("document.body.innerHTML"):
            raise AssertionError("the key is in the page")
        step("a file goes round, to an RTMP server with that key, which is shown nowhere")

        browser.press("button", "▶ Watch")
        browser.wait("document.querySelector('video')?.currentTime > 1", "the preview does not play")
        first = browser.wait(PIXELS)
        browser.wait(f"(now => now !== null && now !== {json.dumps(first)})({PIXELS})", "the preview stands still")
        browser.wait("document.querySelectorAll('.graph canvas').length === 3")
        # A few points for the graphs.
        time.sleep(5)
        picture("stream")
        browser.theme("dark")
        picture("stream-dark")
        browser.theme("light")
        step("its preview moves")

        ask("DELETE", "keys/studio")
        browser.wait("/(refused|closed|rejected|denied|ended|key)/i.test(document.querySelector('table .problem')?.innerText ?? '')",
                     "the page does not say why the output is broken")
        picture("broken")
        step("a broken output says why: " + browser.run("document.querySelector('table .problem').innerText"))

        browser.press("button", "Add an output")
        browser.choose("What", "publish")
        browser.type("Name", "rain")
        browser.press("dialog button", "Add it")
        browser.wait("[...document.querySelectorAll('tbody tr')].some(of => of.innerText.includes('on the air'))")
        browser.press("button[aria-label^='Remove rtmp']")
        browser.press("dialog button", "Remove it")
        browser.wait("[...document.querySelectorAll('tbody tr')].filter(of => !/ended|removed/.test(of.innerText)).length === 1")
        step("an output is added, another one removed")

        if options.push:
            address, process = options.push
            row = f"[...document.querySelectorAll('tbody tr')].find(of => of.innerText.includes({json.dumps(address)}))"
            browser.press("button", "Add an output")
            browser.choose("What", "url")
            browser.type("Address", address)
            browser.type("Stream key", "rain")
            browser.press("dialog button", "Add it")
            browser.wait(f"{row}?.innerText.includes('on the air')", "the push does not get on the air")
            os.kill(int(process), signal.SIGKILL)
            why = f"{row}.querySelector('.problem')?.innerText"
            browser.wait(f"/(refused|closed|reset)/i.test({why} ?? '')", "the page does not say why the push is broken")
            step("a server that is killed is told: " + browser.run(why))
            if not browser.run("[...document.querySelectorAll('tbody tr')].some(of => of.innerText.includes('on the air'))"):
                raise AssertionError("another output went with it")
            browser.press(f"button[aria-label^='Remove {address}']")
            browser.press("dialog button", "Remove it")
            browser.wait(f"{row}.innerText.includes('removed')")
            step("a push to a server of somebody else is added, broken and removed")

        archive = str(Path(options.files[0]).with_name("archive.mp4"))
        browser.press("button", "Add an output")
        browser.choose("What", "record")
        browser.type("File on the server", archive)
        browser.press("dialog button", "Add it")
        browser.press("nav a", "Recordings")
        browser.wait(is_shown("Being written"))
        browser.wait(is_shown(archive))
        # It has something in it.
        browser.wait("!/^0 B/.test(document.querySelector('tbody td.number').innerText)")
        browser.run("history.back()")
        browser.press("button[aria-label$='archive.mp4']")
        browser.press("dialog button", "Remove it")
        browser.press("nav a", "Recordings")
        browser.wait(is_shown("Complete") + " && !" + is_shown("Being written"))
        browser.wait(is_shown(archive))
        picture("recordings")
        step("a recording is begun and ended, and listed")

        browser.press("nav a", "Schedules")
        browser.press("a", "New schedule")
        browser.type("File on the server", options.files[0])
        browser.type("Label", "night")
        browser.type("Name", "night")
        browser.press("label.check", "Sunday")
        browser.set("From", "23:30")
        browser.set("Until", "01:00")
        # Where it is not that time of the day now: the stream is not to be on the air.
        browser.set("Time zone", "Europe/Berlin" if 1 <= time.gmtime().tm_hour < 21 else "Pacific/Auckland")
        picture("new-schedule")
        browser.press("button", "Schedule it")
        browser.wait("document.querySelectorAll('tbody tr').length === 1")
        windows = ask("GET", "schedules")["schedules"][0]["when"]["windows"]
        if windows != [{"days": ["mon", "tue", "wed", "thu", "fri", "sat"], "from": "23:30", "to": "01:00"}]:
            raise AssertionError(windows)
        picture("schedules")
        browser.press("button", "Take out")
        browser.press("dialog button", "Take it out")
        browser.wait(is_shown("Nothing is scheduled."))
        step("a stream is scheduled, and taken out again")

        browser.press("a", "Streams")
        browser.press("a", "New stream")
        browser.press("button", "As JSON")
        browser.type("The stream as data", json.dumps(
            {"source": {"playlist": options.files}, "outputs": [{"publish": "channel"}], "label": "channel"}))
        browser.press("button", "Start it")
        browser.wait("document.querySelectorAll('.list li').length === " + str(len(options.files)))
        channel = browser.run("location.hash").rsplit("/", 1)[1]
        before = [of["id"] for of in ask("GET", f"streams/{channel}/playlist")["items"]]
        browser.run("document.querySelector('.list .grip').focus()")
        browser.key("ArrowDown")
        wanted = [before[1], before[0], *before[2:]]
        until = time.monotonic() + 60
        while [of["id"] for of in ask("GET", f"streams/{channel}/playlist")["items"]] != wanted:
            if time.monotonic() > until:
                raise TimeoutError("the playlist was not changed")
            time.sleep(0.1)
        picture("playlist")
        step("the playlist is edited with the keyboard")

        for name in ("Capacity", "Events"):
            browser.press("nav a", name)
            browser.wait(f"document.querySelector('h1')?.innerText === {json.dumps(name)}")
            picture(name.lower())
        browser.press("nav a", "Streams")
        browser.wait("document.querySelectorAll('.body .row').length === 2")
        time.sleep(3)
        picture("streams")
        browser.size(390, 844, True)
        picture("phone")
        if browser.run("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            raise AssertionError("a phone has to scroll sideways")
        browser.size(1280, 900)
        step("all views open, also on a phone")

        browser.press("button[aria-label='Stop rain']")
        browser.press("dialog button", "Stop it")
        browser.wait("document.querySelectorAll('.body .row').length === 1")
        if stream in [of["id"] for of in ask("GET", "streams")["streams"]]:
            raise AssertionError("it still runs")
        step("a stream is stopped")
        axe.say()
        step("axe finds nothing serious in any view, light and dark")
        if browser.complaints:
            raise AssertionError("\n".join(["the page complained:", *browser.complaints]))


main()
