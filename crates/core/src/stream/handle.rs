//! Handles to a running stream.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::branch::Guest;
use super::ended::Ended;
use super::mailbox::Command;
use super::opening::OpenOutput;
use super::registry::Registry;
use super::seat::Seat;
use super::shared::StreamShared;
use crate::bit_rate::BitRate;
use crate::config::HealthConfig;
use crate::driver::OutputDriver;
use crate::error::Error;
use crate::event::bus::Events;
use crate::event::{EventKind, StreamError};
use crate::fence::Fence;
use crate::health::Health;
use crate::id::{OutputId, StreamId};
use crate::mix::MixerRef;
use crate::overlay::OverlayHandle;
use crate::stats::{OutputStats, RateReason, StreamStats};
use crate::usage::Moment;

/// A view of a stream: cheap to clone, does not keep the stream alive.
#[derive(Debug, Clone)]
pub struct StreamRef {
    pub(crate) shared: Arc<StreamShared>,
    pub(crate) registry: Arc<Registry>,
}

impl StreamRef {
    /// The stream's number.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.shared.id
    }

    /// What the program calls it; see [`StreamBuilder::label`](crate::StreamBuilder::label).
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.shared.label.as_deref()
    }

    /// The output with this label, from the moment it is given to the stream until it is removed or has ended; see
    /// [`Output::label`](crate::Output::label).
    #[must_use]
    pub fn output(&self, label: &str) -> Option<OutputId> {
        self.shared.labels.find(label)
    }

    /// Puts the stream behind `fence`: once that is closed, the stream ends with [`Error::Fenced`], at the latest with the next turn of its thread, before
    /// that sends anything. Pushes by RTMP and RTMPS then close their connections without another byte, goodbye included, and outputs by SRT, UDP, RTSP and
    /// Icecast say no goodbye either: what their thread has in hand just then is the last. Recordings and players end in order. `false`, and nothing is changed, if the stream is behind one already.
    #[must_use = "says whether it is"]
    pub fn set_fence(&self, fence: &Fence) -> bool {
        self.shared.fence.set(fence.clone()).is_ok()
    }

    /// Its figures, at most a second old.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.shared.stats()
    }

    /// How the stream is, by [`Config::health`](crate::Config::health). What was fair or bad stays so until its figure is well below the
    /// limit, so that a stream that is asked often does not flap. A stream that is starting, or has ended, is good.
    ///
    /// ```no_run
    /// # fn ask(live: &flowcast_core::StreamRef) {
    /// println!("{}", live.health()); // fair: o1 is behind: 0.7 s (limit 0.5 s)
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        self.health_by(&self.registry.config.health)
    }

    /// The same by other rules.
    pub fn health_by(&self, rules: &HealthConfig) -> Health {
        let (now, stats) = (Instant::now(), self.stats());
        let lately = self.shared.recent.lately(now);
        self.shared.health.lock().judge(now, &stats, lately, rules)
    }

    /// The last 50 errors that events reported of it, oldest first.
    #[must_use]
    pub fn errors(&self) -> Vec<StreamError> {
        self.shared.recent.errors()
    }

    /// How often events reported each error of it, by [`Error::code`].
    #[must_use]
    pub fn error_counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.recent.by_code()
    }

    /// What mixes the sound of the source on the air; `None` if that is not [mixed](crate::Source::with_mix), or has ended. After
    /// [`replace_source`](Self::replace_source) it is the one before until the new source has taken over.
    #[must_use]
    pub fn mixer(&self) -> Option<MixerRef> {
        self.shared.mixers.on_air()
    }

    /// Its events from now on. At most 1024 wait; then the oldest is dropped and counted.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.events.subscribe(Some(self.shared.id))
    }

    /// Sends the stream to one more output while it is on the air; it begins there with a keyframe.
    ///
    /// # Errors
    ///
    /// A malformed address, [`Error::LabelInUse`], [`Error::Config`] for a setting that cannot work or has no effect on such an output, a
    /// recording that cannot be created, [`Error::Ended`]. Events report what happens to the connection later.
    ///
    /// # Blocking
    ///
    /// On creating the file of a recording.
    pub fn add_output(&self, output: impl OpenOutput + 'static) -> Result<OutputId, Error> {
        output.check()?;
        Registry::add_output(self, Box::new(output))
    }

    /// Ends one output; the others go on. An output that has ended already is no error. Its label is free at once. An output and
    /// its [backup](crate::Output::backup) end together, by the number of either.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub fn remove_output(&self, output: OutputId) -> Result<(), Error> {
        for output in self.shared.removed_with(output) {
            self.shared.branches.tell(|| Command::RemoveOutput(output));
            self.send(Command::RemoveOutput(output))?;
            self.shared.labels.free(output);
            self.shared.described.remove_output(output);
        }
        Ok(())
    }

    /// Goes to the last keyframe up to `position` of the file that is being played. The stream's own time goes on, so
    /// its outputs notice only another picture. This works only for what is played from a reel
    /// ([`StreamStats::mode`](crate::StreamStats)); otherwise nothing happens.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub fn seek(&self, position: Duration) -> Result<(), Error> {
        self.send(Command::Seek(position))
    }

    /// Encodes the pictures to another bit rate from now on. The stream goes on: encoders that take it (libx264, NVENC, Quick Sync from FFmpeg 6.0
    /// on) change with the next picture, NVENC with a keyframe; in the place of others, an encoder of the same headers begins with the next keyframe.
    /// [`EncodingStats::target`](crate::EncodingStats::target) and [`BitRateChanged`](crate::EventKind::BitRateChanged) show it. What is encoded
    /// already is still sent: files are encoded ahead of the stream ([`Config::read_ahead`](crate::Config::read_ahead), 5 s by default).
    ///
    /// An encoder that several streams [share](crate::Source::mode) is at the least of what they ask for.
    ///
    /// With an [`Adaptation`](crate::Adaptation) it is what the rate is raised to; less may be sent while the network takes less. It holds for later laps,
    /// items and publications of the stream, and after [`replace_source`](Self::replace_source).
    ///
    /// ```no_run
    /// # fn lower(live: &flowcast_core::StreamRef) -> Result<(), flowcast_core::Error> {
    /// live.set_bitrate("1500k".parse().expect("it is a rate"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotEncoded`]: the pictures are copied, come from a reel, or there are none now; [`Error::Config`] for less than 64 kbit/s, more than
    /// 100 Mbit/s, or more than the headers of the stream allow; [`Error::Ended`].
    pub fn set_bitrate(&self, rate: BitRate) -> Result<(), Error> {
        if self.has_ended() {
            return Err(Error::Ended);
        }
        let (from, to) = self.shared.dial.ask(rate)?;
        if from != to {
            self.shared.dial.count(from, to);
            let (reason, output, lag) = (RateReason::Asked, None, Duration::ZERO);
            self.shared.tell(EventKind::BitRateChanged { from, to, reason, output, lag });
        }
        Ok(())
    }

    /// The overlay of this name, to be changed on the air; see [`Overlay::named`](crate::Overlay::named).
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: no source of the stream has one, or the feature `libav` is off; [`Error::Ended`].
    pub fn overlay(&self, name: &str) -> Result<OverlayHandle, Error> {
        if self.has_ended() {
            return Err(Error::Ended);
        }
        self.shared.board.handle(name)
    }

    /// Stops the stream: outputs disconnect in an orderly way, recordings are completed, threads end. Returns its last
    /// figures. Stopping a stream that has ended already is no error, unless it had ended with one.
    ///
    /// # Errors
    ///
    /// [`Error::ForceKillRequired`] if it did not end within `deadline`: its thread is abandoned, and its place is free again.
    /// Otherwise the error the stream had ended with before.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(&self, deadline: Duration) -> Result<StreamStats, Error> {
        self.registry.stop_streams(std::slice::from_ref(&self.shared), deadline);
        self.shared.outcome().unwrap_or(Ok(())).map(|()| self.stats())
    }

    /// Its players now.
    #[must_use]
    pub fn players(&self) -> usize {
        self.shared.players.load(Ordering::Relaxed)
    }

    /// A player's place among those counted: a server keeps it as long as it serves the player.
    #[must_use]
    pub fn seat(&self) -> Seat {
        Seat::take(&self.shared.players)
    }

    /// Whether the stream has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.outcome().is_some()
    }

    /// The end of the stream, for programs that await it: what [`StreamHandle::wait`] gives. It works on any runtime, needs no thread,
    /// and keeps neither the stream nor the engine alive. Dropping it costs nothing.
    ///
    /// A dropped [`StreamHandle`] stops its stream without waiting, within
    /// [`Config::force_stop_after`](crate::Config::force_stop_after). Together that is a stop that does not block:
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Error, StreamHandle};
    ///
    /// async fn stop(live: StreamHandle) -> Result<(), Error> {
    ///     let ended = live.ended();
    ///     drop(live);
    ///     ended.await
    /// }
    /// ```
    pub fn ended(&self) -> Ended {
        Ended::new(self.shared.end.clone())
    }

    /// Asks it to stop, and leaves the waiting to the engine.
    #[cfg(feature = "schedule")]
    pub(crate) fn release(&self) {
        self.registry.release(self.shared.clone());
    }

    /// Waits until it has ended, at most this long.
    #[cfg(feature = "schedule")]
    pub(crate) fn wait_gone(&self, most: Duration) {
        self.shared.wait_until(Some(Instant::now() + most.min(crate::stream::FOREVER)));
    }

    /// Adds the output of another stream, which found this one under `found_under`; dropped if this one has ended, or has given the
    /// name back.
    pub(crate) fn add_reader(&self, name: String, driver: Box<dyn OutputDriver>, found_under: Arc<str>) {
        let output = self.shared.next_output();
        let guest = Some(Guest::Reader { name: found_under });
        let mut stats = OutputStats::new(output, None, name.clone());
        driver.stats(&mut stats);
        self.shared.usage.output_comes(Moment::now(), &stats);
        if !self.shared.mailbox.send(Command::AddOutput { output, name, driver, guest }) {
            self.shared.usage.output_is_refused(output);
        }
    }

    /// Hands an output a message of its own kind; others drop it.
    pub(crate) fn deliver_to(&self, output: OutputId, message: Box<dyn Any + Send>) -> Result<(), Error> {
        self.send(Command::DeliverTo { output, message })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), Error> {
        if self.has_ended() || !self.shared.mailbox.send(command) { Err(Error::Ended) } else { Ok(()) }
    }
}

/// A running stream. Dropping the handle asks the stream to stop and returns at once; [`StreamHandle::detach`] leaves it to
/// the engine.
#[derive(Debug)]
#[must_use = "dropping the handle stops the stream; `detach` leaves it running"]
pub struct StreamHandle {
    stream: StreamRef,
    owned: bool,
}

impl StreamHandle {
    pub(crate) fn new(stream: StreamRef) -> Self {
        Self { stream, owned: true }
    }

    /// A view of the stream that can be cloned and kept.
    #[must_use]
    pub fn stream(&self) -> StreamRef {
        self.stream.clone()
    }

    /// Leaves the stream to the engine: it runs until its source ends, it is stopped through
    /// [`Engine::stop`](crate::Engine::stop), or the engine is dropped.
    pub fn detach(mut self) -> StreamRef {
        self.owned = false;
        self.stream.clone()
    }

    /// Waits until the stream ends by itself.
    ///
    /// # Errors
    ///
    /// Why it ended, unless its source was complete or it was stopped.
    ///
    /// # Blocking
    ///
    /// Until the end; for a loop that is for ever. Another thread can end it with
    /// [`Engine::stop`](crate::Engine::stop).
    pub fn wait(mut self) -> Result<(), Error> {
        let outcome = self.stream.shared.wait_until(None).unwrap_or(Ok(()));
        self.owned = false;
        outcome
    }

    /// Waits until the stream ends by itself, at most `timeout`; `None` if it still runs.
    ///
    /// # Blocking
    ///
    /// Up to `timeout`.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Error>> {
        self.stream.shared.wait_until(Some(Instant::now() + timeout.min(crate::stream::FOREVER)))
    }

    /// Stops the stream, like [`StreamRef::stop`].
    ///
    /// # Errors
    ///
    /// As for [`StreamRef::stop`].
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(mut self, deadline: Duration) -> Result<StreamStats, Error> {
        self.owned = false;
        self.stream.stop(deadline)
    }
}

impl std::ops::Deref for StreamHandle {
    type Target = StreamRef;

    fn deref(&self) -> &StreamRef {
        &self.stream
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        if self.owned && !self.stream.has_ended() {
            self.stream.registry.release(self.stream.shared.clone());
        }
    }
}
