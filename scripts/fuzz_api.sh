#!/usr/bin/env bash
# Has schemathesis make requests of the API's OpenAPI document, against a studio that runs: with its token, and without one. Nothing may be answered
# with a status of 500 or more, with something that the document does not say, or without a token where one is needed. A campaign by hand: about ten minutes.
#
#   scripts/fuzz_api.sh [EXAMPLES]     so many requests for each operation (default 25)
#
#   STUDIO=FILE    another build than the debug build of the example
#
# It has a network namespace of its own, and the studio runs as nobody in a temporary directory, since addresses and paths are made up, too; so it needs to be
# root. What never ends is left out: events, figures and media. That something is refused which the document permits is no finding: what a stream is made
# of has rules that no schema says. Answers to wrong tokens are delayed, so requests have long deadlines; who sends many is turned away (429), which is as good
# as 401 then.
#
# Exit status: 0, 1 (something was found), 3 (schemathesis cannot be had here).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

examples=${1:-25}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target/schemathesis
if [ ! -x "$tools/bin/schemathesis" ]; then
    python3 -m venv "$tools" >&2 && "$tools/bin/pip" install --quiet 'schemathesis>=4,<5' >&2 ||
        { echo "fuzz_api: schemathesis cannot be installed" >&2; exit 3; }
fi
studio=${STUDIO:-}
if [ -z "$studio" ]; then
    cargo build --quiet --locked --features state,schedule --example studio
    studio=$target/debug/examples/studio
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=r=48000 -t 20 -c:v libx264 -preset ultrafast -g 50 -c:a aac "$place/clip.mp4"
install -m 755 "$studio" "$place/studio"
cat >"$place/studio.toml" <<EOF
[http]
listen = "127.0.0.1:0"
data = "$place/data"
[server]
listen = "127.0.0.1:0"
[channels.rain]
source = { file = "$place/clip.mp4", looped = true }
outputs = [{ publish = "rain" }]
EOF
chown -R nobody "$place"

# The requests of answers.har that were let in although they should not have been: fails if there are any.
let_in() {
    jq -r '.log.entries[] | select(.response.status < 400) | "\(.request.method) \(.request.url) \(.response.status)"' answers.har |
        { ! grep -E '/(api/v1/|metrics)'; }
}

campaign() {
    local place=$1 tools=$2 examples=$3 status=0
    ip link set lo up
    cd "$place"
    for with in "its token" "no token"; do
        rm -rf data out
        setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups env HOME="$place" ./studio studio.toml >out 2>err &
        local studio=$!
        until grep -q '^token' out 2>/dev/null; do
            kill -0 $studio || { cat err >&2; return 2; }
            sleep 0.1
        done
        local address token header=()
        address=$(sed -n 's|^open \(.*\)/$|\1|p' out)
        token=$(sed -n 's/^token: //p' out)
        [ "$with" = "no token" ] || header=(-H "Authorization: Bearer $token")
        echo "==> with $with"
        HOME=$place "$tools/bin/schemathesis" run "$address/openapi.json" -u "$address" "${header[@]}" \
            --exclude-path-regex '(events|figures|live.flv)$|^/live/' --exclude-checks positive_data_acceptance,missing_required_header \
            --phases examples,coverage,fuzzing --max-examples "$examples" --workers 2 --request-timeout 60 \
            --continue-on-failure --generation-database none --suppress-health-check all --warnings off \
            --report har --report-har-path answers.har || status=1
        [ "$with" = "its token" ] || let_in || status=1
        kill -0 $studio || { echo "the studio has ended:" && tail -n 20 err && status=1; }
        ps -o rss=,nlwp= -p $studio | awk '{ printf "the studio: %d KB resident, %d threads\n", $1, $2 }'
        kill $studio
        wait $studio || true
    done
    return $status
}
export -f campaign let_in
unshare --net bash -euo pipefail -c 'campaign "$@"' campaign "$place" "$tools" "$examples"
