//! An output that lets players of the embedded server in.
//!
//! It sends nothing itself: each player that asks for the name becomes an output of the stream's own thread.

use std::sync::Arc;

use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::{OpenedOutput, OutputOpening, StreamShared, check_name};

/// The stream's name on the hub, for as long as this lives.
pub(crate) struct HubOutput {
    name: String,
    shared: Arc<StreamShared>,
    finished: bool,
}

impl HubOutput {
    /// Puts the stream on the hub; refuses the name it is made from.
    pub(super) fn open(name: String, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        let stream = cx.stream;
        cx.files().refuse_name(&name)?;
        check_name(&name)?;
        let claim = stream.registry.hub().claim(&name, None)?;
        if let Some(owner) = stream.shared.owner() {
            claim.shows_owner(&owner);
        }
        let opened = claim.open(stream)?;
        stream.shared.hold_name(claim);
        opened.announce();
        let shown = name.clone();
        let hub = Self { name, shared: stream.shared.clone(), finished: false };
        Ok(OpenedOutput { name: shown, driver: Box::new(hub) })
    }
}

impl OutputDriver for HubOutput {
    fn turn(&mut self, _cx: &mut OutputContext<'_>) -> OutputState {
        OutputState::Running
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _cx: &mut OutputContext<'_>) {
        self.finished = true;
        self.shared.release_name(&self.name);
    }

    fn is_finished(&mut self) -> bool {
        self.finished
    }

    fn hub_name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.transport = OutputTransport::Hub;
        stats.phase = if self.finished { OutputPhase::Ended } else { OutputPhase::Live };
    }
}

impl Drop for HubOutput {
    fn drop(&mut self) {
        self.shared.release_name(&self.name);
    }
}
