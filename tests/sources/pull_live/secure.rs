//! Live inputs by TLS: HLS by HTTPS, and RTSPS, from servers with a certificate of an authority of the test.

use std::time::Duration;

use flowcast::Source;
use flowcast::config::TlsRoots;
use flowcast::pull::Pull;
use kit::rig::{engine, quickly};
use kit::{Identity, Need, TlsProxy, Web, directory, frame_hashes, make, need, text};

use super::{Rtsp, clip, mkv, play_once, wait_ended};
use crate::assert_one_stream;

/// A stream of this address, whose server's certificate the authority of the proxy has to have signed.
fn pull(url: &str, proxy: &TlsProxy) -> Pull {
    Pull::url(url).tls_roots(TlsRoots::from_pem_file(proxy.trusted()).expect("a certificate"))
}

/// The stream ends before anything is played, because of the certificate.
#[track_caller]
fn assert_refused(source: Pull) {
    let engine = engine(|_| {});
    let (events, folder) = (engine.events(), directory());
    let mut policy = quickly();
    policy.tries = Some(1);
    let source = Source::pull(source.reconnect(policy).first_media(Duration::from_secs(20)));
    let live = engine.stream(source).record(folder.path().join("none.flv")).start().expect("it starts");
    let error = wait_ended(&events).expect("it is not played");
    let said = flowcast::error::chain(&error);
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    drop(live);
}

#[test]
fn hls_by_https_is_played_from_whom_the_certificate_names() {
    if !need(&[Need::Ffmpeg, Need::Stunnel]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 4);
    let segments = folder.path().join("s%d.ts");
    let hls = "-c copy -f hls -hls_time 1 -hls_playlist_type vod -hls_segment_filename";
    make(folder.path(), "list.m3u8", &format!("-i {} {hls} {}", text(&clip), text(&segments)));
    let server = Web::start(folder.path());
    let proxy = TlsProxy::start(server.address(), Identity::Right);
    let recording = folder.path().join("recorded.flv");
    play_once(pull(&format!("https://{}/list.m3u8", proxy.address), &proxy), &recording);
    assert_eq!(frame_hashes(&recording), frame_hashes(&clip));
    assert_one_stream(&recording);
    let asked = server.asked().len();
    for identity in [Identity::WrongAuthority, Identity::WrongHost] {
        let proxy = TlsProxy::start(server.address(), identity);
        assert_refused(pull(&format!("https://{}/list.m3u8", proxy.address), &proxy));
    }
    assert_eq!(server.asked().len(), asked, "it was asked before the certificate was looked at");
}

#[test]
fn a_camera_by_rtsps_is_played_from_whom_the_certificate_names() {
    if !need(&[Need::Ffmpeg, Need::RtspServer, Need::Stunnel]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 4);
    let server = Rtsp::new(&mkv(&clip), Some(("viewer", "pass-word")));
    let proxy = TlsProxy::start(server.address, Identity::Right);
    let url = |proxy: &TlsProxy| format!("rtsps://viewer:pass-word@{}/show", proxy.address);
    let recording = folder.path().join("recorded.flv");
    play_once(pull(&url(&proxy), &proxy), &recording);
    let (frames, whole) = (frame_hashes(&recording), frame_hashes(&clip));
    // What GStreamer holds back at the end, it does not send.
    assert!(
        whole.starts_with(&frames) && frames.len() + 5 > whole.len(),
        "{} of {}",
        frames.len(),
        whole.len()
    );
    assert_one_stream(&recording);
    for identity in [Identity::WrongAuthority, Identity::WrongHost] {
        let proxy = TlsProxy::start(server.address, identity);
        assert_refused(pull(&url(&proxy), &proxy));
    }
}
