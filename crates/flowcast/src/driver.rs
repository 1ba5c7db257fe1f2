//! Sources and outputs of a program's own: the contract with the thread of their stream.
//!
//! [`Engine::stream`](crate::Engine::stream) takes anything that is [`OpenSource`], [`to`](crate::StreamBuilder::to) and
//! [`add_output`](crate::StreamRef::add_output) anything that is [`OpenOutput`]. Both are descriptions; opened, they give a *driver*
//! that the stream's thread calls: a [`SourceDriver`] or an [`OutputDriver`]. flowcast's own files, playlists, pushes, recordings
//! and hub entries are nothing else. [`check`] holds any driver against this contract.
//!
//! # Threads
//!
//! A stream has one thread. All drivers of the stream run on it, one call at a time, so a driver needs no locks of its own.
//! [`open`](OpenSource::open) runs before that, on the thread that starts the stream or adds the output.
//!
//! | called | thread | may block |
//! |---|---|---|
//! | `check` | the caller of `start` or `add_output` | no |
//! | `open` | the same | yes: a source as long as it takes ([`SourceOpening::on_shutdown`] ends it), an output as long as creating a file takes |
//! | everything on a driver, its `drop` included | the stream's | **no** |
//! | [`Refill::refill`] | the stream's | for one read |
//!
//! Whatever blocks (connecting, disks, decoding) belongs on a thread that the driver starts. That thread reaches the driver through a
//! mailbox: [`SourceOpening::mailbox`] and [`OutputOpening::mailbox`] are cheap to clone and never block. `send` hands a message to
//! `deliver`; `wake` makes the stream's thread ask [`SourceDriver::is_due`]. Such a thread should count its CPU time with a
//! [`ThreadMeter`], and end when its driver is dropped.
//!
//! A panic in a driver ends its stream with [`Error::Panicked`](crate::Error::Panicked), and that stream only. A panic on a thread
//! of the driver's own is not seen by flowcast: report it through the mailbox.
//!
//! # Turns and ticks
//!
//! The thread sleeps until the next tick, a socket that is ready, or a message. A *tick* comes every
//! [`Config::tick`](crate::Config::tick) (100 ms); `cx.tick` says that this turn is one. What needs no hurry (deadlines, figures)
//! is done then. `cx.now` is the instant of the turn: use it and not the system's clock, so that the driver can be checked on a
//! virtual one. A turn does what can be done now and returns; with much to do it does a part and returns `More`, and the other
//! sockets of the stream are served before its next turn. A turn that returns `More` without having done anything is a busy loop.
//!
//! A driver may register sockets with `cx.registry` ([`SourceDriver::attach`] for a source), with the token it is given there and no
//! other. A TCP socket is registered edge-triggered ([`mio`]): read or write until the kernel says `WouldBlock`, or return `More`.
//!
//! # The life of a source
//!
//! | when | what is called |
//! |---|---|
//! | the stream starts | `check`, `reads`, then `open` |
//! | the thread begins | [`attach`](SourceDriver::attach), once |
//! | until media time begins | [`pull`](SourceDriver::pull) on ticks; a source with a clock of its own gives nothing yet |
//! | media time begins | [`start`](SourceDriver::start), once, and a `pull` right after it |
//! | on the air | `pull` on ticks, when its socket is ready, after `More`, and if [`is_due`](SourceDriver::is_due) when the thread was woken |
//! | another thread sent something | [`deliver`](SourceDriver::deliver) |
//! | [`StreamRef::seek`](crate::StreamRef::seek) | [`seek`](SourceDriver::seek); the times of the tags that follow go on all the same |
//! | once a second | [`mode`](SourceDriver::mode), [`encoding`](SourceDriver::encoding), [`bytes_held`](SourceDriver::bytes_held) |
//! | it returned `Ended` or `Failed` | no `pull` any more; outputs get up to 10 s for what is left, then as below |
//! | the stream stops | [`stop`](SourceDriver::stop), then [`is_stopped`](SourceDriver::is_stopped) until it is, at most 2 s, then it is dropped |
//!
//! *Media time is held* until all outputs are ready ([`OutputDriver::readiness`]), at most 5 s, and at most 1 s after the first is.
//! So a loop does not lose its beginning while its outputs connect.
//!
//! The source paces itself: what it puts into `cx.tags` goes out at once. A tag's time is its decoding time on the stream's clock.
//! Times of one track never go back, those of the two tracks stay close together, and neither begins again with a new lap or file:
//! the stream has one clock from its beginning to its end. The sequence header of a track comes before its first frame, and again
//! where it changes; pictures begin with a keyframe. [`Tag::from_wire`] and the functions of [`flowcast::rtmp::flv`](crate::rtmp::flv)
//! set [`TagFlags`] by the body.
//!
//! A source that has nothing for an indefinite time says so by [`is_resting`](SourceDriver::is_resting): pushes hang up and are
//! dialled again when it gives. A gap of a few seconds is no rest. Laps and faults are reported as events, through `cx.notices`
//! ([`EventKind::Looped`](crate::EventKind::Looped) also counts them in [`StreamStats::laps`](crate::stats::StreamStats::laps)).
//!
//! A source that can make its tags again (a file) tells so with [`SourceContext::refill`]. Then an output that is behind costs no
//! memory: the ring asks [`Refill`] for what it needs.
//!
//! # The life of an output
//!
//! | when | what is called |
//! |---|---|
//! | the stream starts, or the output is added | `check`, then `open` |
//! | it is on the thread | [`is_immediate`](OutputDriver::is_immediate), once; the answer holds for good. Then a [`turn`](OutputDriver::turn), or [`rest`](OutputDriver::rest) if the source rests |
//! | until media time begins | [`readiness`](OutputDriver::readiness), after each turn |
//! | on the air | `turn` on ticks, when its socket is ready, after `More`, and, if it is immediate, as soon as there are new tags |
//! | another thread sent something | [`deliver`](OutputDriver::deliver) |
//! | the source begins or ends a rest | `rest`, [`resume`](OutputDriver::resume), in place of a turn |
//! | a publisher comes or goes | [`hear`](OutputDriver::hear) |
//! | on ticks | [`cursor`](OutputDriver::cursor): older tags may be forgotten |
//! | once a second | [`stats`](OutputDriver::stats), [`first_media`](OutputDriver::first_media) |
//! | it is removed, or the stream stops | [`finish`](OutputDriver::finish) and a turn, then turns until [`is_finished`](OutputDriver::is_finished), at most [`patience`](OutputDriver::patience) |
//! | at its very end | [`failure`](OutputDriver::failure), `stats`, and it is dropped; or at once, when a turn returned `Ended` |
//!
//! After `finish` an output sends what was in the ring by then ([`Ring::end`]) and says goodbye. The stream may go on meanwhile: what
//! comes later is not sent.
//!
//! # Reading the ring
//!
//! The newest tags of a stream are in its [`Ring`], numbered without a gap. An output has a [`Cursor`] into it, and the cursor knows
//! the rules: begin at a keyframe ([`Join`]), headers first, leave out what cannot be decoded after a loss.
//!
//! ```
//! use flowcast::driver::{Cursor, MediaTime, Offer, Read, Ring, Skipping, Tag};
//!
//! /// Sends what is new; `send` answers whether there is room for more.
//! fn feed(cursor: &mut Cursor, ring: &Ring, mut send: impl FnMut(&Tag) -> bool) {
//!     // What fell out of the ring is lost; the output goes on at the next keyframe.
//!     cursor.lose_until(ring.start(), Skipping::Pictures);
//!     ring.read(cursor.next(), &mut |read| {
//!         match read {
//!             Read::Tag(entry) => {
//!                 let tag = entry.message.tag();
//!                 match cursor.offer(entry, || true) {
//!                     Offer::Begin { headers, .. } => {
//!                         headers.at(tag.timestamp).for_each(|header| { send(&header); });
//!                         send(tag)
//!                     }
//!                     Offer::Send => send(tag),
//!                     Offer::Before | Offer::Dropped => true,
//!                 }
//!             }
//!             Read::Lost(count) => {
//!                 cursor.lose_until(cursor.next() + count, Skipping::Pictures);
//!                 true
//!             }
//!         }
//!     });
//! }
//! ```
//!
//! An output that is too slow simply stops reading: its tags wait in the ring, within
//! [`Config::backlog`](crate::Config::backlog), and delay no other output. If it falls out of the ring, it goes on at a keyframe and
//! counts what it lost ([`Cursor::drops`]). It must not gather tags without a bound of its own. [`OutputDriver::cursor`] is
//! `None` while it wants nothing: a cursor that stands still keeps tags in memory.
//!
//! # A source and an output
//!
//! ```
//! use std::time::{Duration, Instant};
//! use flowcast::driver::{
//!     OpenOutput, OpenSource, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Readiness, SourceContext,
//!     SourceDriver, SourceOpening, SourceState, MediaTime,
//! };
//! use flowcast::rtmp::flv::{audio, silence};
//! use flowcast::{Config, Engine, Error};
//! use flowcast::stats::OutputStats;
//!
//! /// Two seconds of silence.
//! #[derive(Debug)]
//! struct Silence;
//!
//! struct Playing { began: Option<Instant>, frames: i64 }
//!
//! impl OpenSource for Silence {
//!     fn open(self: Box<Self>, _cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
//!         Ok(Box::new(Playing { began: None, frames: 0 }))
//!     }
//! }
//!
//! impl SourceDriver for Playing {
//!     fn start(&mut self, now: Instant) {
//!         self.began = Some(now);
//!     }
//!
//!     fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
//!         let Some(began) = self.began else { return SourceState::Running };
//!         let due = i64::try_from((cx.now - began).as_millis()).unwrap_or(i64::MAX);
//!         loop {
//!             let time = self.frames * 1024 * 1000 / 48_000;
//!             if time > 2000 {
//!                 return SourceState::Ended;
//!             }
//!             if time > due {
//!                 return SourceState::Running;
//!             }
//!             let time = MediaTime::from_millis(time);
//!             if self.frames == 0 {
//!                 let config = silence::aac_config(48_000, 2).expect("AAC has 48 kHz stereo");
//!                 cx.tags.push(audio::aac_sequence_header(config, time));
//!             }
//!             let frame = silence::aac_silence(2).expect("2 is stereo");
//!             cx.tags.push(audio::aac_frame(time, frame));
//!             self.frames += 1;
//!         }
//!     }
//! }
//!
//! /// Counts tags.
//! #[derive(Debug, Default)]
//! struct Counter { next: u64, until: Option<u64> }
//!
//! impl OpenOutput for Counter {
//!     fn open(self: Box<Self>, _cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
//!         Ok(OpenedOutput { name: "counter".to_owned(), driver: self })
//!     }
//! }
//!
//! impl OutputDriver for Counter {
//!     fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
//!         self.next = self.until.unwrap_or(cx.ring.end());
//!         OutputState::Running
//!     }
//!     fn cursor(&self) -> Option<u64> {
//!         Some(self.next)
//!     }
//!     fn finish(&mut self, cx: &mut OutputContext<'_>) {
//!         self.until = Some(cx.ring.end());
//!     }
//!     fn is_finished(&mut self) -> bool {
//!         true
//!     }
//!     fn readiness(&self) -> Readiness {
//!         Readiness::Always
//!     }
//!     fn stats(&self, stats: &mut OutputStats) {
//!         stats.phase = flowcast::stats::OutputPhase::Live;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(Config::default())?;
//! let stream = engine.stream(Silence).to(Counter::default()).start()?;
//! # stream.stream().stop(Duration::from_secs(5))?;
//! stream.wait()?; // two seconds later
//! # Ok(())
//! # }
//! ```
//!
//! Whole programs are `examples/own_source.rs` (a test card made without libav) and `examples/own_output.rs` (tags to a callback).
//!
//! # Checking a driver
//!
//! [`check`] runs a driver on a virtual clock, without media and without a network, and reports mistakes as data: it blocks, its times
//! go back, its cursor keeps the ring, it does not end, and so on ([`MistakeKind`](check::MistakeKind)). It belongs into the tests
//! of each program with a driver of its own.
//!
//! ```
//! use flowcast::Output;
//! use flowcast::driver::check::{Check, MistakeKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("flowcast-check-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let file = directory.join("checked.flv");
//! let report = Check::new().output(move || Output::record(&file));
//! assert!(report.is_clean(), "{report}");
//! assert!(!report.has(MistakeKind::Blocks));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Servers
//!
//! A server of another protocol puts publishers on the air and attaches players with [`ServerEngine`]; names are taken on the
//! [`Hub`] ([`Claim`], [`Entrance`], [`Handover`]). Its connections are drivers like those above.

/// Holds sources and outputs against the contract.
pub use flowcast_core::check;
pub use flowcast_core::driver::{
    LinkState, OutputContext, OutputDriver, OutputState, Readiness, SourceContext, SourceDriver, SourceState,
    bytes, mio,
};
pub use flowcast_core::ring::{Cursor, Entry, Headers, Join, Offer, Read, Refill, Ring, Skipping, Together};
pub use flowcast_core::{
    Claim, Entrance, Handover, Hub, OpenOutput, OpenSource, OpenedOutput, OutputMailbox, OutputOpening,
    PublishOptions, Reads, Scratch, Seat, ServerEngine, SourceMailbox, SourceOpening, ThreadMeter,
};
pub use flowcast_rtmp::flv::{Tag, TagBody, TagFlags, TagKind};
pub use flowcast_rtmp::time::MediaTime;
