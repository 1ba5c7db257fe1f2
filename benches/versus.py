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

WARM_UP = 5.0  # seconds until every stream is on the air and the clip is prepared
PATIENCE = 20.0
TOLERANCE = 0.10  # of the expected bytes


def cpu_seconds(pid):
    """The process's CPU time, threads that have ended included, to the nanosecond (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


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
    """The rtmp_server example: its address first, an object with `bytes_received` last, once its seconds are over."""

    def __init__(self, arguments, seconds, directory):
        keys = [f"--key=s{n}=key-{n}" for n in range(arguments.streams)]
        self.log = directory / "sink.log"
        program = arguments.programs / "rtmp_server"
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--seconds", str(seconds + 4), "--json", *keys],
            stdin=subprocess.DEVNULL, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        wait_until(lambda: self.address() or self.process.poll() is not None, "the sink did not listen")
        if not self.address():
            sys.exit(f"versus: the sink ended:\n{self.log.read_text()}")

    def address(self):
        found = re.search(r"127\.0\.0\.1:\d+", self.log.read_text())
        return found and found.group(0)

    def finish(self):
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            stop(self.process, signal.SIGKILL)
        return last_json(self.log.read_text()).get("bytes_received")


class NginxSink:
    """nginx with its RTMP module; its statistics page says what it received."""

    def __init__(self, _arguments, _seconds, directory):
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
        return received


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ffmpeg(arguments, base, seconds, directory):
    """One process per stream."""
    return [subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", arguments.clip,
         "-c", "copy", "-t", str(seconds), "-f", "flv", f"{base}/key-{n}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(directory / f"ffmpeg-{n}.log", "w"))
        for n in range(arguments.streams)]


def flowcast(arguments, base, seconds, directory):
    """One process for all."""
    return [subprocess.Popen(
        [arguments.programs / "loop_file", arguments.clip, "--to", f"{base}/key-{{}}", "--streams", str(arguments.streams),
         "--seconds", str(seconds), "--json"],
        stdin=subprocess.DEVNULL, stdout=open(directory / "loop_file.json", "w"), stderr=open(directory / "loop_file.log", "w"))]


def measure(side, arguments):
    """One run: figures per stream, or the reason why it does not count."""
    with tempfile.TemporaryDirectory(prefix="flowcast-versus-") as directory:
        directory = pathlib.Path(directory)
        seconds = int(WARM_UP + arguments.seconds + 2)
        sink = (NginxSink if arguments.sink == "nginx" else OwnSink)(arguments, seconds, directory)
        processes = side(arguments, f"rtmp://{sink.address()}/live", seconds, directory)
        try:
            time.sleep(WARM_UP)
            logs = lambda: "".join(log.read_text() for log in directory.glob("*.log"))
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
            received = sink.finish()
        expected = arguments.bytes_per_second * seconds * arguments.streams
        if received is None or abs(received - expected) > TOLERANCE * expected:
            return f"the sink received {received} bytes of about {expected:.0f}\n{logs()}"
        own = directory / "loop_file.json"
        return {
            "cpu": spent * 1000 / elapsed / arguments.streams,
            "whole": whole * 1000 / seconds / arguments.streams,
            "rss": resident / arguments.streams,
            "pss": proportional / arguments.streams,
            "received": received / expected,
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
    print(f"{arguments.streams} streams of {arguments.bytes_per_second * 8 / 1e6:.2f} Mbit/s, {arguments.seconds:.0f} s, "
          f"{arguments.runs} runs each, sink: {arguments.sink}")
    sides = {"ffmpeg": ffmpeg, "flowcast": flowcast}
    if arguments.sides != "both":
        sides = {arguments.sides: sides[arguments.sides]}
    results = {name: [] for name in sides}
    row = "{:<10} {:>4} {:>14} {:>14} {:>14} {:>14} {:>10}".format
    print("CPU in ms per stream-second, memory in kB per stream")
    print(row("side", "run", "CPU steady", "CPU whole run", "RSS", "PSS", "received"))
    failed = False
    for run in range(1, arguments.runs + 1):
        for name, side in sides.items():
            result = measure(side, arguments)
            if isinstance(result, str):
                print(f"{name:<10} {run:>4} does not count: {result}")
                failed = True
                continue
            results[name].append(result)
            print(row(name, run, f"{result['cpu']:.3f}", f"{result['whole']:.3f}", f"{result['rss']:.0f}", f"{result['pss']:.0f}",
                      f"{result['received']:.1%}"), flush=True)
            if result["own"]:
                said = result["own"]
                print(f"{'':<15} loop_file says: {said.get('cpu_ms_per_stream_second')} ms, {said.get('rss_kb')} kB in all, "
                      f"{said.get('drops')} drops, {said.get('reconnects')} reconnects, {said.get('loops')} loops")
    medians = {name: {key: statistics.median(r[key] for r in runs) for key in ("cpu", "whole", "rss", "pss")}
               for name, runs in results.items() if runs}
    for name, figures in medians.items():
        print(row(name, "med", f"{figures['cpu']:.3f}", f"{figures['whole']:.3f}", f"{figures['rss']:.0f}", f"{figures['pss']:.0f}", ""))
    if len(medians) == 2:
        ours, theirs = medians["flowcast"], medians["ffmpeg"]
        ratios = [f"{what} 1/{theirs[key] / ours[key]:.1f}" for what, key in
                  (("CPU steady", "cpu"), ("CPU whole run", "whole"), ("RSS", "rss"), ("PSS", "pss"))]
        print("flowcast / ffmpeg: " + ", ".join(ratios))
    sys.exit(1 if failed else 0)


main()
