//! What an event is called, and what is said of it: one sentence for the log, a terminal and a web page.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Event, EventKind};
use crate::error::chain;
use crate::id::OutputId;
use crate::stats::{Cutover, LoadReason, RateReason, Seam};
use crate::verdict::{Severity, Verdict};

impl EventKind {
    /// Its name, such as `output_retrying`, for logs, metrics and JSON. It does not change from one version to the next.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::OutputLive { .. } => "output_live",
            Self::OutputRetrying { .. } => "output_retrying",
            Self::OutputMoved { .. } => "output_moved",
            Self::OutputReplacing { .. } => "output_replacing",
            Self::OutputReplaced { .. } => "output_replaced",
            Self::OutputNotReplaced { .. } => "output_not_replaced",
            Self::OutputRotating { .. } => "output_rotating",
            Self::OutputRotated { .. } => "output_rotated",
            Self::OutputNotRotated { .. } => "output_not_rotated",
            Self::OutputEnded { .. } => "output_ended",
            Self::RecordingOpened { .. } => "recording_opened",
            Self::Recorded { .. } => "recorded",
            Self::SegmentWithoutKeyframe { .. } => "segment_without_keyframe",
            Self::OutputDropped { .. } => "output_dropped",
            Self::OutputTrackSkipped { .. } => "output_track_skipped",
            Self::ThumbnailFailed { .. } => "thumbnail_failed",
            Self::OutputCodecRare { .. } => "output_codec_rare",
            Self::Looped { .. } => "looped",
            Self::SourceFault { .. } => "source_fault",
            Self::SourceStalled { .. } => "source_stalled",
            Self::SourceResumed { .. } => "source_resumed",
            Self::KeyframeMissing { .. } => "keyframe_missing",
            Self::ContentAlarm { .. } => "content_alarm",
            Self::ContentAlarmEnded { .. } => "content_alarm_ended",
            Self::FallbackBegan { .. } => "fallback_began",
            Self::FallbackEnded { .. } => "fallback_ended",
            Self::SourceSwitched { .. } => "source_switched",
            Self::ClockJumped { .. } => "clock_jumped",
            Self::ClockUnsteady => "clock_unsteady",
            Self::HeaderMissing { .. } => "header_missing",
            Self::HeaderCame { .. } => "header_came",
            Self::ClockStalled { .. } => "clock_stalled",
            Self::PublicationBegan { .. } => "publication_began",
            Self::PublicationEnded { .. } => "publication_ended",
            Self::SourceLive { .. } => "source_live",
            Self::SourceRetrying { .. } => "source_retrying",
            Self::MixInputLive { .. } => "mix_input_live",
            Self::MixInputLost { .. } => "mix_input_lost",
            Self::PublisherLost { .. } => "publisher_lost",
            Self::PublisherReturned { .. } => "publisher_returned",
            Self::PublisherReplaced { .. } => "publisher_replaced",
            Self::ModeChanged { .. } => "mode_changed",
            Self::Judged { .. } => "judged",
            Self::EncodingLowered { .. } => "encoding_lowered",
            Self::EncoderChanged { .. } => "encoder_changed",
            Self::Leveled { .. } => "leveled",
            Self::LoudnessUnknown { .. } => "loudness_unknown",
            Self::BitRateChanged { .. } => "bit_rate_changed",
            Self::RungChanged { .. } => "rung_changed",
            Self::OutputNotFollowed { .. } => "output_not_followed",
            Self::OutputFollowed { .. } => "output_followed",
            Self::ItemStarted { .. } => "item_started",
            Self::ParametersChanged { .. } => "parameters_changed",
            Self::ItemSkipped { .. } => "item_skipped",
            Self::PlaylistStalled { .. } => "playlist_stalled",
            Self::PlaylistResumed { .. } => "playlist_resumed",
            Self::FragmentPublished { .. } => "fragment_published",
            Self::FragmentProgress { .. } => "fragment_progress",
            Self::FragmentSkipped { .. } => "fragment_skipped",
            Self::FragmentLate { .. } => "fragment_late",
            Self::SourceReplaced { .. } => "source_replaced",
            Self::TrackSkipped { .. } => "track_skipped",
            Self::ResourceWarning { .. } => "resource_warning",
            Self::ResourceCalm { .. } => "resource_calm",
            Self::Ended { .. } => "ended",
            Self::Abandoned => "abandoned",
            Self::CleanupFailed { .. } => "cleanup_failed",
        }
    }

    /// The stable code of what is reported without an error: `RESOURCE_WARNING`, `FORCE_KILL_REQUIRED`. `None` for everything else.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::ResourceWarning { .. } => Some("RESOURCE_WARNING"),
            Self::Abandoned => Some("FORCE_KILL_REQUIRED"),
            Self::CleanupFailed { .. } => Some("CLEANUP_FAILED"),
            _ => None,
        }
    }

    /// The output it is about, if it is about one.
    #[must_use]
    pub const fn output(&self) -> Option<OutputId> {
        match self {
            Self::OutputLive { output, .. }
            | Self::OutputRetrying { output, .. }
            | Self::OutputMoved { output, .. }
            | Self::OutputReplacing { output, .. }
            | Self::OutputReplaced { output, .. }
            | Self::OutputNotReplaced { output, .. }
            | Self::OutputRotating { output, .. }
            | Self::OutputRotated { output, .. }
            | Self::OutputNotRotated { output, .. }
            | Self::OutputEnded { output, .. }
            | Self::RecordingOpened { output, .. }
            | Self::Recorded { output, .. }
            | Self::SegmentWithoutKeyframe { output, .. }
            | Self::OutputDropped { output, .. }
            | Self::OutputTrackSkipped { output, .. }
            | Self::ThumbnailFailed { output, .. }
            | Self::OutputNotFollowed { output, .. }
            | Self::OutputFollowed { output }
            | Self::OutputCodecRare { output, .. } => Some(*output),
            Self::BitRateChanged { output, .. } => *output,
            _ => None,
        }
    }
}

/// The sentence that is logged, without the stream and the output it is about.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputLive { .. }
            | Self::OutputRetrying { .. }
            | Self::OutputMoved { .. }
            | Self::OutputReplacing { .. }
            | Self::OutputReplaced { .. }
            | Self::OutputNotReplaced { .. }
            | Self::OutputRotating { .. }
            | Self::OutputRotated { .. }
            | Self::OutputNotRotated { .. }
            | Self::OutputEnded { .. }
            | Self::RecordingOpened { .. }
            | Self::Recorded { .. }
            | Self::SegmentWithoutKeyframe { .. }
            | Self::OutputDropped { .. }
            | Self::OutputTrackSkipped { .. }
            | Self::ThumbnailFailed { .. }
            | Self::OutputNotFollowed { .. }
            | Self::OutputFollowed { .. }
            | Self::OutputCodecRare { .. } => self.say_of_output(f),
            Self::PublicationBegan { .. }
            | Self::PublicationEnded { .. }
            | Self::SourceLive { .. }
            | Self::SourceRetrying { .. }
            | Self::MixInputLive { .. }
            | Self::MixInputLost { .. }
            | Self::PublisherLost { .. }
            | Self::PublisherReturned { .. }
            | Self::PublisherReplaced { .. }
            | Self::ClockUnsteady
            | Self::HeaderMissing { .. }
            | Self::HeaderCame { .. } => self.say_of_publisher(f),
            Self::Judged { .. }
            | Self::Leveled { .. }
            | Self::LoudnessUnknown { .. }
            | Self::ItemStarted { .. }
            | Self::ParametersChanged { .. }
            | Self::ItemSkipped { .. }
            | Self::PlaylistStalled { .. }
            | Self::PlaylistResumed { .. }
            | Self::SourceReplaced { .. } => self.say_of_item(f),
            Self::FragmentPublished { .. }
            | Self::FragmentProgress { .. }
            | Self::FragmentSkipped { .. }
            | Self::FragmentLate { .. } => self.say_of_fragment(f),
            Self::Started => f.write_str("started"),
            Self::Looped { laps } => write!(f, "laps complete: {laps}"),
            Self::SourceFault { error } => f.write_str(&chain(error)),
            Self::SourceStalled { after } => {
                write!(f, "the source has delivered nothing for {}", Span(*after))
            }
            Self::SourceResumed { after } => write!(f, "the source delivers again after {}", Span(*after)),
            Self::KeyframeMissing { after } => {
                write!(f, "the source has given no keyframe for {}", Span(*after))
            }
            Self::ContentAlarm { fault, after } => {
                write!(f, "the source has been {fault} for {}", Span(*after))
            }
            Self::ContentAlarmEnded { fault, after } => {
                write!(f, "the source is no longer {fault}, after {}", Span(*after))
            }
            Self::FallbackBegan { after, seam } => {
                write!(f, "the fallback is on the air after {} ({})", Span(*after), said(*seam))
            }
            Self::FallbackEnded { after, seam } => {
                write!(f, "the fallback is off the air after {} ({})", Span(*after), said(*seam))
            }
            Self::SourceSwitched { seam } => write!(f, "another source is on the air ({})", said(*seam)),
            Self::ClockJumped { millis } => write!(f, "the source's clock jumped by {millis} ms"),
            Self::ClockStalled { step } => {
                write!(f, "the times of the source do not advance; one packet is sent every {}", Span(*step))
            }
            Self::ModeChanged { mode, error } => {
                write!(f, "now plays {mode}")?;
                error.as_ref().map_or(Ok(()), |error| write!(f, ": {}", chain(error)))
            }
            Self::EncodingLowered { to, shortage } => {
                write!(f, "encoded to {to}, because there is not enough left ({shortage})")
            }
            Self::EncoderChanged { from, to, error } => {
                write!(f, "encoder {from} failed, {to} takes over: {}", chain(error))
            }
            Self::BitRateChanged { from, to, reason, output: _, lag } => {
                let done = if to < from { "lowered" } else { "raised" };
                match reason {
                    RateReason::Asked => write!(f, "bit rate set to {to}, it was {from}"),
                    RateReason::Congestion => {
                        write!(f, "bit rate {done} from {from} to {to}: {} behind", Span(*lag))
                    }
                    RateReason::CaughtUp => write!(f, "bit rate {done} from {from} to {to}: caught up"),
                    RateReason::Calm => write!(f, "bit rate {done} from {from} to {to}: all is calm"),
                }
            }
            Self::RungChanged { from, to, reason } => {
                write!(f, "quality {to:?}, it was {from:?}: ")?;
                f.write_str(match reason {
                    LoadReason::Cpu => "the machine has nothing left",
                    LoadReason::EncodeTime => "the encoder is too slow",
                    LoadReason::Queue => "pictures wait for the encoder",
                    LoadReason::Room => "there is room again",
                })
            }
            Self::TrackSkipped { track, reason } => write!(f, "track {track} is left out: {reason}"),
            Self::ResourceWarning { stream, cpu_percent, memory } => {
                let megabytes = memory / 1_000_000;
                write!(
                    f,
                    "Stream {stream} using high resources: CPU {cpu_percent:.0}%, Memory {megabytes} MB"
                )
            }
            Self::ResourceCalm { after } => {
                write!(f, "uses less again, after {} of high resources", Span(*after))
            }
            Self::Ended { error: None } => f.write_str("ended"),
            Self::Ended { error: Some(error) } => write!(f, "ended: {}", chain(error)),
            Self::CleanupFailed { error } => f.write_str(&chain(error)),
            Self::Abandoned => f.write_str("did not stop in time, abandoned"),
        }
    }
}

/// What receivers see, in words.
fn said(seam: Seam) -> &'static str {
    match seam {
        Seam::Seamless => "seamless",
        Seam::NewHeaders => "with new sequence headers",
        Seam::Encoded => "encoded to the same parameters",
    }
}

impl EventKind {
    fn say_of_output(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputLive { failures, .. } if *failures > 0 => {
                write!(f, "on the air, failures before: {failures}")
            }
            Self::OutputLive { reconnects: 0, .. } => f.write_str("on the air"),
            Self::OutputLive { .. } => f.write_str("on the air again"),
            Self::OutputRetrying { error, wait, .. } => {
                write!(f, "{}; trying again in {}", chain(error), Span(*wait))
            }
            Self::OutputMoved { host, .. } => write!(f, "the server redirects it to {host}"),
            Self::OutputReplacing { host, .. } => write!(f, "it is to go on at {host}, which is dialled"),
            Self::OutputReplaced { cutover: Cutover::AtKeyframe, .. } => {
                f.write_str("replaced at a keyframe, without a gap")
            }
            Self::OutputReplaced { cutover: Cutover::AfterBreak, .. } => {
                f.write_str("replaced after a break: the server takes one publisher at a time")
            }
            Self::OutputReplaced { cutover: Cutover::WasOff, .. } => {
                f.write_str("replaced while it was not on the air")
            }
            Self::OutputNotReplaced { error, .. } => {
                write!(f, "cannot be replaced and goes on as before: {}", chain(error))
            }
            Self::OutputRotating { after, .. } => {
                write!(f, "on the air for {}: goes on with a new connection, as planned", Span(*after))
            }
            Self::OutputRotated { cutover: Cutover::AtKeyframe, .. } => {
                f.write_str("goes on with a new connection since a keyframe, without a gap")
            }
            Self::OutputRotated { .. } => f.write_str("goes on with a new connection after a break"),
            Self::OutputNotRotated { error, wait, .. } => {
                write!(f, "stays with the connection it has: {}", chain(error))?;
                if wait.is_zero() { Ok(()) } else { write!(f, "; trying again in {}", Span(*wait)) }
            }
            Self::OutputEnded { error: None, .. } => f.write_str("ended"),
            Self::OutputEnded { error: Some(error), .. } => write!(f, "ended: {}", chain(error)),
            Self::RecordingOpened { path, .. } => write!(f, "records to {}", path.display()),
            Self::Recorded { path, from, to, .. } => {
                write!(f, "has recorded {} to {}", Span(to.saturating_sub(*from)), path.display())
            }
            Self::SegmentWithoutKeyframe { target, .. } => {
                write!(f, "no keyframe within {}: segments begin between keyframes", Span(*target))
            }
            Self::OutputDropped { tags, .. } => write!(f, "behind, {tags} tags dropped"),
            Self::OutputTrackSkipped { track, reason, .. } => {
                write!(f, "track {track} is left out: {reason}")
            }
            Self::ThumbnailFailed { error, .. } => write!(f, "no thumbnail: {}", chain(error)),
            Self::OutputNotFollowed { takes, .. } => {
                write!(f, "alone too slow: it takes {takes}, and pictures are dropped")
            }
            Self::OutputFollowed { .. } => f.write_str("calm again: the bit rate follows it"),
            Self::OutputCodecRare { codec, .. } => write!(f, "hardly any player decodes {codec}"),
            _ => f.write_str(self.name()),
        }
    }

    fn say_of_publisher(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MixInputLive { input } => write!(f, "{input} is heard in the mix"),
            Self::MixInputLost { input, error: None } => {
                write!(f, "{input} is silent in the mix: it has ended")
            }
            Self::MixInputLost { input, error: Some(error) } => {
                write!(f, "{input} is silent in the mix: {}", chain(error))
            }
            Self::PublicationBegan { name } => write!(f, "{name} is being published"),
            Self::PublicationEnded { name } => write!(f, "{name} is no longer published"),
            Self::SourceLive { failures, .. } if *failures > 0 => {
                write!(f, "the source sends, failures before: {failures}")
            }
            Self::SourceLive { reconnects: 0, .. } => f.write_str("the source sends"),
            Self::SourceLive { .. } => f.write_str("the source sends again"),
            Self::SourceRetrying { error, wait } => {
                write!(f, "the source is dialled again in {}: {}", Span(*wait), chain(error))
            }
            Self::PublisherLost { error, grace } => {
                write!(f, "the publisher was lost, waiting {} for it: {}", Span(*grace), chain(error))
            }
            Self::PublisherReturned { after } => write!(f, "a publisher is back after {}", Span(*after)),
            Self::PublisherReplaced { silent } => {
                write!(f, "another publisher took over, after {} of silence", Span(*silent))
            }
            Self::ClockUnsteady => {
                f.write_str("the publisher's times do not advance by themselves; they are corrected")
            }
            Self::HeaderMissing { codec } => {
                write!(f, "{codec} without a sequence header is left out until there is one")
            }
            Self::HeaderCame { codec, left_out } => {
                write!(f, "the sequence header of {codec} came; {left_out} tags before it were left out")
            }
            _ => f.write_str(self.name()),
        }
    }

    fn say_of_fragment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FragmentPublished { number, bytes, elapsed, total } => {
                let kilobytes = *bytes as f64 / 1024.0;
                let millis = elapsed.as_millis();
                write!(f, "Published fragment {number} ({kilobytes:.2} KB in {millis}ms, {total} total)")
            }
            Self::FragmentProgress { number, bytes, of } => {
                write!(f, "read {} of {} KB of fragment {number}", bytes / 1024, of.div_ceil(1024))
            }
            Self::FragmentSkipped { number: Some(number), name, error } => {
                write!(f, "fragment {number} ({name}) is left out: {}", chain(error))
            }
            Self::FragmentSkipped { number: None, name, error } => {
                write!(f, "{name} is left out: {}", chain(error))
            }
            Self::FragmentLate { number, by } => write!(f, "fragment {number} is late by {}", Span(*by)),
            _ => f.write_str(self.name()),
        }
    }

    fn say_of_item(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judged { path, verdict } => {
                write!(f, "{}: {}{}", path.display(), verdict.action, reasons(verdict))
            }
            Self::Leveled { path, loudness, gain_db } => write!(
                f,
                "{} has {:.1} LUFS, peaks at {:.1} dBTP: its sound is encoded at {gain_db:+.1} dB",
                path.display(),
                loudness.integrated_lufs,
                loudness.true_peak_dbtp
            ),
            Self::LoudnessUnknown { path, gain_db, error } => {
                write!(f, "the loudness of {} is not known", path.display())?;
                match error {
                    Some(error) => write!(f, ": {}", chain(error))?,
                    None => f.write_str(" yet")?,
                }
                write!(f, "; it is played at {gain_db:+.1} dB")
            }
            Self::ItemStarted { path } => write!(f, "plays {}", path.display()),
            Self::ParametersChanged { path, what } => {
                write!(f, "{} has other parameters: {what}", path.display())
            }
            Self::ItemSkipped { path, error } => {
                write!(f, "{} is left out: {}", path.display(), chain(error))
            }
            Self::PlaylistStalled { items: 0, .. } => f.write_str("the playlist is empty"),
            Self::PlaylistStalled { items, error } => {
                write!(f, "none of {items} items of the playlist can be played: ")?;
                match error {
                    Some(error) => f.write_str(&chain(error)),
                    None => f.write_str("none was tried"),
                }
            }
            Self::PlaylistResumed { after } => write!(f, "the playlist goes on after {}", Span(*after)),
            Self::SourceReplaced { path } => {
                write!(f, "{} was replaced, the new file is played from the next lap on", path.display())
            }
            _ => f.write_str(self.name()),
        }
    }
}

/// What speaks against a file, in parentheses. Several platforms may say the same.
fn reasons(verdict: &Verdict) -> String {
    let reasons = verdict.at_least(Severity::Warning);
    let mut reasons: Vec<_> = reasons.map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
    reasons.sort();
    reasons.dedup();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// A length of time as people write it: `250 ms`, `1.5 s`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

/// An event without its time: a log has its own.
pub(super) struct Line<'a>(&'a Event);

impl Event {
    pub(super) const fn line(&self) -> Line<'_> {
        Line(self)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { stream, label, output_label, kind, .. } = self.0;
        write!(f, "{stream}")?;
        // Quoted: labels are the program's text, and may hold anything.
        if let Some(label) = label {
            write!(f, " {label:?}")?;
        }
        if let Some(output) = kind.output() {
            write!(f, "/{output}")?;
        }
        if let Some(label) = output_label {
            write!(f, " {label:?}")?;
        }
        write!(f, ": {kind}")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", utc(self.at), self.line())
    }
}

/// A time in RFC 3339, with milliseconds, in UTC. A clock that is set to a year no calendar has gives the nearest that one has.
#[must_use]
pub fn utc(at: SystemTime) -> impl fmt::Display {
    /// The last second of the year 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Error;
    use crate::id::StreamId;

    fn event(millis: u64, labels: [Option<&str>; 2], kind: EventKind) -> String {
        let at = UNIX_EPOCH + Duration::from_millis(millis);
        let [label, output_label] = labels.map(|label| label.map(Arc::from));
        Event { at, stream: StreamId(1), label, output_label, kind }.to_string()
    }

    #[test]
    fn a_line_has_the_time_the_stream_the_output_and_the_sentence() {
        let output = OutputId(2);
        let error = Error::Ended;
        let retrying = EventKind::OutputRetrying { output, error, wait: Duration::from_millis(1500) };
        assert_eq!(
            event(1_772_366_400_250, [Some("late \"show\""), Some("youtube")], retrying),
            "2026-03-01T12:00:00.250Z s1 \"late \\\"show\\\"\"/o2 \"youtube\": the stream has ended; trying again in 1.5 s"
        );
        assert_eq!(event(0, [None, None], EventKind::Started), "1970-01-01T00:00:00.000Z s1: started");
    }

    #[test]
    fn a_clock_that_is_far_off_can_be_printed() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let after = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(utc(before).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(after).to_string(), "9999-12-31T23:59:59.000Z");
    }
}
