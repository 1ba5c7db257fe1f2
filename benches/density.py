"""The measuring part of density.sh, which says what it is for.

What a stream costs is told by `density`, the process that drives the library; what arrived is told by `sink`, another
process: each connection's bytes between its first and its last media byte.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE = 60.0
TOLERANCE = 0.02  # of each stream's bitrate
WIRE_HEADER = 8  # bytes before a message that follows another one on its chunk stream


def wire_kbps(file):
    """What a stream of the file is worth on the wire, thousand bits per second."""
    facts = json.loads(subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=size,codec_type:format=duration", "-of", "json", file],
        capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout)
    heads = {"video": 5, "audio": 2}  # of the FLV tag's body
    size = sum(int(p["size"]) + WIRE_HEADER + heads.get(p.get("codec_type"), 0) for p in facts["packets"])
    return size * 8 / 1000 / float(facts["format"]["duration"])


class Sink:
    def __init__(self, arguments, directory):
        self.ca = directory / "ca.pem"
        self.log = open(directory / "sink.log", "w")
        tls = ["--tls", "--ca", self.ca] if arguments.tls else []
        self.process = subprocess.Popen(
            [arguments.programs / "sink", "--each", "--round", "5", *tls],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            sys.exit("density: the sink did not listen")

    def finish(self):
        try:
            out, _ = self.process.communicate(timeout=PATIENCE)  # closes its input, which ends it
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            sys.exit("density: the sink did not end")
        self.log.close()
        return json.loads(out.splitlines()[-1])


def drive(arguments, files, *options):
    """One run of `density`: what it says, and what the sink says."""
    with tempfile.TemporaryDirectory(prefix="flowcast-density-") as directory:
        directory = pathlib.Path(directory)
        sink = Sink(arguments, directory)
        scheme = "rtmps" if arguments.tls else "rtmp"
        command = [arguments.programs / "density", *files, "--to", f"{scheme}://{sink.address}/live/{{}}", "--json", *options]
        command += ["--tls-ca", sink.ca] if arguments.tls else []
        command += ["--reels", directory / "reels"] if arguments.source == "reels" else []
        driver = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            out, _ = driver.communicate()
        except KeyboardInterrupt:
            driver.send_signal(signal.SIGINT)
            out, _ = driver.communicate(timeout=PATIENCE)
        finally:
            if driver.poll() is None:
                driver.kill()
            received = sink.finish()
        failures = (directory / "sink.log").read_text()
        if driver.returncode != 0:
            sys.exit(f"density: the driver failed\n{failures}")
        return json.loads(out.splitlines()[-1]), received


def window(arguments, files):
    own, received = drive(arguments, files, "--streams", str(arguments.streams), "--seconds", str(arguments.seconds))
    expected = [wire_kbps(file) for file in files]
    off = [stream["kbps"] / expected[int(stream["name"]) % len(files)] - 1 for stream in received["streams"]]
    own["within"] = sum(abs(one) <= TOLERANCE for one in off)
    own["off_min"], own["off_max"] = min(off), max(off)
    own["kbps"] = f"{received['kbps_min']:.0f} to {received['kbps_max']:.0f}"
    own["sink_cpu"] = received["cpu_seconds"]
    own["sink_connections"] = received["connections"]
    return own


def value(form, figure):
    return "not told" if figure is None else form.format(figure)


def table(arguments, runs):
    """Markdown, a column for each run."""
    rows = [
        ("streams, files", lambda r: f"{r['streams']:,}, {r['files']}"),
        ("played", lambda r: r["modes"]),
        ("kbit/s of a stream, as received", lambda r: r["kbps"]),
        (f"within {TOLERANCE:.0%} of its file's bitrate", lambda r: f"{r['within']:,} ({r['off_min']:+.2%} to {r['off_max']:+.2%})"),
        ("CPU, ms per stream-second", lambda r: f"{r['cpu_ms_per_stream_second']:.3f}"),
        ("CPU, of one core", lambda r: f"{r['cpu_percent']:.0f} %"),
        ("machine idle", lambda r: f"{r['machine_idle_percent']:.0f} %"),
        ("largest scheduling lag", lambda r: value("{:.0f} ms", r["schedule_lag_max_ms"])),
        ("largest lag of an output", lambda r: f"{r['lag_max_ms']:.0f} ms"),
        ("drops, reconnects", lambda r: f"{r['drops']}, {r['reconnects']}"),
        ("RSS", lambda r: f"{r['rss_kb'] / 1024:.1f} MiB"),
        ("RSS per extra stream", lambda r: f"{r['rss_kb_per_extra_stream']:.1f} KiB"),
        ("threads, descriptors", lambda r: f"{r['threads']:,}, {r['open_files']:,}"),
        ("start to on the air, median, largest", lambda r: f"{r['start_ms_median']:.0f} ms, {r['start_ms_max']:.0f} ms"),
    ]
    print(f"| | {' | '.join(name for name, _ in runs)} |")
    print(f"|---{'|---' * len(runs)}|")
    for name, cell in rows:
        print(f"| {name} | {' | '.join(cell(run) for _, run in runs)} |")
    for name, run in runs:
        whole = arguments.seconds + 10
        print(f"{name}: the sink had {run['sink_connections']} connections and used {run['sink_cpu']:.1f} s of CPU "
              f"in about {whole:.0f} s; abandoned {run['abandoned']}", file=sys.stderr)


def ramp(arguments):
    own, received = drive(arguments, [arguments.one], "--ramp", str(arguments.step), "--seconds", str(arguments.step_seconds))
    print("\n| streams | CPU ms per stream-second | machine idle | lag of waking | lag of an output | RSS MiB | threads |")
    print("|---|---|---|---|---|---|---|")
    for step in own["steps"]:
        print(f"| {step['streams']:,} | {step['cpu_ms_per_stream_second']:.3f} | {step['machine_idle_percent']:.0f} % "
              f"| {value('{:.0f} ms', step['schedule_lag_max_ms'])} | {step['lag_max_ms']:.0f} ms "
              f"| {step['rss_kb'] / 1024:.0f} | {step['threads']:,} |")
    print(f"\ncarried: {own['carried']:,} streams; what broke first: {own['broke_first']}")
    print(f"the sink used {received['cpu_seconds']:.1f} s of CPU", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("programs", pathlib.Path), ("streams", int), ("seconds", float), ("parts", str), ("source", str),
                       ("tls", int), ("step", int), ("step-seconds", float), ("one", str)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--many", nargs="*", default=[])
    arguments = parser.parse_args()
    began = time.monotonic()
    sets = {"one": ("one file", [arguments.one]), "many": (f"{len(arguments.many)} files", arguments.many)}
    runs = [(sets[part][0], window(arguments, sets[part][1])) for part in arguments.parts.split() if part in sets]
    if runs:
        table(arguments, runs)
    if "ramp" in arguments.parts.split():
        ramp(arguments)
    print(f"{time.monotonic() - began:.0f} s in all", file=sys.stderr)


main()
