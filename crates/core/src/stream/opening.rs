//! How sources and outputs are opened: what [`Engine::stream`](crate::Engine::stream) and
//! [`StreamBuilder::to`](crate::StreamBuilder::to) take.
//!
//! In: a description, and what a stream has to offer: its number, the engine's settings, mailboxes. Out: a driver for the
//! stream's thread. Everything here runs on the thread that starts the stream or adds the output.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use super::described::Data;
use super::handle::StreamRef;
use super::hub::Hub;
use super::letters::Letters;
use super::mailbox::{Command, Mailbox};
use super::registry::Registry;
use super::shared::StreamShared;
use super::together::Together;
use crate::adapt::Dial;
#[cfg(feature = "libav")]
use crate::adapt::UnderLoad;
use crate::config::Config;
use crate::content::Probe;
use crate::driver::{OutputDriver, SourceDriver};
use crate::error::Error;
use crate::files::{Reads, StreamFiles};
use crate::id::{OutputId, StreamId};
use crate::mix::MixerRef;
use crate::net::dialer::Dialer;
use crate::overlay::Board;
use crate::recorded::Recordings;
use crate::reel::Store;
use crate::standby::{Opened, Parameters};
use crate::sys::{Cancel, CpuLap, CpuMeter, LeftBehind, ThreadMeter};
use crate::thumbnail::Studio;

/// What a stream can be made from: a description that says how it is opened.
///
/// [`Source`](crate::Source) is one; a program can bring its own.
pub trait OpenSource: fmt::Debug + Send {
    /// Refuses what cannot work, before anything is opened or counted against a limit. Default: refuses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], most likely: what is wrong.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What it reads, so that no recording overwrites it and no stream feeds itself. Default: no files, no publication.
    fn reads(&self) -> Reads {
        Reads::default()
    }

    /// The description as data, for a snapshot of what runs; `None` for what is none.
    #[doc(hidden)]
    fn as_data(&self) -> Option<Data> {
        None
    }

    /// The description, to find out what it costs; also of what is no data.
    #[doc(hidden)]
    fn as_asked(&self) -> Option<Data> {
        self.as_data()
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Why it cannot be played; the stream does not start.
    ///
    /// # Blocking
    ///
    /// May block: it is called by [`start`](crate::StreamBuilder::start), on the caller's thread. What can take long should end
    /// when the engine shuts down; see [`SourceOpening::on_shutdown`].
    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error>;
}

impl<S: OpenSource + ?Sized> OpenSource for Box<S> {
    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn reads(&self) -> Reads {
        (**self).reads()
    }

    fn as_data(&self) -> Option<Data> {
        (**self).as_data()
    }

    fn as_asked(&self) -> Option<Data> {
        (**self).as_asked()
    }

    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        (*self).open(cx)
    }
}

/// Where a stream can be sent: a description that says how it is opened.
///
/// [`Output`](crate::Output) is one; a program can bring its own.
pub trait OpenOutput: fmt::Debug + Send {
    /// Refuses what cannot work, before anything is opened. Default: refuses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], most likely: what is wrong.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the program calls it: figures, events and log lines show it, and [`StreamRef::output`] finds it. 1 to 128
    /// characters, no control characters, and no other output of the stream may have it. Default none.
    fn label(&self) -> Option<&str> {
        None
    }

    /// The description as data, for a snapshot of what runs; `None` for what is none.
    #[doc(hidden)]
    fn as_data(&self) -> Option<Data> {
        None
    }

    /// Whether it is only passing: nobody would want it back after a restart, and a stream is not made of it. Snapshots know nothing of such
    /// outputs ([`Snapshot::left_out`](crate::Snapshot::left_out) does not name them either). Default `false`.
    fn is_passing(&self) -> bool {
        false
    }

    /// The two outputs it stands for, a primary and its backup; `None` for what is one.
    #[doc(hidden)]
    fn as_pair(&self) -> Option<[Box<dyn OpenOutput>; 2]> {
        None
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Why it cannot be; the stream does not start, or goes on without it.
    ///
    /// # Blocking
    ///
    /// May block as long as creating a file does: it is called by [`start`](crate::StreamBuilder::start) or
    /// [`add_output`](crate::StreamRef::add_output), on the caller's thread. What takes longer (connecting, say) belongs on a thread
    /// of the output's own, which reports to its driver by [`OutputOpening::mailbox`].
    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error>;
}

impl<O: OpenOutput + ?Sized> OpenOutput for Box<O> {
    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn label(&self) -> Option<&str> {
        (**self).label()
    }

    fn as_data(&self) -> Option<Data> {
        (**self).as_data()
    }

    fn is_passing(&self) -> bool {
        (**self).is_passing()
    }

    fn as_pair(&self) -> Option<[Box<dyn OpenOutput>; 2]> {
        (**self).as_pair()
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        (*self).open(cx)
    }
}

/// An output that was opened.
pub struct OpenedOutput {
    /// Where it goes, for figures and logs ([`OutputStats::name`](crate::OutputStats::name)); without secrets.
    pub name: String,
    /// What serves it on the stream's thread.
    pub driver: Box<dyn OutputDriver>,
}

impl fmt::Debug for OpenedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedOutput").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a source is opened with.
#[derive(Debug)]
pub struct SourceOpening<'a> {
    registry: &'a Arc<Registry>,
    shared: &'a Arc<StreamShared>,
    /// Its number among the sources of the stream.
    seat: u64,
    /// Ends what it waits for.
    cancel: Arc<Cancel>,
    letters: Arc<Letters>,
    /// What is on the air, for a source that comes later.
    beside: Option<Parameters>,
    /// The source is encoded to that.
    fitted: Cell<bool>,
    /// What its encoder finds wrong with it.
    probe: Probe,
}

impl<'a> SourceOpening<'a> {
    /// For the source that a stream begins with.
    pub(crate) fn first(registry: &'a Arc<Registry>, shared: &'a Arc<StreamShared>) -> Self {
        Self::with(registry, shared, 0, registry.starting().begin(), None)
    }

    /// For one that comes later, while this is on the air.
    pub(crate) fn later(
        registry: &'a Arc<Registry>,
        shared: &'a Arc<StreamShared>,
        seat: u64,
        beside: Option<Parameters>,
    ) -> Self {
        Self::with(registry, shared, seat, registry.starting().begin(), beside)
    }

    fn with(
        registry: &'a Arc<Registry>,
        shared: &'a Arc<StreamShared>,
        seat: u64,
        cancel: Arc<Cancel>,
        beside: Option<Parameters>,
    ) -> Self {
        let letters = Letters::to(shared.mailbox.clone(), seat);
        let (fitted, probe) = (Cell::new(false), Probe::default());
        Self { registry, shared, seat, cancel, letters, beside, fitted, probe }
    }

    /// What is on the air; `None` for the source that a stream begins with.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn beside(&self) -> Option<&Parameters> {
        self.beside.as_ref()
    }

    /// The source is encoded to what is on the air.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn is_fitted(&self) {
        self.fitted.set(true);
    }

    /// Whether it is.
    pub(crate) fn was_fitted(&self) -> bool {
        self.fitted.get()
    }

    /// The source is mixed, and this is how the program reaches the mixer.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is mixed"))]
    pub(crate) fn has_mixer(&self, mixer: MixerRef) {
        self.shared.mixers.come(self.seat, mixer);
    }

    /// What is sent to the driver by [`mailbox`](Self::mailbox).
    pub(super) fn letters(&self) -> &Arc<Letters> {
        &self.letters
    }

    /// How sources of the stream are opened later, on a thread of their own.
    pub(crate) fn later_on(&self) -> LaterOn {
        let (registry, probe) = (Arc::downgrade(self.registry), self.probe.clone());
        LaterOn { registry, shared: self.shared.clone(), seat: self.seat, probe }
    }

    /// The number of the stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.shared.id
    }

    /// The engine's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.registry.config
    }

    /// How other threads reach the driver.
    #[must_use]
    pub fn mailbox(&self) -> SourceMailbox {
        SourceMailbox(self.letters.clone())
    }

    /// Has `end` called if the engine shuts down while the source is being opened, or the source is not needed any more; at once
    /// if that is so already. What [`open`](OpenSource::open) waits for should end then.
    pub fn on_shutdown(&self, end: impl Fn() + Send + 'static) {
        self.cancel.on_cancel(end);
    }

    /// Counts a thread of the driver's own as one of the stream's: give each of its threads one.
    #[must_use]
    pub fn thread_meter(&self) -> ThreadMeter {
        ThreadMeter::new(self.shared.cpu.clone())
    }

    pub(crate) fn cpu(&self) -> CpuMeter {
        self.shared.cpu.clone()
    }

    /// Where an encoder of the source puts what it finds; also one that is opened [later](Self::later_on).
    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Where content is looked at.
    pub(crate) fn studio(&self) -> Studio {
        self.registry.studio().clone()
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.registry.hub()
    }

    /// What streams share.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what is encoded is shared"))]
    pub(crate) fn together(&self) -> &Together {
        self.registry.together()
    }

    pub(crate) fn dialer(&self) -> Dialer {
        self.registry.dialer()
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        self.registry.reels()
    }

    pub(crate) fn files(&self) -> &Arc<StreamFiles> {
        &self.shared.files
    }

    /// The overlays that the program can change.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Says how the stream gives way on the engine's ladder.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for what has no effect: there is no ladder, no such rung, or the pictures are copied.
    #[cfg(feature = "libav")]
    pub(crate) fn give_way(&self, how: &UnderLoad, is_copy: bool) -> Result<(), Error> {
        how.check(self.config().ladder.as_ref().filter(|_| !is_copy))?;
        self.shared.dial.give_way(how);
        Ok(())
    }

    /// What sets the bit rate of its pictures.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn dial(&self) -> &Dial {
        &self.shared.dial
    }

    pub(crate) fn waker(&self) -> &Mailbox {
        &self.shared.mailbox
    }
}

/// What sources of a stream are opened with while it is on the air.
pub(crate) struct LaterOn {
    registry: Weak<Registry>,
    shared: Arc<StreamShared>,
    seat: u64,
    probe: Probe,
}

impl LaterOn {
    /// Opens a source with `open`, on this thread, unless it is called off; `beside` is what is on the air.
    ///
    /// # Errors
    ///
    /// What `open` says; [`Error::Cancelled`], [`Error::Ended`].
    pub(crate) fn open(
        &self,
        beside: Option<Parameters>,
        cancel: &Arc<Cancel>,
        open: impl FnOnce(&SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error>,
    ) -> Result<Opened, Error> {
        let registry = self.registry.upgrade().ok_or(Error::Ended)?;
        registry.starting().watch(cancel);
        if cancel.is_cancelled() {
            return Err(Error::Cancelled { what: "opening a source" });
        }
        let mut opening = SourceOpening::with(&registry, &self.shared, self.seat, cancel.clone(), beside);
        opening.probe = self.probe.clone();
        let mut lap = CpuLap::default();
        let driver = self.shared.span.run(|| open(&opening));
        self.shared.cpu.lap(&mut lap);
        cancel.over();
        if driver.is_ok() {
            opening.letters().open()
        } else {
            opening.letters().close()
        }
        Ok(Opened { driver: driver?, fitted: opening.was_fitted() })
    }
}

/// What an output is opened with.
#[derive(Debug)]
pub struct OutputOpening<'a> {
    pub(crate) stream: &'a StreamRef,
    pub(crate) output: OutputId,
    pub(crate) label: Option<Arc<str>>,
}

impl OutputOpening<'_> {
    /// The number of the stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream.id()
    }

    /// The number of the output within the stream.
    #[must_use]
    pub fn output(&self) -> OutputId {
        self.output
    }

    /// What the program calls the output, if it has a label.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The engine's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.stream.registry.config
    }

    /// How other threads reach the driver.
    #[must_use]
    pub fn mailbox(&self) -> OutputMailbox {
        OutputMailbox { mailbox: self.stream.shared.mailbox.clone(), output: self.output }
    }

    /// Counts a thread of the driver's own as one of the stream's: give each of its threads one.
    #[must_use]
    pub fn thread_meter(&self) -> ThreadMeter {
        ThreadMeter::new(self.stream.shared.cpu.clone())
    }

    /// What the stream is called: its label, else its number.
    pub(crate) fn stream_name(&self) -> String {
        self.stream.label().map_or_else(|| self.stream.id().to_string(), str::to_owned)
    }

    /// The file of the list's item that plays, if the stream plays a list already.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
    pub(crate) fn playing_item(&self) -> Option<PathBuf> {
        let playing = self.stream.stats().playing.filter(|playing| playing.item.is_some());
        playing.map(|playing| playing.path)
    }

    pub(crate) fn shared_config(&self) -> Arc<Config> {
        self.stream.registry.config.clone()
    }

    pub(crate) fn dialer(&self) -> Dialer {
        self.stream.registry.dialer()
    }

    pub(crate) fn cpu(&self) -> CpuMeter {
        self.stream.shared.cpu.clone()
    }

    /// Workers that were told to end.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
    pub(crate) fn left(&self) -> LeftBehind {
        self.stream.registry.left().clone()
    }

    pub(crate) fn recordings(&self) -> &Recordings {
        self.stream.registry.recordings()
    }

    pub(crate) fn studio(&self) -> Studio {
        self.stream.registry.studio().clone()
    }

    pub(crate) fn files(&self) -> &Arc<StreamFiles> {
        &self.stream.shared.files
    }

    /// What sets the bit rate of the stream's pictures.
    pub(crate) fn dial(&self) -> Dial {
        self.stream.shared.dial.clone()
    }
}

/// How threads of a source's own reach its driver. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct SourceMailbox(Arc<Letters>);

impl SourceMailbox {
    /// To a driver that is no stream's: what `mailbox` wakes hands it on.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is mixed"))]
    pub(crate) fn to(mailbox: Mailbox) -> Self {
        Self(Letters::to(mailbox, 0))
    }

    /// Wakes the stream's thread, which asks [`is_due`](SourceDriver::is_due) then.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// Hands the driver a message ([`deliver`](SourceDriver::deliver)); `false` if the stream has ended, or the source could not be
    /// opened. What is sent before the driver is there is handed to it first.
    pub fn send(&self, message: Box<dyn Any + Send>) -> bool {
        self.0.send(message)
    }
}

/// How threads of an output's own reach its driver. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct OutputMailbox {
    mailbox: Mailbox,
    output: OutputId,
}

impl OutputMailbox {
    /// Hands the driver a message ([`deliver`](OutputDriver::deliver)); `false` if the stream has ended. A driver that has ended gets
    /// none.
    pub fn send(&self, message: Box<dyn Any + Send>) -> bool {
        self.mailbox.send(Command::DeliverTo { output: self.output, message })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::stream::Stage;

    #[test]
    fn openings_of_one_stream_are_called_off_one_by_one_and_all_by_the_engine() {
        let registry = Registry::new(Config::default()).expect("usable settings");
        let stage = Stage::new(&registry, Reads::default()).expect("a stage");
        let ended = [(); 4].map(|()| Arc::new(AtomicBool::new(false)));
        let end = |which: usize| {
            let ended = ended[which].clone();
            move || ended.store(true, Ordering::SeqCst)
        };
        let seen = || ended.each_ref().map(|ended| ended.load(Ordering::SeqCst));
        let nothing = || Err(Error::Cancelled { what: "the test" });
        stage.open_source(|first| {
            first.on_shutdown(end(0));
            let later = first.later_on();
            let [one, other, early] = [(); 3].map(|()| Arc::new(Cancel::default()));
            // While the first source is opened, so are a fallback and, beside that, another source.
            let opened = later.open(None, &one, |opening| {
                opening.on_shutdown(end(1));
                let opened = later.open(None, &other, |opening| {
                    opening.on_shutdown(end(2));
                    nothing()
                });
                assert!(opened.is_err() && seen() == [false; 4]);
                other.cancel();
                assert_eq!(seen(), [false; 4], "that one is over, and the others are not meant");
                one.cancel();
                assert_eq!(seen(), [false, true, false, false]);
                opening.on_shutdown(end(3));
                assert_eq!(seen(), [false, true, false, true], "what it waits for after that ends as well");
                nothing()
            });
            assert!(opened.is_err());
            early.cancel();
            let opened = later.open(None, &early, |_| unreachable!("it is not needed any more"));
            assert!(matches!(opened, Err(Error::Cancelled { .. })));
            registry.close();
            assert_eq!(seen(), [true, true, false, true]);
        });
    }
}
