#!/usr/bin/env bash
# Runs cargo against the FFmpeg 7.1 that scripts/ffmpeg7.sh fetches, instead of the system's:
#
#   scripts/with_ffmpeg7.sh test -p flowcast-av
#
# What it builds is kept apart (target/ffmpeg7). FLOWCAST_DEBIAN13 overrides the folder with FFmpeg 7.1.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

directory=$(realpath -m "${FLOWCAST_DEBIAN13:-tests/peers/target/debian13}")
scripts/ffmpeg7.sh "$directory" >&2
loader=$(compgen -G "$directory/usr/lib/*/ld-linux-*.so.*" | head -n 1)
libraries=$(dirname "$loader")
triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')

# Its programs, too: the tests compare with them.
PATH=$directory/programs:$PATH
export PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$directory
# Its libraries want a newer libc than the system's may be: they meet it when the program is run, by their own loader.
export RUSTFLAGS="${RUSTFLAGS:-} -L $libraries -C link-arg=-Wl,--allow-shlib-undefined"
export "CARGO_TARGET_${triple}_RUNNER=$loader --library-path $libraries:$libraries/pulseaudio:$libraries/blas:$libraries/lapack"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/ffmpeg7
exec cargo "$@"
