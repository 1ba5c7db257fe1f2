//! Two tracks of sound from end to end: published with Enhanced RTMP, pushed to another server, and recorded there.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flowcast::av::{Demuxer, Interrupt, OpenOptions, TimeBase, TrackKind};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::ClientRole;
use flowcast::rtmp::time::MediaTime;
use flowcast::stats::OutputPhase;
use flowcast::{Output, RtmpServerExt, Source};

use kit::rig::engine;
use kit::{Need, PATIENCE, Session, directory, make, need, run, text, wait_until};

/// What is published.
const SECONDS: i64 = 20;

/// The tags of a file with one picture and two tracks of AAC, the second in a form of Enhanced RTMP's.
fn tags(file: &Path) -> Vec<Tag> {
    let mut input =
        Demuxer::open(file, &OpenOptions::default(), &Interrupt::new()).expect("a clip that opens");
    let tracks = input.media().tracks.clone();
    assert_eq!(tracks.len(), 3);
    let head = |track: usize, key: bool, header: bool| match (tracks[track].kind, track) {
        (TrackKind::Video, _) => vec![if key { 0x17 } else { 0x27 }, u8::from(!header), 0, 0, 0],
        (_, 1) => vec![0xAF, u8::from(!header)],
        // Several tracks, of which this tag has one: number 1.
        _ => [&[0x95, u8::from(!header)][..], b"mp4a", &[1]].concat(),
    };
    let tag = |track: usize, at: i64, key: bool, header: bool, data: &[u8]| {
        let kind = if tracks[track].kind == TrackKind::Video { TagKind::Video } else { TagKind::Audio };
        let body = [&head(track, key, header)[..], data].concat();
        Tag::from_wire(kind, MediaTime::from_millis(at), Bytes::from(body))
    };
    let config = |track: usize| tracks[track].config.clone().expect("a configuration");
    let mut tags: Vec<_> = (0..3).map(|track| tag(track, 0, true, true, &config(track))).collect();
    let mut frames = Vec::new();
    while let Some(packet) = input.read().expect("a clip that reads") {
        let dts = packet.dts.expect("MP4 has times");
        let at = tracks[packet.track].time_base.rescale(dts.max(0), TimeBase::MILLIS);
        frames.push(tag(packet.track, at, packet.keyframe, false, &packet.data));
    }
    frames.sort_by_key(|tag| tag.timestamp.as_millis());
    tags.extend(frames);
    tags
}

/// A hash of each packet of a stream of a file, in order.
fn hashes(file: &Path, stream: &str) -> Vec<String> {
    let wanted = ["-v", "error", "-select_streams", stream, "-show_entries", "packet=data_hash"];
    let shown = ["-show_data_hash", "md5", "-of", "csv=p=0", text(file)];
    let printed = run("ffprobe", wanted.into_iter().chain(shown), PATIENCE);
    printed.split([',', '\n']).filter(|field| field.starts_with("MD5:")).map(str::to_owned).collect()
}

#[test]
fn two_tracks_of_sound_go_from_a_publisher_through_two_servers_into_a_file() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let clip = make(
        own.path(),
        "two.mp4",
        &format!(
            "-f lavfi -i testsrc2=size=160x120:rate=25:duration={SECONDS} -f lavfi -i sine=frequency=300:duration={SECONDS} \
         -f lavfi -i sine=frequency=900:duration={SECONDS} -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -bf 0 -g 25 \
         -pix_fmt yuv420p -c:a aac"
        ),
    );
    let engines = [(); 2].map(|()| engine(|_| {}));
    let servers = engines.each_ref().map(|engine| {
        engine.keys().add("show", "show-key").expect("a usable key");
        engine.rtmp_server("127.0.0.1:0").start().expect("a free port")
    });
    let ends = ["mp4", "mkv", "ts"].map(|extension| own.path().join(format!("end.{extension}")));
    let last = engines[1].stream(Source::published("show").once());
    let last = ends.iter().fold(last, |to, end| to.to(Output::record(end).all_tracks()));
    let last = last.start().expect("it waits");
    let push = Output::rtmp_url(&format!("rtmp://{}/live/show-key", servers[1].address()));
    let middle = engines[0].stream(Source::published("show").once()).to(push.enhanced().all_tracks());
    let middle = middle.start().expect("it waits");
    let mut publisher: Session<TcpStream> =
        Session::plain(ClientRole::Publish, servers[0].address(), "live/show-key");
    assert!(matches!(publisher.go_live(), Ok(true)), "{publisher:?}");
    let tags = tags(&clip);
    // A second at a time until the push is on the air, which begins with a keyframe; then the rest at once.
    for second in
        tags.chunk_by(|one, other| one.timestamp.as_millis() / 1000 == other.timestamp.as_millis() / 1000)
    {
        second.iter().for_each(|tag| publisher.session.send_tag(tag));
        publisher.send().expect("an open connection");
        let _ = publisher.read();
        wait_until(Duration::from_secs(1), || {
            middle.stats().outputs.iter().any(|push| push.phase == OutputPhase::Live)
        });
    }
    let all = || middle.stats().media_time.as_millis() >= SECONDS * 1000 - 100;
    assert!(wait_until(PATIENCE, all), "{} {}", middle.stats(), last.stats());
    drop(publisher);
    middle.stop(PATIENCE).expect("it stops");
    assert!(wait_until(PATIENCE, || last.has_ended()), "{}", last.stats());
    for end in &ends {
        for track in ["a:0", "a:1"] {
            let (sent, got) = (hashes(&clip, track), hashes(end, track));
            let what = format!("{} {track}", end.display());
            assert!(got.len() > 100, "{what}: {} of {}", got.len(), sent.len());
            // ADTS in a transport stream is another wrapping of the same frames.
            if end.extension().is_some_and(|extension| extension != "ts") {
                let from =
                    sent.iter().position(|hash| Some(hash) == got.first()).expect("a frame of the track");
                assert!(sent[from..].starts_with(&got), "{what}: frames are missing");
                assert!(from + got.len() + 5 >= sent.len(), "{what}: the end is missing");
            }
        }
    }
}
