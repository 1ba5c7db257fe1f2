//! A wish and a file become a plan.
//!
//! In: what the source asks for, and what is in a file. Out: which tracks are encoded, and to which figures. The first file
//! settles the figures; those after it are encoded to the same. The items of a list are alike: one that could be copied, but is
//! unlike the first, is encoded, too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use flowcast_av::{Codec, FieldOrder, Interrupt, MediaInfo, Ratio, TrackInfo, TrackKind};
use parking_lot::Mutex;

use super::encoding::{AudioCodec, EncoderChoice, FrameRate, Mode, VideoCodec, Wish};
use super::leveling::Patience;
use super::limits::Limits;
use super::plan::{AudioPlan, Drawn, EncoderPlan, FirstEncoder, LevelPlan, Plan, VideoPlan};
use crate::adapt::Dial;
use crate::bit_rate::BitRate;
use crate::ears::{Heard, LastGain, Turn, listen};
use crate::event::EventKind;
use crate::overlay::Overlays;
use crate::scan::{ScanOptions, facts, verdict_of_failure};
use crate::tracks::{Carriage, Chosen, Selection, Tracks};
use crate::verdict::{Subject, TrackVerdict, Verdict, verdict_for_all};

mod alike;

use alike::Unlike;

/// Frame rates in use. A source near one of them is meant to have it.
const RATES: [(u32, u32); 13] = [
    (1, 1),
    (5, 1),
    (10, 1),
    (12, 1),
    (15, 1),
    (20, 1),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60_000, 1001),
];
const FASTEST: (u32, u32) = (60, 1);
/// How far off a rate may be, in thousandths, to be taken for one in use.
const NEAR: f64 = 0.5;

/// The engine's settings for encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncoderDefaults {
    pub(crate) prefer_hardware: bool,
    pub(crate) fallback: bool,
}

/// What a lane's files are encoded to.
#[derive(Debug)]
pub(crate) struct Settling {
    wish: Wish,
    limits: Limits,
    defaults: EncoderDefaults,
    /// What is drawn over pictures.
    overlays: Overlays,
    /// What sets their bit rate.
    dial: Dial,
    /// The files follow each other and have to be alike.
    list: Option<List>,
    /// What comes out is decoded, mixed and encoded.
    is_mixed: bool,
    judged: Mutex<Judged>,
    video: OnceLock<VideoPlan>,
    audio: OnceLock<AudioPlan>,
    /// The loudness of the file that is expected next.
    expected: Mutex<Option<Heard>>,
    /// The gain of the file before, in decibels.
    gain: LastGain,
}

/// What is special about files that follow each other.
#[derive(Debug, Clone, Copy)]
struct List {
    /// Sampling rate in hertz and channels of the silence that is sent where the first file has no sound.
    silence: Option<(u32, u32)>,
}

/// The verdicts that were passed.
#[derive(Debug, Default)]
struct Judged {
    last: Option<(PathBuf, Arc<Verdict>)>,
    untold: Vec<EventKind>,
}

impl Settling {
    pub(crate) fn new(wish: Wish, defaults: EncoderDefaults) -> Self {
        let (limits, judged) = (Limits::of(&wish.platforms), Mutex::default());
        let (list, overlays) = (None, Overlays::default());
        Self {
            wish,
            limits,
            defaults,
            overlays,
            dial: Dial::default(),
            list,
            is_mixed: false,
            judged,
            video: OnceLock::new(),
            audio: OnceLock::new(),
            expected: Mutex::default(),
            gain: LastGain::default(),
        }
    }

    /// The files are the items of a list: what is unlike the first one is encoded to be like it. `silence` is the sampling rate
    /// in hertz and the channels of what is sent where there is no sound.
    pub(crate) fn of_list(self, silence: Option<(u32, u8)>) -> Self {
        let silence = silence.map(|(rate, channels)| (rate, u32::from(channels)));
        Self { list: Some(List { silence }), ..self }
    }

    /// The sound that comes out is decoded, mixed and encoded then: what can be sent as it is needs no encoder before that.
    pub(crate) fn for_mix(self) -> Self {
        Self { is_mixed: true, ..self }
    }

    /// With what is drawn over the pictures, as the wish says.
    pub(crate) fn drawing(self, overlays: Overlays) -> Self {
        Self { overlays, ..self }
    }

    /// With what sets the bit rate of pictures while they are encoded.
    pub(crate) fn steered(self, dial: Dial) -> Self {
        Self { dial, ..self }
    }

    /// What sets the bit rate of pictures.
    pub(crate) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// What tracks may be carried as.
    pub(crate) fn carriage(&self) -> Carriage {
        self.wish.carriage()
    }

    /// Which encoders pictures go to, where they are encoded; `None` if everything is copied.
    pub(crate) fn encoder_of_pictures(&self) -> Option<(VideoCodec, EncoderPlan)> {
        (self.wish.mode() != Mode::Copy).then(|| (self.wish.encoding.video_codec, self.encoder()))
    }

    /// How the loudness of a file is waited for that is read while it plays.
    pub(crate) fn patience(&self) -> Patience {
        Patience::of_playing(&self.gain)
    }

    /// A file will be played later: how loud it is is found out meanwhile.
    ///
    /// # Blocking
    ///
    /// On the file's metadata.
    pub(crate) fn expect(&self, path: &Path, media: &MediaInfo, tracks: Tracks) {
        let Some(plan) = self.audio.get().filter(|plan| plan.level.is_some() && tracks != Tracks::Video)
        else {
            return;
        };
        if let Some(track) = Chosen::of(media, self.carriage()).audio {
            let heard = listen(path, media, &track, plan.channels, Turn::Later);
            *self.expected.lock() = Some(heard);
        }
    }

    /// Forgets the figures: the next file sets them.
    pub(crate) fn forget(&mut self) {
        (self.video, self.audio) = (OnceLock::new(), OnceLock::new());
    }

    /// What pictures like those of `track` are encoded to, whatever was encoded before.
    pub(crate) fn plan_pictures(&self, track: &TrackInfo) -> VideoPlan {
        self.video_plan(track, None)
    }

    /// What is done to the tracks of `media`, of which nothing else is known.
    pub(crate) fn plan(&self, media: &MediaInfo) -> Plan {
        match self.wish.mode() {
            Mode::Copy => Plan::copy(self.carriage()),
            Mode::Encode => self.plan_for(media, Tracks::Both, Needs::ALL).0,
            Mode::Auto => self.plan_for(media, Tracks::Both, self.decide(media)).0,
        }
    }

    /// What is done to those of a file, `tracks` of which are wanted.
    ///
    /// # Blocking
    ///
    /// On reading all of the file, if that decides it, until `interrupt`.
    pub(crate) fn plan_file(
        &self,
        path: &Path,
        media: &MediaInfo,
        tracks: Tracks,
        interrupt: &Interrupt,
    ) -> Plan {
        match self.wish.mode() {
            Mode::Auto => {
                let (needs, verdict) = self.judge(path, media, tracks, interrupt);
                if interrupt.is_cancelled() {
                    return Plan::copy(self.carriage());
                }
                let (plan, unlike) = self.plan_for(media, tracks, needs);
                if let Some(mut verdict) = verdict {
                    unlike.into_iter().for_each(|unlike| verdict.encode(unlike.track, unlike.detail));
                    self.note(path, &Arc::new(verdict));
                }
                plan
            }
            Mode::Encode => self.plan_for(media, tracks, Needs::ALL).0,
            Mode::Copy if self.wish.loudness.is_some() => self.plan_for(media, tracks, Needs::NONE).0,
            Mode::Copy => Plan::copy(self.carriage()),
        }
    }

    /// What the packets of a file say. One that cannot be judged is encoded.
    fn judge(
        &self,
        path: &Path,
        media: &MediaInfo,
        tracks: Tracks,
        interrupt: &Interrupt,
    ) -> (Needs, Option<Verdict>) {
        let mut platforms = self.wish.receivers();
        // What a part of the file lacks comes from elsewhere.
        for platform in &mut platforms {
            platform.needs_video &= tracks != Tracks::Audio;
            platform.needs_audio &= tracks.are_both();
        }
        let facts = facts(path, &ScanOptions::default(), interrupt);
        if interrupt.is_cancelled() {
            return (Needs::ALL, None);
        }
        let verdict = facts.as_ref().map_or_else(
            |error| Some(verdict_of_failure(error)),
            |facts| verdict_for_all(facts, &platforms, self.wish.strictness),
        );
        let Some(verdict) = verdict else { return (Needs::ALL, None) };
        let (fits, failed) = (self.decide_form(media), facts.is_err());
        let needs = |fits: bool, verdict| failed || !fits || verdict == TrackVerdict::Encode;
        let (video, audio) = (needs(fits.video, verdict.video), needs(fits.audio, verdict.audio));
        (Needs { video, audio }, Some(verdict))
    }

    fn note(&self, path: &Path, verdict: &Arc<Verdict>) {
        let mut judged = self.judged.lock();
        let is_known = judged.last.as_ref().is_some_and(|(known, last)| known == path && last == verdict);
        if !is_known {
            judged.last = Some((path.to_owned(), verdict.clone()));
            judged.untold.push(EventKind::Judged { path: path.to_owned(), verdict: verdict.clone() });
        }
    }

    /// Keeps what has to be reported to the streams that play these files.
    pub(crate) fn note_event(&self, kind: EventKind) {
        self.judged.lock().untold.push(kind);
    }

    /// Puts what was decided, and what has happened to encoders that work ahead, since the last time into `notices`.
    pub(crate) fn tell(&self, notices: &mut Vec<EventKind>) {
        notices.append(&mut self.judged.lock().untold);
    }

    /// What is encoded of `media`. Its tracks settle the figures even if they are copied: the files after it are to be like it.
    fn plan_for(&self, media: &MediaInfo, tracks: Tracks, mut needs: Needs) -> (Plan, Vec<Unlike>) {
        let chosen = Chosen::of(media, self.carriage());
        let follows = self.list.map(|_| ());
        let has_sound = chosen.audio.is_some() && tracks != Tracks::Video;
        let leveled = has_sound && self.wish.loudness.is_some() && !needs.audio;
        needs.audio |= leveled;
        let video = chosen.video.as_ref().map(|track| {
            let copied = follows.filter(|()| !needs.video).and_then(|()| alike::video_codec(track));
            self.video.get_or_init(|| self.video_plan(track, copied))
        });
        let audio = chosen.audio.as_ref().map(|track| {
            let copied = follows.filter(|()| !needs.audio).and_then(|()| alike::audio_codec(track));
            self.audio.get_or_init(|| self.audio_plan(track, copied))
        });
        if let (Some(List { silence: Some(silence) }), None, true) = (self.list, audio, tracks.are_both()) {
            // It goes on the air before any sound does.
            self.audio.get_or_init(|| self.audio_plan_of(AudioCodec::Aac, silence));
        }
        let mut unlike = match self.list {
            Some(_) if !self.wish.copies_pictures() => alike::unlike(&chosen, tracks, needs, (video, audio)),
            _ => Vec::new(),
        };
        if leveled {
            let detail = "it is leveled to its loudness".to_owned();
            unlike.push(Unlike { track: Subject::Audio, detail });
        }
        if let Some(why) = self.wish.encodes_because()
            && video.is_some()
            && !needs.video
            && tracks != Tracks::Audio
        {
            let detail = why.to_owned();
            unlike.retain(|unlike| unlike.track != Subject::Video);
            unlike.push(Unlike { track: Subject::Video, detail });
        }
        needs.video |= unlike.iter().any(|unlike| unlike.track == Subject::Video);
        needs.audio |= unlike.iter().any(|unlike| unlike.track == Subject::Audio);
        // Items of a list have to be alike all the same: a mix that begins anew would be heard.
        let is_encoded_later = self.is_mixed && self.list.is_none() && self.wish.loudness.is_none();
        needs.audio &= !(is_encoded_later && self.decide_form(media).audio);
        let plan = Plan {
            carriage: self.carriage(),
            video: video.filter(|_| needs.video).cloned(),
            audio: audio.filter(|_| needs.audio).cloned(),
        };
        (plan, unlike)
    }

    /// What pictures are encoded to, to be like those of `track`; with the codec they are `copied` in, if they are.
    fn video_plan(&self, track: &TrackInfo, copied: Option<VideoCodec>) -> VideoPlan {
        let encoding = &self.wish.encoding;
        let figures = encoding.profile.figures();
        let limits = &self.limits;
        // What is copied is as it is, and what comes after it is to be like it.
        let lowered = Limits::lowered(self.wish.lowered.as_ref().filter(|_| copied.is_none()));
        let size = encoding.size.unwrap_or_else(|| limits.size(shown_size(track)));
        let (width, height) = lowered.size(size);
        let frame_rate = encoding.frame_rate.unwrap_or_else(|| limits.frame_rate(frame_rate(track)));
        let frame_rate = lowered.frame_rate(frame_rate);
        let of_profile = || limits.video_kbps(figures.kbps, (width, height), frame_rate);
        let kbps = encoding.video_bit_rate.map_or_else(of_profile, BitRate::whole_kbps);
        let kbps = lowered.video_kbps(kbps, (width, height), frame_rate);
        let in_proportion = u64::from(figures.vbv_kbits) * u64::from(kbps) / u64::from(figures.kbps);
        let vbv_kbits = encoding.vbv_kbits.unwrap_or(u32::try_from(in_proportion).unwrap_or(kbps));
        let gop = limits.gop(encoding.gop);
        let gop_frames = (gop.as_secs_f64() * frame_rate.as_f64()).round().clamp(1.0, 2400.0) as u32;
        let codec = copied.unwrap_or(encoding.video_codec);
        let is_h264 = codec == VideoCodec::H264;
        let own = if is_h264 { figures.x264_params } else { "" };
        let takes_parameters = is_h264 || codec == VideoCodec::Hevc;
        let parameters: Vec<_> = [own, encoding.x264_params.as_str()]
            .into_iter()
            .filter(|_| takes_parameters)
            .filter(|text| !text.is_empty())
            .collect();
        let text =
            |wanted: &Option<String>, figure: &str| wanted.clone().unwrap_or_else(|| figure.to_owned());
        let b_frames = if takes_parameters { limits.b_frames(figures.b_frames) } else { 0 };
        let profile = text(&encoding.h264_profile, limits.h264_profile(figures.profile));
        VideoPlan {
            codec,
            width,
            height,
            frame_rate,
            kbps,
            vbv_kbits,
            filler: encoding.filler,
            crf_tenths: None,
            gop_frames,
            b_frames: encoding.b_frames.unwrap_or(b_frames),
            refs: None,
            preset: self.wish.preset().to_owned(),
            tune: text(&encoding.tune, figures.tune.unwrap_or_default()),
            profile: if is_h264 { profile } else { String::new() },
            threads: encoding.threads.unwrap_or(figures.threads),
            threading: encoding.threading.unwrap_or(figures.threading),
            x264_params: parameters.join(":"),
            encoder: self.encoder(),
            drawn: Drawn { filters: encoding.filters.trim().to_owned(), overlays: self.overlays.clone() },
        }
    }

    fn encoder(&self) -> EncoderPlan {
        let first = match &self.wish.encoding.encoder {
            EncoderChoice::Named(name) => FirstEncoder::Named(name.clone()),
            EncoderChoice::Hardware => FirstEncoder::Hardware,
            EncoderChoice::Auto if self.defaults.prefer_hardware => FirstEncoder::Best,
            EncoderChoice::Auto | EncoderChoice::Software => FirstEncoder::Software,
        };
        EncoderPlan { first, fallback: self.wish.encoding.fallback.unwrap_or(self.defaults.fallback) }
    }

    /// What sound is encoded to, to be like that of `track`; with the codec it is `copied` in, if it is.
    fn audio_plan(&self, track: &TrackInfo, copied: Option<AudioCodec>) -> AudioPlan {
        let wanted = &self.wish.encoding.audio;
        let (rate, channels) =
            track.audio.as_ref().map_or((0, 0), |audio| (audio.sample_rate, audio.channels));
        let rate = match (copied, copied.unwrap_or(wanted.codec)) {
            (_, AudioCodec::Opus) => self.limits.sample_rate(48_000),
            (Some(_), AudioCodec::Aac) => rate,
            (None, AudioCodec::Aac) => self.limits.sample_rate(rate),
        };
        let channels = match copied {
            Some(_) if (1..=8).contains(&channels) => channels,
            _ => self.limits.channels(2),
        };
        let format = (wanted.sample_rate.unwrap_or(rate), wanted.channels.unwrap_or(channels));
        self.audio_plan_of(copied.unwrap_or(wanted.codec), format)
    }

    /// What sound that is mixed is encoded to, whatever the source's own is like: 48,000 Hz and two channels unless something else is
    /// wanted or needed, and libav's faster coder.
    pub(crate) fn mixed_plan(&self) -> AudioPlan {
        let wanted = &self.wish.encoding.audio;
        let rate = wanted.sample_rate.unwrap_or_else(|| self.limits.sample_rate(48_000));
        let channels = wanted.channels.unwrap_or_else(|| self.limits.channels(2));
        let plan = self.audio_plan_of(wanted.codec, (rate, channels));
        AudioPlan { level: None, fast: is_fast(&plan, wanted.fast.unwrap_or(true)), ..plan }
    }

    fn audio_plan_of(&self, codec: AudioCodec, (sample_rate, channels): (u32, u32)) -> AudioPlan {
        let wanted = &self.wish.encoding.audio;
        let figures = self.wish.encoding.profile.figures();
        let kbps =
            wanted.bit_rate.map_or_else(|| self.limits.audio_kbps(figures.audio_kbps), BitRate::whole_kbps);
        let level = self.wish.loudness.as_ref().map(LevelPlan::of);
        let plan = AudioPlan { codec, kbps, fast: false, sample_rate, channels, level };
        AudioPlan { fast: is_fast(&plan, wanted.fast.unwrap_or(figures.fast_audio)), ..plan }
    }
}

/// Whether libav's faster coder is taken, if it is `wanted`.
fn is_fast(plan: &AudioPlan, wanted: bool) -> bool {
    wanted && plan.codec == AudioCodec::Aac && plan.kbps >= LEAST_FAST_KBPS
}

/// Below this libav's faster AAC coder is the worse one by far.
const LEAST_FAST_KBPS: u32 = 64;

/// The size a track is shown at: upright, with square pixels, even.
pub(crate) fn shown_size(track: &TrackInfo) -> (u32, u32) {
    let Some(video) = &track.video else { return (1280, 720) };
    let aspect = video.sample_aspect.unwrap_or(Ratio { num: 1, den: 1 });
    let aspect = aspect.as_f64().clamp(0.1, 10.0);
    // The larger side of a pixel is kept.
    let (wider, higher) = (aspect.max(1.0), aspect.recip().max(1.0));
    let even = |side: f64| ((side / 2.0).round() as u32 * 2).clamp(16, 8192);
    let (width, height) = (even(f64::from(video.width) * wider), even(f64::from(video.height) * higher));
    if video.rotation_degrees % 180 == 90 { (height, width) } else { (width, height) }
}

/// The constant rate a track is meant to have.
fn frame_rate(track: &TrackInfo) -> FrameRate {
    let video = track.video.as_ref();
    let average = video.and_then(|video| video.frame_rate).map(Ratio::as_f64);
    let real = video.and_then(|video| video.real_frame_rate).map(Ratio::as_f64);
    let near = |wanted: f64| usual_rates().find(|rate| (rate.as_f64() / wanted - 1.0).abs() * 1000.0 <= NEAR);
    // Of a rate that varies, the one that all times fit in, if it is in use; else the next above the average.
    let above = |wanted: f64| usual_rates().find(|rate| rate.as_f64() >= wanted);
    let found = average.and_then(near).or_else(|| real.and_then(near));
    found.or_else(|| above(average.or(real)?)).unwrap_or_else(|| FrameRate::whole(FASTEST.0))
}

/// The frame rates in use, from the lowest on.
pub(crate) fn usual_rates() -> impl Iterator<Item = FrameRate> {
    RATES.into_iter().chain([FASTEST]).filter_map(|(num, den)| FrameRate::new(num, den))
}

/// Which tracks have to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    video: bool,
    audio: bool,
}

impl Needs {
    const ALL: Self = Self { video: true, audio: true };
    const NONE: Self = Self { video: false, audio: false };
}

/// Which tracks can be sent as they are at all.
#[derive(Debug, Clone, Copy)]
struct Fits {
    video: bool,
    audio: bool,
}

impl Settling {
    fn decide_form(&self, media: &MediaInfo) -> Fits {
        let copied = Selection::of(media, self.carriage());
        let chosen = Chosen::of(media, self.carriage());
        let is_taken = |track: &Option<TrackInfo>, best: Option<TrackInfo>| {
            best.is_none_or(|best| track.as_ref().is_some_and(|track| track.index == best.index))
        };
        Fits { video: is_taken(&copied.video, chosen.video), audio: is_taken(&copied.audio, chosen.audio) }
    }

    /// What has to be encoded to be shown everywhere, as far as headers tell.
    fn decide(&self, media: &MediaInfo) -> Needs {
        let copied = Selection::of(media, self.carriage());
        let receivers = self.wish.receivers();
        let all_take = |kind, track: &TrackInfo| {
            let name = track.codec.name();
            receivers.iter().all(|platform| match kind {
                TrackKind::Video => platform.takes_video(name),
                _ => platform.takes_audio(name),
            })
        };
        let fits = |kind| match kind {
            TrackKind::Video => {
                copied.video.as_ref().is_some_and(|track| video_fits(track) && all_take(kind, track))
            }
            _ => copied.audio.as_ref().is_some_and(|track| audio_fits(track) && all_take(kind, track)),
        };
        Needs { video: !fits(TrackKind::Video), audio: !fits(TrackKind::Audio) }
    }
}

fn video_fits(track: &TrackInfo) -> bool {
    track.video.as_ref().is_some_and(|video| {
        let square = video.sample_aspect.is_none_or(|aspect| aspect.num == aspect.den);
        let even = video.width % 2 == 0 && video.height % 2 == 0;
        let upright = video.rotation_degrees == 0 && !video.mirrored;
        let whole = matches!(video.field_order, FieldOrder::Unknown | FieldOrder::Progressive);
        let usual = matches!(video.pixel_format.as_str(), "" | "yuv420p" | "yuvj420p");
        square && even && upright && whole && usual
    })
}

fn audio_fits(track: &TrackInfo) -> bool {
    let is_low_complexity = track.profile.as_deref().is_none_or(|profile| profile == "LC");
    let usual = track
        .audio
        .as_ref()
        .is_some_and(|audio| matches!(audio.sample_rate, 44_100 | 48_000) && audio.channels <= 2);
    let usual_codec = track.codec == Codec::Opus || (track.codec == Codec::Aac && is_low_complexity);
    usual_codec && usual
}

#[cfg(test)]
mod tests;
