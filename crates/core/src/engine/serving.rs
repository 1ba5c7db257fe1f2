//! What a server that is built into a program asks of the engine: publishers put on the air, players attached to streams.
//!
//! In: claims of names and drivers. Out: streams. Everything here may be called from any thread.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::admission::Ways;
use crate::driver::{OutputDriver, SourceDriver};
use crate::error::Error;
use crate::files::StreamFiles;
use crate::id::OutputId;
use crate::publish::ingest::Ingest;
pub use crate::publish::relayed::RelayNews;
use crate::publish::relayed::Relayed;
use crate::source::Source;
use crate::stream::{
    self, Claim, Desk, Entrance, Leave, OpenSource, Parts, SourceOpening, StreamHandle, StreamRef,
};

/// How a publisher goes on the air; see [`ServerEngine::publish`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How long the stream waits for a publisher that was lost. Default 30 s.
    pub grace: Duration,
    /// The stream's tick, over which its players' writes are merged. Default [`Config::tick`](crate::Config::tick).
    pub tick: Option<Duration>,
    /// Whether players that join get the newest GOP; otherwise they wait for the next keyframe. Default `true`.
    pub gop_cache: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30), tick: None, gop_cache: true }
    }
}

/// How a relayed stream goes on the air; see [`ServerEngine::relay`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RelayOptions {
    /// As for publishers; one that takes the place of what is relayed is waited for as they are.
    pub publish: PublishOptions,
    /// How long the stream waits for a source that was lost. Default zero.
    pub hold: Duration,
    /// How long its start may wait for room, where starts wait ([`WhenFull::Queue`](crate::WhenFull::Queue)). Default zero.
    pub patience: Duration,
}

/// What a server of a protocol asks of the [`Engine`]: it puts publishers on the air and attaches players. flowcast's RTMP server
/// uses nothing else. Programs that only start streams do not need it. Only [`Engine`] implements it.
pub trait ServerEngine: sealed::Sealed {
    /// Counts what will be published by way of `entrance` as a stream of `owner`, together with those started for them, for as
    /// long as the name is taken. A stream that goes on with a publisher of another owner is counted for that one from
    /// [`Handover::deliver`](crate::Handover::deliver) on, and no longer for the owner before. Asking for the place and taking it
    /// is one step: of two that come at once for the last place, one is refused.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`].
    fn publish_for(&self, entrance: &mut Entrance, owner: Option<&str>) -> Result<(), Error>;

    /// Puts a publisher on the air under a name, as an embedded server does. Players find the stream through the
    /// [`Hub`](crate::Hub), other publishers of the name through [`Hub::enter`](crate::Hub::enter). The stream waits for a publisher
    /// that fails: its outputs and players stay up, and the next publisher continues its time. The stream ends at once when a
    /// publisher is complete ([`SourceState::Ended`](crate::driver::SourceState::Ended)), with a zero grace, or if
    /// there was no media yet. It does not count against the limit of all started streams, and against an owner's
    /// only after [`publish_for`](Self::publish_for).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread or descriptor left; [`Error::TooManyAbandoned`]; [`Error::Ended`] if the engine was shut down.
    fn publish(
        &self,
        claim: Claim,
        publisher: Box<dyn SourceDriver>,
        options: &PublishOptions,
    ) -> Result<StreamRef, Error>;

    /// Puts what a server's players asked for on the air under a name, as [`publish`](Self::publish) does for a publisher. The first publisher
    /// of the name that comes takes its place; the stream goes on with that. It counts against the limit of all started streams, and is
    /// admitted as those are; it is not kept for a restart. `tell` hears of it, on the stream's thread, where it must not block.
    ///
    /// # Errors
    ///
    /// What is wrong with `source`, and what keeps a stream from being [started](crate::StreamBuilder::start).
    ///
    /// # Blocking
    ///
    /// On room for it, up to [`RelayOptions::patience`]; on opening the source.
    fn relay(
        &self,
        claim: Claim,
        source: Source,
        options: &RelayOptions,
        tell: Box<dyn Fn(RelayNews) + Send>,
    ) -> Result<StreamHandle, Error>;

    /// Adds a driver of an embedded server (a player) to a stream: on the stream's own thread, or, if that is busy,
    /// on another one that takes its tags from there ([`Config::players_per_thread`](crate::Config::players_per_thread)).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    fn attach(
        &self,
        stream: &StreamRef,
        name: String,
        driver: Box<dyn OutputDriver>,
    ) -> Result<OutputId, Error>;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Engine {}

impl ServerEngine for Engine {
    fn publish_for(&self, entrance: &mut Entrance, owner: Option<&str>) -> Result<(), Error> {
        let admit = |owner: &str| -> Result<_, Error> {
            Ok((owner.to_owned(), self.registry.limiter().admit_published(owner)?))
        };
        match entrance {
            Entrance::New(claim) => {
                if let Some((owner, place)) = owner.map(admit).transpose()? {
                    claim.belongs_to(owner, place);
                }
            }
            Entrance::Handover(handover) if handover.is_of(owner) => {}
            Entrance::Handover(handover) => handover.passes_to(owner.map(admit).transpose()?),
        }
        Ok(())
    }

    fn publish(
        &self,
        mut claim: Claim,
        publisher: Box<dyn SourceDriver>,
        options: &PublishOptions,
    ) -> Result<StreamRef, Error> {
        self.registry.check_abandoned()?;
        let prepared = self.registry.prepare(None, None, Arc::default())?;
        let desk = Desk::new();
        claim.set_desk(desk.clone());
        let source = Box::new(Ingest::new(publisher, desk, options.grace));
        let PublishOptions { tick, gop_cache: keep_gop, .. } = *options;
        let claim = Some(claim);
        let parts = Parts { source, tick, keep_gop, hold: false, needs_outputs: false, claim };
        self.registry.launch(prepared, parts)
    }

    fn relay(
        &self,
        mut claim: Claim,
        source: Source,
        options: &RelayOptions,
        tell: Box<dyn Fn(RelayNews) + Send>,
    ) -> Result<StreamHandle, Error> {
        let registry = &self.registry;
        source.check()?;
        let ask = source.ask(Ways::default(), registry.reels().is_some());
        let admitted = registry.admit(None, &[ask], options.patience, &Leave::default());
        let admitted = admitted.inspect_err(|error| registry.events().not_started(error))?;
        let files = StreamFiles::new(source.reads());
        let prepared = registry.prepare(None, Some(admitted.permit), files)?;
        let shared = prepared.shared.clone();
        let open = || Box::new(source).open(&SourceOpening::first(registry, &shared));
        let source = Relayed::new(shared.span.run(open)?, options.hold, tell);
        let desk = Desk::new();
        claim.set_desk(desk.clone());
        let PublishOptions { grace, tick, gop_cache: keep_gop } = options.publish;
        let source = Box::new(Ingest::relayed(Box::new(source), desk, grace));
        let claim = Some(claim);
        let parts = Parts { source, tick, keep_gop, hold: false, needs_outputs: false, claim };
        registry.launch(prepared, parts).map(StreamHandle::new)
    }

    fn attach(
        &self,
        stream: &StreamRef,
        name: String,
        driver: Box<dyn OutputDriver>,
    ) -> Result<OutputId, Error> {
        stream::attach(stream, name, driver)
    }
}
