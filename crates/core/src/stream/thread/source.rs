//! The source of a stream, replaced while it is on the air.

use super::{Clock, SOURCE, StreamThread};
use crate::standby::{OnAir, Replacement, Switch};

impl StreamThread {
    /// What receivers have of the stream.
    pub(super) fn on_air(&self) -> OnAir {
        let newest = (self.ring.end() > 0).then(|| self.ring.newest());
        OnAir { headers: self.ring.headers().clone(), newest }
    }

    /// Lets another source take over, once it can.
    pub(super) fn replace_source(&mut self, replacement: Box<Replacement>) {
        if !std::mem::replace(&mut self.switches, true) {
            let sent = self.on_air();
            Switch::wrap(&mut self.setup.source, sent, matches!(self.clock, Clock::Running));
        }
        self.setup.source.deliver(replacement, self.setup.poll.registry(), SOURCE);
    }
}
