#!/usr/bin/env bash
# Puts FFmpeg 7.1 of Debian 13 into a folder, beside the system's own: the peer of the tests of HEVC, AV1 and VP9 over Enhanced
# RTMP, which FFmpeg 5.1 of Debian 12 does not know, and what scripts/with_ffmpeg7.sh builds against. The packages are only
# fetched and unpacked, with apt and its keys, so it needs no root; a minute, 500 MB.
#
#   scripts/ffmpeg7.sh [DIRECTORY]   default tests/peers/target/debian13
#
# The tests look for `ffmpeg7` beside the programs of scripts/peers.sh (FLOWCAST_PEERS_BIN).
# FLOWCAST_DEBIAN_MIRROR overrides the mirror, which is else the one that apt uses.
# Exit status: 0 it is there, 3 the packages could not be had (no apt, no Debian archive within reach), 1 they do not work.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(ffmpeg libavcodec-dev libavfilter-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev)
directory=$(realpath -m "${1:-tests/peers/target/debian13}")
bin=${FLOWCAST_PEERS_BIN:-$PWD/tests/peers/target/bin}

cannot() {
    echo "ffmpeg7: $*" >&2
    exit 3
}

# fetch DIRECTORY: downloads the packages and all they depend on into DIRECTORY/cache/archives.
fetch() {
    local own=$1 mirror=${FLOWCAST_DEBIAN_MIRROR:-} keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e $keys ] || cannot "$keys is missing: install debian-archive-keyring"
    # shellcheck disable=SC2016 # apt fills it in
    [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
        'Component: main' 2>/dev/null | grep -v security | head -n 1) || true
    mkdir -p "$own"/{state/lists/partial,cache/archives/partial}
    # Nothing is installed in there, so whatever is needed is fetched.
    : >"$own/status"
    echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} trixie main" >"$own/sources.list"
    local apt=(apt-get -q -o Dir::State="$own/state" -o Dir::State::status="$own/status" -o Dir::Cache="$own/cache"
        -o Dir::Etc::sourcelist="$own/sources.list" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=
        -o Acquire::Retries=3 -o Acquire::Languages=none)
    "${apt[@]}" update && "${apt[@]}" install -y --download-only --no-install-recommends "${packages[@]}"
}

stamp=$directory/.packages
if [ "$(cat "$stamp" 2>/dev/null)" != "${packages[*]}" ]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || cannot "works with apt and dpkg only"
    own=$(mktemp -d)
    trap 'rm -rf "$own"' EXIT
    if ! fetch "$own" </dev/null >"$own/log" 2>&1; then
        tail -n 10 "$own/log" >&2
        cannot "Debian's archive could not be reached"
    fi
    rm -rf "$directory"
    # As in Debian since its twelfth release, whose packages do not all know it.
    mkdir -p "$directory"/usr/{bin,sbin,lib,lib64}
    for merged in bin sbin lib lib64; do ln -s "usr/$merged" "$directory/$merged"; done
    for package in "$own"/cache/archives/*.deb; do
        # Documentation and locales are most of the small files.
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$directory" --no-same-owner --keep-directory-symlink --exclude='./usr/share/doc/*' \
                --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*'
    done
    echo "${packages[*]}" >"$stamp"
fi

# By its own loader and libraries, not in a chroot: it sees the files of the tests and needs no root.
loader=$(compgen -G "$directory/usr/lib/*/ld-linux-*.so.*" | head -n 1)
libraries=$(dirname "$loader")
mkdir -p "$bin" "$directory/programs"
for program in ffmpeg ffprobe; do
    cat >"$directory/programs/$program" <<END
#!/bin/sh
exec "$loader" --library-path "$libraries:$libraries/pulseaudio:$libraries/blas:$libraries/lapack" \\
    "$directory/usr/bin/$program" "\$@"
END
    chmod 755 "$directory/programs/$program"
done
ln -sf "$directory/programs/ffmpeg" "$bin/ffmpeg7"
"$bin/ffmpeg7" -version | head -n 1
