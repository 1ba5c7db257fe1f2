//! What encoding gets over: encoders that fail, files that are damaged, reels that grow too slowly.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use flowcast_av::encoder::VideoSettings;
use flowcast_av::{Packet, TrackInfo, VideoFrame};

use super::*;
use crate::stats::SourceMode;
use crate::transcode::{EncoderPlan, PictureEncoder, VideoCodec};

/// An encoder that fails after this many pictures, and one that does not open.
#[derive(Debug)]
struct Faulty {
    after: usize,
    opened: parking_lot::Mutex<Vec<String>>,
    failed: parking_lot::Mutex<Vec<String>>,
}

impl Faulty {
    fn new(after: usize) -> Arc<Self> {
        Arc::new(Self { after, opened: Default::default(), failed: Default::default() })
    }
}

impl Encoders for Faulty {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        ["closed", "faulty", "libx264"].map(str::to_owned).into()
    }

    fn open(
        &self,
        track: usize,
        settings: &VideoSettings,
    ) -> Result<Box<dyn PictureEncoder>, flowcast_av::Error> {
        let name = settings.encoder.clone().unwrap_or_default();
        self.opened.lock().push(name.clone());
        let real = VideoSettings { encoder: Some("libx264".to_owned()), ..settings.clone() };
        match name.as_str() {
            "closed" => Err(flowcast_av::Error::Unavailable { what: "encoder", name }),
            "faulty" => {
                // Another preset, so that its parameters are others.
                let real = VideoSettings { preset: "medium".to_owned(), tune: None, ..real };
                let inner = LibavEncoders.open(track, &real)?;
                Ok(Box::new(FaultyEncoder { inner, left: self.after }))
            }
            _ => LibavEncoders.open(track, &real),
        }
    }

    fn failed(&self, name: &str) {
        self.failed.lock().push(name.to_owned());
    }
}

#[derive(Debug)]
struct FaultyEncoder {
    inner: Box<dyn PictureEncoder>,
    left: usize,
}

impl PictureEncoder for FaultyEncoder {
    fn pixel_format(&self) -> &str {
        self.inner.pixel_format()
    }

    fn track(&self) -> &TrackInfo {
        self.inner.track()
    }

    fn push(&mut self, frame: &VideoFrame) -> Result<(), flowcast_av::Error> {
        if self.left == 0 {
            return Err(flowcast_av::Error::Unavailable { what: "device", name: "faulty".to_owned() });
        }
        self.left -= 1;
        self.inner.push(frame)
    }

    fn pull(&mut self) -> Result<Option<Packet>, flowcast_av::Error> {
        self.inner.pull()
    }

    fn finish(&mut self) -> Result<(), flowcast_av::Error> {
        self.inner.finish()
    }
}

#[test]
fn another_encoder_takes_over_and_the_stream_goes_on() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let case = case("asp.mkv", "-r 25|-c:v mpeg4 -bf 2 -b:v 1M", ":s=48000:c=stereo:d=2.4|-c:a aac");
    make(directory, &case);
    for after in [0, 1, 30, 59] {
        let encoders = Faulty::new(after);
        let recipes = recipes_by(Mode::Encode, Profile::Ultra, encoders.clone());
        let supply = supply_of(None, recipes);
        let mut played = Unpaced::looped_as(&directory.join(case.name), supply, false);
        let tags = record(&mut played, directory);
        // It held some pictures, whose places the one it failed with takes.
        let shown = numbers(directory, "recording.flv");
        assert!(shown.len() >= LAPS * 60, "{after}: {} pictures", shown.len());
        let first = &shown[..60];
        assert!(first.is_sorted() && first[59] == 59, "{after}: {first:?}");
        let lost = (0..60).filter(|number| !first.contains(number)).count();
        // x264's preset "medium" holds the 40 pictures of its lookahead and the one it is at.
        assert!(lost <= after.min(41), "{after}: {lost} are lost");
        for lap in 1..LAPS {
            let lap = &shown[60 * lap..60 * (lap + 1)];
            assert!(lap.iter().copied().eq(0..60), "{after}: {lap:?}");
        }
        for pair in times(&tags, TagKind::Video).windows(2) {
            assert_eq!(pair[1] - pair[0], 40, "{after}: pictures at {pair:?}");
        }
        let changes = played.notices.iter().filter_map(|notice| match notice {
            EventKind::EncoderChanged { from, to, error } => Some((from.as_str(), to.as_str(), error.code())),
            _ => None,
        });
        let wanted = [("closed", "faulty", "UNAVAILABLE"), ("faulty", "libx264", "UNAVAILABLE")];
        assert_eq!(changes.collect::<Vec<_>>(), wanted, "{after}");
        assert_eq!(*encoders.failed.lock(), ["closed", "faulty"], "{after}");
        // Later laps stay with the one that works.
        let opened = encoders.opened.lock().clone();
        assert_eq!(opened[..3], ["closed", "faulty", "libx264"], "{after}");
        assert!(opened[3..].iter().all(|name| name == "libx264"), "{after}: {opened:?}");
        eprintln!("fails after {after}: {lost} pictures lost of the first lap");
    }
}

/// The changes of encoders that were told.
fn changes(notices: &[EventKind]) -> Vec<(&str, &str)> {
    let changes = notices.iter().filter_map(|notice| match notice {
        EventKind::EncoderChanged { from, to, .. } => Some((from.as_str(), to.as_str())),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_reel_whose_encoder_fails_is_finished_by_another_and_its_stream_tells_of_it() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec { seconds: 3.0, ..SampleSpec::default() });
    let recipes = recipes_by(Mode::Encode, Profile::Ultra, Faulty::new(30));
    let mut played = Unpaced::looped_as(&clip, supply_of(Some(scratch.store()), recipes), false);
    let tags = played.play(10_000);
    assert_eq!(played.sequencer.mode(), SourceMode::Reel);
    assert_eq!(
        changes(&played.notices),
        [("closed", "faulty"), ("faulty", "libx264")],
        "once, not in each lap"
    );
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
}

/// A device with one session.
#[derive(Debug, Default)]
struct Device {
    sessions: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Session {
    inner: Box<dyn PictureEncoder>,
    sessions: Arc<AtomicUsize>,
}

impl Encoders for Device {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        ["device", "libx264"].map(str::to_owned).into()
    }

    fn open(
        &self,
        track: usize,
        settings: &VideoSettings,
    ) -> Result<Box<dyn PictureEncoder>, flowcast_av::Error> {
        let name = settings.encoder.clone().unwrap_or_default();
        let real = VideoSettings { encoder: Some("libx264".to_owned()), ..settings.clone() };
        let inner = LibavEncoders.open(track, &real)?;
        if name != "device" {
            return Ok(inner);
        }
        if self.sessions.fetch_add(1, Ordering::SeqCst) > 0 {
            self.sessions.fetch_sub(1, Ordering::SeqCst);
            return Err(flowcast_av::Error::NoFreeSession { name });
        }
        Ok(Box::new(Session { inner, sessions: self.sessions.clone() }))
    }

    fn failed(&self, name: &str) {
        panic!("{name} is busy, not broken");
    }
}

impl PictureEncoder for Session {
    fn pixel_format(&self) -> &str {
        self.inner.pixel_format()
    }

    fn track(&self) -> &TrackInfo {
        self.inner.track()
    }

    fn push(&mut self, frame: &VideoFrame) -> Result<(), flowcast_av::Error> {
        self.inner.push(frame)
    }

    fn pull(&mut self) -> Result<Option<Packet>, flowcast_av::Error> {
        self.inner.pull()
    }

    fn finish(&mut self) -> Result<(), flowcast_av::Error> {
        self.inner.finish()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn laps_take_turns_with_the_only_session_of_a_device_until_another_program_has_it() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec { seconds: 1.0, ..SampleSpec::default() });
    let device = Arc::new(Device::default());
    let recipes = recipes_by(Mode::Encode, Profile::Ultra, device.clone());
    let mut played = Unpaced::looped_as(&clip, supply_of(None, recipes), false);
    let mut tags = played.play(6000);
    assert_eq!(changes(&played.notices), [], "one lap's encoder is closed before the next one's opens");
    device.sessions.fetch_add(1, Ordering::SeqCst);
    // Some laps are encoded ahead.
    while changes(&played.notices).is_empty() {
        assert!(played.due < 60_000, "{:?}", played.notices);
        tags.append(&mut played.play(1000));
    }
    tags.append(&mut played.play(3000));
    assert_eq!(changes(&played.notices), [("device", "libx264")]);
    assert_eq!(device.sessions.load(Ordering::SeqCst), 1, "ours is given back");
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
}

/// Jobs of the store get no encoder until they may.
#[derive(Debug, Default)]
struct Gate {
    is_open: AtomicBool,
}

impl Encoders for Gate {
    fn candidates(&self, codec: VideoCodec, plan: &EncoderPlan) -> Vec<String> {
        LibavEncoders.candidates(codec, plan)
    }

    fn open(
        &self,
        track: usize,
        settings: &VideoSettings,
    ) -> Result<Box<dyn PictureEncoder>, flowcast_av::Error> {
        while std::thread::current().name() == Some("reel-cut") && !self.is_open.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        LibavEncoders.open(track, settings)
    }

    fn failed(&self, _: &str) {}
}

#[test]
fn a_reel_that_was_too_late_for_the_start_is_taken_with_the_next_lap() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec { seconds: 3.0, ..SampleSpec::default() });
    let (store, gate) = (scratch.store(), Arc::new(Gate::default()));
    let supply = supply_of(Some(store.clone()), recipes_by(Mode::Encode, Profile::Ultra, gate.clone()));
    let ready = supply.ready(&clip, Use::Loop, Duration::ZERO).expect("it can be played");
    assert!(ready.awaits_reel(), "{:?}", ready.fallback);
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    let mut played = Unpaced::begun(lane, supply, ready, Duration::ZERO);
    let mut tags = played.play(1000);
    assert_eq!(played.sequencer.mode(), SourceMode::Direct);
    gate.is_open.store(true, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(60);
    while store.stats().reels == 0 {
        assert!(Instant::now() < until, "{:?}", store.stats());
        std::thread::yield_now();
    }
    tags.append(&mut played.play(2500));
    assert_eq!(played.sequencer.mode(), SourceMode::Reel, "{:?}", played.notices);
    tags.append(&mut played.play(6000));
    let pictures = bodies(&tags, TagKind::Video);
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
    assert!(pictures[75..].iter().eq(pictures.iter().take(pictures.len() - 75)), "each lap is the same");
}

/// Plays a file from a reel that grows too slowly, on directly, and from the reel once it is complete.
fn outrun(directory: &Path, path: &Path, mode: Mode) -> Vec<Tag> {
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.video_bit_rate = Some(crate::BitRate::from_kbps(400));
    encoding.filler = true;
    let mut settings = ReelStore::new(directory.join("reels"));
    settings.bytes_per_second = Some(150_000);
    let store = Store::open(&settings).expect("the directory is writable");
    let supply = supply_of(Some(store.clone()), recipes(mode, encoding));
    let ready = ready_reel(&supply, path);
    let reel = ready.item.reel().cloned().expect("a reel");
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    let mut played = Unpaced::begun(lane, supply, ready, Duration::ZERO);
    assert!(!reel.is_complete(), "the limit is too high for this test");
    let mut tags = Vec::new();
    let mut modes = Vec::new();
    let mut play = |played: &mut Unpaced, tags: &mut Vec<Tag>| {
        tags.append(&mut played.play(100));
        for notice in played.notices.drain(..) {
            if let EventKind::ModeChanged { mode, error } = notice {
                modes.push((mode, error.map(|error| error.code())));
            }
        }
        modes.len()
    };
    while play(&mut played, &mut tags) == 0 {}
    // The direct lap goes on while the reel is still being made; a later one is the reel's.
    while !reel.is_complete() {
        if played.due < 60_000 {
            play(&mut played, &mut tags);
        }
        std::thread::yield_now();
    }
    while play(&mut played, &mut tags) == 1 {}
    for _ in 0..100 {
        play(&mut played, &mut tags);
    }
    assert_eq!(modes, [(SourceMode::Direct, Some("REEL_TOO_SLOW")), (SourceMode::Reel, None)]);
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
    for pair in times(&tags, TagKind::Audio).windows(2) {
        assert!((20..=23).contains(&(pair[1] - pair[0])), "sound at {pair:?}");
    }
    tags
}

#[test]
fn a_stream_that_outruns_its_reel_goes_on_directly_without_a_picture_lost() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let case = Case {
        pictures: 200,
        ..case("asp.mkv", "-r 25|-c:v mpeg4 -bf 2 -b:v 1M", ":s=48000:c=stereo:d=8|-c:a aac")
    };
    make(directory, &case);
    let tags = outrun(directory, &directory.join(case.name), Mode::Encode);
    write(&tags, directory);
    let shown = numbers(directory, "recording.flv");
    assert!(shown.len() > 400, "{}", shown.len());
    for (at, number) in shown.iter().enumerate() {
        assert_eq!(*number, at % 200, "picture {at} of {}", shown.len());
    }
    assert_eq!(Decoded::of(directory, "recording.flv", "", true, true).complaints, "");
}

#[test]
fn sound_that_is_copied_is_all_there_when_its_pictures_outrun_their_reel() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let case = Case {
        pictures: 200,
        ..case(
            "hevc.mp4",
            "-r 25|-c:v libx265 -preset ultrafast -x265-params log-level=none",
            ":s=48000:c=stereo:d=8|-c:a aac",
        )
    };
    make(directory, &case);
    let path = directory.join(case.name);
    let mut alone = Unpaced::looped_as(&path, supply(None, Tracks::Audio), false);
    let own: std::collections::HashSet<Bytes> =
        bodies(&alone.play(8000), TagKind::Audio).into_iter().collect();
    let tags = outrun(directory, &path, Mode::Auto);
    let others: Vec<_> = frames(&tags, TagKind::Audio)
        .into_iter()
        .filter(|tag| !own.contains(&tag.body.to_bytes()))
        .map(|tag| tag.timestamp.as_millis())
        .collect();
    assert!(others.len() <= 2, "sound that is not the file's at {others:?}");
}

#[test]
fn what_cannot_be_decoded_is_told_once_and_the_rest_is_shown() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let case = case("asp.avi", "-r 25|-c:v mpeg4 -bf 0 -b:v 1M", ":s=44100:c=stereo:d=2.4|-c:a libmp3lame");
    make(directory, &case);
    let path = directory.join(case.name);
    let mut bytes = std::fs::read(&path).expect("it was made");
    // Noise over the contents of some chunks of pictures; their headers stay.
    let mut chunks = 0;
    for at in 4096..bytes.len() - 400 {
        if bytes[at..at + 4] == *b"00dc" && bytes[at + 5] > 0 {
            chunks += 1;
            if chunks % 7 == 3 {
                bytes[at + 8..at + 8 + 200].fill(0xA5);
            }
        }
    }
    assert!(chunks > 20, "{chunks}");
    std::fs::write(&path, bytes).expect("it is ours");
    let supply = supply_of(None, recipes(Mode::Encode, Profile::Ultra));
    let mut played = Unpaced::looped_as(&path, supply, false);
    let tags = record(&mut played, directory);
    let faults: Vec<_> = played
        .notices
        .iter()
        .filter_map(|notice| match notice {
            EventKind::SourceFault { error } => Some(error.to_string()),
            _ => None,
        })
        .collect();
    eprintln!("{faults:?}");
    assert!(faults.len() <= 1, "the same is told once: {faults:?}");
    let shown = numbers(directory, "recording.flv");
    assert!(shown.len() >= 55 * LAPS, "{} pictures", shown.len());
    let is_lap = |length: &usize| shown.iter().skip(*length).eq(shown.iter().take(shown.len() - length));
    assert!((55..=62).any(|length| is_lap(&length)), "each lap is the same: {shown:?}");
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
}

#[test]
fn a_last_picture_that_says_to_last_for_hours_ends() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let case = Case {
        then: "-c copy -bsf:v setts=duration='if(eq(N,59),2000/TB,DURATION)'",
        ..case("long.mp4", "-r 25|-c:v mpeg4 -b:v 1M", ":s=48000:c=stereo:d=2.4|-c:a aac")
    };
    make(directory, &case);
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.frame_rate = Some(FrameRate::whole(5));
    let supply = supply_of(None, recipes(Mode::Encode, encoding));
    let mut played = Unpaced::looped_as(&directory.join(case.name), supply, false);
    let is_over =
        |played: &Unpaced| played.notices.iter().any(|notice| matches!(notice, EventKind::Looped { .. }));
    while !is_over(&played) && played.due < 150_000 {
        played.play(100);
    }
    assert!(is_over(&played), "it is still shown");
    assert!(played.due > 115_000, "as long as a slide may be: {} ms", played.due);
}

#[test]
fn sound_that_is_encoded_alone_has_figures() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let video = "-r 25|-c:v libx264 -preset veryfast -bf 0 -pix_fmt yuv420p";
    let case = case("mono.mkv", video, ":s=48000:c=mono:d=2.4|-c:a libmp3lame");
    make(directory, &case);
    let figures = |mode| {
        let supply = supply_of(None, recipes(mode, Profile::Ultra));
        let mut played = Unpaced::looped_as(&directory.join(case.name), supply, false);
        let tags = played.play(2000);
        let sound = bodies(&tags, TagKind::Audio).len() as u64;
        (played.sequencer.encoding().expect("something is encoded"), sound)
    };
    let (stats, sound) = figures(Mode::Auto);
    assert_eq!(stats.encoder, "aac");
    assert!(stats.frames >= sound && sound > 80 && stats.bytes > 10 * stats.frames, "{sound} {stats:?}");
    // With pictures, it is about these.
    let (stats, _) = figures(Mode::Encode);
    assert_eq!(stats.encoder, "libx264");
}
