//! Frames that a program makes, on their way to packets: they enter behind the decoder.
//!
//! In: pictures and samples that were never encoded, at places of a constant rate, from one thread. Out: packets of the plan's codecs. A
//! picture is converted once, however often it is shown. Runs on the worker's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use flowcast_av::{
    AudioFrame, AudioInfo, Codec, MediaInfo, Packet, Ratio, Scaling, TimeBase, TrackInfo, TrackKind,
    VideoFormat, VideoFrame, VideoInfo,
};
use flowcast_rtmp::flv::silence::{aac_config, aac_silence};

use super::decode::{Decoded, FrameStage};
use super::encoders::Encoders;
use super::encoding::{AudioCodec, FrameRate};
use super::pictures::Pictures;
use super::pipeline::Control;
use super::plan::{AudioPlan, Drawn, Plan, VideoPlan};
use super::shaper::Shaper;
use super::sounds::Sounds;
use crate::error::Error;
use crate::event::EventKind;

/// The tracks of what a program makes.
const VIDEO: usize = 0;
const AUDIO: usize = 1;
/// Samples of a frame of AAC.
const AAC_FRAME: i64 = 1024;

/// What a program makes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raw {
    /// What its pictures are like, and what they are called by their colours in the stream.
    pub(crate) pictures: VideoFormat,
    /// How many there are a second, about.
    pub(crate) rate: FrameRate,
    /// Sampling rate in hertz and channels; `None` without sound.
    pub(crate) sound: Option<(u32, u32)>,
}

impl Raw {
    /// The same as a file would be described that has it.
    pub(crate) fn media(&self) -> MediaInfo {
        let rate = Ratio { num: self.rate.num(), den: self.rate.den() };
        let base = TimeBase::new(rate.den, rate.num);
        let mut video = TrackInfo::new(VIDEO, TrackKind::Video, Codec::from_name("rawvideo"), base);
        video.video = Some(VideoInfo {
            frame_rate: Some(rate),
            pixel_format: self.pictures.pixel_format.clone(),
            color: self.pictures.color.clone(),
            ..VideoInfo::of_size(self.pictures.width, self.pictures.height)
        });
        let audio = self.sound.map(|(sample_rate, channels)| {
            let base = TimeBase::new(1, sample_rate);
            let mut audio = TrackInfo::new(AUDIO, TrackKind::Audio, Codec::from_name("pcm_f32le"), base);
            audio.audio = Some(sound(sample_rate, channels, 0));
            audio
        });
        MediaInfo {
            format: "frames".to_owned(),
            duration: None,
            start_micros: None,
            bit_rate: None,
            tracks: std::iter::once(video).chain(audio).collect(),
            metadata: Vec::new(),
            seekable: false,
        }
    }
}

fn sound(sample_rate: u32, channels: u32, frame_samples: u32) -> AudioInfo {
    AudioInfo { sample_rate, channels, layout: String::new(), frame_samples, priming_samples: 0 }
}

/// How pictures are brought to the size and pixel format of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Converting {
    pub(crate) scaling: Scaling,
    /// Threads that share a picture.
    pub(crate) threads: u32,
}

/// Encodes what a program makes.
#[derive(Debug)]
pub(crate) struct FrameEncoder {
    media: MediaInfo,
    rate: FrameRate,
    shaper: Shaper,
    pictures: Pictures,
    sound: Sound,
    control: Control,
    ready: VecDeque<Packet>,
    notices: Vec<EventKind>,
}

/// Where its sound comes from.
#[derive(Debug)]
enum Sound {
    Encoded(Box<Sounds>),
    /// There is none: frames of silence that need no encoder, of which `given` are out.
    Silent {
        frame: Bytes,
        rate: u32,
        given: i64,
    },
}

impl FrameEncoder {
    /// Opens the encoders for what is like `raw`. Without sound, silence is sent.
    ///
    /// # Errors
    ///
    /// No encoder opens.
    pub(crate) fn open(
        raw: &Raw,
        plan: &Plan,
        converting: Converting,
        encoders: &Arc<dyn Encoders>,
        control: &Control,
    ) -> Result<Self, Error> {
        let mut media = raw.media();
        let nothing = || Error::Config { name: "mode", reason: "frames are always encoded".to_owned() };
        let video = plan.video.as_ref().ok_or_else(nothing)?;
        let input = media.track(VIDEO).ok_or_else(nothing)?.clone();
        let input = TrackInfo { time_base: base_of(video.frame_rate), ..input };
        // They are filtered where they are converted, once for each picture of the program's.
        let drawn = Drawn { filters: String::new(), ..video.drawn.clone() };
        let video_plan = VideoPlan { drawn, ..video.clone() };
        let mut pictures = Pictures::open(&input, &video_plan, encoders, &control.dial)?;
        pictures.watched_by(control.probe.clone());
        control.meter.name(pictures.encoder());
        pictures.measured_by(&control.meter);
        let mut shaper = Shaper::new(&input, video, pictures.pixel_format());
        shaper.set_scaling(converting.scaling, converting.threads);
        let notices = pictures.take_change().into_iter().collect();
        let (track, sound) = match (&plan.audio, media.track(AUDIO)) {
            (Some(plan), Some(input)) => {
                let sounds = Sounds::open(input, plan, control, None)?;
                (sounds.output().clone(), Sound::Encoded(Box::new(sounds)))
            }
            _ => silence(plan.audio.as_ref())?,
        };
        media.tracks = vec![pictures.output().clone(), track];
        Ok(Self {
            media,
            rate: video.frame_rate,
            shaper,
            pictures,
            sound,
            control: control.clone(),
            ready: VecDeque::new(),
            notices,
        })
    }

    /// What comes out.
    pub(crate) fn media(&self) -> &MediaInfo {
        &self.media
    }

    /// The constant rate of the pictures that come out, and of the places that [`picture`](Self::picture) takes.
    pub(crate) fn rate(&self) -> FrameRate {
        self.rate
    }

    /// A picture in the size and pixel format of the stream; the newest where a filter gives several, none where it holds the picture.
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: libav cannot convert it.
    pub(crate) fn shape(&mut self, picture: VideoFrame) -> Result<Option<VideoFrame>, Error> {
        self.shaper.push(picture);
        let mut newest = None;
        while let Some(shaped) = self.shaper.pull()? {
            newest = Some(shaped);
        }
        Ok(newest)
    }

    /// Encodes a picture that was [shaped](Self::shape), for this place.
    ///
    /// # Errors
    ///
    /// No encoder is left; [`Error::Media`].
    pub(crate) fn picture(&mut self, picture: &VideoFrame, place: i64) -> Result<(), Error> {
        let mut picture = picture.share()?;
        picture.set_pts(Some(place));
        self.pictures.take(Decoded::Frame(picture));
        self.work_pictures()
    }

    fn work_pictures(&mut self) -> Result<(), Error> {
        let before = self.ready.len();
        while self.pictures.work(&mut self.ready, &mut self.notices)? {}
        let meter = &self.control.meter;
        for packet in self.ready.range(before..) {
            meter.frame(packet.data.len(), self.pictures.pixels());
        }
        meter.holds(self.pictures.held_bytes());
        meter.name(self.pictures.encoder());
        Ok(())
    }

    /// Encodes samples, whose time is the number of the first one.
    ///
    /// # Errors
    ///
    /// The encoder fails.
    pub(crate) fn samples(&mut self, samples: AudioFrame) -> Result<(), Error> {
        let Sound::Encoded(sounds) = &mut self.sound else { return Ok(()) };
        sounds.take(Decoded::Frame(samples));
        while sounds.work(&mut self.ready, &mut self.notices)? {}
        Ok(())
    }

    /// Without sound of the program's: silence up to this time, in microseconds.
    pub(crate) fn silence_to(&mut self, micros: i64) {
        let Sound::Silent { frame, rate, given } = &mut self.sound else { return };
        let base = TimeBase::new(1, *rate);
        let until = TimeBase::MICROS.rescale(micros, base);
        while given.saturating_mul(AAC_FRAME) < until {
            let at = Some(*given * AAC_FRAME);
            let mut packet = Packet::new(AUDIO, at, at, frame.clone());
            packet.keyframe = true;
            packet.duration = AAC_FRAME;
            self.ready.push_back(packet);
            *given += 1;
        }
    }

    /// Whether the program's sound is encoded.
    pub(crate) fn has_sound(&self) -> bool {
        matches!(self.sound, Sound::Encoded(_))
    }

    /// After [`finish`](Self::finish), begins again, with a keyframe, with what comes next; its times may be any later ones, from `micros`
    /// on.
    ///
    /// # Errors
    ///
    /// No encoder opens.
    pub(crate) fn restart(&mut self, micros: i64) -> Result<(), Error> {
        self.pictures.rewind()?;
        self.notices.extend(self.pictures.take_change());
        if let Sound::Encoded(sounds) = &mut self.sound {
            sounds.rewind()?;
        }
        self.silence_from(micros);
        Ok(())
    }

    /// Without sound of the program's: there is no silence before this time, in microseconds.
    pub(crate) fn silence_from(&mut self, micros: i64) {
        if let Sound::Silent { rate, given, .. } = &mut self.sound {
            let samples = TimeBase::MICROS.rescale(micros, TimeBase::new(1, *rate));
            *given = (*given).max(samples.div_euclid(AAC_FRAME));
        }
    }

    /// Nothing follows for now: brings out what the encoders hold.
    ///
    /// # Errors
    ///
    /// [`Error::Media`].
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.pictures.take(Decoded::End { all_end: None });
        self.work_pictures()?;
        if let Sound::Encoded(sounds) = &mut self.sound {
            sounds.take(Decoded::End { all_end: None });
            while sounds.work(&mut self.ready, &mut self.notices)? {}
        }
        Ok(())
    }

    /// The next packet. Frames of AAC that only prime a decoder are left out: they would come before the first picture.
    pub(crate) fn pull(&mut self) -> Option<Packet> {
        let is_priming = |packet: &Packet| i64::from(packet.skip_start) >= AAC_FRAME;
        while self.ready.front().is_some_and(is_priming) {
            self.ready.pop_front();
        }
        self.ready.pop_front()
    }

    /// What there is to tell since the last time.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, EventKind> {
        self.notices.drain(..)
    }
}

/// One tick for each picture.
fn base_of(rate: FrameRate) -> TimeBase {
    TimeBase::new(rate.den(), rate.num())
}

/// Silence in place of sound that the program does not give, as the plan for sound says, or as most platforms take it.
fn silence(plan: Option<&AudioPlan>) -> Result<(TrackInfo, Sound), Error> {
    let (rate, channels) = plan.map_or((44_100, 2), |plan| (plan.sample_rate, plan.channels));
    let made = u8::try_from(channels).ok().and_then(|channels| {
        let config = aac_config(rate, channels)?;
        Some((config, aac_silence(if channels == 8 { 7 } else { channels })?))
    });
    let is_aac = plan.is_none_or(|plan| plan.codec == AudioCodec::Aac);
    let (config, frame) = made.filter(|_| is_aac).ok_or_else(|| Error::Config {
        name: "encoding.audio",
        reason: "silence, which is sent without sound of the program's, is AAC of a usual rate".to_owned(),
    })?;
    let mut track = TrackInfo::new(AUDIO, TrackKind::Audio, Codec::Aac, TimeBase::new(1, rate));
    track.config = Some(config);
    track.audio = Some(sound(rate, channels, AAC_FRAME as u32));
    track.default = true;
    Ok((track, Sound::Silent { frame, rate, given: 0 }))
}
