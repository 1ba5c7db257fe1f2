//! The source that renditions are made of.
//!
//! In: its driver, on a thread of its own. Out: its tags, to what decodes them and to the streams that show them as they are. It begins when all
//! streams that were asked for are there, or two seconds after the first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::driver::SourceState;
use crate::event::EventKind;
use crate::lap::Finish;
use crate::publish::fan::Fan;
use crate::publish::seat::Seat;
use crate::sys::{CodecHost, CpuLap};

/// How often the streams are told what they cost.
const SETTLE: Duration = Duration::from_millis(100);

/// Serves the driver.
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Seat,
    /// How often the driver has its turn, whatever comes.
    pub(super) tick: Duration,
}

impl Feed {
    pub(super) fn run(mut self) {
        let cpu = self.shared.costs.meter().clone();
        let _host = CodecHost::enter(&cpu);
        let mut lap = CpuLap::default();
        if self.shared.wait_until_begun() {
            self.seat.start();
            let mut fan = Fan::default();
            let finish = self.serve(&mut fan, &mut lap);
            fan.admit(self.shared.come_to_copies());
            self.shared.source_ended(finish.clone());
            fan.finish(&finish);
        }
        self.seat.leave();
        cpu.lap(&mut lap);
    }

    /// Until it is over.
    fn serve(&mut self, fan: &mut Fan, lap: &mut CpuLap) -> Finish {
        let mut settled = Instant::now();
        while !self.shared.is_stopped() {
            if settled.elapsed() >= SETTLE {
                settled = Instant::now();
                self.shared.costs.meter().lap(lap);
                self.shared.settle();
            }
            let state = match self.seat.turn(self.tick) {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error) => return Finish::Failed(error),
            };
            fan.admit(self.shared.come_to_copies());
            let now = Instant::now();
            fan.give(&self.seat.tags);
            let left_out = self.shared.inbox.send(now, self.seat.tags.drain(..));
            if left_out > 0 {
                self.shared.costs.meter().count_left_out(left_out);
            }
            self.shared.is_resting(self.seat.driver.is_resting());
            for notice in self.seat.notices.drain(..) {
                if matches!(notice, EventKind::PublicationEnded { .. }) {
                    self.shared.inbox.end(now);
                }
                fan.notify(&notice);
                self.shared.notify(&notice);
            }
            match state {
                SourceState::Running | SourceState::More => {}
                SourceState::Ended => return Finish::Ended,
                SourceState::Failed(error) => return Finish::Failed(error),
            }
        }
        Finish::Ended
    }
}
