#!/usr/bin/env python3
"""Uses the view of a cluster in headless Chromium as a person would.

    scripts/cluster_in_chromium.py URL TOKEN FILE [--pictures DIRECTORY]

URL is the page of a node, TOKEN may operate, FILE can be played by all nodes; there is another node, which is alone in having the label `two`. Prints a
line for each step; fails with the first that does not work, if the page complained of anything on its console, and if axe-core finds
something serious. Needs `chromium`.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chromium import Axe, Chromium  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("file")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    axe = Axe()

    with Chromium() as browser:
        def view(name):
            axe.look(browser, name)
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                browser.picture(options.pictures / f"{name}.png")

        def row(first):
            """The text of the row that begins with this."""
            return f"[...document.querySelectorAll('tbody tr')].find(of => of.innerText.trim().startsWith({json.dumps(first)}))?.innerText"

        def is_in(first, text):
            return f"!!{row(first)}?.includes({json.dumps(text)})"

        browser.open(options.url + "/")
        browser.wait("document.readyState === 'complete'")
        browser.run(f"localStorage.setItem('flowcast-token', {json.dumps(options.token)})")
        browser.complaints.clear()
        browser.open(options.url + "/")
        browser.press("nav a", "Cluster")
        browser.wait(f"{is_in('one', 'up')} && {is_in('two', 'up')} && {is_in('one', '(here)')}")
        print("the nodes are shown", flush=True)

        browser.press("a", "New stream on any node")
        browser.type("Name in the cluster", "show")
        browser.type("Only on nodes with these labels", "two")
        view("new-cluster")
        browser.press("button", "As JSON")
        browser.type("The stream as data", json.dumps({"source": {"file": options.file, "looped": True}, "outputs": [{"publish": "show"}]}))
        browser.press("button", "Have it run")
        browser.wait("location.hash === '#/cluster'")
        browser.wait(f"{is_in('show', 'running')} && {is_in('show', 'two')}", "it does not run on the node with the label")
        view("cluster")
        print("a stream runs where its label is", flush=True)

        browser.press("button", "Drain one")
        browser.wait(is_in("one", "draining"))
        browser.press("button", "Take streams again")
        browser.wait(is_in("one", "up"))
        print("this node is drained, and takes streams again", flush=True)

        browser.press("button[aria-label='End show']")
        browser.press("dialog button", "End it")
        browser.wait("document.body.innerText.includes('Nothing is to run on any node.')")
        print("a stream is ended, wherever it runs", flush=True)
        axe.say()
        if browser.complaints:
            raise AssertionError("\n".join(["the page complained:", *browser.complaints]))


main()
