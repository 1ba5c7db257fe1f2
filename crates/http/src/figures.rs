//! What runs, at one moment, for all who look: made once a second at most, however many look.
//!
//! In: the engine's figures. Out: lines of streams, shared. Also `/api/v1/figures`, which sends them to a page once a second: one connection for
//! all that a page shows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use flowcast_core::{Engine, StreamId, StreamRef, seconds, utc};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};
use tokio::time::MissedTickBehavior;
use utoipa::{IntoParams, ToSchema};

use crate::events::{frame, response};
use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, number};
use crate::views::{StreamLine, StreamView};

/// How old what is shown may be.
const FRESH: Duration = Duration::from_millis(900);
/// How often a page gets figures.
const EVERY: Duration = Duration::from_secs(1);
/// Streams that a page can show at a time.
const MOST: usize = 200;

/// What runs, at one moment.
#[derive(Debug)]
pub(crate) struct Moment {
    made: Instant,
    pub(crate) at: SystemTime,
    pub(crate) engine: EngineLine,
    /// In the order in which they were started.
    pub(crate) streams: Vec<(StreamId, StreamLine)>,
    places: HashMap<StreamId, usize>,
}

/// The engine in one line.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EngineLine {
    /// Streams that run.
    streams: usize,
    /// Of these, good, fair and bad ones.
    good: usize,
    fair: usize,
    bad: usize,
    /// Streams that count for the limit, and the limit.
    places_in_use: usize,
    limit: usize,
    limit_per_owner: usize,
    /// Streams that were started, since the engine was created.
    started: u64,
    not_started: u64,
    ended: u64,
    failed: u64,
    reconnects: u64,
    /// Tags dropped for outputs that were behind.
    dropped: u64,
    /// Bytes sent by all streams, those that have ended included.
    bytes_sent: u64,
    /// CPU time of the streams' own threads.
    cpu_time_seconds: f64,
    players: usize,
    /// Threads of abandoned streams that have not ended.
    abandoned_now: usize,
}

/// The newest moment.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Option<Arc<Moment>>>);

impl House {
    /// What runs: less than a second old.
    pub(crate) async fn figures(&self) -> Outcome<Arc<Moment>> {
        // Held while it is made: all others wait for that one.
        let mut newest = self.figures.0.lock().await;
        if let Some(moment) = newest.as_ref().filter(|moment| moment.made.elapsed() < FRESH) {
            return Ok(moment.clone());
        }
        let moment = Arc::new(self.blocking(Moment::of).await?);
        *newest = Some(moment.clone());
        Ok(moment)
    }

    /// Something was changed: whoever looks next sees it.
    pub(crate) async fn has_changed(&self) {
        *self.figures.0.lock().await = None;
    }
}

impl Moment {
    fn of(engine: &Engine) -> Self {
        let made = Instant::now();
        let mut names: HashMap<StreamId, Vec<String>> = HashMap::new();
        for active in engine.keys().active() {
            if let Some(stream) = engine.hub().find(&active.name) {
                names.entry(stream.id()).or_default().push(active.name);
            }
        }
        names.values_mut().for_each(|names| names.sort_unstable());
        let figures = engine.watch().figures();
        let of: HashMap<_, _> = figures.iter().flat_map(|of| &of.streams).map(|of| (of.id, of)).collect();
        let line = |stream: StreamRef| {
            let id = stream.id();
            (id, StreamLine::of(&stream, of.get(&id).copied(), names.remove(&id).unwrap_or_default()))
        };
        let mut streams: Vec<_> = engine.streams().into_iter().map(line).collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        let places = streams.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
        let count = |word| streams.iter().filter(|(_, line)| line.health == word).count();
        let limits = engine.limits();
        let (counts, totals) = figures.as_ref().map(|of| (of.counts.clone(), of.totals)).unzip();
        let (counts, totals) = (counts.unwrap_or_default(), totals.unwrap_or_default());
        let engine = EngineLine {
            streams: streams.len(),
            good: count("good"),
            fair: count("fair"),
            bad: count("bad"),
            places_in_use: engine.running(),
            limit: limits.total,
            limit_per_owner: limits.per_owner,
            started: counts.started,
            not_started: counts.not_started,
            ended: counts.ended,
            failed: counts.failed,
            reconnects: counts.reconnects,
            dropped: counts.dropped,
            bytes_sent: totals.bytes_sent,
            cpu_time_seconds: seconds(totals.cpu_time),
            players: streams.iter().map(|(_, line)| line.players()).sum(),
            abandoned_now: engine.abandoned_now(),
        };
        Self { made, at: SystemTime::now(), engine, streams, places }
    }

    /// One stream.
    pub(crate) fn line(&self, id: StreamId) -> Option<&StreamLine> {
        self.places.get(&id).and_then(|place| self.streams.get(*place)).map(|(_, line)| line)
    }
}

/// What a page shows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The streams in its list, with commas between: `s1,s7`. At most 200.
    streams: Option<String>,
    /// The stream of which it shows everything.
    stream: Option<String>,
}

/// What a page gets each second.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tick<'a> {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    engine: &'a EngineLine,
    /// Those that were asked for and run.
    streams: Vec<&'a StreamLine>,
    /// All of the stream that was asked for, if it runs.
    stream: Option<StreamView>,
}

/// Figures, once a second
///
/// Server-sent events `figures`: what the engine does, and the streams that a page shows. One connection is enough for a page.
#[utoipa::path(
    get, path = "/api/v1/figures", tag = "events", operation_id = "figures", params(Page),
    responses((status = 200, description = "Figures, once a second", body = String, content_type = "text/event-stream"), Problems)
)]
pub(crate) async fn figures(
    _: May<Watch>,
    State(house): State<House>,
    Asked(page): Asked<Page>,
) -> Outcome<Response> {
    let listed: Vec<&str> = page.streams.as_deref().unwrap_or_default().split(',').collect();
    let listed = listed.into_iter().filter(|id| !id.is_empty());
    let listed: HashSet<StreamId> = listed.map(|id| number(id.trim(), "stream")).collect::<Outcome<_>>()?;
    if listed.len() > MOST {
        return Err(Problem::bad_request("streams: at most 200 can be shown at a time"));
    }
    let stream = page.stream.as_deref().map(|id| number(id, "stream")).transpose()?;
    let mut ticks = tokio::time::interval(EVERY);
    // A client that was slow gets what is new, not what is old.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (place, closing) = (house.place()?, house.closing());
    let ticker = Ticker { house, ticks, closing, listed, stream, _place: place };
    let frames = unfold(ticker, |mut ticker| async {
        let frame = ticker.next().await?;
        Some((frame, ticker))
    });
    Ok(response(frames))
}

/// A page that is open.
struct Ticker {
    house: House,
    ticks: tokio::time::Interval,
    closing: watch::Receiver<bool>,
    listed: HashSet<StreamId>,
    stream: Option<StreamId>,
    _place: OwnedSemaphorePermit,
}

impl Ticker {
    async fn next(&mut self) -> Option<Bytes> {
        if *self.closing.borrow_and_update() {
            return None;
        }
        tokio::select! {
            _ = self.ticks.tick() => {}
            _ = self.closing.changed() => return None,
        }
        let mut text = String::new();
        match self.house.figures().await {
            Ok(moment) => frame(&mut text, None, "figures", &self.tick(&moment)?),
            // Too many calls are under way: the next second, then.
            Err(_) => text.push_str(":\n\n"),
        }
        Some(text.into())
    }

    fn tick(&self, moment: &Moment) -> Option<String> {
        let streams = moment.streams.iter().filter(|(id, _)| self.listed.contains(id));
        let all = self.stream.and_then(|id| {
            let (stream, line) = (self.house.engine.get(id)?, moment.line(id)?);
            Some(StreamView::of(&stream, line.clone()))
        });
        let tick = Tick {
            at: utc(moment.at).to_string(),
            engine: &moment.engine,
            streams: streams.map(|(_, line)| line).collect(),
            stream: all,
        };
        serde_json::to_string(&tick).ok()
    }
}
