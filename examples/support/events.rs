//! What happens to streams, for a person.

use flowcast::{EventKind, Severity, StreamId, chain};

/// Prints what a person should know at once.
pub fn tell(stream: StreamId, event: &EventKind) {
    match event {
        EventKind::OutputLive { output, reconnects: 0, .. } => eprintln!("{stream} {output}: on the air"),
        EventKind::OutputLive { output, .. } => eprintln!("{stream} {output}: on the air again"),
        EventKind::RecordingOpened { output, path } => {
            eprintln!("{stream} {output}: records to {}", path.display());
        }
        EventKind::OutputRetrying { output, error, wait } => {
            let seconds = wait.as_secs_f64();
            eprintln!("{stream} {output}: {}; trying again in {seconds:.1} s", chain(error.as_ref()));
        }
        EventKind::OutputEnded { output, error: Some(error) } => {
            eprintln!("{stream} {output}: ended: {}", chain(error.as_ref()));
        }
        EventKind::OutputDropped { output, tags } => {
            eprintln!("{stream} {output}: behind, {tags} tags dropped");
        }
        EventKind::SourceFault { error } => eprintln!("{stream}: {}", chain(error.as_ref())),
        EventKind::SourceStalled { after } => {
            eprintln!("{stream}: the source has given nothing for {:.1} s", after.as_secs_f64());
        }
        EventKind::SourceResumed { after } => {
            eprintln!("{stream}: the source gives again after {:.1} s", after.as_secs_f64());
        }
        EventKind::SourceReplaced { path } => eprintln!("{stream}: {} was replaced", path.display()),
        EventKind::ModeChanged { mode, error: Some(error) } => {
            eprintln!("{stream}: plays {mode} from here on: {}", chain(error.as_ref()));
        }
        EventKind::ModeChanged { mode, error: None } => eprintln!("{stream}: plays {mode} from here on"),
        EventKind::Judged { path, verdict } => {
            let refused = verdict.at_least(Severity::Error);
            let mut reasons: Vec<_> =
                refused.map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
            // Several platforms may say the same.
            reasons.sort();
            reasons.dedup();
            let reasons =
                if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
            eprintln!("{stream}: {}: {}{reasons}", path.display(), verdict.action);
        }
        EventKind::EncoderChanged { from, to, error } => {
            eprintln!("{stream}: encoder {from} failed, {to} goes on: {}", chain(error.as_ref()));
        }
        EventKind::ItemStarted { path } => eprintln!("{stream}: plays {}", path.display()),
        EventKind::ItemSkipped { path, error } => {
            eprintln!("{stream}: leaves {} out: {}", path.display(), chain(error.as_ref()));
        }
        EventKind::PlaylistStalled { items: 0, .. } => eprintln!("{stream}: the playlist is empty"),
        EventKind::PlaylistStalled { items, .. } => {
            eprintln!("{stream}: none of {items} items of the playlist can be played");
        }
        EventKind::PlaylistResumed { after } => eprintln!("{stream}: the playlist goes on after {after:.1?}"),
        EventKind::TrackSkipped { track, reason } => {
            eprintln!("{stream}: track {track} is left out: {reason}");
        }
        EventKind::ParametersChanged { path, what } => {
            eprintln!("{stream}: {} has other parameters: {what}", path.display());
        }
        EventKind::OutputTrackSkipped { output, track, reason } => {
            eprintln!("{stream} {output}: track {track} is left out: {reason}");
        }
        EventKind::OutputCodecRare { output, codec } => {
            eprintln!("{stream} {output}: hardly anything plays {codec}");
        }
        EventKind::ClockStalled { .. } => {
            eprintln!("{stream}: the file's times do not advance, it is sent at its usual rate");
        }
        EventKind::ClockUnsteady => {
            eprintln!("{stream}: the publisher's times do not go on, they are counted by arrival");
        }
        EventKind::HeaderMissing { codec } => {
            eprintln!("{stream}: {codec} without a sequence header is left out until there is one");
        }
        _ => {}
    }
}
