"""The measuring part of page.sh, which says what it is for.

The CPU time for HTTP is that of the server's threads `fc-http`, to the nanosecond (schedstat); the streams have threads of their own. A
page that watches is three connections: the list of streams, once, then the figures of the rows that are seen, and the events. What
Chromium draws is timed in the page, by its own frames.
"""

import argparse
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
from chromium import Chromium  # noqa: E402
from proc import cpu_seconds, rss_kb  # noqa: E402

PATIENCE = 180.0
ROWS = 25  # streams that a page of 1280 x 900 shows at a time, with those just outside

# Runs before the page: notes when the first rows are there, when figures came, and what kept it busy.
NOTES = """
window.noted = {busy: []};
new PerformanceObserver(list => list.getEntries().forEach(of => noted.busy.push([of.startTime, of.duration])))
  .observe({entryTypes: ['longtask']});
(function look() {
  if (noted.rows === undefined && document.querySelector('.body .row')) noted.rows = performance.now();
  if (noted.figures === undefined && document.querySelector('.tile .value')) noted.figures = performance.now();
  if (noted.rows === undefined || noted.figures === undefined) requestAnimationFrame(look);
})();
"""

# How long each frame took, in milliseconds, while the list is moved by so many pixels each frame.
FRAMES = """new Promise(done => {
  const took = [], until = performance.now() + %d;
  let before;
  let by = %d;
  requestAnimationFrame(function next(now) {
    if (before !== undefined) took.push(now - before);
    before = now;
    if (by) {
      const at = window.scrollY;
      window.scrollBy(0, by);
      if (window.scrollY === at) by = -by;
    }
    if (now < until) requestAnimationFrame(next); else done(took);
  });
})"""


class Studio:
    """The server, with that many loops."""

    def __init__(self, arguments, directory):
        directory = pathlib.Path(directory)
        names = [f"c{number:04}" for number in range(arguments.streams)]
        channels = "".join(
            f'[channels.{name}]\nsource = {{ file = "{arguments.clip}", looped = true }}\noutputs = [{{ publish = "{name}" }}]\n' for name in names)
        file = directory / "studio.toml"
        file.write_text(f'[http]\nlisten = "127.0.0.1:0"\ndata = "{directory}/data"\n[server]\nlisten = "127.0.0.1:0"\n{channels}')
        self.log = open(directory / "studio.log", "w+")
        self.process = subprocess.Popen([arguments.studio, file], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.url, self.token = self.said(r"open (http://\S+)/"), self.said(r"token: (\S+)")
        self.wait_for(lambda: self.get("streams?limit=1&health=good")["total"] >= arguments.streams, "not all streams are good")

    def said(self, pattern):
        found = []

        def look():
            self.log.seek(0)
            found[:] = re.findall(pattern, self.log.read())
            return found

        self.wait_for(look, pattern)
        return found[0]

    def wait_for(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"page: {what}\n{self.log.read()[-2000:]}")
            time.sleep(0.1)

    def request(self, path):
        return urllib.request.Request(f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"})

    def get(self, path):
        with urllib.request.urlopen(self.request(path)) as answer:
            return json.load(answer)

    def http_threads(self):
        """CPU time of each thread that serves HTTP, in seconds."""
        times = {}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                if (task / "comm").read_text().startswith("fc-http"):
                    times[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
            except FileNotFoundError:
                pass  # it has ended
        return times

    def http_seconds_within(self, seconds):
        """CPU time of the threads that serve HTTP, in that many seconds from now on. Those of the pool come and go, and take their time with
        them: it is looked at twice a second."""
        before = self.http_threads()
        last, end = dict(before), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            last.update(self.http_threads())
        return sum(used - before.get(thread, 0) for thread, used in last.items())

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Watcher:
    """What an open page asks for, read by threads of their own."""

    def __init__(self, studio, first):
        ids = [of["id"] for of in studio.get("streams?limit=500")["streams"]]
        seen = ids[first:first + ROWS]
        self.came = {"figures": [], "events": 0}
        self.open = []
        for path, note in [(f"figures?streams={','.join(seen)}", self.figures), ("events?history=300", self.events)]:
            answer = urllib.request.urlopen(studio.request(path))
            self.open.append(answer)
            threading.Thread(target=self.read, args=(answer, note), daemon=True).start()

    @staticmethod
    def read(answer, note):
        try:
            for line in answer:
                note(line)
        except (OSError, ValueError, AttributeError):
            pass  # closed by close()

    def figures(self, line):
        if line.startswith(b"event: figures"):
            self.came["figures"].append(time.monotonic())

    def events(self, line):
        self.came["events"] += line.startswith(b"data:")

    def close(self):
        for answer in self.open:
            # `close` would wait for who reads.
            answer.fp.raw._sock.shutdown(socket.SHUT_RDWR)


def spread(values):
    return ", ".join(f"{value:.1f}" for value in values)


def page(arguments, studio):
    rows = []
    for _ in range(arguments.rounds):
        with Chromium() as browser:
            browser.open(studio.url + "/")
            browser.wait("document.readyState === 'complete'")
            browser.run(f"localStorage.setItem('flowcast-token', {json.dumps(studio.token)})")
            browser.call("Page.addScriptToEvaluateOnNewDocument", source=NOTES)
            browser.complaints.clear()
            browser.open(studio.url + "/")
            browser.wait("window.noted && noted.rows && noted.figures")
            time.sleep(5)  # what still keeps it busy
            noted = browser.run("noted")
            # Nothing holds it for 50 ms or more behind this.
            busy = [at + took for at, took in noted["busy"] if at < 5000]
            count = browser.run("document.querySelector('.rows').getAttribute('aria-rowcount')")
            if int(count) != arguments.streams + 1:
                sys.exit(f"page: {count} rows")
            still = browser.run(FRAMES % (arguments.seconds * 1000, 0))
            moved = browser.run(FRAMES % (arguments.seconds * 1000, 12))
            if browser.complaints:
                sys.exit("page: " + "\n".join(browser.complaints))
            rows.append([noted["rows"] / 1000, max([noted["rows"], *busy]) / 1000,
                         *(of for took in (still, moved) for of in (len(took) * 1000 / sum(took), statistics.quantiles(took, n=100)[98], max(took)))])
    print(f"\nThe page with {arguments.streams} streams, each of {arguments.rounds} visits\n")
    print("| rows are there, s | not busy any more, s | frames/s | 99 % of frames, ms | longest | frames/s while it is scrolled | 99 % | longest |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(f"{value:.2f}" if place < 2 else f"{value:.1f}" for place, value in enumerate(row)) + " |", flush=True)


def watchers(arguments, studio):
    print(f"\n{arguments.pages} pages that watch {arguments.streams} streams, windows of {arguments.seconds} s\n")
    print("| pages | CPU of HTTP, of a core | CPU of all, of a core | figures to each, in a second | longest without | events to each, in a second |")
    print("|---|---|---|---|---|---|", flush=True)
    for _ in range(arguments.rounds):
        for count in (0, arguments.pages):
            crowd = [Watcher(studio, number * 30 % 400) for number in range(count)]
            time.sleep(5)
            had = [dict(figures=len(of.came["figures"]), events=of.came["events"]) for of in crowd]
            all_, since = cpu_seconds(studio.process.pid), time.monotonic()
            http = studio.http_seconds_within(arguments.seconds)
            elapsed = time.monotonic() - since
            all_ = cpu_seconds(studio.process.pid) - all_
            figures = [len(of.came["figures"]) - was["figures"] for of, was in zip(crowd, had)]
            events = [of.came["events"] - was["events"] for of, was in zip(crowd, had)]
            gaps = [after - before for of in crowd for before, after in zip(of.came["figures"], of.came["figures"][1:])]
            for of in crowd:
                of.close()
            served = f"{min(figures) / elapsed:.2f} | {max(gaps):.2f} s | {statistics.mean(events) / elapsed:.1f}" if crowd else "| |"
            print(f"| {count} | {http / elapsed:.2%} | {all_ / elapsed:.1%} | {served} |", flush=True)


def silent(arguments, studio):
    """Clients that ask and never read, beside one that does."""
    address = studio.url.removeprefix("http://").split(":")
    ids = ",".join(of["id"] for of in studio.get("streams?limit=200")["streams"])
    before, sockets = rss_kb(studio.process.pid), []
    for number in range(100):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((address[0], int(address[1])))
        path = "events?history=1000" if number % 2 else f"figures?streams={ids}"
        client.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nAuthorization: Bearer {studio.token}\r\n\r\n".encode())
        sockets.append(client)
    reader = Watcher(studio, 0)
    print(f"\n100 clients that ask for events (50) and for figures of 200 streams (50) and read nothing\n")
    print("| after | RSS above what it was, MiB | figures to who reads, in a second | longest without |")
    print("|---|---|---|---|", flush=True)
    since = time.monotonic()
    for _ in range(arguments.rounds):
        time.sleep(arguments.seconds)
        came = reader.came["figures"]
        gaps = [after - before for before, after in zip(came, came[1:])]
        elapsed = time.monotonic() - since
        print(f"| {elapsed:.0f} s | {(rss_kb(studio.process.pid) - before) / 1024:.1f} | {len(came) / elapsed:.2f} | {max(gaps):.2f} s |", flush=True)
    reader.close()
    for client in sockets:
        client.close()


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("studio", pathlib.Path), ("clip", str), ("streams", int), ("seconds", int), ("rounds", int), ("pages", int), ("parts", str)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    arguments = parser.parse_args()
    parts = {"page": page, "watchers": watchers, "silent": silent}
    with tempfile.TemporaryDirectory(prefix="flowcast-page-") as directory:
        studio = Studio(arguments, directory)
        try:
            for name in arguments.parts.split():
                parts[name](arguments, studio)
        finally:
            studio.end()


main()
