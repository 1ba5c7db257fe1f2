//! Turns what `ffmpeg-sys-next` found out about the installed FFmpeg into cfgs for this crate, and hands the version on to
//! the crates that depend on this one (`DEP_FLOWCAST_AV_FFMPEG`).

use std::env;

/// Every FFmpeg release that changed an interface this crate uses, oldest first. The names are those of `ffmpeg-sys-next`.
const RELEASES: [&str; 8] = [
    "ffmpeg_5_1",
    "ffmpeg_6_0",
    "ffmpeg_6_1",
    "ffmpeg_7_0",
    "ffmpeg_7_1",
    "ffmpeg_8_0",
    "ffmpeg_8_1",
    "ffmpeg_9_0",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut newest = None;
    for release in RELEASES {
        println!("cargo::rustc-check-cfg=cfg({release})");
        // `links = "ffmpeg"` metadata: "true" if the headers are of this release or newer.
        if env::var(format!("DEP_FFMPEG_{}", release.to_uppercase())).is_ok_and(|found| found == "true") {
            println!("cargo::rustc-cfg={release}");
            newest = Some(release);
        }
    }
    let Some(newest) = newest else {
        println!("cargo::error=flowcast-av needs FFmpeg 5.1 or newer (libavcodec 59.37)");
        return;
    };
    let version = newest.trim_start_matches("ffmpeg_").replace('_', ".");
    println!("cargo::rustc-env=FLOWCAST_AV_FFMPEG={version}");
    println!("cargo::metadata=ffmpeg={version}");
}
