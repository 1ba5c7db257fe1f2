"""The measuring part of versus.sh, which says what it is for.

CPU time is read from outside, the same way for both sides. "steady" is the processes' CPU clocks at the start and the end of a
window in which every stream runs; "whole run" is all the CPU time of the processes, starting and stopping included, per second of
the run. What `loop_file` says of itself is shown beside it. A run counts only if the sink got the bytes.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from proc import cpu_seconds

WARM_UP = 5.0  # seconds until every stream is on the air and the clip is prepared
PATIENCE = 20.0
TOLERANCE = 0.10  # of the expected bytes


def memory_kb(pid, field, file="status"):
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1))


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"versus: {what} within {PATIENCE:.0f} s")
        time.sleep(0.02)


def stop(process, how):
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def finish(process):
    """Waits for the end of a process that ends by itself; its CPU time in all, in seconds."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used.ru_utime + used.ru_stime
        time.sleep(0.02)
    sys.exit("versus: a process did not end")


def last_json(text):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


class OwnSink:
    """The `sink` program: its address first, an object with `bytes_received` last, once its input closes."""

    def __init__(self, arguments, directory, *options):
        self.log = directory / "sink.log"
        # What it looks at every 5 ms need not be woken by every write.
        self.process = subprocess.Popen(
            [arguments.programs / "sink", "--round", "5", *options],
            stdin=subprocess.PIPE, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        wait_until(lambda: self.address() or self.process.poll() is not None, "the sink did not listen")
        if not self.address():
            sys.exit(f"versus: the sink ended:\n{self.log.read_text()}")

    def address(self):
        found = re.search(r"127\.0\.0\.1:\d+", self.log.read_text())
        return found and found.group(0)

    def finish(self):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            stop(self.process, signal.SIGKILL)
        return last_json(self.log.read_text())


class NginxSink:
    """nginx with its RTMP module; its statistics page says what it received."""

    def __init__(self, _arguments, directory):
        modules = [pathlib.Path(p, "ngx_rtmp_module.so") for p in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")]
        load = "".join(f"load_module {m};" for m in modules if m.exists())
        ports = [free_port(), free_port()]
        self.address_ = f"127.0.0.1:{ports[0]}"
        self.statistics = f"http://127.0.0.1:{ports[1]}/stat"
        (directory / "nginx.conf").write_text(f"""
            {load}
            daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log error;
            events {{ worker_connections 1024; }}
            rtmp {{ access_log off; server {{ listen {self.address_}; max_message 16M; application live {{ live on; }} }} }}
            http {{ access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
                fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
                server {{ listen 127.0.0.1:{ports[1]}; location /stat {{ rtmp_stat all; }} }} }}
            """)
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([nginx, "-p", directory, "-c", directory / "nginx.conf"], stdin=subprocess.DEVNULL)
        wait_until(lambda: self.received() is not None, "nginx did not listen")

    def address(self):
        return self.address_

    def received(self):
        try:
            page = urllib.request.urlopen(self.statistics, timeout=2).read().decode()
        except OSError:
            return None
        return int(re.search(r"<bytes_in>(\d+)", page).group(1))

    def finish(self):
        received = self.received()
        stop(self.process, signal.SIGTERM)
        return {"bytes_received": received}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ffmpeg(run):
    """One process per stream."""
    return [subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", run.arguments.clip,
         "-c", "copy", "-t", str(run.seconds), "-f", "flv", f"rtmp://{run.address}/live/key-{n}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(run.directory / f"ffmpeg-{n}.log", "w"))
        for n in range(run.arguments.streams)]


def flowcast(run, scheme, *options):
    """One process for all."""
    return run.own(
        "examples/loop_file", run.arguments.clip, "--to", f"{scheme}://{run.address}/live/key-{{}}", "--json", *options)


def direct(run):
    return flowcast(run, "rtmp", *(["--no-reels"] if run.arguments.knows_reels else []))


def reels(run):
    return flowcast(run, "rtmp", "--reels", run.directory / "reels")


def rtmps(run):
    return flowcast(run, "rtmps", "--reels", run.directory / "reels", "--ca", run.directory / "ca.pem")


def bare(run, *options):
    """One process for all; the clip's packets as FLV are what it takes."""
    flv = run.directory / "clip.flv"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", run.arguments.clip, "-c", "copy", flv],
                   check=True, stdin=subprocess.DEVNULL)
    return run.own("bare", flv, "--to", run.address, *options)


def bare_tls(run):
    return bare(run, "--ca", run.directory / "ca.pem")


SIDES = {"ffmpeg": ffmpeg, "direct": direct, "reels": reels, "bare": bare, "rtmps": rtmps, "bare-tls": bare_tls}


class Run:
    """What one run of a side has to know."""

    def __init__(self, name, arguments, directory):
        self.arguments, self.directory = arguments, directory
        self.seconds = int(WARM_UP + arguments.seconds + 2)
        if arguments.sink == "nginx" and name in ("ffmpeg", "direct", "reels"):
            self.sink = NginxSink(arguments, directory)
        else:
            options = ["--raw"] if name.startswith("bare") else []
            options += ["--tls", "--ca", directory / "ca.pem"] if name in ("rtmps", "bare-tls") else []
            self.sink = OwnSink(arguments, directory, *options)
        self.address = self.sink.address()

    def own(self, program, *options):
        return [subprocess.Popen(
            [self.arguments.programs / program, *options, "--streams", str(self.arguments.streams),
             "--seconds", str(self.seconds)],
            stdin=subprocess.DEVNULL, stdout=open(self.directory / "own.json", "w"),
            stderr=open(self.directory / "own.log", "w"))]


def measure(name, arguments):
    """One run: figures per stream, or the reason why it does not count."""
    with tempfile.TemporaryDirectory(prefix="flowcast-versus-") as directory:
        directory = pathlib.Path(directory)
        run = Run(name, arguments, directory)
        processes = SIDES[name](run)
        try:
            time.sleep(WARM_UP)
            logs = lambda: "".join("".join(log.read_text().splitlines(True)[-5:]) for log in directory.glob("*.log"))
            if any(process.poll() is not None for process in processes):
                return f"a process ended early:\n{logs()}"
            before, started = sum(cpu_seconds(p.pid) for p in processes), time.monotonic()
            time.sleep(arguments.seconds)
            if any(process.poll() is not None for process in processes):
                return f"a process ended early:\n{logs()}"
            spent, elapsed = sum(cpu_seconds(p.pid) for p in processes) - before, time.monotonic() - started
            resident = sum(memory_kb(p.pid, "VmRSS") for p in processes)
            proportional = sum(memory_kb(p.pid, "Pss", "smaps_rollup") for p in processes)
            whole = sum(finish(process) for process in processes)
        finally:
            for process in processes:
                stop(process, signal.SIGKILL)
            report = run.sink.finish()
        received = report.get("bytes_received")
        expected = arguments.bytes_per_second * run.seconds * arguments.streams
        if received is None or abs(received - expected) > TOLERANCE * expected:
            return f"the sink received {received} bytes of about {expected:.0f}\n{logs()}"
        own = directory / "own.json"
        return {
            "cpu": spent * 1000 / elapsed / arguments.streams,
            "whole": whole * 1000 / run.seconds / arguments.streams,
            "rss": resident / arguments.streams,
            "pss": proportional / arguments.streams,
            "received": received / expected,
            "sink": report,
            "own": last_json(own.read_text()) if own.exists() else {},
        }


def bytes_per_second(clip):
    """What one stream of the clip is worth on the wire, without the chunk headers."""
    facts = json.loads(subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=size:format=duration", "-of", "json", clip],
        capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout)
    return sum(int(packet["size"]) for packet in facts["packets"]) / float(facts["format"]["duration"])


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("clip", str), ("streams", int), ("seconds", float), ("runs", int), ("sink", str), ("sides", str),
                       ("programs", pathlib.Path)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    arguments = parser.parse_args()
    arguments.bytes_per_second = bytes_per_second(arguments.clip)
    usage = subprocess.run([arguments.programs / "examples/loop_file", "--help"], capture_output=True, text=True).stdout
    arguments.knows_reels = "--reels" in usage
    sides = arguments.sides.split()
    for unknown in [name for name in sides if name not in SIDES]:
        sys.exit(f"versus: which side is {unknown}? there are {', '.join(SIDES)}")
    if not arguments.knows_reels:
        print("loop_file knows no --reels: sides that need it are left out", file=sys.stderr)
        sides = [name for name in sides if name not in ("reels", "rtmps")]
    print(f"{arguments.streams} streams of {arguments.bytes_per_second * 8 / 1e6:.2f} Mbit/s, {arguments.seconds:.0f} s, "
          f"{arguments.runs} runs each, sink: {arguments.sink}")
    results = {name: [] for name in sides}
    print("CPU in ms per stream-second, memory in kB per stream")
    print(ROW("side", "run", "CPU steady", "CPU whole run", "RSS", "PSS", "received"))
    failed = False
    for run in range(1, arguments.runs + 1):
        for name in sides:
            result = measure(name, arguments)
            if isinstance(result, str):
                print(f"{name:<10} {run:>4} does not count: {result}")
                failed = True
                continue
            results[name].append(result)
            print(ROW(name, run, f"{result['cpu']:.3f}", f"{result['whole']:.3f}", f"{result['rss']:.0f}", f"{result['pss']:.0f}",
                      f"{result['received']:.1%}"), flush=True)
            tell(result)
    compare({name: {key: statistics.median(r[key] for r in runs) for key in ("cpu", "whole", "rss", "pss")}
             for name, runs in results.items() if runs})
    sys.exit(1 if failed else 0)


ROW = "{:<10} {:>4} {:>14} {:>14} {:>14} {:>14} {:>10}".format


def tell(result):
    """What the processes said of themselves."""
    own, sink = result["own"], result["sink"]
    figures = [f"{key.replace('_', ' ')} {own[key]}" for key in
               ("modes", "cpu_ms_per_stream_second", "rss_kb", "threads", "late_max_ms", "drops", "reconnects", "loops") if key in own]
    if "kbps_min" in sink:
        figures.append(f"the sink got {sink['kbps_min']} to {sink['kbps_max']} kbit/s with {sink['cpu_seconds']} s of CPU")
    print(f"{'':<15} " + ", ".join(figures))


def compare(medians):
    for name, figures in medians.items():
        print(ROW(name, "med", f"{figures['cpu']:.3f}", f"{figures['whole']:.3f}", f"{figures['rss']:.0f}", f"{figures['pss']:.0f}", ""))
    for ours, theirs, goal in [
            ("direct", "ffmpeg", None), ("reels", "ffmpeg", "1/20"), ("reels", "bare", "1.5"), ("reels", "direct", None),
            ("rtmps", "bare", "2"), ("rtmps", "bare-tls", None), ("bare-tls", "bare", None)]:
        if ours in medians and theirs in medians:
            ratios = [f"{what} {ratio(medians[ours][key], medians[theirs][key])}" for what, key in
                      (("CPU steady", "cpu"), ("CPU whole run", "whole"), ("RSS", "rss"), ("PSS", "pss"))]
            print(f"{ours} / {theirs}: " + ", ".join(ratios) + (f"; goal: steady at most {goal}" if goal else ""))


def ratio(ours, theirs):
    return f"1/{theirs / ours:.1f}" if ours < 0.5 * theirs else f"{ours / theirs:.2f}"


main()
