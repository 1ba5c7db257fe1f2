//! Programs of others publish; what arrives is the whole file.

use super::*;

/// Who published what is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Publisher {
    /// It sends a file as it is.
    Exact,
    /// Its `flvmux` gives the first frames equal times where there are B-frames, and may leave out the sound's last packets.
    Gstreamer,
}

/// The recording is the whole file, once, and its times increase.
pub(super) fn assert_whole(recording: &Path, file: &Path, by: Publisher, who: &str) {
    let (recorded, frames) = (frame_hashes(recording), frame_hashes(file));
    assert_eq!(recorded.len(), frames.len(), "{who}: frames");
    assert!(recorded == frames, "{who}: other frames");
    let tracks: &[&str] = if packet_count(file, "a") > 0 { &["v", "a"] } else { &["v"] };
    assert_times(recording, tracks, by, who);
    let (sound, all) = (packet_count(recording, "a"), packet_count(file, "a"));
    let left_out = if by == Publisher::Gstreamer { 2 } else { 0 };
    assert!(sound + left_out >= all && sound <= all, "{who}: {sound} packets of sound of {all}");
}

/// Times begin at about zero and strictly increase, in each track.
pub(super) fn assert_times(recording: &Path, tracks: &[&str], by: Publisher, who: &str) {
    for &kind in tracks {
        let times = packet_times(recording, kind);
        let first = times.first().unwrap_or_else(|| panic!("{who}: no {kind} track"));
        assert!((-50.0..150.0).contains(&first.dts), "{who}: {kind} begins with {first:?}");
        assert!(kind == "a" || first.keyframe, "{who}: begins with {first:?}");
        let equal = if by == Publisher::Gstreamer { 2 } else { 0 };
        let falls = |pair: &[PacketTime]| pair[1].dts < pair[0].dts;
        let stands = |(at, pair): (usize, &[PacketTime])| at >= equal && pair[1].dts == pair[0].dts;
        let falling = times.windows(2).enumerate().find(|&(at, pair)| falls(pair) || stands((at, pair)));
        assert!(falling.is_none(), "{who}: {kind} times {falling:?}");
    }
}

/// Somebody publishes a clip in real time and ends.
fn publishes(by: Publisher, needs: &[Need], publish: impl Fn(&Path, &str) -> Peer) {
    if !need(&[Need::Ffmpeg]) || !need(needs) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let mut publisher = publish(&file, &studio.publish_url());
    let (stream, recording) = studio.record();
    let active = studio.engine.keys().active();
    assert_eq!(active.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), [NAME]);
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    assert_whole(&recording, &file, by, &publisher.report());
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}\n{}", publisher.report());
}

#[test]
fn ffmpeg_publishes() {
    publishes(Publisher::Exact, &[], |file, url| ffmpeg_publish(file, url, 1));
}

/// Real files: keyframes of a hundred kilobytes with six channels of sound, and B-frames without sound.
#[test]
fn ffmpeg_publishes_footage() {
    let names = ["bigbuckbunny.mp4", "carphone_pristine.mp4"];
    if !need(&[Need::Ffmpeg]) || !need(&names.map(Need::Media)) {
        return;
    }
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let (studio, file) = (Studio::start(), media(name).expect("a file that is there"));
                let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 1);
                let (stream, recording) = studio.record();
                publisher.wait_success(PATIENCE);
                studio.wait_off_air(&stream);
                assert_whole(&recording, &file, Publisher::Exact, name);
            });
        }
    });
}

#[test]
fn gstreamer_publishes() {
    publishes(Publisher::Gstreamer, &[Need::Gstreamer], gst_publish);
}

#[test]
fn librtmp_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("librtmp_publish")], librtmp_publish);
}

#[test]
fn xiu_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("xiu_client")], |file, url| {
        peer_publish("xiu_client", file, url)
    });
}

#[test]
fn rml_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("rml_client")], |file, url| {
        peer_publish("rml_client", file, url)
    });
}
