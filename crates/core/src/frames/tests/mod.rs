//! Frames on a virtual clock: what a program sends is encoded, taken as tags, and decoded again.

mod hour;
mod mixed;
mod queue;
mod wrong;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::{
    AudioDecoder, Codec, DecoderOptions, Packet, TimeBase, TrackInfo, TrackKind, VideoDecoder, VideoFrame,
};
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::Tag;

use super::channel::Channel;
use super::worker::Airing;
use super::*;
use crate::config::QueueBounds;
use crate::driver::{SourceContext, SourceState, TurnClock};
use crate::mix::{MixFormat, MixOptions, Mixer, Mixing};
use crate::pool::Scratch;
use crate::publish::encoder::{LiveOptions, Outbox, Reader, Writer, writing};
use crate::stream::Mailbox;
use crate::sys::CpuMeter;
use crate::transcode::{EncoderDefaults, Encoding, FrameRate, LibavEncoders, Mode, Profile, Settling, Wish};

/// Sides of a block that shows a bit of a picture's number, in pixels.
const BLOCK: usize = 8;
/// Size of a picture of `number`s.
pub(super) const SIZE: (u32, u32) = (64, 48);
/// Bits that such a picture shows.
const BITS: usize = 32;

/// A program, and a stream's worker without its thread.
pub(super) struct Studio {
    pub(super) sink: FrameSink,
    pub(super) made: Made,
    zero: Instant,
    airing: Airing,
    mixing: Option<Mixing>,
    writer: Writer,
    outbox: Outbox,
    poll: mio::Poll,
    /// When the worker is to be called, in microseconds.
    next: i64,
    pub(super) over: bool,
    pub(super) tags: Vec<Tag>,
}

/// Pictures of numbers, and sound of one channel and 8 kHz.
pub(super) fn numbered(rate: u32) -> Frames {
    Frames::new(VideoFormat::new(PixelFormat::Yuv420p, SIZE.0, SIZE.1, FrameRate::whole(rate)))
}

pub(super) fn with_sound(frames: Frames) -> Frames {
    frames.audio(AudioFormat::f32(8000, 1))
}

impl Studio {
    pub(super) fn start(frames: Frames) -> Self {
        Self::start_with(frames, false)
    }

    pub(super) fn start_with(frames: Frames, has_fallback: bool) -> Self {
        Self::start_mixed(frames, has_fallback, None)
    }

    /// The same, whose sound is mixed.
    pub(super) fn start_mixed(frames: Frames, has_fallback: bool, mixer: Option<&Mixer>) -> Self {
        let zero = Instant::now();
        let rate = frames.settings.video.rate;
        let (sink, made) =
            frames.made_at(Clock::Virtual(parking_lot::Mutex::new(zero))).expect("usable settings");
        let mut encoding = Encoding::new(Profile::Ultra);
        (encoding.tune, encoding.b_frames) = (Some("zerolatency".to_owned()), Some(0));
        (encoding.audio.sample_rate, encoding.audio.channels) = (Some(8000), Some(1));
        encoding.frame_rate = Some(rate);
        let wish = Wish { mode: Some(Mode::Encode), encoding, ..Wish::default() };
        let poll = mio::Poll::new().expect("the kernel has one");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("the kernel has one");
        let (mailbox, _commands) = Mailbox::new(waker);
        let bounds = QueueBounds { items: 1 << 20, bytes: 1 << 30, media: Duration::from_secs(1 << 20) };
        let (cpu, defaults) =
            (CpuMeter::default(), EncoderDefaults { prefer_hardware: false, fallback: true });
        let settling = Settling::new(wish, defaults);
        let mixed = mixer.map(|mixer| {
            let plan = settling.mixed_plan();
            let format = MixFormat { rate: plan.sample_rate, channels: plan.channels };
            let options = MixOptions { stream: "test".to_owned(), mixer, format, cpu: cpu.clone() };
            (Mixing::start(&options).expect("there are threads"), plan)
        });
        let mixing = mixed.as_ref().map(|(mixing, _)| mixing.clone());
        let options = FrameOptions {
            encoding: LiveOptions {
                name: "test".to_owned(),
                bounds,
                reader: mailbox.clone(),
                cpu: cpu.clone(),
                settling,
                encoders: Arc::new(LibavEncoders),
                mixed,
                probe: None,
            },
            has_fallback,
        };
        let (writer, outbox) = writing(bounds, Reader::at_once(mailbox), cpu);
        let control = options.encoding.control();
        let airing = Airing::open(made.channel(), &options, &control).expect("libx264");
        made.channel().attach().expect("it is the first");
        made.channel().start();
        let (next, over, tags) = (0, false, Vec::new());
        Self { sink, made, zero, airing, mixing, writer, outbox, poll, next, over, tags }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        self.made.channel()
    }

    pub(super) fn mixer(&self) -> Option<crate::mix::MixerRef> {
        self.mixing.as_ref().map(Mixing::handle)
    }

    /// Lets the worker do what it does up to this time, in microseconds since the first media, and sets the clock to it.
    pub(super) fn run_to(&mut self, micros: i64) {
        while self.next <= micros && !self.over {
            self.set_clock(self.next);
            self.step(self.next);
        }
        self.set_clock(micros);
    }

    /// Calls the worker only now: it was held up.
    pub(super) fn step(&mut self, now: i64) {
        self.set_clock(now);
        match self.airing.step(now, &mut self.writer).expect("it encodes") {
            Some(next) => self.next = next,
            None => {
                self.over = true;
                self.airing.finish(&mut self.writer).expect("it ends");
            }
        }
        self.pull();
    }

    fn set_clock(&self, micros: i64) {
        let Clock::Virtual(now) = &self.channel().clock else { unreachable!("it is a test's") };
        *now.lock() = self.zero + Duration::from_micros(micros as u64);
    }

    fn pull(&mut self) {
        let (mut refills, mut notices, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        let state = self.outbox.pull(&mut SourceContext {
            now: self.zero,
            clock: TurnClock::Still,
            readable: false,
            writable: false,
            tick: true,
            ticks_only: false,
            registry: self.poll.registry(),
            token: mio::Token(1),
            scratch: &mut scratch,
            tags: &mut self.tags,
            refills: &mut refills,
            notices: &mut notices,
        });
        assert!(matches!(state, SourceState::Running), "{state:?}");
    }

    /// Sends a picture of a number.
    pub(super) fn picture(&self, number: u32, when: When) -> Result<(), Error> {
        let mut frame = self.sink.frame()?;
        draw(&mut frame, number);
        self.sink.send(frame, when)
    }
}

/// Draws a number: a bit a block, white or black.
pub(super) fn draw(frame: &mut Frame, number: u32) {
    let stride = frame.stride(0);
    for (y, row) in frame.plane_mut(0).chunks_mut(stride).enumerate() {
        for (block, pixels) in row[..SIZE.0 as usize].chunks_mut(BLOCK).enumerate() {
            let bit = (y / BLOCK) * (SIZE.0 as usize / BLOCK) + block;
            pixels.fill(if bit < BITS && number >> bit & 1 == 1 { 235 } else { 16 });
        }
    }
    for plane in 1..3 {
        frame.plane_mut(plane).fill(128);
    }
}

/// Reads it.
pub(super) fn number(picture: &VideoFrame) -> u32 {
    let luma = picture.to_bytes().expect("it is in memory");
    let across = SIZE.0 as usize / BLOCK;
    (0..BITS).fold(0, |number, bit| {
        let (x, y) = ((bit % across) * BLOCK + BLOCK / 2, (bit / across) * BLOCK + BLOCK / 2);
        number | u32::from(luma[y * SIZE.0 as usize + x] > 126) << bit
    })
}

/// Times and lengths in microseconds since the first media, as a program says them.
pub(super) fn at(micros: i64) -> When {
    When::At(Duration::from_secs(5000) + Duration::from_micros(micros as u64))
}

/// Decodes tags of one kind: what comes out of a decoder of H.264 or AAC, with the time of its tag in milliseconds.
pub(super) fn pictures(tags: &[Tag], see: impl FnMut(i64, &VideoFrame)) {
    Receiver::default().pictures(tags, see);
}

/// Samples of one channel, with the number of the first at this rate, as times of tags have it.
pub(super) fn sound(tags: &[Tag], rate: u32, hear: impl FnMut(i64, &[f32])) {
    Receiver::default().sound(tags, rate, hear);
}

/// Decodes a stream that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    video: Option<VideoDecoder>,
    audio: Option<AudioDecoder>,
}

impl Receiver {
    pub(super) fn pictures(&mut self, tags: &[Tag], mut see: impl FnMut(i64, &VideoFrame)) {
        for tag in tags.iter().filter(|tag| tag.is_video()) {
            match coded(tag).expect("H.264").part {
                Part::Config(config) => {
                    let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
                    track.config = Some(config);
                    let decoder = VideoDecoder::open(&track, &DecoderOptions::default());
                    self.video = Some(decoder.expect("a decoder"));
                }
                Part::Frames { data, .. } => {
                    let decoder = self.video.as_mut().expect("the header comes first");
                    let time = Some(tag.timestamp.as_millis());
                    decoder.push(&Packet::new(0, time, time, data)).expect("it decodes");
                    while let Some(picture) = decoder.pull().expect("it decodes") {
                        see(picture.pts().expect("it has a time"), &picture);
                    }
                }
            }
        }
    }

    pub(super) fn sound(&mut self, tags: &[Tag], rate: u32, mut hear: impl FnMut(i64, &[f32])) {
        for tag in tags.iter().filter(|tag| tag.is_audio()) {
            match coded(tag).expect("AAC").part {
                Part::Config(config) => {
                    let mut track = TrackInfo::new(0, TrackKind::Audio, Codec::Aac, TimeBase::new(1, rate));
                    track.config = Some(config);
                    let decoder = AudioDecoder::open(&track, &DecoderOptions::default());
                    self.audio = Some(decoder.expect("a decoder"));
                }
                Part::Frames { data, .. } => {
                    let decoder = self.audio.as_mut().expect("the header comes first");
                    let base = TimeBase::new(1, rate);
                    let time = Some(TimeBase::MILLIS.rescale(tag.timestamp.as_millis(), base));
                    decoder.push(&Packet::new(0, time, time, data)).expect("it decodes");
                    while let Some(samples) = decoder.pull().expect("it decodes") {
                        let bytes = samples.to_bytes();
                        let channels = samples.format().channels as usize;
                        let floats: Vec<_> = bytes
                            .chunks_exact(4 * channels)
                            .map(|sample| f32::from_ne_bytes([sample[0], sample[1], sample[2], sample[3]]))
                            .collect();
                        hear(samples.pts().expect("it has a time"), &floats);
                    }
                }
            }
        }
    }
}
