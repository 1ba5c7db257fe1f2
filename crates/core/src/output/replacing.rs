//! Another server or key for an output that is on the air.
//!
//! In: an output, on the caller's thread. Out: what its driver on the stream's thread is asked for.

use std::sync::Arc;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::{UrlError, UrlPart};

use super::rtmp_push::{Change, Note, Replace};
use super::{HIDDEN, Output, OutputKind, Target};
use crate::error::Error;
use crate::id::OutputId;
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::{Data, OpenOutput, StreamRef};
use crate::words::words;

/// What happens if the server does not take the new connection of an output because the one on the air has the same name there; see
/// [`StreamRef::replace_output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IfTaken {
    /// The one on the air says goodbye, and then the new one is dialled: receivers see a break of some seconds
    /// ([`Cutover::AfterBreak`](crate::Cutover::AfterBreak)).
    #[default]
    Break,
    /// The one on the air stays; the output is not replaced.
    Keep,
}

words!(IfTaken, "policy for a name that is taken", Break = "break", Keep = "keep");

impl StreamRef {
    /// Lets a push go on at another server, or in another way, without a gap. The new connection is dialled beside the one on the air. Once
    /// the server has let it in, it begins with headers and the next keyframe; the old one sends what comes before that keyframe, says
    /// goodbye and is closed. The output keeps its number and its label; that of `new` is not used.
    ///
    /// [`OutputReplacing`](crate::EventKind::OutputReplacing) is followed by [`OutputReplaced`](crate::EventKind::OutputReplaced), or by
    /// [`OutputNotReplaced`](crate::EventKind::OutputNotReplaced) if the one attempt fails: then what was on the air goes on. If the output
    /// is replaced again meanwhile, only the last one counts.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
    /// use flowcast::output::IfTaken;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let youtube = Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "a-key").label("youtube");
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(youtube).start()?;
    /// let youtube = live.output("youtube").expect("it was given to the stream");
    /// let other = Output::rtmp("rtmps://b.rtmps.youtube.com/live2?backup=1", "a-key");
    /// live.replace_output(youtube, other, IfTaken::Break)?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// An output with a [backup](Output::backup) is replaced by another one with a backup, by the number of the primary: both go on, each with events
    /// of its own. If one of the two has ended for good, only the other one does.
    ///
    /// # Errors
    ///
    /// What is wrong with `new`, as of [`add_output`](Self::add_output); [`Error::Config`] if there is no such output, or one of the two is no
    /// push; [`Error::Ended`]. Nothing changes then.
    ///
    /// # Blocking
    ///
    /// On reading the file of its certificates, if it has one.
    pub fn replace_output(&self, output: OutputId, new: Output, if_taken: IfTaken) -> Result<(), Error> {
        new.check()?;
        let pushes = self.pushes(output)?;
        // With the name of the file of its certificates, not what is in it.
        let written = new.clone();
        let OutputKind::Rtmp(target) = new.kind? else {
            return Err(refused("only a push can take the place of a push"));
        };
        let roots = target.roots.clone().loaded()?;
        let target = Target { roots, ..*target };
        let to_backup = target.backup.clone().transpose()?;
        match (pushes.has_backup, to_backup.is_some()) {
            (true, false) => return Err(refused("it has a backup, and what is to take its place has none")),
            (false, true) => return Err(refused("it has no backup, and what is to take its place has one")),
            _ => {}
        }
        let target = Target { backup: None, ..target };
        let backup = to_backup.map(|destination| Target { destination, ..target.clone() });
        let note = self.note(output, move |before| Output { label: before.label.clone(), ..written });
        let changes = (Change::Target(Box::new(target)), backup.map(|to| Change::Target(Box::new(to))));
        self.change(&pushes, changes, if_taken, note)
    }

    /// Asks the drivers of a push and of its backup; `note` is called once the first of the two that there is has changed.
    fn change(
        &self,
        pushes: &Pushes,
        (change, to_backup): (Change, Option<Change>),
        if_taken: IfTaken,
        note: Note,
    ) -> Result<(), Error> {
        let mut note = Some(note);
        for (output, change) in [(pushes.primary, Some(change)), (pushes.backup, to_backup)] {
            if let Some((output, change)) = output.zip(change) {
                let note = note.take().unwrap_or_else(|| Box::new(|| {}));
                self.deliver_to(output, Box::new(Replace { change, if_taken, note }))?;
            }
        }
        Ok(())
    }

    /// Lets a push go on with another key at the same server, as [`replace_output`](Self::replace_output) does.
    ///
    /// # Errors
    ///
    /// An empty key, or one that is hidden (`****`); else as of [`replace_output`](Self::replace_output).
    pub fn replace_key(
        &self,
        output: OutputId,
        key: impl Into<StreamKey>,
        if_taken: IfTaken,
    ) -> Result<(), Error> {
        let key = key.into();
        if key.reveal().is_empty() {
            return Err(Error::Url(UrlError::Missing(UrlPart::Key)));
        }
        if key.reveal().contains(HIDDEN) {
            let reason = "hidden (****): the output was written without its key".to_owned();
            return Err(Error::Config { name: "key", reason });
        }
        let pushes = self.pushes(output)?;
        let other = key.clone();
        let note = self.note(output, move |before| before.with_other_key(other));
        self.change(&pushes, (Change::Key(key.clone()), Some(Change::Key(key))), if_taken, note)
    }

    /// What notes, once the output was replaced, what it is from then on.
    fn note(&self, output: OutputId, change: impl FnOnce(&Output) -> Output + Send + 'static) -> Note {
        let described = self.shared.described.clone();
        Box::new(move || {
            described.replace_output(output, |before| {
                before.downcast_ref::<Output>().map(|before| Arc::new(change(before)) as Data)
            });
        })
    }

    /// The push of this number and its backup. Refuses an output that is no push, or has ended.
    fn pushes(&self, output: OutputId) -> Result<Pushes, Error> {
        if self.has_ended() {
            return Err(Error::Ended);
        }
        let stats = self.stats();
        let runs =
            |id| stats.outputs.iter().find(|stats| stats.id == id && stats.phase != OutputPhase::Ended);
        let (primary, backup) = (runs(output), self.shared.backup_of(output));
        let (has_backup, backup) = (backup.is_some(), backup.and_then(runs));
        if primary.is_some_and(|stats| stats.backup_of.is_some()) {
            return Err(refused("it is the backup of another one: give the number of that"));
        }
        match primary.or(backup).map(|stats| stats.transport) {
            Some(OutputTransport::Rtmp | OutputTransport::Rtmps) => {}
            Some(_) => return Err(refused("only a push can be replaced")),
            None => return Err(refused("the stream has no such output")),
        }
        let id = |stats: &OutputStats| stats.id;
        Ok(Pushes { primary: primary.map(id), backup: backup.map(id), has_backup })
    }
}

/// A push and its backup, those that run.
struct Pushes {
    primary: Option<OutputId>,
    backup: Option<OutputId>,
    has_backup: bool,
}

impl Output {
    /// The same push with another key.
    fn with_other_key(&self, key: StreamKey) -> Self {
        let mut other = self.clone();
        if let Ok(OutputKind::Rtmp(target)) = &mut other.kind
            && let Ok(destination) = target.destination.with_other_key(key.clone())
        {
            target.destination = destination;
            if let Some(Ok(backup)) = &target.backup {
                target.backup = Some(backup.with_other_key(key));
            }
        }
        other
    }
}

fn refused(reason: &str) -> Error {
    Error::Config { name: "output", reason: reason.to_owned() }
}
