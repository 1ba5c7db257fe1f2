//! A platform that takes a stream twice: at its primary ingest, and at its backup.
//!
//! In: a push with the address of a backup. Out: two outputs of the stream, which are sent the same tags with the same times. On the thread
//! that starts the stream or adds the output.

use std::sync::{Arc, OnceLock};

use flowcast_rtmp::url::Destination;

use super::feed::SharedZero;
use super::rtmp_push::{Broadcast, MOST_SESSION, RtmpPush};
use super::{Output, OutputKind, Target};
use crate::error::Error;
use crate::id::OutputId;
use crate::stream::{Data, OpenOutput, OpenedOutput, OutputOpening};

/// What the label of a backup adds to that of its output.
const SUFFIX: &str = " (backup)";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Backup,
}

/// What the pushes to the two ingests share.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) zero: SharedZero,
    pub(super) broadcast: Broadcast,
    /// The number of the primary.
    pub(super) primary: Arc<OnceLock<OutputId>>,
}

/// One of the two.
#[derive(Debug)]
struct Ingest {
    target: Target,
    label: Option<String>,
    data: Option<Data>,
    role: Role,
    pair: Pair,
}

impl OpenOutput for Ingest {
    fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    fn as_data(&self) -> Option<Data> {
        self.data.clone()
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        let Self { target, role, pair, .. } = *self;
        if role == Role::Primary {
            // A pair is opened once.
            let _ = pair.primary.set(cx.output());
        }
        let roots = target.roots.clone().loaded()?;
        Ok(RtmpPush::open(Target { roots, ..target }, cx, Some((pair, role))))
    }
}

/// The two outputs that an output with a backup stands for.
pub(super) fn of(output: &Output) -> Option<[Box<dyn OpenOutput>; 2]> {
    let Ok(OutputKind::Rtmp(target)) = &output.kind else { return None };
    let Some(Ok(backup)) = &target.backup else { return None };
    let (zero, broadcast) = (SharedZero::new(MOST_SESSION), Broadcast::default());
    let pair = Pair { zero, broadcast, primary: Arc::default() };
    let ingest = |destination: &Destination, role: Role| -> Box<dyn OpenOutput> {
        let target = Target { destination: destination.clone(), backup: None, ..Target::clone(target) };
        let (suffix, data) = match role {
            Role::Primary => ("", output.as_data()),
            Role::Backup => (SUFFIX, None),
        };
        let label = output.label.as_ref().map(|label| format!("{label}{suffix}"));
        Box::new(Ingest { target, label, data, role, pair: pair.clone() })
    };
    Some([ingest(&target.destination, Role::Primary), ingest(backup, Role::Backup)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> Output {
        Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "a-secret")
    }

    #[test]
    fn what_is_wrong_with_a_backup_is_named() {
        let said =
            |output: Output| -> Vec<String> { output.problems().iter().map(ToString::to_string).collect() };
        assert!(said(push().backup("rtmps://b.rtmps.youtube.com/live2?backup=1")).is_empty());
        assert_eq!(said(push().backup("https://host/live")).len(), 1);
        let same = said(push().backup("rtmps://a.rtmps.youtube.com/live2"));
        assert!(same.len() == 1 && same[0].contains("backup"), "{same:?}");
        assert!(!said(push().backup("rtmps://b.rtmps.youtube.com/live2?****")).is_empty(), "hidden");
        assert!(!said(Output::record("x.flv").backup("rtmp://host/live")).is_empty(), "no push");
    }

    #[test]
    fn no_key_is_shown() {
        let output = push().backup("rtmps://b.rtmps.youtube.com/live2?backup=1").label("youtube");
        let pair = of(&output).expect("it has a backup");
        assert_eq!(pair.each_ref().map(|it| it.label()), [Some("youtube"), Some("youtube (backup)")]);
        let shown = format!("{output:?} {pair:?}");
        assert!(shown.contains("b.rtmps.youtube.com") && !shown.contains("a-secret"), "{shown}");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn it_is_written_with_its_backup_and_read_again() {
        let output = push().backup("rtmps://b.rtmps.youtube.com/live2?backup=1");
        let open = serde_json::to_string(&super::super::WithKey(&output)).expect("it can be");
        let read: Output = serde_json::from_str(&open).expect("it was written so");
        assert_eq!(read, output, "{open}");
        let hidden = serde_json::to_string(&output).expect("it can be");
        assert!(hidden.contains("b.rtmps.youtube.com") && !hidden.contains("a-secret"), "{hidden}");
        let read: Output = serde_json::from_str(&hidden).expect("it was written so");
        assert!(!read.problems().is_empty());
    }
}
