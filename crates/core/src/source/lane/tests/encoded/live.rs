//! What is published, encoded as it comes.

use super::*;
use crate::source::direct::OpenFile;
use crate::source::reader::{Step, Tail};
use crate::stream::mailbox::Mailbox;
use crate::transcode::{Carriage, LiveEncoder, LiveOptions};

/// Plays what a file gives to a live encoder, no faster than it is taken; what comes out.
fn publish(
    encoder: &LiveEncoder,
    tags: Vec<Tag>,
    wait: &dyn Fn(&LiveEncoder, &mut Vec<Tag>),
    out: &mut Vec<Tag>,
) {
    for portion in tags.chunks(8) {
        encoder.push(portion.iter().cloned());
        wait(encoder, out);
    }
}

#[test]
fn what_is_published_is_encoded_to_one_stream() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let video = "-r 25|-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p";
    let first = case("first.flv", video, ":s=44100:c=stereo:d=2.4|-c:a aac");
    // Another size, shape, profile and sound.
    let second = case(
        "second.flv",
        "-r 25|-vf scale=320:192 -c:v libx264 -profile:v baseline -preset veryfast -bf 0 -pix_fmt yuv420p",
        ":s=22050:c=mono:d=2.4|-c:a libmp3lame",
    );
    let lap = |case: &Case, from: i64| {
        make(directory, case);
        let wanted = Wanted::copy(Tracks::Both, Carriage::Plain);
        let file = OpenFile::open(&directory.join(case.name), &wanted, Tail::Looped).expect("it can be read");
        let mut reader = file.into_reader();
        let mut tags = reader.headers();
        loop {
            match reader.next().expect("it can be read") {
                Step::Tag(tag) => tags.push(tag),
                Step::End => break,
                Step::Notice(_) | Step::Ending(_) => {}
            }
        }
        for tag in &mut tags {
            tag.timestamp = MediaTime::from_millis(tag.timestamp.as_millis() + from);
        }
        tags
    };
    let poll = mio::Poll::new().expect("the kernel has one");
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("the kernel has one");
    let (reader, _commands) = Mailbox::new(waker);
    let mut wish = Wish { mode: Some(Mode::Encode), encoding: Profile::Ultra.into(), ..Wish::default() };
    wish.encoding.video_kbps = Some(800);
    let mut encoder = LiveEncoder::start(LiveOptions {
        name: "studio".to_owned(),
        bounds: Config::default().read_ahead,
        reader,
        cpu: CpuMeter::default(),
        settling: Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true }),
        encoders: Arc::new(LibavEncoders),
    })
    .expect("there are threads");
    let take = |encoder: &LiveEncoder, out: &mut Vec<Tag>| {
        let (mut notices, mut refills, mut scratch) =
            (Vec::new(), Vec::new(), crate::pool::Scratch::default());
        let mut cx = crate::source::SourceContext {
            now: Instant::now(),
            readable: false,
            writable: false,
            tick: true,
            ticks_only: false,
            registry: poll.registry(),
            token: mio::Token(1),
            scratch: &mut scratch,
            tags: out,
            refills: &mut refills,
            notices: &mut notices,
        };
        let state = encoder.pull(&mut cx);
        assert!(notices.is_empty(), "{notices:?}");
        state
    };
    let wait = |encoder: &LiveEncoder, out: &mut Vec<Tag>| {
        while encoder.bytes_held() > 0 {
            take(encoder, out);
            std::thread::yield_now();
        }
    };
    let mut out = Vec::new();
    let mut tags = lap(&first, 0);
    // One picture says that it is shown two hours after it is decoded.
    let wrong = tags.iter_mut().filter(|tag| tag.is_video() && !tag.is_keyframe()).nth(40).expect("pictures");
    let mut body = wrong.body.to_bytes().to_vec();
    body[2..5].copy_from_slice(&[0x7F, 0xFF, 0xFF]);
    *wrong = Tag::from_wire(TagKind::Video, wrong.timestamp, body.into());
    publish(&encoder, tags, &wait, &mut out);
    encoder.end();
    while !encoder.is_idle() {
        take(&encoder, &mut out);
        std::thread::yield_now();
    }
    let of_first = out.len();
    publish(&encoder, lap(&second, 10_000), &wait, &mut out);
    encoder.end();
    encoder.finish();
    while !matches!(take(&encoder, &mut out), crate::source::SourceState::Ended) {
        std::thread::yield_now();
    }
    assert_eq!(encoder.drops(), 0);
    let stats = encoder.encoding().expect("it has encoded");
    assert_eq!((stats.encoder.as_str(), stats.frames, stats.dropped, stats.damaged), ("libx264", 120, 0, 0));
    encoder.stop();
    while !encoder.is_stopped() {
        std::thread::yield_now();
    }
    write(&out, directory);
    let headers = out.iter().filter(|tag| tag.is_sequence_header());
    assert_eq!(headers.count(), 2, "both are encoded to the same");
    let shown = numbers(directory, "recording.flv");
    assert!(shown.iter().copied().eq((0..60).chain(0..60)), "{shown:?}");
    let decoded = Decoded::of(directory, "recording.flv", "", true, true);
    assert_eq!(decoded.complaints, "");
    // Each begins with a keyframe, and beeps half a second behind its first picture.
    for (part, begin) in [(&out[..of_first], 0), (&out[of_first..], 10_000)] {
        let first = part.iter().find(|tag| tag.is_video() && !tag.is_sequence_header()).expect("pictures");
        assert!(first.is_keyframe());
        assert!((first.timestamp.as_millis() - begin).abs() < 150, "{first:?}");
        for kind in [TagKind::Video, TagKind::Audio] {
            assert!(
                times(part, kind).windows(2).all(|pair| (1..=60).contains(&(pair[1] - pair[0]))),
                "{kind:?}"
            );
        }
    }
    let zero = decoded.frames[0].pts as f64 / 90.0;
    let beeps: Vec<_> = decoded.beeps().iter().map(|beep| beep * 1000.0 - zero).collect();
    eprintln!("beeps at {beeps:.1?} ms");
    assert!((beeps[0] - 500.0).abs() < 30.0, "{beeps:?}");
}
