"""The measuring part of relay.sh, which says what it is for.

The publisher is `ffmpeg -re -c copy`. CPU time is that of the server with the players, read from outside at both ends of a window in which every
player is served; the sides take turns. How long the first player of the edge waits is from the start of its process to its first media.
"""

import argparse
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time

from proc import cpu_seconds

PATIENCE = 120.0
SETTLE = 3.0  # seconds after the last player has joined: what it was given to begin with is over


class Asked:
    """A program that answers each line with one JSON object, and ends with its input."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.process.stdout.readline().strip()

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class House:
    """An origin with a publisher, and an edge."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.origin = self.publisher = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.open()
        self.edge = Asked(arguments.programs / "fanout_server", "--origin", f"rtmp://{self.address}/live")

    def open(self):
        self.origin = Asked(self.arguments.programs / "fanout_server", "--listen", self.address)
        self.publisher = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", self.arguments.clip, "-c", "copy", "-f", "flv",
             f"rtmp://{self.address}/live/demo"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(3)

    def kill_origin(self):
        self.origin.process.send_signal(signal.SIGKILL)
        self.origin.process.wait()
        self.publisher.kill()
        self.publisher.wait()

    def end(self):
        self.publisher.kill()
        self.publisher.wait()
        self.edge.end()
        self.origin.end()


def players(arguments, address, count):
    crowd = Asked(arguments.programs / "players", address, "--count", str(count), "--round", str(arguments.round), "--play", "live/demo")
    if crowd.first != "live":
        sys.exit(f"relay: {count} players did not get on the air")
    return crowd


def window(arguments, server, crowd):
    """CPU milliseconds per player-second of `server`, and what the players saw."""
    time.sleep(SETTLE)
    crowd.ask()
    cpu, since = cpu_seconds(server.process.pid), time.monotonic()
    time.sleep(arguments.seconds)
    cpu, elapsed = cpu_seconds(server.process.pid) - cpu, time.monotonic() - since
    seen = crowd.ask()
    served = min(1.0, float(seen["kbps_median"]) / arguments.kbps)
    return cpu * 1e3 / elapsed / seen["players"] / served, seen


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("programs", pathlib.Path), ("clip", str), ("seconds", float), ("rounds", int), ("round", int), ("kills", int)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("players", type=int)
    arguments = parser.parse_args()
    facts = json.loads(subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format=size,duration", "-of", "json", arguments.clip], capture_output=True,
        check=True).stdout)["format"]
    arguments.kbps = int(facts["size"]) * 8 / 1000 / float(facts["duration"])

    cost, firsts, wrong = {"origin": [], "edge": []}, [], []
    print("| round | origin, CPU ms per player-second | edge | edge ÷ origin | players of the origin meanwhile | first media of the first player |")
    print("|---|---|---|---|---|---|")
    for number in range(arguments.rounds):
        house = House(arguments)
        try:
            crowd = players(arguments, house.address, arguments.players)
            own, seen = window(arguments, house.origin, crowd)
            wrong += [f"origin: {seen[what]} {what}" for what in ("ended", "disorder") if seen[what]]
            crowd.end()
            began = time.monotonic()
            first = players(arguments, house.edge.first, 1)
            firsts.append(time.monotonic() - began)
            crowd = players(arguments, house.edge.first, arguments.players)
            edge, seen = window(arguments, house.edge, crowd)
            wrong += [f"edge: {seen[what]} {what}" for what in ("ended", "disorder") if seen[what]]
            pulls = house.origin.ask()["players"]
            crowd.end()
            first.end()
        finally:
            house.end()
        cost["origin"].append(own)
        cost["edge"].append(edge)
        print(f"| {number + 1} | {own:.4f} | {edge:.4f} | {edge / own:.3f} | {pulls} | {firsts[-1] * 1e3:.0f} ms |", flush=True)
    if arguments.rounds:
        medians = {side: statistics.median(runs) for side, runs in cost.items()}
        print(f"| median | {medians['origin']:.4f} | {medians['edge']:.4f} | {medians['edge'] / medians['origin']:.3f} | | {statistics.median(firsts) * 1e3:.0f} ms |")
        print(f"\n{', '.join(wrong) or 'no player ended, and no time went back'}\n", flush=True)

    house = House(arguments)
    try:
        for number in range(arguments.kills):
            # Another crowd each time: players that only discard answer no pings, and would be let go after a minute.
            crowd = players(arguments, house.edge.first, arguments.players)
            time.sleep(SETTLE)
            crowd.ask()
            house.kill_origin()
            time.sleep(2)
            house.open()
            time.sleep(10)
            silence = crowd.ask()
            time.sleep(5)
            after = crowd.ask()
            edge = house.edge.ask()
            print(f"kill {number + 1}: {edge['players']} players stayed, {after['ended']} ended, longest silence {silence['silence_max_ms']} ms, "
                  f"then {after['kbps_min']} to {after['kbps_max']} kbit/s, {house.origin.ask()['accepted'] - 1} pull(s) at the new origin",
                  flush=True)
            crowd.end()
    finally:
        house.end()


main()
