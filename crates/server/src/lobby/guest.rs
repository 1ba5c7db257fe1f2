//! Somebody in the lobby: connected, and not yet a publisher or player.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject, ServerEvent};

use crate::connection::{Connection, Over};

/// Bytes read from one connection in one turn.
const READ_BUDGET: usize = 64 << 10;
/// What a client needs to say what it wants, over a slow line: it is sent away before that only by a deadline of its own.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Guest {
    pub(super) connection: Connection,
    pub(super) stage: Stage,
    since: Instant,
}

/// How far a guest has come.
pub(super) enum Stage {
    /// It has not said what it wants.
    Arriving,
    /// The program decides until then. Nothing is read meanwhile.
    Waiting { wish: Wish, until: Instant, waiting: Arc<()> },
    /// It is refused, and hears of it at that time. Nothing is read meanwhile.
    Delayed { reject: Reject, until: Instant },
    /// It was told, and may take the reason until then.
    Leaving { until: Instant, told: bool },
}

/// What a guest asked for.
#[derive(Clone)]
pub(super) enum Wish {
    Publish(PublishRequest),
    Play(PlayRequest),
}

impl Guest {
    pub(super) fn new(connection: Connection, now: Instant) -> Self {
        Self { connection, stage: Stage::Arriving, since: now }
    }

    /// Whether it may be sent away for somebody else: it has had time to say what it wants, or is refused already.
    pub(super) fn has_dawdled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PATIENCE && !matches!(self.stage, Stage::Waiting { .. })
    }

    /// Reads until the guest says what it wants, and answers as far as the socket takes it.
    pub(super) fn pump(&mut self, now: Instant, scratch: &mut [u8]) -> Result<Option<Wish>, Over> {
        let mut wish = None;
        loop {
            let more = self.connection.read(now, READ_BUDGET, scratch, |event| {
                match event {
                    ServerEvent::Publish(request) => wish = Some(Wish::Publish(request)),
                    ServerEvent::Play(request) => wish = Some(Wish::Play(request)),
                    _ => {}
                }
                wish.is_none()
            })?;
            self.connection.write(usize::MAX)?;
            if wish.is_some() || !more {
                return Ok(wish);
            }
        }
    }

    /// Tells a guest that was refused why, and reads on until it closes, so much in a turn that it cannot hold the lobby. What
    /// came before is read, too: its end would not be seen behind it, and a flood of the refused would fill the house.
    pub(super) fn say_goodbye(&mut self, now: Instant, scratch: &mut [u8]) -> Result<(), Over> {
        self.connection.write(usize::MAX)?;
        if let Stage::Leaving { told, .. } = &mut self.stage
            && !*told
            && self.connection.is_flushed()
        {
            *told = true;
            self.connection.transport.close();
        }
        self.connection.read(now, READ_BUDGET, scratch, |_| true).map(drop)
    }
}
