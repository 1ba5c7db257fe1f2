//! A day of stream time through decoder and encoder, lap after lap without a clock: neither track drifts, and memory stays.
//!
//! The whole day takes up to half an hour, so it runs when asked for:
//!
//! ```text
//! cargo test --release -p flowcast-core --lib encoded_day -- --ignored --nocapture
//! ```

use std::sync::Arc;

use super::*;
use crate::transcode::{EncoderDefaults, Encoding, LibavEncoders, Mode, Profile, Settling, Wish};

const FPS: i64 = 25;
const SAMPLE_RATE: i64 = 44_100;
/// Samples of an AAC frame.
const SAMPLES: i64 = 1024;

/// How far a track's newest frame is from where the number of its frames says.
#[derive(Debug, Default)]
struct Drift {
    first: Option<i64>,
    newest: i64,
    frames: i64,
    /// The farthest it ever was, in milliseconds.
    most: f64,
}

impl Drift {
    #[track_caller]
    fn note(&mut self, time: i64, frame_ms: f64) {
        assert!(self.first.is_none() || time > self.newest, "{time} ms after {}", self.newest);
        let first = *self.first.get_or_insert(time);
        self.newest = time;
        let off = (time - first) as f64 - self.frames as f64 * frame_ms;
        self.frames += 1;
        self.most = if off.abs() > self.most.abs() { off } else { self.most };
    }
}

/// Resident memory of this process, KiB.
fn resident_kib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

/// Plays this many laps of `frames` pictures; how much memory grew after the first tenth, in KiB.
fn play_laps(laps: u64, frames: i64) -> i64 {
    let scratch = Scratch::new();
    let spec = SampleSpec {
        width: 64,
        height: 36,
        fps: FPS as u32,
        seconds: frames as f64 / FPS as f64,
        gop_frames: 50,
        bitrate: 50_000,
        audio: Some((SAMPLE_RATE as u32, 1)),
        ..SampleSpec::default()
    };
    let clip = scratch.clip("clip.mp4", &spec);
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.video_bit_rate = Some(crate::BitRate::from_kbps(100));
    encoding.audio.bit_rate = Some(crate::BitRate::from_kbps(32));
    encoding.audio.channels = Some(1);
    let wish = Wish { mode: Some(Mode::Encode), encoding, ..Wish::default() };
    let settling = Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true });
    let recipes = Recipes::encoded(Tracks::Both, settling, Arc::new(LibavEncoders));
    let mut played = Unpaced::looped_as(&clip, supply_of(None, recipes), false);
    let began = Instant::now();
    let (mut video, mut audio) = (Drift::default(), Drift::default());
    let (video_ms, audio_ms) = (1000.0 / FPS as f64, (SAMPLES * 1000) as f64 / SAMPLE_RATE as f64);
    let (mut passed, mut early, mut apart) = (0, 0, 0);
    while passed < laps {
        for tag in played.play(1000) {
            match tag.kind {
                _ if tag.is_sequence_header() => {}
                TagKind::Video => video.note(tag.timestamp.as_millis(), video_ms),
                TagKind::Audio => audio.note(tag.timestamp.as_millis(), audio_ms),
                TagKind::Script => {}
            }
        }
        apart = apart.max((video.newest - audio.newest).abs());
        for notice in played.notices.drain(..) {
            assert!(matches!(notice, EventKind::Looped { .. }), "{notice:?}");
            passed += 1;
        }
        if early == 0 && passed * 10 >= laps {
            early = resident_kib();
        }
    }
    let grown = resident_kib() as i64 - early as i64;
    eprintln!(
        "{:.2} h of stream time in {:.1?}, {passed} loop points: {} pictures never more than {:.2} ms from where they should be, \
         {} frames of sound {:.2} ms; memory {early} KiB, then {grown:+} KiB",
        video.newest as f64 / 3_600_000.0,
        began.elapsed(),
        video.frames,
        video.most,
        audio.frames,
        audio.most,
    );
    // Times are whole milliseconds, and so is where a lap begins.
    assert!(video.most.abs() <= 1.0, "{video:?}");
    assert!(audio.most.abs() <= 1.0, "{audio:?}");
    assert!(apart <= 250, "{apart} ms apart");
    assert_eq!(video.frames / frames, passed as i64, "pictures are lost or doubled");
    grown
}

#[test]
fn laps_that_are_encoded_each_do_not_drift() {
    play_laps(50, FPS * 3 / 2);
}

#[test]
#[ignore = "up to half an hour"]
fn a_day_of_a_thousand_laps_does_not_drift_and_memory_stays() {
    let grown = play_laps(1000, 86_400 * FPS / 1000);
    assert!(grown < 4096, "{grown} KiB more");
}
