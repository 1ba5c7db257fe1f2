//! The bit rate, the frame rate and the size of what one encoder is given while it is at work.
//!
//! In: what the stream's dial says before each picture, and the bytes that come out. Out: what to do about it: nothing, tell the encoder, leave pictures out,
//! or open another encoder where a GOP begins. Runs on the thread that encodes.
//!
//! An encoder that is given every other picture takes it for the next one: it is told twice the rate, so that each picture gets as many bits as it should.

use super::encoders::PictureEncoder;
use super::plan::VideoPlan;
use crate::adapt::{AtWork, Dial};

/// After a step down, what the encoder still has is let out for this many seconds before its rate is looked at, over as many.
const LOOKED_AT: i64 = 2;
/// It has not heard if it gives so many times the rate.
const UNHEARD: u64 = 2;

/// What sets the rate of an encoder, and what that is at.
#[derive(Debug)]
pub(super) struct Steer {
    dial: Dial,
    _at_work: AtWork,
    /// What the encoder is at.
    at: At,
    /// What no encoder opens with: the one that is at work goes on.
    refused: Option<At>,
    /// It does not do what it is told.
    deaf: bool,
    check: Option<Check>,
}

/// What an encoder is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Thousand bits per second of its own time.
    pub(super) kbps: u32,
    /// Of so many pictures it is given one.
    pub(super) every: u16,
    /// Of the width and height that were planned.
    pub(super) percent: u16,
}

impl At {
    /// What the dial says now.
    pub(super) fn wanted(dial: &Dial, plan: &VideoPlan) -> Self {
        let (cut, kbps) = (dial.cut(), dial.target(plan.kbps));
        let every = cut.every.max(1);
        // The headers may allow no more than was planned.
        let kbps = kbps.saturating_mul(u32::from(every)).min(plan.kbps.max(kbps));
        Self { kbps, every, percent: cut.percent }
    }

    /// Width and height.
    pub(super) fn size(self, plan: &VideoPlan) -> (u32, u32) {
        if self.percent == 100 {
            return (plan.width, plan.height);
        }
        let side = |side: u32| ((side * u32::from(self.percent) / 100) & !1).max(16).min(side);
        (side(plan.width), side(plan.height))
    }
}

/// Whether an encoder does what it was told.
#[derive(Debug)]
struct Check {
    /// Pictures until its bytes are counted, and then until they are judged.
    pictures: i64,
    bytes: Option<u64>,
}

/// What is to be done before a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Nothing,
    /// Another encoder takes over with this picture.
    Reopen,
}

impl Steer {
    /// For an encoder that is opened by `plan`; its headers allow `most` bits per second, if that is known.
    pub(super) fn new(dial: &Dial, plan: &VideoPlan, most: Option<u64>) -> Self {
        let at = At::wanted(dial, plan);
        let at_work = dial.begin(plan.kbps, most);
        let hertz = u64::from(plan.frame_rate.num()) * 1000 / u64::from(plan.frame_rate.den().max(1));
        dial.shows(u64::from(plan.width) * u64::from(plan.height) * hertz / 1000, hertz);
        Self { dial: dial.clone(), _at_work: at_work, at, refused: None, deaf: false, check: None }
    }

    /// Whether the rate is going to be changed.
    pub(super) fn changes(&self) -> bool {
        self.dial.adapts()
    }

    /// What an encoder is opened at now.
    pub(super) fn open_at(&mut self, plan: &VideoPlan) -> At {
        let wanted = At::wanted(&self.dial, plan);
        if self.refused != Some(wanted) {
            self.at = wanted;
        }
        (self.deaf, self.check) = (false, None);
        self.at
    }

    /// No encoder opens at what it is at: it stays at what was before.
    pub(super) fn refuse(&mut self, before: At) {
        self.refused = Some(std::mem::replace(&mut self.at, before));
    }

    /// What the encoder is at.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// Of so many places, one is encoded now.
    pub(super) fn every(&self) -> i64 {
        i64::from(self.dial.cut().every.max(1))
    }

    /// Tells the encoder what the dial says, before a picture, with which a GOP `begins` or does not. Where that needs another encoder, that is with the first
    /// picture of a GOP.
    pub(super) fn turn(&mut self, plan: &VideoPlan, encoder: &mut dyn PictureEncoder, begins: bool) -> Turn {
        let wanted = At::wanted(&self.dial, plan);
        if (wanted == self.at && !self.deaf) || self.refused == Some(wanted) {
            return Turn::Nothing;
        }
        if wanted.kbps == self.at.kbps {
            // The buffer may be another one from the next change on.
            self.at.every = wanted.every;
        } else if !self.deaf {
            let (bits, vbv_bits) = bits(plan, wanted.kbps, wanted.every);
            if encoder.set_bit_rate(bits, vbv_bits) {
                let rate = i64::from(plan.frame_rate.num() / plan.frame_rate.den()).max(1);
                let check = Check { pictures: rate * LOOKED_AT, bytes: None };
                self.check = (wanted.kbps < self.at.kbps).then_some(check);
                (self.at.kbps, self.at.every) = (wanted.kbps, wanted.every);
            }
        }
        let is_done = wanted == self.at && !self.deaf;
        if begins && !is_done { Turn::Reopen } else { Turn::Nothing }
    }

    /// The encoder gave a picture of so many bytes.
    pub(super) fn gave(&mut self, plan: &VideoPlan, bytes: usize) {
        let Some(check) = &mut self.check else { return };
        check.pictures -= 1;
        if let Some(counted) = &mut check.bytes {
            *counted += bytes as u64;
        }
        if check.pictures > 0 {
            return;
        }
        let rate = i64::from(plan.frame_rate.num() / plan.frame_rate.den()).max(1);
        match check.bytes {
            None => (check.pictures, check.bytes) = (rate * LOOKED_AT, Some(0)),
            Some(bytes) => {
                let most = UNHEARD * LOOKED_AT.unsigned_abs() * u64::from(self.at.kbps) * 1000 / 8;
                self.deaf = bytes > most;
                self.check = None;
            }
        }
    }
}

/// Bits per second, and of the buffer, at this rate, for an encoder that is given one of so many pictures: the buffer holds as much time as it was planned to.
pub(super) fn bits(plan: &VideoPlan, kbps: u32, every: u16) -> (u64, u64) {
    let vbv_kbits =
        u64::from(plan.vbv_kbits) * u64::from(kbps) / (u64::from(plan.kbps.max(1)) * u64::from(every.max(1)));
    // Not less than a picture: x264 would warn, and take more.
    let picture = u64::from(kbps) * u64::from(plan.frame_rate.den()) / u64::from(plan.frame_rate.num()) + 1;
    (1000 * u64::from(kbps), 1000 * vbv_kbits.max(picture))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use bytes::Bytes;
    use flowcast_av::encoder::{RateControl, VideoSettings};
    use flowcast_av::{Codec, Error as Media, Packet, TimeBase, TrackInfo, TrackKind, VideoFrame};
    use parking_lot::Mutex;

    use super::*;
    use crate::bit_rate::BitRate;
    use crate::transcode::decode::{Decoded, FrameStage};
    use crate::transcode::encoders::Encoders;
    use crate::transcode::pictures::Pictures;
    use crate::transcode::plan::{Drawn, EncoderPlan, FirstEncoder};
    use crate::transcode::{FrameRate, Threading, VideoCodec};

    /// What an encoder does with another rate.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Manner {
        Hears,
        Keeps,
        /// It says that it does, and does not.
        Deaf,
    }

    /// Opens encoders of one manner, at any rate but one.
    #[derive(Debug)]
    struct Rated {
        manner: Manner,
        refused: Option<u64>,
        /// The rates, in kbit/s, they were opened at.
        opened: Mutex<Vec<u64>>,
    }

    #[derive(Debug)]
    struct RatedEncoder {
        manner: Manner,
        track: TrackInfo,
        bits: u64,
        given: VecDeque<Packet>,
    }

    impl Encoders for Rated {
        fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
            vec!["rated".to_owned()]
        }

        fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
            let RateControl::Cbr { bit_rate, .. } = settings.rate_control else {
                panic!("a constant rate is asked for")
            };
            if self.refused == Some(bit_rate / 1000) {
                return Err(Media::Unavailable { what: "encoder", name: "rated".to_owned() });
            }
            self.opened.lock().push(bit_rate / 1000);
            let mut track = TrackInfo::new(track, TrackKind::Video, Codec::H264, TimeBase::new(1, 25));
            track.config = Some(Bytes::from_static(b"headers"));
            Ok(Box::new(RatedEncoder { manner: self.manner, track, bits: bit_rate, given: VecDeque::new() }))
        }

        fn failed(&self, _: &str) {}
    }

    impl PictureEncoder for RatedEncoder {
        fn pixel_format(&self) -> &str {
            "yuv420p"
        }

        fn track(&self) -> &TrackInfo {
            &self.track
        }

        fn set_bit_rate(&mut self, bit_rate: u64, _: u64) -> bool {
            if self.manner == Manner::Hears {
                self.bits = bit_rate;
            }
            self.manner != Manner::Keeps
        }

        fn push(&mut self, frame: &VideoFrame) -> Result<(), Media> {
            let data = Bytes::from(vec![0; (self.bits / 25 / 8) as usize]);
            self.given.push_back(Packet::new(0, frame.pts(), frame.pts(), data));
            Ok(())
        }

        fn pull(&mut self) -> Result<Option<Packet>, Media> {
            Ok(self.given.pop_front())
        }

        fn finish(&mut self) -> Result<(), Media> {
            Ok(())
        }
    }

    fn plan() -> VideoPlan {
        VideoPlan {
            codec: VideoCodec::H264,
            width: 32,
            height: 32,
            frame_rate: FrameRate::whole(25),
            kbps: 1000,
            vbv_kbits: 300,
            filler: false,
            crf_tenths: None,
            gop_frames: 50,
            b_frames: 0,
            refs: None,
            preset: "ultrafast".to_owned(),
            tune: String::new(),
            profile: "main".to_owned(),
            threads: 1,
            threading: Threading::Frame,
            x264_params: String::new(),
            encoder: EncoderPlan { first: FirstEncoder::Software, fallback: false },
            drawn: Drawn::default(),
        }
    }

    /// The rate of each of so many pictures, in kbit/s, with what the network takes from some of them on; and the rates encoders were opened at.
    fn run(manner: Manner, refused: Option<u64>, count: i64, limits: &[(i64, u64)]) -> (Vec<u64>, Vec<u64>) {
        let dial = Dial::default();
        let rated = Arc::new(Rated { manner, refused, opened: Mutex::default() });
        let encoders: Arc<dyn Encoders> = rated.clone();
        let track = TrackInfo::new(0, TrackKind::Video, Codec::from_name("rawvideo"), TimeBase::new(1, 25));
        let mut pictures = Pictures::open(&track, &plan(), &encoders, &dial).expect("it opens");
        assert_eq!(dial.now(), Some(BitRate::from_kbps(1000)));
        let (mut packets, mut notices) = (VecDeque::new(), Vec::new());
        for number in 0..count {
            if let Some((_, kbps)) = limits.iter().find(|(at, _)| *at == number) {
                dial.limit(Some(BitRate::from_kbps(*kbps)));
            }
            let mut picture = VideoFrame::black(32, 32, "yuv420p").expect("a picture");
            picture.set_pts(Some(number));
            pictures.take(Decoded::Frame(picture));
            while pictures.work(&mut packets, &mut notices).expect("it encodes") {}
        }
        pictures.take(Decoded::End { all_end: None });
        while pictures.work(&mut packets, &mut notices).expect("it encodes") {}
        drop(pictures);
        assert_eq!(dial.now(), None, "nothing is encoded any more");
        assert!(notices.is_empty(), "{notices:?}");
        let times: Vec<_> = packets.iter().filter_map(|packet| packet.pts).collect();
        assert!(times.is_sorted() && times.len() as i64 == count, "no picture is lost");
        assert!(packets.iter().all(|packet| packet.config.is_none()), "the headers stay");
        let rates = packets.iter().map(|packet| packet.data.len() as u64 * 8 * 25 / 1000).collect();
        let opened = rated.opened.lock().clone();
        (rates, opened)
    }

    #[test]
    fn an_encoder_that_hears_changes_with_the_next_picture() {
        let (rates, opened) = run(Manner::Hears, None, 100, &[(30, 400), (70, 900)]);
        assert_eq!(opened, [1000]);
        let wanted = |picture: usize| {
            if picture < 30 {
                1000
            } else if picture < 70 {
                400
            } else {
                900
            }
        };
        assert!(rates.iter().enumerate().all(|(number, rate)| *rate == wanted(number)), "{rates:?}");
    }

    #[test]
    fn another_one_takes_the_place_of_one_that_keeps_its_rate_where_a_gop_begins() {
        let (rates, opened) = run(Manner::Keeps, None, 160, &[(30, 400), (60, 500)]);
        assert_eq!(opened, [1000, 400, 500]);
        let wanted = |picture: usize| {
            if picture < 50 {
                1000
            } else if picture < 100 {
                400
            } else {
                500
            }
        };
        assert!(rates.iter().enumerate().all(|(number, rate)| *rate == wanted(number)), "{rates:?}");
    }

    #[test]
    fn one_that_does_not_do_what_it_was_told_is_replaced() {
        let (rates, opened) = run(Manner::Deaf, None, 250, &[(10, 400)]);
        assert_eq!(opened, [1000, 400]);
        // Two seconds for what it had, two to be counted, and the GOP.
        let changed = rates.iter().position(|rate| *rate == 400).expect("it is replaced");
        assert_eq!(changed, 150);
        // One that gives a little more is left alone.
        let (_, opened) = run(Manner::Deaf, None, 250, &[(10, 600)]);
        assert_eq!(opened, [1000]);
    }

    #[test]
    fn a_rate_no_encoder_opens_with_leaves_the_one_there_was() {
        let (rates, opened) = run(Manner::Keeps, Some(400), 210, &[(30, 400), (110, 500)]);
        assert_eq!(opened, [1000, 1000, 500]);
        assert!(rates[..150].iter().all(|rate| *rate == 1000), "{rates:?}");
        assert!(rates[150..].iter().all(|rate| *rate == 500), "{rates:?}");
    }

    #[test]
    fn an_encoder_of_every_other_picture_is_told_twice_the_rate_and_another_size_needs_another_one() {
        let (dial, plan) = (Dial::default(), plan());
        let mut steer = Steer::new(&dial, &plan, None);
        let track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::new(1, 25));
        let (manner, given) = (Manner::Hears, VecDeque::new());
        let mut encoder = RatedEncoder { manner, track, bits: 1_000_000, given };
        let cut = |permille, every, percent| crate::adapt::Cut { permille, every, percent };
        dial.step_to(1, cut(480, 2, 100));
        assert_eq!(steer.turn(&plan, &mut encoder, false), Turn::Nothing);
        assert_eq!((encoder.bits, steer.every()), (960_000, 2));
        // The headers may not allow more than was planned.
        dial.step_to(1, cut(720, 2, 100));
        assert_eq!(steer.turn(&plan, &mut encoder, false), Turn::Nothing);
        assert_eq!(encoder.bits, 1_000_000);
        dial.step_to(1, cut(320, 2, 50));
        assert_eq!(steer.turn(&plan, &mut encoder, false), Turn::Nothing, "not within a GOP");
        assert_eq!(encoder.bits, 640_000, "the rate does not wait");
        assert_eq!(steer.turn(&plan, &mut encoder, true), Turn::Reopen);
        let at = steer.open_at(&plan);
        assert_eq!((at.kbps, at.size(&plan)), (640, (16, 16)));
        assert_eq!(steer.turn(&plan, &mut encoder, true), Turn::Nothing);
        // None opens at that size: the one there was goes on, until something else is wanted.
        let before = At { kbps: 640, every: 2, percent: 100 };
        steer.refuse(before);
        assert_eq!((steer.turn(&plan, &mut encoder, true), steer.at()), (Turn::Nothing, before));
        dial.step_to(0, cut(1000, 1, 100));
        assert_eq!(steer.turn(&plan, &mut encoder, true), Turn::Nothing);
        assert_eq!((encoder.bits, steer.every()), (1_000_000, 1));
    }

    /// Whatever the frame rate, a lap is as long as it was.
    #[test]
    fn at_half_the_frame_rate_a_lap_has_its_last_place_and_its_length() {
        for count in [1, 2, 50, 51] {
            let dial = Dial::default();
            dial.step_to(1, crate::adapt::Cut { permille: 1000, every: 2, percent: 100 });
            let encoders: Arc<dyn Encoders> =
                Arc::new(Rated { manner: Manner::Hears, refused: None, opened: Mutex::default() });
            let track =
                TrackInfo::new(0, TrackKind::Video, Codec::from_name("rawvideo"), TimeBase::new(1, 25));
            let mut pictures = Pictures::open(&track, &plan(), &encoders, &dial).expect("it opens");
            let step = pictures.output().time_base.den as i64 / 25;
            for lap in 0..2 {
                let (mut packets, mut notices) = (VecDeque::new(), Vec::new());
                for number in 0..count {
                    let mut picture = VideoFrame::black(32, 32, "yuv420p").expect("a picture");
                    picture.set_pts(Some(number));
                    pictures.take(Decoded::Frame(picture));
                    while pictures.work(&mut packets, &mut notices).expect("it encodes") {}
                }
                pictures.take(Decoded::End { all_end: None });
                while pictures.work(&mut packets, &mut notices).expect("it encodes") {}
                let places: Vec<_> = packets.iter().map(|packet| packet.pts.unwrap_or(-1) / step).collect();
                let expected: Vec<_> =
                    (0..count).filter(|place| place % 2 == 0 || *place == count - 1).collect();
                assert_eq!(places, expected, "lap {lap}");
                let end = packets.back().map(|packet| packet.pts.unwrap_or(-1) + packet.duration);
                assert_eq!(end, Some(count * step));
                assert_eq!(pictures.take_left_out() as i64, count - expected.len() as i64);
                pictures.rewind().expect("it opens");
            }
        }
    }

    #[test]
    fn the_buffer_holds_as_much_time_at_each_rate_and_at_least_a_picture() {
        assert_eq!(bits(&plan(), 1000, 1), (1_000_000, 300_000));
        assert_eq!(bits(&plan(), 500, 1), (500_000, 150_000));
        let small = VideoPlan { vbv_kbits: 16, ..plan() };
        assert_eq!(bits(&small, 500, 1), (500_000, 21_000));
        assert_eq!(bits(&plan(), 1000, 2), (1_000_000, 150_000), "of half the pictures, as long on the air");
    }
}
