//! Two tracks of sound from end to end: published with Enhanced RTMP, or in a file, pushed to another server, and recorded there.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use flowcast::av::{Demuxer, Interrupt, OpenOptions, TimeBase, TrackKind};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::ClientRole;
use flowcast::rtmp::time::MediaTime;
use flowcast::stats::OutputPhase;
use flowcast::{EventKind, Output, RtmpServerExt, Source};

use kit::rig::{both_ways, engine, wait_event};
use kit::{Need, PATIENCE, Session, directory, make, need, run, sound_laps, text, wait_until};

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

/// A clip with one picture and two tracks of sound.
fn clip(directory: &Path, seconds: i64) -> PathBuf {
    make(
        directory,
        "two.mp4",
        &format!(
            "-f lavfi -i testsrc2=size=160x120:rate=25:duration={seconds} -f lavfi -i sine=frequency=300:duration={seconds} \
             -f lavfi -i sine=frequency=900:duration={seconds} -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -bf 0 -g 25 \
             -pix_fmt yuv420p -c:a aac"
        ),
    )
}

/// When the packets of a stream of a file are played, in milliseconds.
fn times(file: &Path, stream: &str) -> Vec<f64> {
    let wanted =
        ["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0"];
    let printed = run("ffprobe", wanted.into_iter().chain([text(file)]), PATIENCE);
    let seconds = printed.split([',', '\n']).filter_map(|field| field.trim().parse::<f64>().ok());
    seconds.map(|seconds| seconds * 1000.0).collect()
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
    let clip = clip(own.path(), SECONDS);
    // What comes at once is kept until it is sent and written, however long a busy machine takes over that.
    let engines = [(); 2].map(|()| {
        engine(|config| {
            (config.lag.drop_after, config.lag.disconnect_after) = (PATIENCE, PATIENCE * 2);
            (config.backlog.media, config.backlog.tags) = (PATIENCE, 100_000);
        })
    });
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
    // All of it is there, and the push has sent it.
    let all = || {
        let stats = middle.stats();
        let is_sent = stats.outputs.iter().all(|push| push.lag.is_zero());
        stats.media_time.as_millis() >= SECONDS * 1000 - 100 && is_sent
    };
    assert!(wait_until(PATIENCE, all), "{} {}", middle.stats(), last.stats());
    drop(publisher);
    let sent = middle.stop(PATIENCE).expect("it stops");
    assert!(wait_until(PATIENCE, || last.has_ended()), "{}", last.stats());
    assert_eq!((sent.drops, last.stats().drops), (0, 0), "{sent} {}", last.stats());
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

#[test]
fn two_tracks_of_sound_of_a_file_are_sent_where_that_is_asked_for() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let clip = clip(own.path(), 5);
    both_ways(|mode, engine, directory| {
        let events = engine.events();
        let ends = ["mp4", "mkv", "ts"].map(|extension| directory.join(format!("end.{extension}")));
        let one = directory.join("one.mp4");
        let to = engine.stream(Source::file(&clip).all_tracks()).record(&one);
        let to = ends.iter().fold(to, |to, end| to.to(Output::record(end).all_tracks()));
        let live = to.start().expect("it starts");
        let (left_out, recording) = wait_event(&events, PATIENCE, |event| match &event.kind {
            EventKind::OutputTrackSkipped { track, output, .. } => Some((*track, *output)),
            _ => None,
        });
        assert_eq!((left_out, recording), (1, live.stats().outputs[0].id), "{mode}");
        live.wait().expect("it is complete");
        for end in &ends {
            for track in ["a:0", "a:1"] {
                let (sent, got) = (hashes(&clip, track), hashes(end, track));
                let what = format!("{mode} {} {track}: {} of {}", end.display(), got.len(), sent.len());
                // What comes before the first picture is not recorded.
                assert!(got.len() > 200 && got.len() + 2 >= sent.len(), "{what}");
                // ADTS in a transport stream is another wrapping of the same frames.
                let wraps = end.extension().is_some_and(|extension| extension == "ts");
                assert!(wraps || sent.ends_with(&got), "{what}");
            }
        }
        assert!(hashes(&one, "a:1").is_empty() && !hashes(&one, "a:0").is_empty(), "{mode}");
    });
}

#[test]
fn both_tracks_of_a_looped_file_stay_with_the_picture_and_go_through_a_push() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let clip = clip(own.path(), 2);
    both_ways(|mode, engine, directory| {
        let there = kit::rig::engine(|_| {});
        there.keys().add("show", "show-key").expect("a usable key");
        let server = there.rtmp_server("127.0.0.1:0").start().expect("a free port");
        let (near, far) = (directory.join("near.mkv"), directory.join("far.mkv"));
        let last = there.stream(Source::published("show").once()).to(Output::record(&far).all_tracks());
        let last = last.start().expect("it waits");
        let push = Output::rtmp_url(&format!("rtmp://{}/live/show-key", server.address()));
        let live = engine
            .stream(Source::file(&clip).looped().all_tracks())
            .to(Output::record(&near).all_tracks())
            .to(push.enhanced())
            .start()
            .expect("it starts");
        assert!(wait_until(PATIENCE, || last.stats().media_time.as_millis() > 9000), "{}", last.stats());
        live.stop(PATIENCE).expect("it stops");
        assert!(wait_until(PATIENCE, || last.has_ended()), "{}", last.stats());
        for end in [&near, &far] {
            for track in ["a:0", "a:1"] {
                let (sent, got) = (hashes(&clip, track), hashes(end, track));
                let seams = sound_laps(&got, &sent, sent.len() - 4);
                assert!(
                    seams.as_ref().is_ok_and(|seams| *seams >= 3),
                    "{mode} {} {track}: {seams:?}",
                    end.display()
                );
                // No more than half a frame beside its place, however many laps there were.
                let (times, frame) = (times(end, track), 1024.0 / 44.1);
                let length =
                    times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first) + frame;
                let off = length - times.len() as f64 * frame;
                assert!(off.abs() < 2.0 * frame, "{mode} {} {track}: {off} ms", end.display());
            }
        }
    });
}
