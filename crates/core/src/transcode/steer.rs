//! The bit rate of one encoder while it is at work.
//!
//! In: what the stream's dial says before each picture, and the bytes that come out. Out: what to do about it: nothing, tell the encoder, or open another
//! one where a GOP begins. Runs on the thread that encodes.

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
    /// What the encoder is at, in kbit/s.
    kbps: u32,
    /// A rate no encoder opens with: the one that is at work goes on.
    refused: Option<u32>,
    /// It does not do what it is told.
    deaf: bool,
    check: Option<Check>,
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
        let kbps = dial.target(plan.kbps);
        let at_work = dial.begin(plan.kbps, most);
        Self { dial: dial.clone(), _at_work: at_work, kbps, refused: None, deaf: false, check: None }
    }

    /// Whether the rate is going to be changed.
    pub(super) fn changes(&self) -> bool {
        self.dial.adapts()
    }

    /// What an encoder is opened at now, in kbit/s.
    pub(super) fn open_at(&mut self, plan: &VideoPlan) -> u32 {
        let target = self.dial.target(plan.kbps);
        if self.refused != Some(target) {
            self.kbps = target;
        }
        (self.deaf, self.check) = (false, None);
        self.kbps
    }

    /// No encoder opens at the rate it is at: it stays at the one before.
    pub(super) fn refuse(&mut self, before: u32) {
        self.refused = Some(std::mem::replace(&mut self.kbps, before));
    }

    /// What the encoder is at, in kbit/s.
    pub(super) fn kbps(&self) -> u32 {
        self.kbps
    }

    /// Tells the encoder what the dial says, before a picture. Where that needs another encoder, that is with the first picture of a GOP: `taken` pictures
    /// were given to this one.
    pub(super) fn turn(&mut self, plan: &VideoPlan, encoder: &mut dyn PictureEncoder, taken: i64) -> Turn {
        let target = self.dial.target(plan.kbps);
        if (target == self.kbps && !self.deaf) || self.refused == Some(target) {
            return Turn::Nothing;
        }
        let (bits, vbv_bits) = bits(plan, target);
        if !self.deaf && encoder.set_bit_rate(bits, vbv_bits) {
            let rate = i64::from(plan.frame_rate.num() / plan.frame_rate.den()).max(1);
            let check = Check { pictures: rate * LOOKED_AT, bytes: None };
            self.check = (target < self.kbps).then_some(check);
            self.kbps = target;
            return Turn::Nothing;
        }
        let begins = taken % i64::from(plan.gop_frames.max(1)) == 0;
        if begins { Turn::Reopen } else { Turn::Nothing }
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
                let most = UNHEARD * LOOKED_AT.unsigned_abs() * u64::from(self.kbps) * 1000 / 8;
                self.deaf = bytes > most;
                self.check = None;
            }
        }
    }
}

/// Bits per second, and of the buffer, at this rate: the buffer holds as much time as it was planned to.
pub(super) fn bits(plan: &VideoPlan, kbps: u32) -> (u64, u64) {
    let vbv_kbits = u64::from(plan.vbv_kbits) * u64::from(kbps) / u64::from(plan.kbps.max(1));
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
    fn the_buffer_holds_as_much_time_at_each_rate_and_at_least_a_picture() {
        assert_eq!(bits(&plan(), 1000), (1_000_000, 300_000));
        assert_eq!(bits(&plan(), 500), (500_000, 150_000));
        let small = VideoPlan { vbv_kbits: 16, ..plan() };
        assert_eq!(bits(&small, 500), (500_000, 21_000));
    }
}
