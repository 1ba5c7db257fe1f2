//! What is published, encoded as it comes.

use super::*;
use crate::driver::{SourceContext, SourceState, TurnClock};
use crate::lap::Step;
use crate::playout::direct::OpenFile;
use crate::publish::encoder::{LiveEncoder, LiveOptions};
use crate::stream::Mailbox;
use crate::tracks::Carriage;

/// A live encoder without a stream's thread.
struct Studio {
    poll: mio::Poll,
    encoder: LiveEncoder,
    out: Vec<Tag>,
}

impl Studio {
    fn open() -> Self {
        let poll = mio::Poll::new().expect("the kernel has one");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("the kernel has one");
        let (reader, _commands) = Mailbox::new(waker);
        let mut wish = Wish { mode: Some(Mode::Encode), encoding: Profile::Ultra.into(), ..Wish::default() };
        wish.encoding.video_bit_rate = Some(crate::BitRate::from_kbps(800));
        let encoder = LiveEncoder::start(LiveOptions {
            name: "studio".to_owned(),
            bounds: Config::default().read_ahead,
            reader,
            cpu: CpuMeter::default(),
            settling: Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true }),
            encoders: Arc::new(LibavEncoders),
            mixed: None,
            probe: None,
        })
        .expect("there are threads");
        Self { poll, encoder, out: Vec::new() }
    }

    fn take(&mut self) -> SourceState {
        let (mut notices, mut refills, mut scratch) =
            (Vec::new(), Vec::new(), crate::pool::Scratch::default());
        let mut cx = SourceContext {
            now: Instant::now(),
            clock: TurnClock::Still,
            readable: false,
            writable: false,
            tick: true,
            ticks_only: false,
            registry: self.poll.registry(),
            token: mio::Token(1),
            scratch: &mut scratch,
            tags: &mut self.out,
            refills: &mut refills,
            notices: &mut notices,
        };
        let state = self.encoder.pull(&mut cx);
        assert!(notices.is_empty(), "{notices:?}");
        if let SourceState::Failed(error) = state {
            panic!("{error}");
        }
        state
    }

    /// Plays tags to it, no faster than they are taken.
    fn publish(&mut self, tags: &[Tag]) {
        for portion in tags.chunks(8) {
            self.encoder.push(Instant::now(), portion.iter().cloned());
            while self.encoder.bytes_held() > 0 {
                self.take();
                std::thread::yield_now();
            }
        }
    }

    /// The publication is over, and all of it has come out.
    fn end(&mut self) {
        self.encoder.end(Instant::now());
        while !self.encoder.is_idle() {
            self.take();
            std::thread::yield_now();
        }
    }

    /// Nothing follows.
    fn finish(&mut self) {
        self.encoder.finish();
        while !matches!(self.take(), SourceState::Ended) {
            std::thread::yield_now();
        }
        assert_eq!(self.encoder.drops(), 0);
    }

    fn stop(&mut self) {
        self.encoder.stop();
        while !self.encoder.is_stopped() {
            std::thread::yield_now();
        }
    }
}

/// The tags of a file, from this time on.
fn lap(directory: &Path, case: &Case, carriage: Carriage, from: i64) -> Vec<Tag> {
    make(directory, case);
    let recipes = Recipes::copy(Tracks::Both, carriage);
    let file = OpenFile::open(&directory.join(case.name), &recipes, Use::Loop).expect("it can be read");
    let mut reader = file.into_reader();
    let mut tags = reader.headers();
    loop {
        match reader.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::End => break,
            Step::Opened(_) | Step::Notice(_) | Step::Ending(_) => {}
        }
    }
    for tag in &mut tags {
        tag.timestamp = MediaTime::from_millis(tag.timestamp.as_millis() + from);
    }
    tags
}

/// What came out of it is encoded like this: `parts` publications of 60 pictures each.
fn check(studio: &Studio, directory: &Path, parts: usize) -> Decoded {
    let stats = studio.encoder.encoding().expect("it has encoded");
    let frames = 60 * parts as u64;
    assert_eq!(
        (stats.encoder.as_str(), stats.frames, stats.dropped, stats.damaged),
        ("libx264", frames, 0, 0)
    );
    write(&studio.out, directory);
    let mut sound = studio.out.iter().filter(|tag| tag.is_sequence_header() && tag.is_audio());
    let first = sound.next().expect("sound");
    assert!(sound.all(|tag| tag.body == first.body), "all are encoded to the same");
    let shown = numbers(directory, "recording.flv");
    assert!(shown.iter().copied().eq((0..parts).flat_map(|_| 0..60)), "{shown:?}");
    let decoded = Decoded::of(directory, "recording.flv", "", true, true);
    assert_eq!(decoded.complaints, "");
    decoded
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
    let mut studio = Studio::open();
    let mut tags = lap(directory, &first, Carriage::Plain, 0);
    // One picture says that it is shown two hours after it is decoded.
    let wrong = tags.iter_mut().filter(|tag| tag.is_video() && !tag.is_keyframe()).nth(40).expect("pictures");
    let mut body = wrong.body.to_bytes().to_vec();
    body[2..5].copy_from_slice(&[0x7F, 0xFF, 0xFF]);
    *wrong = Tag::from_wire(TagKind::Video, wrong.timestamp, body.into());
    studio.publish(&tags);
    studio.end();
    let of_first = studio.out.len();
    studio.publish(&lap(directory, &second, Carriage::Plain, 10_000));
    studio.end();
    studio.finish();
    let decoded = check(&studio, directory, 2);
    let headers = studio.out.iter().filter(|tag| tag.is_sequence_header());
    assert_eq!(headers.count(), 2, "both are encoded to the same");
    studio.stop();
    // Each begins with a keyframe, and beeps half a second behind its first picture.
    for (part, begin) in [(&studio.out[..of_first], 0), (&studio.out[of_first..], 10_000)] {
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

#[test]
fn codecs_of_enhanced_rtmp_are_decoded() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let cases = [
        case(
            "hevc.mp4",
            "-r 25|-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none:bframes=2:keyint=25",
            ":s=48000:c=stereo:d=2.4|-c:a aac",
        ),
        case(
            "av1.mp4",
            "-r 25|-c:v libsvtav1 -preset 12 -crf 20 -svtav1-params lp=1 -g 25",
            ":s=44100:c=stereo:d=2.4|-c:a aac",
        ),
        case(
            "vp9.webm",
            "-r 25|-c:v libvpx-vp9 -b:v 800k -deadline realtime -cpu-used 8 -g 25",
            ":s=48000:c=stereo:d=2.4|-c:a libopus",
        ),
        case(
            "vp8.mkv",
            "-r 25|-c:v libvpx -b:v 800k -deadline realtime -cpu-used 8 -g 25",
            ":s=48000:c=mono:d=2.4|-c:a libopus",
        ),
        case(
            "ten-bit.mp4",
            "-r 25|-c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=none:keyint=25",
            ":s=48000:c=stereo:d=2.4|-c:a aac",
        ),
    ];
    let mut studio = Studio::open();
    let mut from = 0;
    for (number, case) in cases.iter().enumerate() {
        let mut tags = lap(directory, case, Carriage::Enhanced, from);
        from += 10_000;
        match number {
            // Not every publisher says a frame rate.
            1 => tags.retain(|tag| !tag.is_metadata()),
            // Goes on in other codecs, without an end between.
            2 | 3 => from -= 7_000,
            _ => {}
        }
        studio.publish(&tags);
        if number != 2 {
            studio.end();
        }
    }
    studio.finish();
    let decoded = check(&studio, directory, cases.len());
    studio.stop();
    // Picture and sound of each are as far apart as in its file. ffmpeg puts the recording's first tag at 0.
    let millis = |tag: &Tag| tag.timestamp.as_millis() as f64;
    let zero = studio.out.iter().find(|tag| !tag.is_header()).map_or(0.0, millis);
    let beeps = decoded.beeps();
    assert_eq!(beeps.len(), cases.len(), "{beeps:?}");
    let pictures: Vec<_> = studio.out.iter().filter(|tag| tag.is_video() && !tag.is_header()).collect();
    for ((case, beep), first) in cases.iter().zip(beeps).zip(pictures.into_iter().step_by(60)) {
        assert!(first.is_keyframe());
        let file = Decoded::of(directory, case.name, "", true, true);
        let wanted = file.beeps()[0] * 1000.0 - file.frames[0].pts as f64 / 90.0;
        let found = beep * 1000.0 + zero - millis(first);
        assert!((found - wanted).abs() < 3.0, "{}: {found} ms, in the file {wanted} ms", case.name);
    }
}
