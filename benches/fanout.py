"""The measuring part of fanout.sh, which says what it is for.

The publisher is `ffmpeg -re -c copy`: it sends each packet at its time, as encoders do, so that a server that does not merge has
something to lose. CPU time is the server process's own, read from outside at both ends of a window in which every player is
served. The players are one other process; it says what arrived.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from proc import cpu_seconds, rss_kb

PATIENCE = 70.0
SETTLE = 3.0  # seconds after the last player has joined: what it was given to begin with is over
TOLERANCE = 0.05  # of the bitrate, for each player


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"fanout: {what} within {PATIENCE:.0f} s")
        time.sleep(0.02)


def end(process):
    """Closes its input, which ends our programs, and makes sure."""
    if process.stdin:
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listens(address):
    host, port = address.rsplit(":", 1)
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def own(arguments, directory, program, *options):
    process = subprocess.Popen([arguments.programs / program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=open(directory / "server.log", "w"), text=True)
    return process, process.stdout.readline().strip()


def flowcast(arguments, directory, merge):
    return own(arguments, directory, "fanout_server", "--merge", str(merge))


def http_flv(arguments, directory, merge):
    """Published by RTMP, played by HTTP."""
    process, address = own(arguments, directory, "fanout_server", "--merge", str(merge), "--http")
    return process, address, process.stdout.readline().strip()


def bare(arguments, directory, merge):
    return own(arguments, directory, "barefan", arguments.flv, "--merge", str(merge))


def nginx(_arguments, directory, _merge):
    modules = [pathlib.Path(p, "ngx_rtmp_module.so") for p in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")]
    load = "".join(f"load_module {m};" for m in modules if m.exists())
    address = f"127.0.0.1:{free_port()}"
    (directory / "nginx.conf").write_text(f"""
        {load}
        daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log error;
        events {{ worker_connections 4096; }}
        rtmp {{ access_log off; server {{ listen {address}; chunk_size 4096; max_message 16M;
            application live {{ live on; wait_key on; }} }} }}
        """)
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    process = subprocess.Popen([program, "-p", directory, "-c", directory / "nginx.conf"], stdin=subprocess.DEVNULL)
    wait_for(lambda: listens(address), "nginx did not listen")
    return process, address


def rtmp_crate(arguments, directory, _merge):
    process = subprocess.Popen([arguments.peers / "xiu_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=open(directory / "server.log", "w"), text=True)
    return process, process.stdout.readline().split()[-1]


def srs(arguments, directory, merge):
    """Published by RTMP, played by RTMP or HTTP. It merges writes, too."""
    rtmp, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (directory / "srs.conf").write_text(f"""
        listen {rtmp}; max_connections 4000; daemon off; pid {directory}/srs.pid; srs_log_tank file; srs_log_file {directory}/srs.log; srs_log_level error;
        http_server {{ enabled on; listen {http}; dir {directory}; }}
        vhost __defaultVhost__ {{ play {{ mw_latency {merge}; }} http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }} }}
        """)
    process = subprocess.Popen([arguments.srs, "-c", directory / "srs.conf"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=directory)
    wait_for(lambda: listens(rtmp) and listens(http), "SRS did not listen")
    return process, rtmp, http


def srs_rtmp(arguments, directory, merge):
    return srs(arguments, directory, merge)[:2]


RTMP, HTTP = ["--play", "live/demo"], ["--get", "/live/demo.flv"]

# name: what it is called in the table, how it is started, its merge window, what its players ask for (nothing: it sends by itself)
SIDES = {
    "flowcast": ("flowcast", flowcast, 100, RTMP),
    "flowcast-0": ("flowcast, merging off", flowcast, 0, RTMP),
    "http-flv": ("flowcast, HTTP-FLV", http_flv, 100, HTTP),
    "nginx": ("nginx", nginx, 0, RTMP),
    "rtmp": ("`rtmp` crate", rtmp_crate, 0, RTMP),
    "srs": ("SRS", srs_rtmp, 100, RTMP),
    "srs-http-flv": ("SRS, HTTP-FLV", srs, 100, HTTP),
    "bare": ("bare loop, 100 ms", bare, 100, []),
    "bare-0": ("bare loop, per message", bare, 0, []),
}


class Players:
    def __init__(self, arguments, address, count, play):
        self.process = subprocess.Popen([arguments.programs / "players", address, "--count", str(count),
                                         "--round", str(arguments.round), *play],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "live":
            self.process.wait()
            raise RuntimeError(f"{count} players did not get on the air")

    def window(self):
        """Ends a window and begins another one."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def publish(arguments, address):
    return subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", arguments.clip, "-c", "copy", "-f", "flv",
         f"rtmp://{address}/live/demo"], stdin=subprocess.DEVNULL)


def measure(arguments, side, count):
    _, start, merge, play = SIDES[side]
    with tempfile.TemporaryDirectory(prefix="flowcast-fanout-") as directory:
        server, address, *played = start(arguments, pathlib.Path(directory), merge)
        children = []
        try:
            if play:
                children.append(publish(arguments, address))
                time.sleep(3)
            before = rss_kb(server.pid)
            players = Players(arguments, *(played or [address]), count, play)
            children.append(players.process)
            time.sleep(SETTLE)
            players.window()
            cpu, since = cpu_seconds(server.pid), time.monotonic()
            rss_first = rss_kb(server.pid)
            time.sleep(arguments.seconds)
            cpu, elapsed = cpu_seconds(server.pid) - cpu, time.monotonic() - since
            seen = players.window()
            # Of media that arrived: who cannot keep up is not cheaper for it.
            served = min(1.0, float(seen["kbps_median"]) / arguments.kbps)
            seen |= {"cpu": cpu * 1e3 / elapsed / count / served, "core": cpu / elapsed, "before": before, "first": rss_first, "after": rss_kb(server.pid)}
        finally:
            for child in reversed(children):
                end(child)
            end(server)
    return seen


def judge(runs, expected):
    """What the players missed, in a few words."""
    wrong = []
    low = min(float(run["kbps_min"]) for run in runs) / expected - 1
    high = max(float(run["kbps_max"]) for run in runs) / expected - 1
    if max(-low, high) > TOLERANCE:
        wrong.append(f"rates {low:+.0%} to {high:+.0%}")
    for what in ("ended", "disorder"):
        if any(run[what] for run in runs):
            wrong.append(f"{sum(run[what] for run in runs)} {what}")
    return ", ".join(wrong) or f"all within {max(-low, high):.1%}"


def table(count, results, expected):
    cost = {side: statistics.median(run["cpu"] for run in runs) for side, runs in results.items()}
    print(f"\n{count} players\n")
    print("| | CPU ms per player-second | of a core | × bare 100 ms | × bare per message | × nginx | × RTMP | RSS MiB before, with players, at the end "
          "| longest silence | served |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for side, runs in results.items():
        ratio = lambda other: f"{cost[side] / cost[other]:.2f}" if other in cost else ""
        memory = ", ".join(f"{statistics.median(run[at] for run in runs) / 1024:.0f}" for at in ("before", "first", "after"))
        silence = max(run["silence_max_ms"] for run in runs)
        print(f"| {SIDES[side][0]} | {cost[side]:.3f} | {statistics.median(run['core'] for run in runs):.0%} | {ratio('bare')} | {ratio('bare-0')} | {ratio('nginx')} | {ratio('flowcast')} | {memory} "
              f"| {silence} ms | {judge(runs, expected)} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("programs", pathlib.Path), ("clip", str), ("seconds", float), ("rounds", int), ("round", int), ("sides", str),
                       ("peers", pathlib.Path)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--srs", type=pathlib.Path)
    parser.add_argument("players", nargs="+")
    arguments = parser.parse_args()
    sides = [side for side in arguments.sides.split()
             if (side != "rtmp" or (arguments.peers / "xiu_server").exists()) and (not side.startswith("srs") or arguments.srs)]
    with tempfile.TemporaryDirectory(prefix="flowcast-fanout-") as directory:
        arguments.flv = pathlib.Path(directory, "clip.flv")
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", arguments.clip, "-c", "copy", arguments.flv], check=True)
        facts = json.loads(subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "format=size,duration", "-of", "json", arguments.flv],
            capture_output=True, check=True).stdout)["format"]
        expected = arguments.kbps = int(facts["size"]) * 8 / 1000 / float(facts["duration"])
        for count in (int(word) for words in arguments.players for word in words.split()):
            results = {side: [] for side in sides}
            for _ in range(arguments.rounds):
                for side in sides:
                    try:
                        run = measure(arguments, side, count)
                    except RuntimeError as error:
                        print(f"{count} players, {side}: {error}", file=sys.stderr, flush=True)
                        continue
                    results[side].append(run)
                    print(f"{count} players, {side}: {run['cpu']:.4f} ms", file=sys.stderr, flush=True)
            results = {side: runs for side, runs in results.items() if runs}
            table(count, results, expected)


main()
