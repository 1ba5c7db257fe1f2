# shellcheck shell=bash
# Functions that build the test programs of the workspace, list them and run them side by side. To be sourced; needs jq.

# list_programs ARGUMENT...: builds with these arguments to `cargo test`, and prints name, path and folder of the package (where cargo
# would run it) of each test program, and `example`, path of each example, separated by tabs.
list_programs() {
    cargo test --locked --workspace --no-run --message-format=json-render-diagnostics "$@" |
        jq -r 'select(.reason == "compiler-artifact" and .executable != null)
            | if .target.kind[0] == "example" then select(.profile.test | not) | ["example", .executable]
              elif .profile.test and .target.kind[0] != "bench" then
                  [.target.name, .executable, (.manifest_path | sub("/[^/]*$"; ""))]
              else empty end
            | @tsv' | sort -u
}

# run_program FOLDER NAME PROGRAM PACKAGE: runs one, notes what it said in FOLDER/NAME.log, and its name, exit status and seconds in
# FOLDER/results. With `say` set, what it said is printed as a whole once it has ended.
run_program() {
    local folder=$1 name=$2 program=$3 package=$4 status=0 started=$SECONDS
    local log=$folder/$name.log
    # Programs of one name in two packages.
    [ ! -e "$log" ] || log=$folder/$name-${package##*/}.log
    (cd "$package" && CARGO_MANIFEST_DIR=$package exec "$program" </dev/null) >"$log" 2>&1 || status=$?
    echo "$name $status $((SECONDS - started))" >>"$folder/results"
    [ -z "${say:-}" ] ||
        flock "$folder" sh -c "echo; echo '     Running $name: $((SECONDS - started)) s, exit status $status'; cat '$log'"
}
export -f run_program

# run_programs FOLDER JOBS <LIST: runs those listed, so many at a time, in their order.
run_programs() {
    local folder=$1 jobs=$2
    : >"$folder/results"
    tr '\t' '\n' | xargs -d '\n' -n 3 -P "$jobs" bash -c 'run_program "$@"' run_program "$folder" || true
}

# failed_programs FOLDER: the names of those that failed.
failed_programs() { awk '$2 != 0 { print $1 }' "$1/results" | paste -sd ' '; }
