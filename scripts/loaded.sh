#!/usr/bin/env bash
# The whole suite beside a load: every test program of the workspace, several at a time, on a machine that is kept busy.
#
#   scripts/loaded.sh                        five passes beside a load of 12
#   scripts/loaded.sh -n 1 -l 30 -j 5        one pass beside a load of 30, five programs at a time
#   scripts/loaded.sh -n 10 field reels      the test programs `field` and `reels`, ten times
#   scripts/loaded.sh -n 1 -l 0 -j 1         one pass alone
#   scripts/loaded.sh -k                     with the programs of the last run, not built again
#
# The programs are built once and put aside (target/loaded), so that what is built meanwhile does not change what is
# tested. Loops that do nothing make up what is missing to the load; each ends by itself after twenty seconds. Beside
# other passes or builds there are fewer of them, down to none.
#
# Each pass leaves target/loaded/<start>-<number>/: what each program said (<name>.log), and a line for each in `results`.
# At the end there is a line for each pass: the commit, the load (mean and greatest of the one-minute mean), and what
# failed. Doc tests are no programs and are not run. Leave the sources as they are meanwhile: two programs, `plan` and `docs`,
# read them. The peers are those of scripts/test.sh, which is to be run before; FLOWCAST_PEERS_BIN says where they are, if not
# in the checkout.
#
# Exit status: 0, 1 (something failed), 2 (wrong usage).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# shellcheck source=programs.sh
. scripts/programs.sh

root=$PWD
passes=5 load=12 jobs=4 keep=
while getopts n:l:j:k option; do
    case $option in
        n) passes=$OPTARG ;;
        l) load=$OPTARG ;;
        j) jobs=$OPTARG ;;
        k) keep=1 ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
names=("$@")

# In a folder beside the profiles': programs look for the examples, and for the target folder, from where they are.
aside=$(realpath -m "${CARGO_TARGET_DIR:-target}")/loaded
list=$aside/programs
export FLOWCAST_PEERS=required CARGO_TERM_COLOR=never
export FLOWCAST_PEERS_BIN=${FLOWCAST_PEERS_BIN:-$root/tests/peers/target/bin}
[ -e "$FLOWCAST_PEERS_BIN/ffmpeg7" ] || export FLOWCAST_FFMPEG7=${FLOWCAST_FFMPEG7:-unavailable}

# Builds, and lists the test programs as they are put aside.
build() {
    rm -rf "$aside/deps" "$aside/examples"
    mkdir -p "$aside/deps" "$aside/examples"
    list_programs >"$aside/built"
    git rev-parse --short HEAD >"$aside/head"
    # A link keeps what it was made of: the linker writes a new file.
    while IFS=$'\t' read -r name program package; do
        if [ "$name" = example ]; then
            ln -f "$program" "$aside/examples/"
        else
            ln -f "$program" "$aside/deps/"
            printf '%s\t%s\t%s\n' "$name" "$aside/deps/${program##*/}" "$package"
        fi
    done <"$aside/built" >"$list"
}

# Keeps the load near what is asked for, and notes it. The mean of a minute comes late, and what runs just now goes up and down:
# the greater of the two counts.
press() {
    local folder=$1 mean running missing
    # Not longer than the script, however that ends.
    while kill -0 $$ 2>/dev/null; do
        IFS=' /' read -r mean _ _ running _ </proc/loadavg
        echo "$mean" >>"$folder/load"
        missing=$(awk -v mean="$mean" -v running="$running" -v wanted="$load" \
            'BEGIN { print int(wanted - (mean > running ? mean : running)) }')
        for ((; missing > 0; missing--)); do
            timeout 20 sh -c 'while :; do :; done' &
        done
        sleep 20
    done
}

# The list, those that took longest first.
in_order() {
    awk -F '\t' -v durations="$aside/durations" '
        BEGIN { while ((getline line <durations) > 0) { split(line, part, " "); took[part[1]] = part[2] } }
        { print took[$1] + 0 "\t" $0 }' "$list" |
        sort -k1,1nr | cut -f2- | while IFS=$'\t' read -r name program package; do
        if [ ${#names[@]} = 0 ] || printf '%s\n' "${names[@]}" | grep -qxF -- "$name"; then
            printf '%s\t%s\t%s\n' "$name" "$program" "$package"
        fi
    done
}

presser=
trap '[ -z "$presser" ] || kill "$presser" 2>/dev/null' EXIT

pass() {
    local folder=$1
    mkdir -p "$folder"
    press "$folder" &
    presser=$!
    in_order | run_programs "$folder" "$jobs"
    # The longest first, the next time.
    cut -d ' ' -f 1,3 "$folder/results" >>"$aside/durations"
    kill "$presser"
    wait "$presser" 2>/dev/null || true
    presser=
    local failed
    failed=$(failed_programs "$folder")
    awk -v head="$(cat "$aside/head")" -v failed="${failed:-nothing}" -v programs="$(wc -l <"$folder/results")" \
        '{ sum += $1; if ($1 > most) most = $1 }
        END { printf "%s: load %.0f, at most %.0f; %d programs; failed: %s\n", head, sum / NR, most, programs, failed }' \
        "$folder/load" | tee "$folder/summary"
    [ -z "$failed" ]
}

mkdir -p "$aside"
touch "$aside/durations"
if [ -z "$keep" ] || [ ! -s "$list" ]; then build; fi
if [ "$(in_order | wc -l)" = 0 ]; then
    echo "loaded: no such test program; there are:" >&2
    cut -f1 "$list" | sort -u >&2
    exit 2
fi
status=0
started=$(date +%H%M%S)
for ((number = 1; number <= passes; number++)); do
    pass "$aside/$started-$number" || status=1
done
exit $status
