//! Streams as HLS in memory, each while somebody asks for it.
//!
//! In: streams, and the files that players ask for. Out: those files. The first who asks has an HLS output added to the stream; it is removed when
//! nobody has asked for a while. It is only passing: snapshots do not know it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_core::{
    Error, Hls, HlsFile, HlsStore, OpenOutput, OpenedOutput, Output, OutputId, OutputOpening, StreamId,
    StreamRef,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::house::House;
use crate::problem::{Outcome, Problem};

/// How long the first who asks waits for a playlist.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How often shelves are looked at that nobody may want any more.
const SWEEP: Duration = Duration::from_secs(2);
/// The playlist.
const PLAYLIST: &str = "index.m3u8";

/// The streams that are HLS now.
#[derive(Debug, Default)]
pub(crate) struct Shelves(Mutex<HashMap<StreamId, Arc<Shelf>>>);

/// One stream as HLS.
#[derive(Debug)]
pub(crate) struct Shelf {
    store: HlsStore,
    stream: StreamRef,
    /// Set once it is there, or could not be added.
    output: watch::Sender<Option<Result<OutputId, Error>>>,
    asked: Mutex<Instant>,
}

/// An HLS output that nobody would want back after a restart.
#[derive(Debug)]
struct Passing(Output);

impl OpenOutput for Passing {
    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn is_passing(&self) -> bool {
        true
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Box::new(self.0).open(cx)
    }
}

impl House {
    /// A file of a stream as HLS; the playlist is waited for.
    pub(crate) async fn hls_file(&self, stream: &StreamRef, name: &str) -> Outcome<HlsFile> {
        if name != PLAYLIST {
            let shelf = self.shelves.0.lock().get(&stream.id()).cloned();
            let shelf = shelf.ok_or_else(|| Problem::not_found("file"))?;
            *shelf.asked.lock() = Instant::now();
            return shelf.store.get(name).ok_or_else(|| Problem::not_found("file"));
        }
        let shelf = self.shelf(stream);
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut closing = self.closing();
        loop {
            *shelf.asked.lock() = Instant::now();
            if let Some(file) = shelf.store.get(name) {
                return Ok(file);
            }
            if let Some(Err(error)) = &*shelf.output.borrow() {
                return Err(error.clone().into());
            }
            let is_over = tokio::time::Instant::now() >= until || *closing.borrow_and_update();
            if is_over || shelf.stream.has_ended() {
                let detail = "no segment is complete yet";
                return Err(Problem::not_yet("NOT_IN_TIME", detail, Duration::from_secs(2)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The shelf of a stream; the first who asks makes it.
    fn shelf(&self, stream: &StreamRef) -> Arc<Shelf> {
        let mut shelves = self.shelves.0.lock();
        if let Some(shelf) = shelves.get(&stream.id()) {
            return shelf.clone();
        }
        let shelf = Arc::new(Shelf {
            store: HlsStore::new(),
            stream: stream.clone(),
            output: watch::Sender::new(None),
            asked: Mutex::new(Instant::now()),
        });
        shelves.insert(stream.id(), shelf.clone());
        drop(shelves);
        tokio::spawn(keep(self.clone(), shelf.clone()));
        shelf
    }
}

/// Adds the output of a shelf, and removes it when nobody wants it any more.
async fn keep(house: House, shelf: Arc<Shelf>) {
    let (idle, segment) = (house.options.hls_idle, house.options.hls_segment);
    let hls = Hls::memory(&shelf.store).target_duration(segment);
    let stream = shelf.stream.clone();
    let added = house.blocking(move |_| stream.add_output(Passing(Output::hls(hls)))).await;
    // Where too many calls were under way nothing was added; who asks the next time tries again.
    let added = added.unwrap_or(Err(Error::NotInTime { what: "turn", after: PATIENCE }));
    shelf.output.send_replace(Some(added.clone()));
    let (mut closing, weak) = (house.closing(), house.downgrade());
    // From here on it keeps neither the router nor the engine.
    drop(house);
    let is_wanted = || added.is_ok() && shelf.asked.lock().elapsed() < idle && !shelf.stream.has_ended();
    while is_wanted() && !*closing.borrow_and_update() {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            changed = closing.changed() => if changed.is_err() { break },
        }
    }
    if let Some(house) = weak.upgrade() {
        house.shelves.0.lock().remove(&shelf.stream.id());
    }
    if let Ok(output) = added {
        // It may have ended with the stream.
        let _ = shelf.stream.remove_output(output);
    }
}
