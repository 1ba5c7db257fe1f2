# What the measuring scripts share; sourced, not run.

PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
# shellcheck disable=SC2034 # used by those who source this
cache=${TMPDIR:-/tmp}/flowcast-versus
target=${CARGO_TARGET_DIR:-$PWD/target}

# make_clip FILE SIZE KBPS [SEED]: 20 s of constant bitrate, a keyframe every 2 s, two B-frames, AAC at 128 kbit/s in it.
make_clip() {
    local file=$1 size=$2 video=$(($3 - 128)) seed=${4:-1}
    [ ! -e "$file" ] || return 0
    mkdir -p "$(dirname "$file")"
    echo "making $file" >&2
    # The noise gives the rate control something to spend its bits on.
    ffmpeg -nostdin -v error -y \
        -f lavfi -t 20 -i "testsrc2=size=$size:rate=30,noise=alls=12:allf=t:all_seed=$seed" \
        -f lavfi -t 20 -i "sine=frequency=$((430 + seed * 10)):sample_rate=48000" \
        -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0 -bf 2 \
        -b:v "${video}k" -minrate "${video}k" -maxrate "${video}k" -bufsize "$((video / 2))k" -x264-params nal-hrd=cbr \
        -c:a aac -b:a 128k -ac 2 "$file.part.mp4" </dev/null
    mv "$file.part.mp4" "$file"
}

# Builds loop_file, capacity and the programs of benches/tools, all with link-time optimisation.
build_programs() {
    cargo build --locked --quiet --profile dist -p flowcast -p flowcast-bench --example loop_file --example capacity --bins
}
