#!/usr/bin/env bash
# Remakes what README.md shows of flowcast running: runs the examples in a terminal of tmux, and puts what stands there between the
# markers `<!-- picture:NAME -->` and `<!-- /picture:NAME -->`. Wants tmux and ffmpeg; takes about a minute after the build.
#
#   scripts/picture.sh              changes README.md
#   scripts/picture.sh --print      prints the pictures only
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

readonly WIDTH=118
print_only=no
case ${1:-} in
    '') ;;
    --print) print_only=yes ;;
    *)
        sed -n '2,6s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
for tool in tmux ffmpeg; do
    command -v "$tool" >/dev/null || {
        echo "picture: $tool is missing" >&2
        exit 1
    }
done

cargo build --locked --release --example loop_file --example rtmp_server
bin=${CARGO_TARGET_DIR:-$PWD/target}/release/examples
readme=$PWD/README.md
scratch=$(mktemp -d)
socket=flowcast-picture-$$
cleanup() {
    tmux -L "$socket" kill-server 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT

# Opens a terminal of so many lines, in the scratch directory, with the examples in its PATH and a short prompt.
terminal() {
    tmux -L "$socket" new-session -d -x "$WIDTH" -y "$2" -s "$1" -c "$scratch" \
        "env PATH='$bin:$PATH' TMPDIR='$scratch' PS1='\$ ' bash --norc --noprofile"
    wait_for "$1" '^\$'
}

type_in() { tmux -L "$socket" send-keys -t "$1" "$2" Enter; }

# What stands in a terminal, without the empty lines below it.
shot() { tmux -L "$socket" capture-pane -p -t "$1" | sed -e 's/[[:space:]]*$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; }

# Waits until a line of a terminal matches.
wait_for() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        shot "$1" | grep -qE -- "$2" && return 0
        sleep 0.1
    done
    echo "picture: nothing like $2 came:" >&2
    shot "$1" >&2
    exit 1
}

# Puts standard input between the markers of a picture.
place() {
    local text
    text=$(cat)
    if [ "$print_only" = yes ]; then
        printf -- '--- %s\n%s\n' "$1" "$text"
        return
    fi
    grep -q "<!-- picture:$1 -->" "$readme" && grep -q "<!-- /picture:$1 -->" "$readme" || {
        echo "picture: README.md has no place for $1" >&2
        exit 1
    }
    TEXT=$text awk -v name="$1" '
        $0 == "<!-- /picture:" name " -->" { hidden = 0 }
        !hidden { print }
        $0 == "<!-- picture:" name " -->" { hidden = 1; print "```text"; print ENVIRON["TEXT"]; print "```" }
    ' "$readme" >"$scratch/readme"
    cat "$scratch/readme" >"$readme"
}

ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=30:duration=8 -f lavfi -i sine=frequency=440:duration=8 \
    -c:v libx264 -preset veryfast -g 60 -b:v 2500k -pix_fmt yuv420p -c:a aac -b:a 128k "$scratch/rain.mp4" </dev/null

# The demo, to its end.
terminal demo 20
type_in demo 'loop_file'
wait_for demo 'the whole process'
wait_for demo '^\$ *$'
shot demo | sed -e '$d' | place demo

# A server in one terminal, a stream to it from another, both while they are on the air. The default port has to be free.
terminal server 14
type_in server 'rtmp_server --key studio=secret'
wait_for server '^listening on'
terminal stream 14
type_in stream 'loop_file rain.mp4 --to rtmp://127.0.0.1/live/secret --record archive.flv'
wait_for stream ' 9\.[0-9] s .* 1 loops?'
shot stream | place stream
shot server | place server
tmux -L "$socket" send-keys -t stream C-c
wait_for stream '^\$ *$'
tmux -L "$socket" send-keys -t server C-c
wait_for server '^\$ *$'
