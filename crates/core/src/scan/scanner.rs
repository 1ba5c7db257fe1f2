//! Reads every packet of a file once, without decoding, and keeps what decides whether it can be sent as it is.
//!
//! In: a path. Out: [`Facts`]. On the thread that calls; costs about what copying the file's bytes costs.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use flowcast_av::{Conversion, Demuxer, Interrupt, MediaInfo, OpenOptions, TrackInfo, TrackKind};

use super::audio::AudioTally;
use super::empty::Empty;
use super::patience::{Damage, Patience, tolerated};
use super::video::VideoTally;
use crate::error::Error;
use crate::tracks::{Carriage, Chosen};
use crate::verdict::{Facts, Form, Reach};

/// A file may be shorter than it says by as much, and by a fiftieth.
const TOLERATED_LENGTH: Duration = Duration::from_millis(500);
/// Packets between two looks at the clock.
const PACKETS_PER_LOOK: u64 = 64;
/// Formats that say of every track how long it is.
const HAVE_TRACK_LENGTHS: [&str; 2] = ["mov,", "avi"];
/// Formats whose length libav guesses from the bit rate.
const GUESSED_LENGTHS: [&str; 4] = ["mp3", "aac", "h264", "hevc"];

/// How far a scan may go.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Time for opening and scanning together. Default 2 minutes. What was seen by then is what the facts are about, and they
    /// say so ([`Facts::reach`]). A read of a dead network file system cannot be interrupted.
    pub deadline: Duration,
    /// Bytes of payload read at most. Default: no limit. Beyond it as for the deadline.
    pub max_bytes: Option<u64>,
    /// How to open the file.
    pub open: OpenOptions,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), max_bytes: None, open: OpenOptions::default() }
    }
}

/// Scans a file, whatever is in the cache.
pub(super) fn scan(path: &Path, options: &ScanOptions, cancel: &Interrupt) -> Result<Facts, Error> {
    let began = Instant::now();
    let mut open = options.open.clone();
    open.timeout = open.timeout.min(options.deadline);
    let mut demuxer = Demuxer::open(path, &open, cancel)?;
    let media = demuxer.media().clone();
    let Chosen { video, audio } = Chosen::of(&media, Carriage::Plain);
    let mut facts = Facts {
        format: media.format.clone(),
        bytes: fs::metadata(path).map_or(0, |data| data.len()),
        others: others(&media, &video, &audio),
        ..Facts::default()
    };
    let indices: Vec<usize> = [&video, &audio].into_iter().flatten().map(|track| track.index).collect();
    demuxer.select(&indices);
    let mut run = Run {
        video: video.as_ref().map(VideoTally::new),
        audio: audio.as_ref().map(AudioTally::new),
        video_index: video.as_ref().map(|track| track.index),
        empty: Empty::new(&media),
        packets: 0,
        bytes: 0,
        patience: Patience::default(),
    };
    let cut_off = run.read(&mut demuxer, began, options, &mut facts)?;
    facts.empty = run.empty.length();
    let form = |track: usize| match demuxer.conversion(track) {
        Some(Conversion::LengthPrefixes) => Some(Form::StartCodes),
        Some(Conversion::InBandSets) => Some(Form::InBandSets),
        Some(Conversion::RawAac) => Some(Form::Adts),
        Some(Conversion::CountedTimes) => Some(Form::WithoutTimes),
        _ => None,
    };
    facts.video = run.video.zip(run.video_index).map(|(tally, track)| tally.finish(form(track)));
    facts.audio = run.audio.zip(audio.as_ref()).map(|(tally, track)| tally.finish(form(track.index)));
    look_at_boxes(path, &mut facts);
    if facts.reach == Reach::Whole {
        let missing = || missing(&media, &facts);
        facts.truncated = facts.truncated.clone().or(cut_off).or_else(missing);
    }
    Ok(facts)
}

fn others(media: &MediaInfo, video: &Option<TrackInfo>, audio: &Option<TrackInfo>) -> Vec<(usize, String)> {
    let chosen = |index| [video, audio].into_iter().flatten().any(|track| track.index == index);
    let others = media.tracks.iter().filter(|track| !chosen(track.index));
    let named = others.map(|track| {
        let kind = match track.kind {
            _ if track.attached_picture => "attachment",
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Subtitle => "subtitle",
            TrackKind::Data => "data",
            TrackKind::Attachment => "attachment",
            _ => "unknown",
        };
        (track.index, kind.to_owned())
    });
    named.collect()
}

/// A scan on its way.
struct Run {
    video: Option<VideoTally>,
    audio: Option<AudioTally>,
    video_index: Option<usize>,
    empty: Empty,
    packets: u64,
    bytes: u64,
    patience: Patience,
}

impl Run {
    /// Reads to the end, or as far as it may go; what ended it early.
    fn read(
        &mut self,
        demuxer: &mut Demuxer,
        began: Instant,
        options: &ScanOptions,
        facts: &mut Facts,
    ) -> Result<Option<String>, Error> {
        loop {
            if self.packets.is_multiple_of(PACKETS_PER_LOOK) && began.elapsed() >= options.deadline {
                // Of a file that gave nothing in time nothing is known.
                if self.packets == 0 {
                    return Err(flowcast_av::Error::Timeout { operation: "scan" }.into());
                }
                facts.reach = Reach::Deadline;
                return Ok(None);
            }
            if options.max_bytes.is_some_and(|most| self.bytes >= most) {
                facts.reach = Reach::Bytes;
                return Ok(None);
            }
            match demuxer.read() {
                Ok(Some(packet)) => {
                    self.patience.read();
                    self.packets += 1;
                    self.bytes += packet.data.len() as u64;
                    self.empty.take(&packet);
                    if Some(packet.track) == self.video_index {
                        self.video.iter_mut().for_each(|video| video.take(&packet));
                    } else {
                        self.audio.iter_mut().for_each(|audio| audio.take(&packet));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    let error = Error::Media(error);
                    match self.patience.failed(&error) {
                        Damage::First => facts.unreadable_places += 1,
                        Damage::Again => {}
                        Damage::TooMuch => return Ok(Some(error.to_string())),
                        Damage::Final => return Err(error),
                    }
                }
            }
        }
    }
}

/// What the boxes of an MP4 say beyond what libav does.
fn look_at_boxes(path: &Path, facts: &mut Facts) {
    if !facts.format.starts_with("mov,") {
        return;
    }
    // The file was readable a moment ago; if it is not any more, its packets were.
    let Ok(boxes) = File::open(path).and_then(|mut file| super::boxes::read(&mut file)) else { return };
    facts.encrypted = boxes.encrypted;
    let edits = |track: usize| boxes.edits.get(track).copied().unwrap_or(1);
    if let Some(video) = &mut facts.video {
        video.edits = edits(video.track);
    }
    if let Some(audio) = &mut facts.audio {
        audio.edits = edits(audio.track);
    }
    facts.truncated =
        boxes.beyond_end.map(|(kind, bytes)| format!("box {kind} goes {bytes} bytes beyond the end"));
}

/// What the container said would be there, and was not.
fn missing(media: &MediaInfo, facts: &Facts) -> Option<String> {
    if let Some(video) = &facts.video
        && let Some(expected) = media.track(video.track).and_then(|track| track.frames)
        && video.packets.saturating_add(tolerated(expected)) < expected
    {
        return Some(format!("track {} has {} of {expected} packets", video.track, video.packets));
    }
    // What is counted of sound are packets, blocks or samples: only its length is comparable.
    let lengths = [
        facts.video.as_ref().map(|video| (video.track, video.length)),
        facts.audio.as_ref().map(|audio| (audio.track, audio.length)),
    ];
    let has_lengths = HAVE_TRACK_LENGTHS.iter().any(|format| media.format.starts_with(format));
    for (number, seen) in lengths.into_iter().flatten().filter(|_| has_lengths) {
        let Some(track) = media.track(number) else { continue };
        let Some(declared) = track.duration.map(|ticks| track.time_base.duration(ticks)) else { continue };
        let is_counted = track.frames.is_some() && track.audio.is_none();
        if !is_counted && seen + TOLERATED_LENGTH + declared / 50 < declared {
            let (seen, declared) = (seen.as_secs_f64(), declared.as_secs_f64());
            return Some(format!("track {number} has {seen:.1} s of {declared:.1} s"));
        }
    }
    if !facts.others.is_empty() || GUESSED_LENGTHS.contains(&media.format.as_str()) {
        return None;
    }
    let declared = media.duration?;
    let length = |start: i64, length: Duration| {
        let start = start.saturating_sub(media.start_micros.unwrap_or(0)).max(0);
        length + Duration::from_micros(start.unsigned_abs())
    };
    let seen = [
        facts.video.as_ref().map(|video| length(video.start_micros, video.length)),
        facts.audio.as_ref().map(|audio| length(audio.start_micros, audio.length)),
    ];
    let seen = seen.into_iter().flatten().max()?;
    (seen + TOLERATED_LENGTH + declared / 50 < declared)
        .then(|| format!("{:.1} s of {:.1} s are there", seen.as_secs_f64(), declared.as_secs_f64()))
}

crate::settings::settings!(ScanOptions);
