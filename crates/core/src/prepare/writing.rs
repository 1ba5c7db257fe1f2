//! Writes the result: packets of the input, encoded where the plan says so, on a clock that begins with the first picture.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flowcast_av::{
    AudioInfo, Codec, Demuxer, Error as Media, Interrupt, Muxer, Packet, TimeBase, TrackInfo, TrackKind,
};
use flowcast_rtmp::flv::silence::{aac_config, aac_silence, channel_configuration};

use super::PreparedTrack;
use super::input::Patient;
use super::output::Part;
use super::progress::Meter;
use super::sound::Sound;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::Paced;
use crate::tracks::{Carriage, Selection};
use crate::transcode::{Control, Encoders, LibavEncoders, PacketSource, Plan, Transcoder};
use crate::verdict::Facts;

/// The most notices that are kept.
const MOST_NOTICES: usize = 100;
/// The pictures may turn out to be this many seconds longer than the scan found.
const MARGIN: f64 = 10.0;
/// Sound this close to the end that the scan found has ended, and none is expected this long after it. In seconds.
const NEAR: i64 = 1;
const FAR: i64 = 10;
/// Bytes of sound before the first picture, at most: over an hour.
const MOST_WAITING: usize = 64 << 20;
/// Samples in a packet of silence, and its channels.
const SILENT_FRAME: u32 = 1024;
const SILENT_CHANNELS: u8 = 2;

/// What is to be written.
pub(super) struct Job<'a> {
    pub(super) input: &'a Path,
    pub(super) facts: &'a Facts,
    pub(super) plan: &'a Plan,
    /// The rate of the silence that is written if there is no sound.
    pub(super) silence: Option<u32>,
    pub(super) part: &'a Part,
    pub(super) cancel: &'a Interrupt,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) video: PreparedTrack,
    pub(super) audio: PreparedTrack,
    pub(super) encoder: Option<String>,
    pub(super) damaged: u64,
    pub(super) notices: Vec<EventKind>,
}

impl Job<'_> {
    /// Reads `file` to its end.
    pub(super) fn run(&self, file: Demuxer, meter: &mut Meter<'_>) -> Result<Written, Error> {
        let encoders: Arc<dyn Encoders> = Arc::new(LibavEncoders);
        let control = Control { interrupt: self.cancel.clone(), ..Control::default() };
        let file = Paced::new(Patient::new(file));
        let mut source: Box<dyn PacketSource> = if self.plan.is_copy() {
            Box::new(file)
        } else {
            Box::new(Transcoder::new(self.input, file, self.plan, &encoders, &control)?)
        };
        let selection = Selection::of(source.media(), Carriage::Plain);
        source.select(&selection.indices());
        let Some(video) = selection.video else { return Err(self.no_picture()) };
        let audio = selection.audio.or_else(|| self.silence.and_then(silent_track));
        let (audio_base, mut tracks) = (audio.as_ref().map(|track| track.time_base), vec![video.clone()]);
        let row = audio.map(|track| self.row(track)).transpose()?;
        let row = row.map(|(track, sound, rate)| {
            tracks.push(track);
            (sound, rate)
        });
        let length = self.facts.video.as_ref().map_or(Duration::ZERO, |video| video.length);
        meter.write(length);
        let mut writer = Writer {
            muxer: self.part.muxer(&tracks, self.cancel)?,
            part: self.part,
            meter,
            pictures: Pictures { base: video.time_base, zero: None, end: 0, step: 1, last: None },
            row,
            audio_base: audio_base.unwrap_or(TimeBase::MILLIS),
            sound_end: sound_end(self.facts),
            waiting: Vec::new(),
            waiting_bytes: 0,
        };
        let mut notices = Vec::new();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled { what: "prepare" });
            }
            let packet = source.read();
            source.tell(&mut notices);
            notices.truncate(MOST_NOTICES);
            match packet? {
                Some(packet) if packet.track == video.index => writer.picture(packet)?,
                Some(packet) => writer.sound(packet)?,
                None => break,
            }
            if writer.waiting_bytes > MOST_WAITING {
                return Err(self.unusable("there is no picture in more than an hour of sound"));
            }
        }
        if writer.meter.frames() == 0 {
            return Err(self.no_picture());
        }
        writer.finish()?;
        let of = |encoded: bool| if encoded { PreparedTrack::Encoded } else { PreparedTrack::Copied };
        let audio = match (tracks.len(), &self.facts.audio) {
            (1, _) => PreparedTrack::Absent,
            (_, None) => PreparedTrack::Silence,
            _ => of(self.plan.audio.is_some()),
        };
        let encoding = control.meter.stats().unwrap_or_default();
        Ok(Written {
            video: of(self.plan.video.is_some()),
            audio,
            encoder: self.plan.video.as_ref().map(|_| encoding.encoder),
            damaged: encoding.damaged,
            notices,
        })
    }

    fn no_picture(&self) -> Error {
        self.unusable("no picture of it can be read")
    }

    fn unusable(&self, reason: &str) -> Error {
        Error::InputUnusable { path: self.input.to_owned(), reason: reason.to_owned() }
    }

    /// The track of the sound, with a clock of samples; what lays it out; its rate.
    fn row(&self, mut track: TrackInfo) -> Result<(TrackInfo, Sound, u32), Error> {
        let info = track.audio.clone();
        let (rate, frame, channels) =
            info.map_or((0, 0, 0), |audio| (audio.sample_rate, audio.frame_samples, audio.channels));
        let silence = u8::try_from(channels).ok().and_then(channel_configuration).and_then(aac_silence);
        let Some(silence) = silence.filter(|_| track.codec == Codec::Aac && rate > 0) else {
            let name = format!("{} of {channels} channels", track.codec);
            return Err(Media::Unavailable { what: "format", name }.into());
        };
        track.time_base = TimeBase::new(1, rate);
        let length = self.facts.video.as_ref().map_or(0.0, |video| video.length.as_secs_f64());
        let limit = ((length + MARGIN) * f64::from(rate)) as i64;
        let frame = if frame == 0 { SILENT_FRAME } else { frame };
        let sound = Sound::new(track.index, frame, silence, limit);
        Ok((track, sound, rate))
    }
}

/// Where the sound ends after the beginning of the picture, in microseconds; long before it where there is no sound.
fn sound_end(facts: &Facts) -> i64 {
    let skew = facts.end_skew_micros();
    let length = facts.video.as_ref().and_then(|video| i64::try_from(video.length.as_micros()).ok());
    skew.zip(length).map_or(-FAR * 1_000_000, |(skew, length)| skew.saturating_add(length))
}

/// A track of AAC of which all packets are made here.
fn silent_track(rate: u32) -> Option<TrackInfo> {
    let mut track = TrackInfo::new(usize::MAX, TrackKind::Audio, Codec::Aac, TimeBase::new(1, rate));
    track.profile = Some("LC".to_owned());
    track.config = Some(aac_config(rate, SILENT_CHANNELS)?);
    track.default = true;
    track.audio = Some(AudioInfo {
        sample_rate: rate,
        channels: u32::from(SILENT_CHANNELS),
        layout: "stereo".to_owned(),
        frame_samples: SILENT_FRAME,
        priming_samples: 0,
    });
    Some(track)
}

/// Where the pictures are, in ticks of their track.
#[derive(Debug)]
struct Pictures {
    base: TimeBase,
    /// When the first is shown.
    zero: Option<i64>,
    /// The end of what was written, from there on.
    end: i64,
    /// The time from one to the next.
    step: i64,
    last: Option<i64>,
}

/// Puts packets in their places.
struct Writer<'a, 'b> {
    muxer: Muxer,
    part: &'a Part,
    meter: &'a mut Meter<'b>,
    pictures: Pictures,
    row: Option<(Sound, u32)>,
    audio_base: TimeBase,
    /// Where the sound of the input ends, in microseconds from the first picture on.
    sound_end: i64,
    /// Sound that was read before the first picture.
    waiting: Vec<Packet>,
    waiting_bytes: usize,
}

impl Writer<'_, '_> {
    fn picture(&mut self, mut packet: Packet) -> Result<(), Error> {
        let pictures = &mut self.pictures;
        let (Some(pts), Some(dts)) = (packet.pts.or(packet.dts), packet.dts.or(packet.pts)) else {
            return Ok(());
        };
        let zero = *pictures.zero.get_or_insert(pts);
        if let Some(last) = pictures.last.replace(dts).filter(|last| dts > *last) {
            pictures.step = dts - last;
        }
        if packet.duration <= 0 {
            packet.duration = pictures.step;
        }
        (packet.pts, packet.dts) = (Some(pts - zero), Some(dts - zero));
        pictures.end = pictures.end.max(pts - zero + packet.duration);
        let done = pictures.base.duration(pictures.end);
        self.write(&packet)?;
        self.meter.picture(done);
        for packet in std::mem::take(&mut self.waiting) {
            self.place(packet);
        }
        self.waiting_bytes = 0;
        self.give()
    }

    fn sound(&mut self, packet: Packet) -> Result<(), Error> {
        if self.pictures.zero.is_none() {
            self.waiting_bytes += packet.data.len();
            self.waiting.push(packet);
            return Ok(());
        }
        self.place(packet);
        self.give()
    }

    fn place(&mut self, packet: Packet) {
        let Some((sound, rate)) = &mut self.row else { return };
        let Some(time) = packet.pts.or(packet.dts).filter(|_| !packet.corrupt && !packet.data.is_empty())
        else {
            return;
        };
        let samples = TimeBase::new(1, *rate);
        let zero = self.pictures.base.rescale(self.pictures.zero.unwrap_or(0), samples);
        sound.push(packet, self.audio_base.rescale(time, samples) - zero);
    }

    /// Writes the sound the pictures have reached.
    fn give(&mut self) -> Result<(), Error> {
        let Some((sound, rate)) = &mut self.row else { return Ok(()) };
        let samples = TimeBase::new(1, *rate);
        let until = self.pictures.base.rescale(self.pictures.end, samples);
        // Silence that is not written with the picture would all lie behind it.
        let (end, second) = (TimeBase::MICROS.rescale(self.sound_end, samples), i64::from(*rate));
        if sound.next() >= end - NEAR * second && until > end + FAR * second {
            sound.fill_to(until);
        }
        while let Some(packet) = sound.pull(until) {
            self.muxer.write(&packet).map_err(|error| self.part.failed(error))?;
        }
        Ok(())
    }

    fn write(&mut self, packet: &Packet) -> Result<(), Error> {
        self.muxer.write(packet).map_err(|error| self.part.failed(error))
    }

    fn finish(mut self) -> Result<(), Error> {
        if let Some((sound, rate)) = &mut self.row {
            sound.finish(self.pictures.base.rescale(self.pictures.end, TimeBase::new(1, *rate)));
        }
        self.give()?;
        self.muxer.finish().map_err(|error| self.part.failed(error))
    }
}
