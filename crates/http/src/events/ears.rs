//! What hears events for a journal, as long as somebody has it.
//!
//! In: an engine, servers. Out: their events in the journal, from then on. The callbacks hold the journal alone, so neither an engine nor a
//! server is kept alive by them.

use std::sync::Arc;

use flowcast_core::{Engine, ScheduleEvent, Subscription};
use flowcast_server::{RtmpServer, ServerEvent};
use parking_lot::Mutex;

use super::journal::Journal;

/// The subscriptions of a journal. They are cancelled when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    journal: Arc<Journal>,
    subscribed: Mutex<Subscribed>,
}

#[derive(Debug, Default)]
struct Subscribed {
    engine: Option<(Subscription, Subscription<ScheduleEvent>)>,
    servers: Vec<Subscription<ServerEvent>>,
}

impl Ears {
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Hears the engine; once, however many routers there are of the same settings.
    pub(crate) fn hear_engine(&self, engine: &Engine) {
        let mut subscribed = self.subscribed.lock();
        if subscribed.engine.is_some() {
            return;
        }
        let (streams, schedules) = (self.journal.clone(), self.journal.clone());
        let streams = engine.on_event(move |event| streams.note_stream(event));
        let schedules = engine.schedules().on_event(move |event| schedules.note_schedule(event));
        subscribed.engine = Some((streams, schedules));
    }

    /// Hears a server; `false` if it hears another one already.
    pub(crate) fn hear_server(&self, server: &RtmpServer) -> bool {
        let journal = self.journal.clone();
        let heard = server.on_event(move |event| journal.note_server(event));
        let servers = &mut self.subscribed.lock().servers;
        servers.push(heard);
        servers.len() == 1
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        let Subscribed { engine, servers } = std::mem::take(&mut *self.subscribed.lock());
        if let Some((streams, schedules)) = engine {
            streams.cancel();
            schedules.cancel();
        }
        servers.into_iter().for_each(Subscription::cancel);
    }
}
