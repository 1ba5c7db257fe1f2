#!/usr/bin/env python3
"""Plays MP4 files in headless Chromium: to the middle, back, and to the end.

    scripts/plays_in_chromium.py FILE...

Prints what the player says of each; fails unless all of them were played to their ends. Needs `chromium`.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 60

PAGE = """<video id=video muted></video><script>
const video = document.getElementById('video'), said = {};
const done = why => {
  const quality = video.getVideoPlaybackQuality();
  Object.assign(said, {why, duration: video.duration, time: video.currentTime,
    width: video.videoWidth, frames: quality.totalVideoFrames});
  fetch('/said/NUMBER', {method: 'POST', body: JSON.stringify(said)});
};
video.onerror = () => done('error: ' + video.error.message);
video.onloadedmetadata = () => { video.currentTime = video.duration / 2; };
video.onseeked = () => {
  said.sought = video.currentTime;
  video.onseeked = null;
  video.currentTime = 0;
  video.playbackRate = 4;
  video.play();
};
video.onended = () => done('ended');
video.src = '/media/NUMBER';
</script>"""


def serve(files, said):
    """Serves the files, by ranges, and takes what the pages say."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def number(self):
            return int(self.path.rsplit("/", 1)[1])

        def answer(self, status, kind, body, headers=()):
            self.send_response(status)
            for name, value in [("Content-Type", kind), ("Content-Length", len(body)), *headers]:
                self.send_header(name, str(value))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass  # The player has read enough.

        def do_POST(self):
            said[self.number()] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(200, "text/plain", b"")

        def do_GET(self):
            if self.path.startswith("/page/"):
                page = PAGE.replace("NUMBER", str(self.number()))
                return self.answer(200, "text/html", page.encode())
            if not self.path.startswith("/media/"):
                return self.answer(404, "text/plain", b"")
            media = files[self.number()].read_bytes()
            first, last = 0, len(media) - 1
            if wanted := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), int(wanted[2] or last)
            part = media[first : last + 1]
            headers = [("Accept-Ranges", "bytes"), ("Content-Range", f"bytes {first}-{last}/{len(media)}")]
            self.answer(206 if wanted else 200, "video/mp4", part, headers if wanted else headers[:1])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def main():
    files, said = [Path(name) for name in sys.argv[1:]], {}
    port = serve(files, said)
    for number, file in enumerate(files):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
            policy = "--autoplay-policy=no-user-gesture-required"
            page = f"http://127.0.0.1:{port}/page/{number}"
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(["chromium", *options, policy, page], **quiet) as browser:
                until = time.monotonic() + PATIENCE
                while number not in said and time.monotonic() < until:
                    time.sleep(0.05)
                browser.terminate()
        print(file, json.dumps(said.get(number, {"why": "no answer"})))
    sys.exit(any(said.get(number, {}).get("why") != "ended" for number in range(len(files))))


main()
