//! `/api/v1/events`: what happens, from now on or from where a client was.
//!
//! In: a journal. Out: frames, as fast as the client takes them: at most a hundred events are under way to it. One that does not read falls
//! behind in the journal, and is told how much it missed.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use flowcast_core::StreamId;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::journal::Entry;
use super::sse::{Alive, KEEP_ALIVE, frame, response};
use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, number};

/// Events that are under way to one client.
const BATCH: usize = 100;
/// Names that a client can choose.
const MOST_NAMES: usize = 100;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those of this stream: `s1`.
    stream: Option<String>,
    /// Only these, by name, with commas between: `started,ended`.
    names: Option<String>,
    /// The id of the last event that the client has; as the header `Last-Event-ID`, which goes first.
    after: Option<String>,
    /// So many of the newest events first, if there is no id. Default 0.
    #[param(minimum = 0, maximum = 100000)]
    history: Option<usize>,
}

/// What happens, as it does
///
/// Server-sent events: `stream`, `schedule` and `server`, each with an id and JSON that has at least `at`, `event` (its name) and `text` (a sentence).
/// A client that comes back with the last id it had, as browsers do by themselves, gets what came meanwhile. Where that is not kept any more, and where a client
/// does not read fast enough, `gap` comes first: `{"lost": 12}`, or `null` if nobody knows how many.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", operation_id = "events", params(Wanted),
    responses((status = 200, description = "Events, one after the other", body = String, content_type = "text/event-stream"), Problems)
)]
pub(crate) async fn events(
    _: May<Watch>,
    State(house): State<House>,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let stream = wanted.stream.as_deref().map(|stream| number(stream, "stream")).transpose()?;
    let names: Option<HashSet<String>> = wanted
        .names
        .map(|names| names.split(',').take(MOST_NAMES).map(|name| name.trim().to_owned()).collect());
    let place = house.place()?;
    let journal = house.journal();
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (next, is_gap) = match header.or(wanted.after.as_deref()).filter(|id| !id.is_empty()) {
        // Of another run: what was missed cannot be known.
        Some(id) => journal.number(id).map_or((journal.next(), true), |number| (number + 1, false)),
        None => (journal.newest(wanted.history.unwrap_or(0)), false),
    };
    // Taken before the first look: what comes in between wakes it.
    let follower = Follower {
        news: journal.news(),
        closing: house.closing(),
        silent_until: Instant::now() + KEEP_ALIVE,
        filter: Filter { stream, names },
        next,
        is_gap,
        is_first: true,
        house,
        _place: place,
    };
    let frames = unfold(follower, |mut follower| async {
        let frames = follower.frames().await?;
        Some((frames, follower))
    });
    Ok(response(frames))
}

/// Which events a client wants.
#[derive(Debug)]
struct Filter {
    stream: Option<StreamId>,
    names: Option<HashSet<String>>,
}

impl Filter {
    fn is_wanted(&self, entry: &Entry) -> bool {
        self.stream.is_none_or(|stream| entry.stream == Some(stream))
            && self.names.as_ref().is_none_or(|names| names.contains(entry.name))
    }
}

/// A client that listens.
struct Follower {
    house: House,
    filter: Filter,
    news: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    /// When a comment is due.
    silent_until: Instant,
    next: u64,
    /// It is to be told first that it missed something.
    is_gap: bool,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// What comes next; `None` when it is over.
    async fn frames(&mut self) -> Option<Bytes> {
        loop {
            if *self.closing.borrow_and_update() {
                return None;
            }
            self.news.borrow_and_update();
            let frames = self.due();
            if !frames.is_empty() {
                self.silent_until = Instant::now() + KEEP_ALIVE;
                return Some(frames.into());
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                changed = self.closing.changed() => changed.ok()?,
                () = sleep_until(self.silent_until) => {
                    self.silent_until = Instant::now() + KEEP_ALIVE;
                    return Some(Alive::FRAME);
                }
            }
        }
    }

    /// What is there.
    fn due(&mut self) -> String {
        let mut text = String::new();
        if std::mem::take(&mut self.is_first) {
            // Something at once, so that the client knows that it is heard.
            text.push_str(":\n\n");
        }
        if std::mem::take(&mut self.is_gap) {
            frame(&mut text, None, "gap", "{\"lost\":null}");
        }
        let journal = self.house.journal();
        let news = journal.since(self.next, BATCH, |entry| self.filter.is_wanted(entry));
        self.next = news.next;
        if news.lost > 0 {
            frame(&mut text, None, "gap", &format!("{{\"lost\":{}}}", news.lost));
        }
        for entry in &news.entries {
            frame(&mut text, Some(&journal.id(entry.number)), entry.about.as_str(), &entry.json);
        }
        text
    }
}

impl House {
    /// A place among those that listen.
    pub(crate) fn place(&self) -> Outcome<OwnedSemaphorePermit> {
        let full = || {
            let detail = "as many clients as allowed listen already";
            Problem::too_many("LISTENERS_LIMIT_EXCEEDED", detail, KEEP_ALIVE)
        };
        self.listeners.clone().try_acquire_owned().map_err(|_| full())
    }
}
