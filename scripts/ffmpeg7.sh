#!/usr/bin/env bash
# Puts FFmpeg 7.1 of Debian 13 into a folder, beside the system's own, for the tests of HEVC, AV1 and VP9 over Enhanced RTMP: FFmpeg
# 5.1 of Debian 12 does not know those. Takes a minute, 900 MB, root, debootstrap and a Debian mirror.
#
#   scripts/ffmpeg7.sh [DIRECTORY]   default tests/peers/target/debian13
#
# The tests look for `ffmpeg7` beside the programs of scripts/peers.sh (FLOWCAST_PEERS_BIN); without it they are skipped.
# FLOWCAST_DEBIAN_MIRROR overrides the mirror.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$(realpath -m "${1:-tests/peers/target/debian13}")
bin=${FLOWCAST_PEERS_BIN:-$PWD/tests/peers/target/bin}
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
    echo "ffmpeg7: has to run as root, with debootstrap installed" >&2
    exit 1
fi
if [ ! -x "$directory/usr/bin/ffmpeg" ]; then
    [ -e "$directory/etc/debian_version" ] ||
        debootstrap --variant=minbase trixie "$directory" "${FLOWCAST_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >&2
    chroot "$directory" apt-get install -y -q --no-install-recommends ffmpeg >&2
    chroot "$directory" apt-get clean
fi

# By its own loader and libraries, not in a chroot: it sees the files of the tests and needs no root.
loader=$(chroot "$directory" readlink -f /lib64/ld-linux-x86-64.so.2 2>/dev/null || true)
[ -n "$loader" ] || loader=$(chroot "$directory" sh -c 'readlink -f /lib/ld-linux-*.so.*')
libraries=$directory$(dirname "$loader")
mkdir -p "$bin"
cat >"$bin/ffmpeg7" <<END
#!/bin/sh
exec "$directory$loader" --library-path "$libraries:$libraries/pulseaudio:$libraries/blas:$libraries/lapack" \\
    "$directory/usr/bin/ffmpeg" "\$@"
END
chmod 755 "$bin/ffmpeg7"
"$bin/ffmpeg7" -version | head -n 1
