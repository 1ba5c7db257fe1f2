#!/usr/bin/env bash
# flowcast and `ffmpeg` side by side: CPU time and memory of N looped copies of one clip, pushed in real time.
#
#   benches/versus.sh [STREAMS] [SECONDS] [RUNS]        20 streams, 30 s, 3 runs of each, alternating
#
#   SINK=own|nginx      who receives: the rtmp_server example (default) or nginx with its RTMP module
#   SIDES=both|ffmpeg|flowcast
#   CLIP=FILE           another clip than the default: 720p, 2.65 Mbit/s in all, a keyframe every 2 s, AAC at 128 kbit/s
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

streams=${1:-20} seconds=${2:-30} runs=${3:-3}
sink=${SINK:-own} sides=${SIDES:-both}
cache=${TMPDIR:-/tmp}/flowcast-versus
clip=${CLIP:-$cache/720p-2650k.mp4}

if [ ! -e "$clip" ]; then
    mkdir -p "$cache"
    echo "making $clip" >&2
    # The noise gives the rate control something to spend its bits on.
    ffmpeg -nostdin -v error -y \
        -f lavfi -t 20 -i "testsrc2=size=1280x720:rate=30,noise=alls=12:allf=t" \
        -f lavfi -t 20 -i "sine=frequency=440:sample_rate=48000" \
        -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0 -bf 2 \
        -b:v 2522k -minrate 2522k -maxrate 2522k -bufsize 1261k -x264-params nal-hrd=cbr \
        -c:a aac -b:a 128k -ac 2 "$clip.part.mp4" </dev/null
    mv "$clip.part.mp4" "$clip"
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
if [ "$sides" != ffmpeg ] || [ "$sink" = own ]; then
    cargo build --locked --quiet --release --example loop_file --example rtmp_server
fi
exec python3 benches/versus.py --clip "$clip" --streams "$streams" --seconds "$seconds" --runs "$runs" \
    --sink "$sink" --sides "$sides" --programs "$target/release/examples"
