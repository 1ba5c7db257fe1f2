"""The table of start.sh: medians of the lines `startup` prints."""

import json
import statistics
import sys

cases = {}
for line in sys.stdin:
    said = json.loads(line)
    cases.setdefault((said["file"], said["what"], said["stream"], said["mode"]), []).append(said)
print("| file | stream | played | ms, median (largest) | CPU ms, median (largest) | runs |")
print("|---|---|---|---|---|---|")
for (file, what, stream, mode), runs in cases.items():
    name = f"number {stream}" if stream > 1 else what
    cells = [f"{statistics.median(run[key] for run in runs):.1f} ({max(run[key] for run in runs):.1f})" for key in ("ms", "cpu_ms")]
    print(f"| {file} | {name} | {mode} | {' | '.join(cells)} | {len(runs)} |")
