//! A crate outside of the workspace, with a source and an output of its own, streams to nginx.

use std::path::Path;
use std::process::Command;

use kit::{Need, Nginx, frame_hashes, need, packet_times};

/// Pictures it sends: three seconds.
const PICTURES: usize = 75;

#[test]
fn a_crate_outside_of_the_workspace_streams_to_nginx() {
    if !need(&[Need::Nginx, Need::Ffmpeg]) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let nginx = Nginx::start(&["live"]);
    // What is built already is used: it is the same flowcast.
    let target = std::env::current_exe().expect("this test has a path");
    let target = target.ancestors().nth(3).expect("it is in target/<profile>/deps");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("tests/outside/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .arg(nginx.url("live", "card"))
        .arg(PICTURES.to_string())
        .output()
        .expect("cargo, which built this test");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("counted {PICTURES} pictures, 2 keyframes")), "{said}");

    let recording = nginx.recording("live", "card");
    let frames = frame_hashes(&recording);
    assert_eq!(frames.len(), PICTURES, "all of them decode");
    // The bar moves: no picture is like the one before.
    assert!(frames.windows(2).all(|pair| pair[0] != pair[1]), "{frames:?}");
    let times = packet_times(&recording, "v");
    assert!(times.windows(2).all(|pair| (pair[1].dts - pair[0].dts - 40.0).abs() < 1.5), "{times:?}");
    assert!(packet_times(&recording, "a").len() > 130, "the silence is there, too");
}
