//! What happens to streams, for a person.

use flowcast::{EventKind, Severity, StreamId, chain};

/// What a person should know at once.
pub fn text(stream: StreamId, event: &EventKind) -> Option<String> {
    Some(match event {
        EventKind::OutputLive { output, reconnects: 0, .. } => format!("{stream} {output}: on the air"),
        EventKind::OutputLive { output, .. } => format!("{stream} {output}: on the air again"),
        EventKind::RecordingOpened { output, path } => {
            format!("{stream} {output}: records to {}", path.display())
        }
        EventKind::OutputRetrying { output, error, wait } => {
            let seconds = wait.as_secs_f64();
            format!("{stream} {output}: {}; trying again in {seconds:.1} s", chain(error.as_ref()))
        }
        EventKind::OutputEnded { output, error: Some(error) } => {
            format!("{stream} {output}: ended: {}", chain(error.as_ref()))
        }
        EventKind::OutputDropped { output, tags } => {
            format!("{stream} {output}: behind, {tags} tags dropped")
        }
        EventKind::SourceFault { error } => format!("{stream}: {}", chain(error.as_ref())),
        EventKind::SourceStalled { after } => {
            format!("{stream}: the source has delivered nothing for {:.1} s", after.as_secs_f64())
        }
        EventKind::SourceResumed { after } => {
            format!("{stream}: the source delivers again after {:.1} s", after.as_secs_f64())
        }
        EventKind::SourceReplaced { path } => format!("{stream}: {} was replaced", path.display()),
        EventKind::ModeChanged { mode, error: Some(error) } => {
            format!("{stream}: now plays {mode}: {}", chain(error.as_ref()))
        }
        EventKind::ModeChanged { mode, error: None } => format!("{stream}: now plays {mode}"),
        EventKind::Judged { path, verdict } => {
            let refused = verdict.at_least(Severity::Error);
            let mut reasons: Vec<_> =
                refused.map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
            // Several platforms may say the same.
            reasons.sort();
            reasons.dedup();
            let reasons =
                if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
            format!("{stream}: {}: {}{reasons}", path.display(), verdict.action)
        }
        EventKind::EncoderChanged { from, to, error } => {
            format!("{stream}: encoder {from} failed, {to} takes over: {}", chain(error.as_ref()))
        }
        EventKind::ItemStarted { path } => format!("{stream}: plays {}", path.display()),
        EventKind::ItemSkipped { path, error } => {
            format!("{stream}: leaves {} out: {}", path.display(), chain(error.as_ref()))
        }
        EventKind::PlaylistStalled { items: 0, .. } => format!("{stream}: the playlist is empty"),
        EventKind::PlaylistStalled { items, .. } => {
            format!("{stream}: none of {items} items of the playlist can be played")
        }
        EventKind::PlaylistResumed { after } => format!("{stream}: the playlist goes on after {after:.1?}"),
        EventKind::TrackSkipped { track, reason } => {
            format!("{stream}: track {track} is left out: {reason}")
        }
        EventKind::ParametersChanged { path, what } => {
            format!("{stream}: {} has other parameters: {what}", path.display())
        }
        EventKind::OutputTrackSkipped { output, track, reason } => {
            format!("{stream} {output}: track {track} is left out: {reason}")
        }
        EventKind::OutputCodecRare { output, codec } => {
            format!("{stream} {output}: hardly any player decodes {codec}")
        }
        EventKind::ClockStalled { .. } => {
            format!("{stream}: the file's times do not advance, it is sent at its usual rate")
        }
        EventKind::ClockUnsteady => {
            format!("{stream}: the publisher's times do not go on, they are counted by arrival")
        }
        EventKind::HeaderMissing { codec } => {
            format!("{stream}: {codec} without a sequence header is left out until there is one")
        }
        _ => return None,
    })
}
