//! The contents of a verdict.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "libav")]
use super::reason::Subject;
use super::reason::{Reason, ReasonCode, Severity};
use crate::words::words;

/// How strict to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strictness {
    /// Only what cannot be sent at all, and a picture that is not H.264, larger than 1920x1080 or above 30 pictures per second.
    /// The platform's own limits are not applied.
    Seed,
    /// What the platform refuses is encoded; what it only advises against is reported.
    #[default]
    Lenient,
    /// What the platform advises against is encoded, too.
    Strict,
}

words!(Strictness, "strictness", Seed = "seed", Lenient = "lenient", Strict = "strict");

/// What happens to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackVerdict {
    /// Its packets are sent as they are.
    Copy,
    /// It is encoded.
    Encode,
    /// There is no such track.
    Absent,
}

words!(TrackVerdict, "verdict on a track", Copy = "copy", Encode = "encode", Absent = "absent");

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Every packet is sent as it is.
    Copy,
    /// Packets are sent as they are, with a fix on the way ([`Verdict::fixes`]).
    CopyWithFix,
    /// Only the sound is encoded.
    CopyVideoEncodeAudio,
    /// Only the picture is encoded.
    EncodeVideoCopyAudio,
    /// Every track is encoded; or the file cannot be sent at all.
    Encode,
}

impl Action {
    /// "copy", "copyWithFix", "copyVideoEncodeAudio", "encodeVideoCopyAudio" or "encode".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::CopyWithFix => "copyWithFix",
            Self::CopyVideoEncodeAudio => "copyVideoEncodeAudio",
            Self::EncodeVideoCopyAudio => "encodeVideoCopyAudio",
            Self::Encode => "encode",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copy => "copy",
            Self::CopyWithFix => "copy, with fixes",
            Self::CopyVideoEncodeAudio => "copy the video, encode the audio",
            Self::EncodeVideoCopyAudio => "encode the video, copy the audio",
            Self::Encode => "encode",
        })
    }
}

/// libav's bitstream filter that takes ADTS headers off: the one for sound.
pub(super) const ADTS_FILTER: &str = "aac_adtstoasc";

/// What is fixed on the way, without encoding existing media.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// Silence is sent with the picture: there is no sound.
    Silence,
    /// The sound ends this much earlier than the picture: silence is sent for the rest of a lap.
    PadTail(Duration),
    /// The sound ends this much later than the picture: a lap leaves the rest out.
    CutTail(Duration),
    /// Tracks with these indices are not sent.
    DropStreams(Vec<usize>),
    /// A track passes libav's bitstream filter of this name as it is read ("aac_adtstoasc").
    BitstreamFilter {
        /// Index of the track.
        track: usize,
        /// libav's name of the filter.
        filter: &'static str,
    },
    /// This many pictures before the first keyframe are left out.
    StartAtKeyframe(u64),
    /// The times of this many packets are moved until they are in order.
    Retime(u64),
}

impl Fix {
    /// Whether it is still needed when a track is encoded: encoding gives it a new form, new times and a new length.
    pub(super) fn is_of_use(&self, video: TrackVerdict, audio: TrackVerdict) -> bool {
        let of = |track| track == TrackVerdict::Copy;
        match self {
            Self::Silence | Self::DropStreams(_) => true,
            Self::PadTail(_) | Self::CutTail(_) => of(audio),
            Self::StartAtKeyframe(_) => of(video),
            Self::Retime(_) => of(video) || of(audio),
            Self::BitstreamFilter { filter, .. } => of(if *filter == ADTS_FILTER { audio } else { video }),
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |length: &Duration| length.as_secs_f64() * 1000.0;
        match self {
            Self::Silence => f.write_str("add silence"),
            Self::PadTail(length) => write!(f, "add {:.0} ms of silence at the end", millis(length)),
            Self::CutTail(length) => write!(f, "leave the last {:.0} ms of sound out", millis(length)),
            Self::DropStreams(tracks) => {
                let tracks: Vec<String> = tracks.iter().map(|track| format!("#{track}")).collect();
                write!(f, "leave out {}", tracks.join(", "))
            }
            Self::BitstreamFilter { track, filter } => write!(f, "{filter} on #{track}"),
            Self::StartAtKeyframe(pictures) => {
                write!(f, "leave out {pictures} pictures before the first keyframe")
            }
            Self::Retime(packets) => write!(f, "put the times of {packets} packets in order"),
        }
    }
}

/// Whether a file can be sent to a platform as it is, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The platform, or several separated by commas.
    pub platform: String,
    /// What happens to the file.
    pub action: Action,
    /// What happens to the picture.
    pub video: TrackVerdict,
    /// What happens to the sound.
    pub audio: TrackVerdict,
    /// What is fixed on the way, for the tracks that are copied.
    pub fixes: Vec<Fix>,
    /// The reasons, in the order of the rules: the file, what FLV can carry, the platform's limits, sound against picture.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether something has to be encoded.
    #[must_use]
    pub const fn needs_encoding(&self) -> bool {
        !matches!(self.action, Action::Copy | Action::CopyWithFix)
    }

    /// A track that could be copied is encoded for another reason than a platform's, which `detail` says.
    #[cfg(feature = "libav")]
    pub(crate) fn encode(&mut self, track: Subject, detail: String) {
        match track {
            Subject::Video => self.video = TrackVerdict::Encode,
            Subject::Audio => self.audio = TrackVerdict::Encode,
            _ => return,
        }
        let (video, audio) = (self.video, self.audio);
        self.fixes.retain(|fix| fix.is_of_use(video, audio));
        self.action = action(video, audio, &self.fixes);
        let (code, severity) = (ReasonCode::ParametersChange, Severity::Error);
        self.reasons.push(Reason { code, severity, track, platform: String::new(), detail });
    }

    /// The reasons of at least the severity `least`.
    pub fn at_least(&self, least: Severity) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(move |reason| reason.severity >= least)
    }

    /// Whether there is a reason with this code.
    #[must_use]
    pub fn has(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }

    /// The verdict for all of these: a track is copied only if all copy it. `None` for no verdicts.
    #[must_use]
    pub fn intersect(verdicts: &[Self]) -> Option<Self> {
        let (first, others) = verdicts.split_first()?;
        let mut all = first.clone();
        for other in others {
            all.platform = format!("{}, {}", all.platform, other.platform);
            all.video = stricter(all.video, other.video);
            all.audio = stricter(all.audio, other.audio);
            for fix in &other.fixes {
                if !all.fixes.contains(fix) {
                    all.fixes.push(fix.clone());
                }
            }
            for reason in &other.reasons {
                if !all.reasons.contains(reason) {
                    all.reasons.push(reason.clone());
                }
            }
        }
        let (video, audio) = (all.video, all.audio);
        all.fixes.retain(|fix| fix.is_of_use(video, audio));
        // A file that cannot be sent to one of them at all cannot be sent to all.
        let cannot = verdicts.iter().any(|verdict| verdict.action == Action::Encode);
        let encodes = [all.video, all.audio].contains(&TrackVerdict::Encode);
        all.action =
            if cannot && !encodes { Action::Encode } else { action(all.video, all.audio, &all.fixes) };
        Some(all)
    }
}

const fn stricter(one: TrackVerdict, other: TrackVerdict) -> TrackVerdict {
    match (one, other) {
        (TrackVerdict::Encode, _) | (_, TrackVerdict::Encode) => TrackVerdict::Encode,
        (TrackVerdict::Copy, _) | (_, TrackVerdict::Copy) => TrackVerdict::Copy,
        _ => TrackVerdict::Absent,
    }
}

/// What happens to a file with these tracks.
pub(super) const fn action(video: TrackVerdict, audio: TrackVerdict, fixes: &[Fix]) -> Action {
    match (video, audio) {
        (TrackVerdict::Encode, TrackVerdict::Copy) => Action::EncodeVideoCopyAudio,
        (TrackVerdict::Copy, TrackVerdict::Encode) => Action::CopyVideoEncodeAudio,
        (TrackVerdict::Encode, _) | (_, TrackVerdict::Encode) => Action::Encode,
        _ if fixes.is_empty() => Action::Copy,
        _ => Action::CopyWithFix,
    }
}
