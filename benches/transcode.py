"""The measuring part of transcode.sh and transcoded_loop.sh, which say what it is for.

CPU time is that of whole processes, as the kernel counts it when they end; resident memory is read from /proc while they run.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

KBPS = 2500
DAY = 24 * 3600


def spent(command, directory):
    """CPU seconds of a process, and what it printed."""
    with open(directory / "out", "w") as out, open(directory / "err", "w") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"transcode: {command[0]} failed:\n{(directory / 'err').read_text()}")
    return used.ru_utime + used.ru_stime, (directory / "out").read_text()


def ffmpeg(clip, preset, output, *input_options):
    """The program with the settings of `ours`: one thread for everything, a constant rate with a buffer of a second."""
    tune = ["-tune", "zerolatency", "-profile:v", "baseline"]
    return ["ffmpeg", "-nostdin", "-v", "error", "-y", *input_options, "-threads", "1", "-i", clip, "-map", "0:v:0", "-map", "0:a:0",
            "-filter_threads", "1", "-c:v", "libx264", "-preset", preset, *tune, "-threads", "1", "-pix_fmt", "yuv420p",
            "-b:v", f"{KBPS}k", "-maxrate", f"{KBPS}k", "-bufsize", f"{KBPS}k", "-g", "60", "-bf", "0", "-forced-idr", "1",
            "-x264-params", "scenecut=0:open-gop=0:keyint=60:min-keyint=60", "-c:a", "aac", "-aac_coder", "fast", "-b:a", "96k", "-ac", "2",
            "-f", "flv", output]


def ours(program, what, clip, directory, preset, *options):
    """The same of flowcast: the profile `ultra` with another preset and rate."""
    return [program, what, clip, str(directory), "--profile", "ultra", "--preset", preset, "--kbps", str(KBPS), "--vbv", str(KBPS),
            *options]


def x264_options(path):
    """What x264 wrote of its settings into a file."""
    found = re.search(rb" - options: ([ -~]+)", pathlib.Path(path).read_bytes())
    return found.group(1).decode() if found else None


def frames(clip):
    text = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries",
                           "stream=nb_read_packets", "-of", "csv=p=0", clip], capture_output=True, text=True, check=True).stdout
    return int(text.strip().strip(","))


def cpu(arguments, directory, preset):
    count = frames(arguments.clip)
    ratios, mine, theirs = [], [], []
    for pair in range(arguments.pairs):
        reels = directory / f"reels-{preset}-{pair}"
        flv = str(directory / "theirs.flv")

        def own():
            return spent(ours(arguments.program, "once", arguments.clip, reels, preset), directory)[0]

        def other():
            return spent(ffmpeg(arguments.clip, preset, flv), directory)[0]

        # Who is first alternates as well.
        a, b = (own(), other()) if pair % 2 == 0 else reversed((other(), own()))
        settings = [x264_options(path) for path in (next(reels.glob("*.flv")), flv)]
        if settings[0] != settings[1]:
            sys.exit(f"transcode: settings differ:\n{settings[0]}\n{settings[1]}")
        ratios.append(a / b)
        mine.append(a)
        theirs.append(b)
        print(f"{preset} pair {pair + 1}: {a * 1000 / count:.3f} and {b * 1000 / count:.3f} ms a picture, {a / b:.3f}", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"{preset}: flowcast {statistics.median(mine) * 1000 / count:.3f} ms a picture, ffmpeg "
          f"{statistics.median(theirs) * 1000 / count:.3f}; median ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")


def instructions(arguments, directory):
    """The same counted by callgrind, on the first six seconds: a number that a busy machine does not change."""
    clip, counted = str(directory / "short.mp4"), str(directory / "counted")
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", arguments.clip, "-t", "6", "-c", "copy", clip], check=True)
    callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}"]

    def count(command):
        spent(callgrind + command, directory)
        return int(re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(counted).read_text(), re.M).group(1))

    for preset in arguments.presets.split():
        mine = count(ours(arguments.program, "once", clip, directory / f"counted-{preset}", preset))
        theirs = count(ffmpeg(clip, preset, str(directory / "theirs.flv")))
        print(f"{preset}: {mine / 1e9:.2f} and {theirs / 1e9:.2f} thousand million instructions, {mine / theirs:.3f}", flush=True)


def memory(arguments, directory):
    """Resident memory of streams that are encoded as they play."""
    few, many = 1, 5
    found = {}
    for streams in (few, many):
        command = ours(arguments.program, "live", arguments.clip, directory, "ultrafast", "--streams", str(streams), "--seconds", "6")
        found[streams] = json.loads(spent(command, directory)[1])
        print(f"flowcast, {streams} streams: {found[streams]}", flush=True)
    each = (found[many]["rss_kb"] - found[few]["rss_kb"]) / (many - few)
    flv = str(directory / "theirs.flv")
    process = subprocess.Popen(ffmpeg(arguments.clip, "ultrafast", flv, "-re"), stdin=subprocess.DEVNULL)
    time.sleep(8)
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    theirs = int(re.search(r"^VmRSS:\s+(\d+)", status, re.M).group(1))
    process.terminate()
    process.wait()
    print(f"memory: {each / 1000:.1f} MB for one more stream, {found[few]['rss_kb'] / 1000:.1f} MB with the first; an ffmpeg process "
          f"{theirs / 1000:.1f} MB: {each / theirs:.2f} of it")


def sound(arguments, directory):
    """Video copied and sound encoded, beside encoding both, as fast as it goes: the clip's picture, with real sound as MP3 if there is some
    (what tones cost says little), else with its own."""
    clip = str(directory / "mp3.mkv")
    media = pathlib.Path(os.environ.get("FLOWCAST_TEST_MEDIA", "/nonexistent")) / "bigbuckbunny.mp4"
    real = ["-stream_loop", "-1", "-i", str(media), "-map", "0:v", "-map", "1:a", "-shortest"] if media.exists() else []
    print(f"the sound of {media if real else arguments.clip}", flush=True)
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", arguments.clip, *real, "-c:v", "copy", "-c:a", "libmp3lame", "-ac", "2",
                    "-ar", "48000", clip], check=True, stdin=subprocess.DEVNULL)
    for preset in arguments.presets.split():
        ratios = []
        for pair in range(arguments.pairs):
            reels = [directory / f"{what}-{preset}-{pair}" for what in ("sound", "both")]
            one, _ = spent(ours(arguments.program, "once", clip, reels[0], preset, "--auto"), directory)
            both, _ = spent(ours(arguments.program, "once", clip, reels[1], preset), directory)
            if x264_options(next(reels[0].glob("*.flv"))) != x264_options(clip):
                sys.exit("transcode: the picture was not copied")
            ratios.append(one / both)
            print(f"{preset} sound pair {pair + 1}: {one:.3f} s and {both:.3f} s, {one / both:.3f}", flush=True)
        print(f"{preset}: encoding the sound alone costs {statistics.median(ratios):.3f} of encoding both ({min(ratios):.3f} to "
              f"{max(ratios):.3f})")


def loop(arguments, directory):
    command = ours(arguments.program, "laps", arguments.clip, directory / "laps", "ultrafast", "--laps", str(arguments.laps))
    laps = [json.loads(line) for line in spent(command, directory)[1].splitlines()]
    for lap in laps:
        print(lap)
    length = (laps[-1]["ends_at_ms"] - laps[0]["ends_at_ms"]) / (len(laps) - 1) / 1000
    live = ours(arguments.program, "live", arguments.clip, directory, "ultrafast", "--seconds", str(2 * round(length)))
    always = json.loads(spent(live, directory)[1])["cpu_ms_per_second"]
    first = laps[0]["cpu_ms"] / length
    later = statistics.median(lap["cpu_ms"] for lap in laps[1:]) / length
    print(f"loop: the first lap {first:.2f} ms of CPU a second of it, later laps {later:.3f}; encoding every lap {always:.2f}")
    share = arguments.length / DAY
    day = first * share + later * (1 - share)
    print(f"computed from that: over 24 h of a file of {arguments.length:.0f} s {day:.3f} ms a second, {day / always:.2%} of "
          f"encoding every lap")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clip", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--parts", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--presets", default="ultrafast veryfast")
    parser.add_argument("--laps", type=int, default=4)
    parser.add_argument("--length", type=float, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowcast-transcode-") as directory:
        directory = pathlib.Path(directory)
        for part in arguments.parts.split():
            if part == "cpu":
                for preset in arguments.presets.split():
                    cpu(arguments, directory, preset)
            else:
                {"instructions": instructions, "memory": memory, "sound": sound, "loop": loop}[part](arguments, directory)


main()
