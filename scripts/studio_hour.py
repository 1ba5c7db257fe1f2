#!/usr/bin/env python3
"""An hour of mixed use of the example `studio`, under load and with faults: nothing may be lost that it said was done. A campaign by hand.

    scripts/studio_hour.py [--minutes 60] [--seed 1] [--studio FILE]

Somebody starts and stops streams, adds and removes outputs, edits playlists, issues and revokes keys, and makes schedules, as the page does;
others publish with those keys, play, and listen to figures and events. Meanwhile the program is killed and started again, held for seconds, the
server that it pushes to is killed, its disk is full, and files are replaced. After each start, all that was answered has to be there. What
was not answered, because the program was killed, may be there or not; so may be what was answered with `Flowcast-Unsaved`.

Needs to be root, for a small disk of its own, and ffmpeg. Exit status: 0, 1 (something was lost).
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

PATIENCE = 120
MOST = {"streams": 10, "keys": 6, "schedules": 6, "outputs": 4, "items": 8}


class Process:
    """A studio: started, asked, killed."""

    def __init__(self, program, directory, name, disk):
        self.program, self.directory, self.data = program, directory, disk
        self.file = directory / f"{name}.toml"
        self.log = directory / f"{name}.log"
        self.rtmp = None

    def start(self):
        # The same port each time, once there is one: publishers and pushes come back.
        listen = self.rtmp or "127.0.0.1:0"
        self.file.write_text(f'[http]\nlisten = "127.0.0.1:0"\ndata = "{self.data}"\n[server]\nlisten = "{listen}"\n')
        self.out = open(self.log, "w+")
        self.process = subprocess.Popen([self.program, self.file], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out)
        self.rtmp = self.said(r"listening on rtmp://(\S+)/live")
        self.url = self.said(r"open (http://\S+)/")
        self.said(r"started: ")
        self.token = (self.data / "token").read_text().strip()

    def said(self, pattern):
        until = time.monotonic() + PATIENCE
        while True:
            found = re.findall(pattern, self.log.read_text())
            if found:
                return found[0]
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"studio did not say {pattern}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def open(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return urllib.request.urlopen(urllib.request.Request(self.url + path, method=method, data=data, headers=headers), timeout=60)

    def get(self, path):
        with self.open("GET", "/api/v1/" + path) as answer:
            return json.load(answer)


class Unanswered(Exception):
    """The program went away, or did not say that it is saved."""


class Use:
    """What somebody did, as far as it was answered."""

    def __init__(self, studio, peer, clips, place, chance):
        self.studio, self.peer, self.clips, self.place, self.chance = studio, peer, clips, place, chance
        self.streams, self.keys, self.schedules = {}, {}, set()
        self.unknown, self.unsaved, self.orphans = set(), set(), set()
        self.counts, self.made, self.lost = Counter(), 0, []

    def name(self, of):
        self.made += 1
        return f"{of}{self.made}"

    def change(self, about, method, path, body=None):
        """Does it; `about` is what it changes."""
        try:
            with self.studio.open(method, "/api/v1/" + path, body) as answer:
                if why := answer.headers.get("Flowcast-Unsaved"):
                    self.counts["answered as unsaved"] += 1
                    self.unsaved.add(about)
                    if "full" not in why and "space" not in why and "still" not in why:
                        self.lost.append(f"unsaved without need: {why}")
                else:
                    # One that is saved has saved all that was done before it.
                    self.unsaved.clear()
                return json.load(answer)
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")
            if error.code >= 500 and error.code != 503 and error.code != 507:
                self.lost.append(f"{method} {path}: {error.code} {detail}")
            self.counts[f"answered with {error.code}"] += 1
            return None
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.unknown.add(about)
            raise Unanswered from error

    def number(self, label):
        found = [of["id"] for of in self.studio.get("streams?limit=1000")["streams"] if of["label"] == label]
        return found[0] if found else None

    def items(self, label):
        return self.studio.get(f"streams/{self.number(label)}/playlist")["items"]

    def outputs(self, label):
        listed = self.studio.get(f"streams/{self.number(label)}/outputs")["outputs"]
        # Players, and what is made for those who ask for HLS, come and go by themselves.
        return {of["label"] or of["name"]: of["id"] for of in listed if not of["removed"] and of["transport"] not in ("player", "hls")}

    def act(self):
        """One thing that somebody does."""
        acts = [self.start, self.stop, self.add_output, self.add_output, self.remove_output, self.add_item, self.move_item, self.remove_item,
                self.issue, self.revoke, self.schedule, self.cancel, self.look]
        act = self.chance.choice(acts)
        try:
            if act():
                self.counts[act.__name__] += 1
        except Unanswered:
            self.counts["unanswered"] += 1
        except (OSError, ValueError, TypeError, http.client.HTTPException):
            # Looked at while the program went away.
            self.counts["not looked at"] += 1

    def start(self):
        if len(self.streams) >= MOST["streams"]:
            return False
        label, is_list = self.name("stream"), self.chance.random() < 0.5
        files = [str(self.chance.choice(self.clips)) for _ in range(self.chance.randint(1, 3))]
        source = {"playlist": files} if is_list else {"file": files[0], "looped": True}
        self.streams[label] = {"list": files if is_list else None, "outputs": {label}}
        if self.change(label, "POST", "streams", {"label": label, "source": source, "outputs": [{"publish": label}]}) is None:
            del self.streams[label]
        return True

    def stop(self):
        if not self.streams or self.chance.random() < 0.5:
            return False
        label = self.chance.choice(list(self.streams))
        number = self.number(label)
        kept = self.streams.pop(label)
        if self.change(label, "DELETE", f"streams/{number}") is None:
            self.streams[label] = kept
        return True

    def add_output(self):
        choices = [label for label, of in self.streams.items() if len(of["outputs"]) < MOST["outputs"]]
        if not choices:
            return False
        label = self.chance.choice(choices)
        number, name = self.number(label), self.name("out")
        output = self.chance.choice([
            {"publish": name}, {"record": str(self.place / f"{name}.mp4"), "existing": "number", "label": name},
            {"url": f"rtmp://{self.peer.rtmp}/live/{self.peer_key}", "label": name}])
        if self.change(label, "POST", f"streams/{number}/outputs", output) is not None:
            self.streams[label]["outputs"].add(name)
        return True

    def remove_output(self):
        label = self.chance.choice(list(self.streams) or [None])
        if label is None or len(self.streams[label]["outputs"]) < 2:
            return False
        number, name = self.number(label), self.chance.choice(sorted(self.streams[label]["outputs"]))
        if self.change(label, "DELETE", f"streams/{number}/outputs/{self.outputs(label)[name]}") is not None:
            self.streams[label]["outputs"].discard(name)
        return True

    def list_of_one(self):
        lists = [label for label, of in self.streams.items() if of["list"] is not None]
        return self.chance.choice(lists) if lists else None

    def add_item(self):
        label = self.list_of_one()
        if label is None or len(self.streams[label]["list"]) >= MOST["items"]:
            return False
        file = str(self.chance.choice(self.clips))
        at = self.chance.randint(0, len(self.streams[label]["list"]))
        if self.change(label, "POST", f"streams/{self.number(label)}/playlist/items", {"path": file, "position": at}) is not None:
            self.streams[label]["list"].insert(at, file)
        return True

    def move_item(self):
        label = self.list_of_one()
        if label is None:
            return False
        items = self.items(label)
        item, to = self.chance.randrange(len(items)), self.chance.randrange(len(items))
        if self.change(label, "PATCH", f"streams/{self.number(label)}/playlist/items/{items[item]['id']}", {"position": to}) is not None:
            files = self.streams[label]["list"]
            files.insert(to, files.pop(item))
        return True

    def remove_item(self):
        label = self.list_of_one()
        if label is None or len(self.streams[label]["list"]) < 2:
            return False
        items = self.items(label)
        item = self.chance.randrange(len(items))
        if self.change(label, "DELETE", f"streams/{self.number(label)}/playlist/items/{items[item]['id']}") is not None:
            self.streams[label]["list"].pop(item)
        return True

    def issue(self):
        if len(self.keys) >= MOST["keys"]:
            return False
        name = self.name("key")
        issued = self.change(name, "POST", "keys", {"name": name})
        if issued is not None:
            self.keys[name] = issued["key"]
        return True

    def revoke(self):
        if not self.keys or self.chance.random() < 0.5:
            return False
        name = self.chance.choice(list(self.keys))
        if self.change(name, "DELETE", f"keys/{name}") is not None:
            del self.keys[name]
        return True

    def schedule(self):
        if len(self.schedules) >= MOST["schedules"]:
            return False
        label = self.name("night")
        stream = {"label": label, "source": {"file": str(self.clips[0]), "looped": True}, "without_outputs": True}
        # Not today.
        day = time.strftime("%a", time.gmtime(time.time() + 3 * 86400)).lower()
        when = {"zone": "UTC", "windows": [{"days": [day], "from": "03:00", "to": "03:30"}]}
        if self.change(label, "POST", "schedules", {"stream": stream, "when": when}) is not None:
            self.schedules.add(label)
        return True

    def cancel(self):
        if not self.schedules or self.chance.random() < 0.5:
            return False
        label = self.chance.choice(sorted(self.schedules))
        numbers = [of["id"] for of in self.studio.get("schedules")["schedules"] if of["label"] == label]
        if numbers and self.change(label, "DELETE", f"schedules/{numbers[0]}") is not None:
            self.schedules.discard(label)
        return True

    def look(self):
        for path in ("streams?limit=1000", "keys", "schedules", "recordings", "reels", "admission", "snapshot"):
            self.studio.get(path)
        return True

    def check(self, when):
        """All that was answered is there, and nothing that was taken away is."""
        free = self.unknown | self.unsaved
        until = time.monotonic() + PATIENCE
        while True:
            there = {of["label"]: of for of in self.studio.get("streams?limit=1000")["streams"] if (of["label"] or "").startswith("stream")}
            missing = [label for label in self.streams if label not in free and label not in there]
            if not missing or time.monotonic() > until:
                break
            # They are started one after the other.
            time.sleep(0.2)
        wrong = [f"stream {label}" for label in missing]
        wrong += [f"stream {label} again" for label in there if label not in self.streams and label not in free]
        for label in list(there):
            of = self.streams.setdefault(label, {"list": None, "outputs": set()}) if label in free else self.streams.get(label)
            if of is None:
                continue
            outputs = set(self.outputs(label))
            files = [item["path"] for item in self.items(label)] if of["list"] is not None or label in free and self.has_list(label) else None
            if label not in free and (outputs != of["outputs"] or files != of["list"]):
                wrong.append(f"{label}: {sorted(outputs)}, {files} in place of {sorted(of['outputs'])}, {of['list']}")
            of["outputs"], of["list"] = outputs, files
        for label in [label for label in self.streams if label not in there]:
            del self.streams[label]
        for what, mine, path, field in [("key", self.keys, "keys", "name"), ("schedule", self.schedules, "schedules", "label")]:
            names = {of[field] for of in self.studio.get(path)[path]} - self.orphans
            wrong += [f"{what} {name}" for name in set(mine) ^ names if name not in free]
            for name in set(mine) - names:
                mine.pop(name) if isinstance(mine, dict) else mine.discard(name)
            # A key whose answer was lost is of no use to anybody, and stays.
            (self.orphans if isinstance(mine, dict) else mine).update(names - set(mine))
        self.lost += [f"{when}: {of}" for of in wrong]
        self.unknown.clear()
        self.unsaved.clear()
        self.counts["checks"] += 1

    def has_list(self, label):
        try:
            self.items(label)
            return True
        except urllib.error.HTTPError:
            return False


def listen(use, stop):
    """Somebody who has the page open, or plays, and comes back when it is gone."""
    chance = random.Random(threading.get_ident())
    while not stop.is_set():
        try:
            path = chance.choice(["/api/v1/events?history=50", "/api/v1/figures", "flv", "flv", "hls"])
            if path in ("flv", "hls"):
                label = chance.choice(list(use.streams) or ["nothing"])
                path = f"/live/{label}.flv" if path == "flv" else f"/live/{label}/index.m3u8"
            until = time.monotonic() + chance.uniform(1, 20)
            with use.studio.open("GET", path) as answer:
                while time.monotonic() < until and answer.read(1 << 14):
                    pass
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            stop.wait(0.5)


def publish(use, clip, stop):
    """Somebody who publishes with a key that was issued."""
    while not stop.is_set():
        keys = list(use.keys.values())
        if not keys:
            stop.wait(1)
            continue
        command = ["ffmpeg", "-nostdin", "-v", "quiet", "-re", "-stream_loop", "-1", "-t", "20", "-i", clip, "-c", "copy", "-f", "flv",
                   f"rtmp://{use.studio.rtmp}/live/{random.choice(keys)}"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while process.poll() is None and not stop.wait(0.5):
            pass
        process.terminate()
        process.wait()


def faults(use, disk, clips):
    """One fault: what it is, and how it is done."""
    studio, peer = use.studio, use.peer

    def killed():
        # Somebody may be waiting for an answer just then.
        studio.kill()
        studio.start()
        use.check("killed")

    def held():
        studio.process.send_signal(signal.SIGSTOP)
        time.sleep(use.chance.uniform(1, 5))
        studio.process.send_signal(signal.SIGCONT)

    def server_lost():
        peer.kill()
        time.sleep(use.chance.uniform(0, 5))
        peer.start()

    def disk_full():
        filler = disk / "filler"
        try:
            with open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            pass
        for _ in range(5):
            use.act()
        if use.chance.random() < 0.5:
            studio.kill()
        filler.unlink()
        if studio.process.poll() is not None:
            studio.start()
            use.check("killed with a full disk")

    def replaced():
        one, other = use.chance.sample(clips, 2)
        new = one.with_suffix(".new")
        shutil.copy(other, new)
        new.rename(one)

    return use.chance.choice([killed, killed, killed, held, server_lost, disk_full, replaced])


def campaign(options, directory):
    clips = []
    for number in range(4):
        clips.append(directory / f"clip{number}.mp4")
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={4 + 3 * number}", "-f", "lavfi", "-i",
                        f"sine=r=48000:f={400 + 50 * number}:d={4 + 3 * number}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac",
                        clips[-1]], check=True)
    disk = directory / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    stop = threading.Event()
    try:
        recordings = directory / "recordings"
        recordings.mkdir()
        peer = Process(options.studio, directory, "peer", directory / "peer-data")
        studio = Process(options.studio, directory, "studio", disk / "data")
        # Reels would not have room beside a disk that is made full.
        (disk / "data").mkdir()
        (directory / "reels").mkdir()
        (disk / "data" / "reels").symlink_to(directory / "reels")
        peer.start()
        studio.start()
        use = Use(studio, peer, clips, recordings, random.Random(options.seed))
        with peer.open("POST", "/api/v1/keys", {"name": "everything"}) as answer:
            use.peer_key = json.load(answer)["key"]
        threads = [threading.Thread(target=listen, args=(use, stop), daemon=True) for _ in range(12)]
        threads += [threading.Thread(target=publish, args=(use, clips[0], stop), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        end, next_fault = time.monotonic() + options.minutes * 60, time.monotonic() + 20
        while time.monotonic() < end and not use.lost:
            if time.monotonic() > next_fault:
                fault = faults(use, disk, clips)
                if fault.__name__ == "killed":
                    # While something is being done.
                    acts = threading.Thread(target=lambda: [use.act() for _ in range(3)])
                    acts.start()
                    time.sleep(use.chance.uniform(0, 0.5))
                    studio.kill()
                    acts.join()
                fault()
                use.counts[f"fault: {fault.__name__}"] += 1
                next_fault = time.monotonic() + use.chance.uniform(5, 30)
            use.act()
            time.sleep(use.chance.uniform(0, 0.5))
            for old in sorted(recordings.iterdir(), key=os.path.getmtime)[:-50]:
                old.unlink()
        studio.kill()
        studio.start()
        use.check("at the end")
        stop.set()
        studio.process.terminate()
        peer.process.terminate()
        status = studio.process.wait(PATIENCE)
        if status != 0:
            use.lost.append(f"it ended with {status}")
        peer.process.wait(PATIENCE)
        print(json.dumps({"minutes": options.minutes, "seed": options.seed, "done": dict(sorted(use.counts.items())), "lost": use.lost}, indent=2))
        if use.lost:
            print(studio.log.read_text()[-3000:], file=sys.stderr)
        return 1 if use.lost else 0
    finally:
        stop.set()
        for process in (studio, peer):
            if process.process.poll() is None:
                process.kill()
        time.sleep(1)
        subprocess.run(["umount", disk], check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--studio", type=pathlib.Path)
    options = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    if options.studio is None:
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "--features", "state,schedule", "--example", "studio"], cwd=root, check=True)
        options.studio = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/examples/studio"
    with tempfile.TemporaryDirectory(prefix="flowcast-hour-", ignore_cleanup_errors=True) as directory:
        sys.exit(campaign(options, pathlib.Path(directory)))


main()
