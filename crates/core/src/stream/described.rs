//! What a stream was made of, as data, as far as it is data.
//!
//! In: sources and outputs, when the stream is described and when it is changed on the air. Out: the same, for who writes it down. The data
//! are of rooms above this one, which put them in and take them out. Nobody waits here for a stream's thread, nor that for anybody.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "state")]
use crossbeam_channel::Receiver;
use crossbeam_channel::{Sender, TrySendError};
use parking_lot::Mutex;

use crate::id::OutputId;

/// A source or an output as data.
pub type Data = Arc<dyn Any + Send + Sync>;

/// What one stream was made of.
#[derive(Default)]
pub(crate) struct Described {
    what: Mutex<What>,
    changes: Arc<Changes>,
}

/// The same at one moment.
#[derive(Clone, Default)]
pub(crate) struct What {
    /// A program has started it; what is published has nobody who would start it again.
    pub(crate) is_started: bool,
    pub(crate) source: Option<Data>,
    pub(crate) without_outputs: bool,
    pub(crate) outputs: Vec<DescribedOutput>,
    /// The number of what was kept of an earlier run, if it goes on with that.
    pub(crate) restored: Option<u64>,
}

/// One of its outputs.
#[derive(Clone)]
pub(crate) struct DescribedOutput {
    pub(crate) id: OutputId,
    label: Option<Arc<str>>,
    pub(crate) data: Option<Data>,
}

impl Described {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Self { changes, ..Self::default() }
    }

    /// A program starts it.
    pub(crate) fn begin(&self, source: Option<Data>, without_outputs: bool, restored: Option<u64>) {
        let mut what = self.what.lock();
        (what.is_started, what.source, what.without_outputs, what.restored) =
            (true, source, without_outputs, restored);
    }

    /// Another source has taken over.
    pub(super) fn replace_source(&self, source: Option<Data>) {
        self.what.lock().source = source;
        self.changes.note();
    }

    /// An output was given to it. One that had the label before has ended.
    pub(super) fn add_output(&self, id: OutputId, label: Option<Arc<str>>, data: Option<Data>) {
        let mut what = self.what.lock();
        what.outputs.retain(|output| label.is_none() || output.label != label);
        what.outputs.push(DescribedOutput { id, label, data });
        drop(what);
        self.changes.note();
    }

    /// An output goes on as something else: `change` makes the one of the other.
    pub(crate) fn replace_output(&self, id: OutputId, change: impl FnOnce(&Data) -> Option<Data>) {
        let mut what = self.what.lock();
        let output = what.outputs.iter_mut().find(|output| output.id == id);
        if let Some(data) = output.and_then(|output| output.data.as_mut())
            && let Some(changed) = change(data)
        {
            *data = changed;
        }
        drop(what);
        self.changes.note();
    }

    /// An output was taken from it.
    pub(super) fn remove_output(&self, id: OutputId) {
        self.what.lock().outputs.retain(|output| output.id != id);
        self.changes.note();
    }

    /// What it is made of now.
    pub(crate) fn what(&self) -> What {
        self.what.lock().clone()
    }
}

impl fmt::Debug for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described").finish_non_exhaustive()
    }
}

/// Wakes who writes down what runs, when that changes.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<Vec<Sender<()>>>);

impl Changes {
    /// Something has changed; never blocks.
    pub(crate) fn note(&self) {
        self.0.lock().retain(|wakes| !matches!(wakes.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    /// Gives something whenever there were changes since it gave something last.
    #[cfg(feature = "state")]
    pub(crate) fn watch(&self) -> Receiver<()> {
        let (send, receive) = crossbeam_channel::bounded(1);
        self.0.lock().push(send);
        receive
    }
}
