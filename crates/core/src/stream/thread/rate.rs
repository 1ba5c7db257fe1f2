//! The bit rate of the stream's pictures follows its outputs, once a tick.
//!
//! In: how far each output is behind, and what it delivers. Out: the rate, to who encodes, and events.

use std::time::Instant;

use super::StreamThread;
use crate::adapt::{Change, Controller, Sample};
use crate::event::EventKind;

/// What follows the outputs, if anything is to.
#[derive(Debug, Default)]
pub(super) struct Adaptor {
    controller: Option<Controller>,
    /// How often it had been said how the rate follows, when that was last looked at.
    version: u64,
    /// Room for a tick.
    samples: Vec<Sample>,
    changes: Vec<Change>,
}

impl StreamThread {
    /// Looks at all outputs, if the rate is to follow them.
    pub(super) fn adapt(&mut self, now: Instant) {
        let dial = &self.setup.shared.dial;
        let Adaptor { controller, version, samples, changes } = &mut self.adaptor;
        if dial.version() != *version {
            *version = dial.version();
            *controller = dial.adaptation().map(Controller::new);
        }
        let (Some(controller), Some(asked)) = (controller, dial.asked()) else { return };
        samples.clear();
        for slot in self.slots.iter().flatten().filter(|slot| slot.guest.is_none() && slot.leaving.is_none())
        {
            if let Some(link) = slot.driver.link() {
                samples.push(Sample { output: slot.id, lag: link.lag, delivered: link.delivered });
            }
        }
        samples.sort_by_key(|sample| sample.output);
        controller.tick(now, asked, self.meter.sound_bytes(), samples, changes);
        dial.limit(controller.rate());
        for change in changes.drain(..) {
            self.notices.push(match change {
                Change::Rate { from, to, reason, output, lag } => {
                    dial.count(from, to);
                    EventKind::BitRateChanged { from, to, reason, output, lag }
                }
                Change::Left { output, takes } => EventKind::OutputNotFollowed { output, takes },
                Change::Follows { output } => EventKind::OutputFollowed { output },
            });
        }
    }
}
