#!/usr/bin/env python3
"""Plays an HLS stream in headless Chromium with hls.js, from several moments on.

    scripts/plays_hls_in_chromium.py PLAYLIST_URL [--joins N] [--seconds S] [--sizes N] [--begin S] [--hlsjs FILE]

Each join is a new player that begins at a random moment, where hls.js begins or at --begin, and plays for some seconds of media. Prints one line of JSON for each: how long it took
to the first picture, how far behind the newest segment it began, how much was played, in which sizes, how often it had to wait, the longest hole
in what it had to play, and what hls.js complained of. With --sizes it plays on until it was shown pictures of so many sizes. Fails unless all of them played. The server has to allow other origins. Needs `chromium`; gets hls.js with scripts/for_browser.sh.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = """<video id=video muted playsinline></video><script src=/hls.js></script><script>
const sleep = ms => new Promise(done => setTimeout(done, ms));
async function join(number) {
  const video = document.getElementById('video'), said = {number, errors: [], waits: 0, sizes: [], hole_s: 0};
  const hls = new Hls({startPosition: BEGIN});
  hls.on(Hls.Events.ERROR, (_, data) => said.errors.push((data.fatal ? 'fatal ' : '') + data.details + (data.reason ? ': ' + data.reason : '')));
  hls.on(Hls.Events.LEVEL_LOADED, (_, data) => { said.target ??= data.details.targetduration; said.edge ??= data.details.edge; });
  const began = performance.now();
  const first = new Promise(done => video.requestVideoFrameCallback(() => done()));
  hls.loadSource(PLAYLIST);
  hls.attachMedia(video);
  video.play().catch(() => {});
  await Promise.race([first, sleep(PATIENCE * 1000)]);
  said.started_ms = Math.round(performance.now() - began);
  const from = video.currentTime;
  said.behind_s = Math.round((said.edge - from) * 1000) / 1000;
  video.onwaiting = () => said.waits++;
  const look = () => {
    const size = video.videoWidth + 'x' + video.videoHeight;
    if (said.sizes.at(-1) !== size) said.sizes.push(size);
    for (let range = 1; range < video.buffered.length; range++)
      said.hole_s = Math.max(said.hole_s, video.buffered.start(range) - video.buffered.end(range - 1));
  };
  const until = performance.now() + PATIENCE * 1000;
  video.onresize = look;
  const enough = () => video.currentTime - from >= SECONDS && new Set(said.sizes).size >= SIZES;
  for (look(); !enough() && !video.ended && performance.now() < until; look()) await sleep(50);
  const quality = video.getVideoPlaybackQuality();
  Object.assign(said, {played_s: Math.round((video.currentTime - from) * 1000) / 1000, width: video.videoWidth,
    frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames});
  video.onwaiting = video.onresize = null;
  hls.destroy();
  video.removeAttribute('src');
  video.load();
  await fetch('/said', {method: 'POST', body: JSON.stringify(said)});
}
(async () => {
  for (let number = 0; number < JOINS; number++) {
    await join(number);
    await sleep(Math.random() * 4000);
  }
})();
</script>"""


def serve(page, script, said):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer("text/plain", b"")

        def do_GET(self):
            if self.path == "/hls.js":
                return self.answer("text/javascript", script)
            self.answer("text/html", page.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("playlist")
    parser.add_argument("--joins", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sizes", type=int, default=1)
    parser.add_argument("--begin", type=float, default=-1)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--hlsjs", type=Path)
    asked = parser.parse_args()
    file = asked.hlsjs
    if file is None:
        got = subprocess.run([Path(__file__).with_name("for_browser.sh"), "hls.js"], stdout=subprocess.PIPE, check=False)
        if got.returncode:
            sys.exit(got.returncode)
        file = Path(got.stdout.decode().strip())
    page = PAGE
    for word, value in [("PLAYLIST", asked.playlist), ("JOINS", asked.joins), ("SECONDS", asked.seconds), ("SIZES", asked.sizes), ("BEGIN", asked.begin), ("PATIENCE", asked.patience)]:
        page = page.replace(word, json.dumps(value))
    said = []
    port = serve(page, file.read_bytes(), said)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        policy = "--autoplay-policy=no-user-gesture-required"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(["chromium", *options, policy, f"http://127.0.0.1:{port}/"], **quiet) as browser:
            until = time.monotonic() + asked.joins * (2 * asked.patience + 5)
            shown = 0
            while shown < asked.joins and time.monotonic() < until:
                for join in said[shown:]:
                    print(json.dumps(join), flush=True)
                    shown += 1
                time.sleep(0.05)
            browser.terminate()
    played = [
        join
        for join in said
        if join["played_s"] >= asked.seconds
        and len(set(join["sizes"])) >= asked.sizes
        and not any(error.startswith("fatal") for error in join["errors"])
    ]
    sys.exit(len(played) != asked.joins)


main()
