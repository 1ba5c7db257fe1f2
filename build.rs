//! Facts for the facade: which FFmpeg release it was compiled against, from the build script of `flowcast-av`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let release = std::env::var("DEP_FLOWCAST_AV_FFMPEG").unwrap_or_default();
    println!("cargo::rustc-env=FLOWCAST_FFMPEG={release}");
}
