#!/usr/bin/env bash
# Installs what building flowcast needs, and nothing that is already there.
#
#   scripts/setup.sh           what `cargo build` needs: a C compiler, pkg-config, libclang, the libav headers
#   scripts/setup.sh --peers   also the programs the interop tests talk to (ffmpeg, nginx, GStreamer, ...)
#
# On Debian and Ubuntu it installs with apt, through sudo where it is not root. Elsewhere it names what is missing.
# Exit status: 0 everything is there, 1 something is missing and could not be installed.
set -euo pipefail

readonly RUST_WANTED=1.88
with_peers=no
for argument in "$@"; do
    case $argument in
        --peers) with_peers=yes ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            echo "setup: unknown argument: $argument (see --help)" >&2
            exit 2
            ;;
    esac
done

say() { echo "setup: $*" >&2; }

# Where rustup puts cargo and Debian puts nginx, in case the caller's PATH has neither.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin

have() { command -v "$1" >/dev/null 2>&1; }
have_module() { have pkg-config && pkg-config --exists "$1"; }
any_file() {
    local file
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

have_c_compiler() { { have cc || have gcc || have clang; } && { [ "$(uname -s)" != Linux ] || any_file /usr/include/stdio.h; }; }

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    any_file /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-*.so* /usr/lib/*/libclang.so* /usr/lib/*/libclang-[0-9]*.so* \
        /usr/lib/libclang.so* /usr/lib64/libclang.so* /usr/lib64/llvm*/lib*/libclang.so* \
        /opt/homebrew/opt/llvm/lib/libclang.dylib /usr/local/opt/llvm/lib/libclang.dylib \
        /Library/Developer/CommandLineTools/usr/lib/libclang.dylib
}

# clang's own headers (stddef.h, stdarg.h), which libclang does not bring along.
have_clang_headers() {
    have clang || any_file /usr/lib/clang/*/include/stddef.h /usr/lib/llvm-*/lib/clang/*/include/stddef.h
}

have_nginx_rtmp() {
    any_file /usr/lib/nginx/modules/ngx_rtmp_module.so /usr/lib*/nginx/modules/ngx_rtmp_module.so \
        /usr/share/nginx/modules/ngx_rtmp_module.so && return 0
    have nginx && nginx -V 2>&1 | grep -q rtmp
}

have_gst() { have gst-inspect-1.0 && gst-inspect-1.0 --exists "$1" >/dev/null 2>&1; }

have_gst_rtsp_server() {
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' >/dev/null 2>&1
}

# Debian's program of this name; Ubuntu's is a snap, which its package installs as well.
have_chromium() { have chromium; }

have_librtmp() { have_module librtmp; }
have_ca_bundle() {
    any_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem
}

missing=()  # Debian package names
want() {    # want PACKAGE CHECK...
    local package=$1
    shift
    "$@" || missing+=("$package")
}

find_missing() {
    missing=()
    want pkg-config have pkg-config
    want gcc have_c_compiler
    want libc6-dev any_file /usr/include/stdio.h /Library/Developer /opt/homebrew
    want clang have_clang_headers
    want libclang-dev have_libclang
    local module
    for module in avcodec avfilter avformat avutil swresample swscale; do
        want "lib$module-dev" have_module "lib$module"
    done
    want ca-certificates have_ca_bundle
    [ "$with_peers" = yes ] || return 0
    want ffmpeg have ffmpeg
    want nginx-light have nginx
    want libnginx-mod-rtmp have_nginx_rtmp
    want gstreamer1.0-tools have gst-launch-1.0
    want gstreamer1.0-plugins-base have_gst appsrc
    want gstreamer1.0-plugins-good have_gst flvmux
    want gstreamer1.0-plugins-bad have_gst rtmp2sink
    want gstreamer1.0-libav have_gst avdec_h264
    want rtmpdump have rtmpdump
    want librtmp-dev have_librtmp
    want srt-tools have srt-live-transmit
    want icecast2 have icecast2
    want gstreamer1.0-rtsp have_gst rtspsrc
    want gir1.2-gst-rtsp-server-1.0 have_gst_rtsp_server
    want python3-gi have_gst_rtsp_server
    want stunnel4 have stunnel
    want openssl have openssl
    want nftables have nft
    want iproute2 have tc
    want python3 have python3
    want procps have ps
    want chromium have_chromium    # plays HLS, with hls.js, and uses the page
    want npm have npm              # gets hls.js and axe-core, and what the page is made of
    want fonts-dejavu-core any_file /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf    # text of overlays
    want strace have strace    # shows which system calls reach a socket
    want jq have jq            # lists the test programs
    want redis-server have redis-server
    want libfaketime any_file /usr/lib/*/faketime/libfaketimeMT.so.1    # nodes with a date of their own
}

rust_is_missing() {
    if ! have cargo; then
        say "cargo is missing. Install Rust $RUST_WANTED or later:"
        say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
        return 0
    fi
    local version
    version=$(cargo --version | awk '{print $2}')
    if [ "$(printf '%s\n%s\n' "$RUST_WANTED" "$version" | sort -V | head -n 1)" != "$RUST_WANTED" ]; then
        say "cargo $version is too old, $RUST_WANTED or later is needed: rustup update stable (https://rustup.rs)"
        return 0
    fi
    return 1
}

apt_install() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! have sudo; then
            say "not root and no sudo. As root, run: apt-get install -y --no-install-recommends $*"
            return 1
        fi
        as_root=(sudo)
    fi
    # No package may start its service (nginx, stunnel): a policy of 101 says so to Debian's maintainer scripts.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod 755 $policy
        # shellcheck disable=SC2064 # the words are wanted as they are now
        trap "${as_root[*]} rm -f $policy" EXIT
    fi
    # sudo drops the environment, hence env.
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
        apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    local log
    log=$(mktemp)
    say "installing (this may take a minute): $*"
    # The lists may be absent (a fresh container) or stale (a package has moved on): then update once and try again.
    if ! "${apt[@]}" install -y -q --no-install-recommends "$@" </dev/null >"$log" 2>&1; then
        if ! { "${apt[@]}" update -q && "${apt[@]}" install -y -q --no-install-recommends "$@"; } \
            </dev/null >"$log" 2>&1; then
            tail -n 25 "$log" >&2
            rm -f "$log"
            say "apt could not install them"
            return 1
        fi
    fi
    rm -f "$log"
}

say_what_to_install() {
    say "missing, by their Debian names: $*"
    if have dnf; then
        say "Fedora (with RPM Fusion): dnf install gcc clang-devel pkgconf-pkg-config ffmpeg-devel"
        say "    for the peers: ffmpeg nginx nginx-mod-rtmp gstreamer1-plugins-{base,good,bad-free} gstreamer1-libav librtmp-devel rtmpdump stunnel srt icecast gstreamer1-rtsp-server python3-gobject openssl nftables iproute iproute-tc python3 strace redis libfaketime"
    elif have pacman; then
        say "Arch: pacman -S --needed base-devel clang pkgconf ffmpeg"
        say "    for the peers: nginx nginx-mod-rtmp gst-plugins-{base,good,bad} gst-libav rtmpdump stunnel srt icecast gst-rtsp-server python-gobject openssl nftables iproute2 python redis libfaketime"
    elif have apk; then
        say "Alpine: apk add build-base clang-dev pkgconf ffmpeg-dev"
        say "    for the peers: ffmpeg nginx nginx-mod-rtmp gstreamer-tools gst-plugins-{base,good,bad} gst-libav rtmpdump stunnel srt icecast gstreamer-rtsp-server python3-gobject openssl nftables iproute2 python3 strace redis libfaketime"
    elif have brew; then
        say "macOS: brew install pkgconf llvm ffmpeg    (the peers' tests are for Linux)"
    fi
}

find_missing
if [ ${#missing[@]} -gt 0 ] && have apt-get; then
    apt_install "${missing[@]}" || true
    find_missing
fi

failed=no
if [ ${#missing[@]} -gt 0 ]; then
    say_what_to_install "${missing[@]}"
    failed=yes
fi
if rust_is_missing; then
    failed=yes
fi
# 59.37 is FFmpeg 5.1.
if have_module libavcodec && ! pkg-config --atleast-version=59.37 libavcodec; then
    say "libavcodec $(pkg-config --modversion libavcodec) is too old: FFmpeg 5.1 or newer is needed (Debian 12, Ubuntu 24.04)"
    failed=yes
fi
[ "$failed" = no ]
