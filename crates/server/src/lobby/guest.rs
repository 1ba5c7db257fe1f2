//! A client in the lobby: connected, and not yet a publisher or player.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject, ServerEvent};

use crate::connection::{Connection, Over};

/// Bytes read from one connection in one turn.
const READ_BUDGET: usize = 64 << 10;
/// What a client needs to send its request, over a slow line: before that, only a deadline of its own closes it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Guest {
    pub(super) connection: Connection,
    pub(super) stage: Stage,
    since: Instant,
}

/// How far a guest has come.
pub(super) enum Stage {
    /// It has not asked for anything.
    Arriving,
    /// The program decides until then. Nothing is read meanwhile.
    Waiting { wish: Wish, until: Instant, waiting: Arc<()> },
    /// It waits for a stream under that name, which is being pulled. Nothing is read meanwhile.
    Relayed { name: Arc<str>, wish: Wish },
    /// It is refused, and gets the answer at that time. Nothing is read meanwhile.
    Delayed { reject: Reject, until: Instant },
    /// It got the answer, and may read it until then.
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

    /// Whether it may be closed for another client: it has had time to send its request, or is refused already.
    pub(super) fn has_dawdled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PATIENCE
            && !matches!(self.stage, Stage::Waiting { .. } | Stage::Relayed { .. })
    }

    /// Reads until the guest has asked for something, and answers as far as the socket takes it.
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

    /// Sends a refused guest the reason, and reads on until it closes, a limited amount per turn so that it cannot
    /// hold up the lobby. What came before is read, too: the end of the connection would not be seen behind it, and
    /// many refused clients would fill the server.
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
