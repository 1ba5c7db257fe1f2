//! A test card made by hand: a moving bar and a clock in H.264, silence in AAC. No libav, no encoder.
//!
//! In: the stream's time. Out: tags that are due. The pictures are uncompressed macroblocks (I_PCM) in a Baseline bitstream, ITU-T
//! H.264: a keyframe has all of them, the pictures between have those that changed and skip the others.

#[path = "h264.rs"]
mod h264;
#[path = "painting.rs"]
mod painting;

use std::time::Instant;

use flowcast::Error;
use flowcast::driver::{MediaTime, OpenSource, SourceContext, SourceDriver, SourceOpening, SourceState, Tag};
use flowcast::rtmp::flv::{audio, silence, video};
use h264::{Coder, avcc};
use painting::Picture;

/// Pictures a second.
pub(crate) const RATE: u64 = 25;
/// Pictures from one keyframe to the next.
const GOP: u64 = 2 * RATE;
/// Samples of sound a second, and in a frame.
const SOUND_RATE: u32 = 48_000;
const SOUND_FRAME: u64 = 1024;

/// The test card: what [`Engine::stream`](flowcast::Engine::stream) takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TestCard {
    /// It is complete after this many pictures.
    pub(crate) pictures: Option<u64>,
}

impl OpenSource for TestCard {
    fn open(self: Box<Self>, _cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(Box::new(OnAir { last: self.pictures, ..OnAir::default() }))
    }
}

/// The card on the air.
#[derive(Default)]
pub(crate) struct OnAir {
    last: Option<u64>,
    began: Option<Instant>,
    /// The numbers of the next picture and the next frame of sound.
    picture: u64,
    sound: u64,
    coder: Coder,
}

impl OnAir {
    fn headers() -> [Tag; 2] {
        let sound = silence::aac_config(SOUND_RATE, 2).expect("AAC has 48 kHz stereo");
        [
            video::avc_sequence_header(avcc().into(), MediaTime::ZERO),
            audio::aac_sequence_header(sound, MediaTime::ZERO),
        ]
    }

    /// The next picture.
    fn next_picture(&mut self) -> Tag {
        let number = self.picture;
        self.picture += 1;
        let is_keyframe = number.is_multiple_of(GOP);
        let coded = self.coder.code(Picture::paint(number, RATE), is_keyframe);
        video::avc_frame(picture_time(number), 0, is_keyframe, coded.into()).expect("0 fits")
    }

    /// The next frame of sound.
    fn next_sound(&mut self) -> Tag {
        let time = sound_time(self.sound);
        self.sound += 1;
        audio::aac_frame(time, silence::aac_silence(2).expect("2 is stereo"))
    }
}

impl SourceDriver for OnAir {
    fn start(&mut self, now: Instant) {
        self.began = Some(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(began) = self.began else { return SourceState::Running };
        let due = cx.now.saturating_duration_since(began).as_millis();
        let due = MediaTime::from_millis(i64::try_from(due).unwrap_or(i64::MAX));
        if self.picture == 0 {
            cx.tags.extend(Self::headers());
        }
        // In the order of their times, as they are sent.
        loop {
            let (picture, sound) = (picture_time(self.picture), sound_time(self.sound));
            if self.last.is_some_and(|last| self.picture >= last) {
                return SourceState::Ended;
            }
            if picture.min(sound) > due {
                return SourceState::Running;
            }
            let tag = if picture <= sound { self.next_picture() } else { self.next_sound() };
            cx.tags.push(tag);
        }
    }
}

fn picture_time(number: u64) -> MediaTime {
    millis(number * 1000 / RATE)
}

fn sound_time(number: u64) -> MediaTime {
    millis(number * SOUND_FRAME * 1000 / u64::from(SOUND_RATE))
}

fn millis(millis: u64) -> MediaTime {
    MediaTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
