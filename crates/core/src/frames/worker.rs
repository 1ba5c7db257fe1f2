//! The output clock: encodes a picture for each place of the constant rate, and the sound that belongs to it.
//!
//! In: what a program's sinks have sent. Out: tags. The clock is the machine's, from the first media on; what the program sends only says
//! which picture a place shows. [`Airing`] is that without a thread and without a clock; [`Worker`] is the thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowcast_av::{AudioFrame, VideoFrame};
use flowcast_rtmp::flv::tag::Tag;

use super::channel::{Channel, Work};
use super::samples::Heard;
use super::showing::{Places, Showing};
use super::timeline::micros;
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::lap::Stop;
use crate::publish::encoder::{LiveOptions, Writer};
use crate::sys::{CodecHost, Leave, yield_to_others};
use crate::tracks::{Selection, Tagger};
use crate::transcode::{Control, Converting, FrameEncoder, Raw};

/// So many microseconds behind its clock, it converts only the newest picture; and so many, it goes on at its clock's time.
const BEHIND: i64 = 500_000;
const LOST: i64 = 1_000_000;
/// Sample rate, in hertz, and channels of silence where nothing else is asked for.
const SILENCE: (u32, u32) = (44_100, 2);

/// What is needed to encode what a program makes.
#[derive(Debug)]
pub(crate) struct FrameOptions {
    pub(crate) encoding: LiveOptions,
    /// Something else stands in where the program gives nothing for long.
    pub(crate) has_fallback: bool,
}

/// The end that encodes.
pub(super) struct Worker {
    pub(super) channel: Arc<Channel>,
    /// The number of the stream among those that took the channel.
    pub(super) taker: u64,
    pub(super) writer: Writer,
    pub(super) options: FrameOptions,
    pub(super) control: Control,
    /// Whether a picture was shown.
    pub(super) has_begun: Arc<AtomicBool>,
}

impl Worker {
    pub(super) fn run(mut self) {
        let _host = CodecHost::enter(&self.options.encoding.cpu);
        yield_to_others(Leave::Some);
        let done = self.play();
        self.channel.detach(self.taker);
        self.writer.finish(done.into());
    }

    fn play(&mut self) -> Result<(), Stop> {
        // Devices are looked for, and encoders opened, before there is anything to encode: that takes a while.
        let mut airing = Airing::open(&self.channel, &self.options, &self.control)?;
        airing.tell(&self.writer);
        if let Some((mixing, _)) = &self.options.encoding.mixed {
            mixing.begin();
        }
        let mut next = None;
        while let Work::Run(epoch) = self.channel.await_work(self.taker, next) {
            let now = micros(self.channel.clock.now().saturating_duration_since(epoch));
            let Some(time) = airing.step(now, &mut self.writer)? else { break };
            if airing.has_begun() {
                self.has_begun.store(true, Ordering::Relaxed);
            }
            next = Some(epoch + Duration::from_micros(u64::try_from(time).unwrap_or(0)));
        }
        airing.finish(&mut self.writer)
    }
}

/// What is on the air, place by place.
pub(super) struct Airing {
    channel: Arc<Channel>,
    encoder: FrameEncoder,
    tagger: Tagger,
    order: Interleaver,
    /// Those that were not sent yet.
    headers: Vec<Tag>,
    places: Places,
    showing: Showing<VideoFrame>,
    /// Sampling rate in hertz and channels of what is encoded; none without sound of the program's and without a mix.
    sound: (u32, u32),
    pub(super) heard: Heard,
    /// How many places later a picture is shown than it comes, at most.
    delay: i64,
    /// Places without a new picture until the source gives nothing; `None` if it never does.
    hold: Option<i64>,
    /// The next place whose pictures are taken.
    next: i64,
    /// The last place with a new picture, once there was one.
    fresh: Option<i64>,
    /// The first sample that was not heard.
    position: i64,
    /// It gives nothing, because the program does not.
    is_dark: bool,
    skipped: u64,
    lost: u64,
}

impl Airing {
    /// Opens the encoders.
    ///
    /// # Errors
    ///
    /// None opens.
    pub(super) fn open(
        channel: &Arc<Channel>,
        options: &FrameOptions,
        control: &Control,
    ) -> Result<Self, Error> {
        let (settings, FrameOptions { encoding, has_fallback }) = (&channel.settings, options);
        let given = settings.audio.map(|audio| (audio.sample_rate, audio.channels));
        // A mix is heard also where the program gives no sound.
        let mixed = encoding.mixed.as_ref().map(|(_, plan)| plan);
        let sound = given.or_else(|| mixed.map(|plan| (plan.sample_rate, plan.channels)));
        let raw = Raw { pictures: settings.video.described(), rate: settings.video.rate, sound };
        // Silence is like sound would be.
        let silence = raw.sound.or(Some(SILENCE));
        let mut plan = encoding.settling.plan(&Raw { sound: silence, ..raw.clone() }.media());
        if mixed.is_some() {
            plan.audio = mixed.cloned();
        }
        let converting = Converting { scaling: settings.scaling(), threads: settings.threads };
        let encoder = FrameEncoder::open(&raw, &plan, converting, &encoding.encoders, control)?;
        let selection = Selection::of(encoder.media(), encoding.settling.carriage());
        let order = Interleaver::live(selection.video.is_some(), selection.audio.is_some());
        let tagger = Tagger::new(selection);
        let places = Places(encoder.rate());
        Ok(Self {
            channel: channel.clone(),
            encoder,
            order,
            headers: tagger.headers(),
            tagger,
            places,
            showing: Showing::default(),
            sound: sound.unwrap_or((48_000, 0)),
            heard: Heard::default(),
            delay: places.count(micros(settings.delay)),
            hold: has_fallback.then(|| places.count(micros(settings.hold))),
            next: 0,
            fresh: None,
            position: 0,
            is_dark: false,
            skipped: 0,
            lost: 0,
        })
    }

    /// Whether a picture was shown.
    pub(super) fn has_begun(&self) -> bool {
        self.fresh.is_some()
    }

    /// Does what is due `now`, in microseconds of the stream's clock, and says when it is to be called again; `None` once the program has
    /// ended and everything was shown.
    ///
    /// # Errors
    ///
    /// An encoder fails, or the stream is gone.
    pub(super) fn step(&mut self, now: i64, writer: &mut Writer) -> Result<Option<i64>, Stop> {
        let newest = self.places.last(now);
        if self.places.time(newest) - self.places.time(self.next) > LOST {
            self.jump(newest)?;
        }
        let mut over = false;
        while self.next <= newest && !over {
            let is_behind = self.places.time(newest) - self.places.time(self.next) > BEHIND;
            over = self.take(self.next, is_behind)?;
            self.show(self.next - self.delay)?;
            self.hand_over(writer)?;
            self.next += 1;
            over &= self.showing.next_place().is_none() && self.heard.is_empty();
        }
        let (repeated, replaced, skipped) = (self.showing.repeated, self.showing.replaced, self.skipped);
        let lost = self.lost;
        let (silent, late) = (self.heard.silent, self.heard.late);
        self.channel.note(|stats| {
            (stats.repeated, stats.replaced, stats.skipped) = (repeated, replaced, skipped);
            stats.lost = lost;
            (stats.silent_samples, stats.late_samples) = (silent, late);
        });
        Ok((!over).then(|| self.places.time(self.next)))
    }

    /// It was held up: goes on at this place, with a keyframe.
    fn jump(&mut self, place: i64) -> Result<(), Stop> {
        let from = place - self.delay;
        log::warn!("frames are encoded {} places late: they are left out", place - self.next);
        if self.has_begun() && !self.is_dark {
            self.lost += (place - self.next).unsigned_abs();
        }
        self.next = place;
        if self.has_begun() && !self.is_dark {
            self.encoder.finish()?;
            self.encoder.restart(self.places.time(from.max(0)))?;
            self.position = self.sample(from);
        }
        Ok(())
    }

    /// Takes what is for this place; whether that was all.
    fn take(&mut self, place: i64, is_behind: bool) -> Result<bool, Stop> {
        let until = (self.places.time(place) + self.places.time(place + 1)) / 2 - 1;
        let due = self.channel.take_due(until);
        let mut pictures = due.pictures.into_iter().peekable();
        while let Some(queued) = pictures.next() {
            let place = self.places.nearest(queued.time);
            let is_last = pictures.peek().is_none();
            if pictures.peek().is_some_and(|next| self.places.nearest(next.time) == place) {
                self.showing.replaced += 1;
            } else if is_behind && !is_last {
                self.skipped += 1;
            } else if let Some(shaped) = self.encoder.shape(queued.picture)? {
                self.showing.push(place, shaped);
            }
        }
        due.sounds.into_iter().for_each(|run| self.heard.push(run));
        Ok(due.over)
    }

    /// The number of the first sample of a place.
    fn sample(&self, place: i64) -> i64 {
        self.places.sample(place, self.sound.0)
    }

    /// Encodes the picture of a place, and its sound.
    fn show(&mut self, place: i64) -> Result<(), Stop> {
        let has_new = self.showing.next_place().is_some_and(|next| next <= place);
        let Some(fresh) = self.fresh.or(has_new.then_some(place)) else {
            // Sound is heard from the first picture on.
            self.heard.skip_to(self.sample(place + 1));
            return Ok(());
        };
        if self.fresh.is_none() {
            self.position = self.sample(place);
            self.encoder.silence_from(self.places.time(place));
        }
        self.fresh = Some(if has_new { place } else { fresh });
        if self.is_dark && has_new {
            self.is_dark = false;
            self.encoder.restart(self.places.time(place))?;
            self.position = self.sample(place);
        } else if !self.is_dark && self.hold.is_some_and(|hold| place - fresh >= hold) && !has_new {
            self.is_dark = true;
            self.encoder.finish()?;
        }
        let end = self.sample(place + 1);
        if self.is_dark {
            self.heard.skip_to(end);
            return Ok(());
        }
        if let Some((picture, _)) = self.showing.at(place) {
            self.encoder.picture(picture, place)?;
        }
        let (rate, channels) = self.sound;
        if channels == 0 || !self.encoder.has_sound() {
            self.heard.skip_to(end);
            self.encoder.silence_to(self.places.time(place + 1));
            return Ok(());
        }
        let taken = match self.channel.settings.audio {
            Some(_) => self.heard.take(self.position, end, channels as usize),
            None => {
                let length = usize::try_from(end - self.position).unwrap_or(0);
                vec![vec![0.0; length]; channels as usize]
            }
        };
        let slices: Vec<&[f32]> = taken.iter().map(Vec::as_slice).collect();
        let mut samples = AudioFrame::from_channels(rate, &slices)?;
        samples.set_pts(Some(self.position));
        self.encoder.samples(samples)?;
        self.position = end;
        Ok(())
    }

    /// Sends what has come out of the encoders, in order.
    fn hand_over(&mut self, writer: &mut Writer) -> Result<(), Stop> {
        while let Some(packet) = self.encoder.pull() {
            writer.tags(&self.tagger, packet).into_iter().for_each(|tag| self.order.push(tag, 0));
        }
        let is_dark = self.is_dark;
        let mut next = || if is_dark { self.order.flush() } else { self.order.pull() };
        let first = next();
        if let Some(first) = first.as_ref().filter(|_| !self.headers.is_empty()) {
            writer.tell(std::mem::take(&mut self.headers), first.timestamp)?;
        }
        writer.hand_over(first.into_iter().chain(std::iter::from_fn(next)))?;
        self.tell(writer);
        Ok(())
    }

    /// Reports what has happened to encoders.
    pub(super) fn tell(&mut self, writer: &Writer) {
        self.encoder.notices().for_each(|notice| writer.notify(notice));
    }

    /// Nothing follows: sends what is left.
    ///
    /// # Errors
    ///
    /// As of [`step`](Self::step).
    pub(super) fn finish(&mut self, writer: &mut Writer) -> Result<(), Stop> {
        if self.has_begun() && !self.is_dark {
            self.encoder.finish()?;
        }
        self.hand_over(writer)?;
        Ok(writer.hand_over(std::iter::from_fn(|| self.order.flush()))?)
    }
}
