//! What happens to streams, for a person.

use flowcast::{Event, EventKind};

/// What a person should know at once, without its time.
pub fn text(event: &Event) -> Option<String> {
    let is_routine = matches!(
        event.kind,
        EventKind::Started
            | EventKind::Looped { .. }
            | EventKind::FragmentProgress { .. }
            | EventKind::Ended { .. }
            | EventKind::OutputEnded { error: None, .. }
            | EventKind::OutputMoved { .. }
            | EventKind::HeaderCame { .. }
            | EventKind::ClockJumped { .. }
            | EventKind::PublicationBegan { .. }
            | EventKind::PublicationEnded { .. }
            | EventKind::PublisherLost { .. }
            | EventKind::PublisherReturned { .. }
            | EventKind::PublisherReplaced { .. }
    );
    let output = event.kind.output().map(|output| format!(" {output}")).unwrap_or_default();
    (!is_routine).then(|| format!("{}{output}: {}", event.stream, event.kind))
}
