//! Deadlines of a server session, and its pings.

use std::time::Instant;

use super::{Phase, ServerSession};
use crate::error::{Deadline, Error};
use crate::message::{Control, UserControl};

impl ServerSession {
    /// The next instant at which something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshake => self.started.checked_add(self.config.handshake_timeout),
            Phase::Commands => self.prepares_since.checked_add(self.config.command_timeout),
            // The deadline of a decision belongs to the program that decides.
            Phase::Deciding(_) | Phase::Ended => None,
            Phase::Leaving { since } => since.checked_add(self.config.linger),
            Phase::Publishing(_) | Phase::Playing(_) => self.silent_until(),
        }
    }

    pub(super) fn run_timers(&mut self, now: Instant) -> Result<(), Error> {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let (waiting_for, after) = match self.phase {
                Phase::Handshake => (Deadline::Handshake, self.config.handshake_timeout),
                // It has had its stream, and goes without another one.
                Phase::Commands if self.again => {
                    self.phase = Phase::Ended;
                    continue;
                }
                Phase::Commands => (Deadline::Command, self.config.command_timeout),
                Phase::Leaving { .. } => {
                    self.phase = Phase::Ended;
                    continue;
                }
                _ if self.pinged.is_some() || self.config.ping_timeout <= self.config.ping_interval => {
                    (Deadline::Ping, self.config.ping_timeout)
                }
                _ => {
                    self.ping(now);
                    continue;
                }
            };
            return Err(Error::Timeout { waiting_for, after, peer: self.peer });
        }
        Ok(())
    }

    /// Until when the peer may be silent before the next step. A ping that is late, because this process stood still, leaves as much
    /// time for its answer as any other.
    fn silent_until(&self) -> Option<Instant> {
        let (interval, timeout) = (self.config.ping_interval, self.config.ping_timeout);
        match self.pinged {
            None => self.last_input.checked_add(interval.min(timeout)),
            Some(at) => {
                let answer = at.checked_add(timeout.saturating_sub(interval))?;
                Some(answer.max(self.last_input.checked_add(timeout)?))
            }
        }
    }

    fn ping(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.started).as_millis() as u32;
        self.link.send_control(&Control::User(UserControl::PingRequest(time)));
        self.pinged = Some(now);
    }
}
