//! What waits for the encoder of one rendition.
//!
//! In: pictures and sound in the order they were decoded in, from the thread that decodes for all. Out: the same, to the thread that encodes.
//! An encoder that does not keep up is waited for a little, so that what comes at once is not lost; one that is slow all the time misses pictures, and
//! the others do not wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast_av::{MediaInfo, Packet, TrackInfo, VideoFrame};
use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::event::EventKind;
use crate::lap::Finish;
use crate::transcode::VideoPlan;

/// Bytes of pictures that may wait, and pictures whatever they take.
const MOST_BYTES: usize = 48 << 20;
const FEWEST: usize = 4;
const MOST: usize = 60;
/// Other things that may wait: seconds of sound.
const MOST_ITEMS: usize = 4096;
/// How long the encoder is waited for, in all, until it has caught up.
const CREDIT: Duration = Duration::from_millis(500);

/// Width and height in pixels.
pub(super) type Size = (u32, u32);

/// What is the same for all renditions of a part of what is published.
#[derive(Debug)]
pub(super) struct Begun {
    /// Counts the parts.
    pub(super) number: u64,
    /// Its pictures, upright and whole.
    pub(super) track: TrackInfo,
    /// Its sound, as it comes out.
    pub(super) sound: Option<TrackInfo>,
    /// What it is, without its tracks.
    pub(super) media: MediaInfo,
}

/// What waits.
#[derive(Debug)]
pub(super) enum Item {
    /// A part begins, of which pictures are encoded like this.
    Begin(Arc<Begun>, Box<VideoPlan>),
    /// There is no rendition of this part.
    Unfit(Error),
    /// A picture of the plan's size, and the time of the first one of all.
    Picture(VideoFrame, i64),
    Sound(Packet),
    /// The part is over; all its tracks end at so many milliseconds, if that is known.
    End(Option<i64>),
    Notice(EventKind),
    /// Nothing follows.
    Finish(Finish),
}

/// The queue; both ends refer to it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    room: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    pictures: usize,
    bytes: usize,
    /// For how long the encoder was waited for since it had caught up.
    waited: Duration,
    /// The encoder waits for more.
    idle: bool,
    closed: bool,
}

impl State {
    fn is_full(&self, bytes: usize) -> bool {
        self.pictures >= MOST || (self.pictures >= FEWEST && self.bytes + bytes > MOST_BYTES)
    }

    fn put(&mut self, item: Item) {
        self.items.push_back(item);
        self.idle = false;
    }
}

/// Bytes of a picture with half a byte of colour for each of light.
fn size_of(picture: &VideoFrame) -> usize {
    let format = picture.format();
    format.width as usize * format.height as usize * 3 / 2
}

impl Queue {
    /// Puts a picture in, or leaves it out.
    ///
    /// # Blocking
    ///
    /// For half a second at most until the encoder has caught up again.
    pub(super) fn picture(&self, picture: VideoFrame, origin: i64) {
        let bytes = size_of(&picture);
        let mut state = self.state.lock();
        while !state.closed && state.is_full(bytes) && state.waited < CREDIT {
            let since = Instant::now();
            let left = CREDIT.saturating_sub(state.waited);
            self.room.wait_for(&mut state, left);
            state.waited += since.elapsed();
        }
        if state.closed {
            return;
        }
        if state.is_full(bytes) || state.items.len() >= MOST_ITEMS {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        (state.pictures, state.bytes) = (state.pictures + 1, state.bytes + bytes);
        state.put(Item::Picture(picture, origin));
        self.filled.notify_one();
    }

    /// Puts something else in. Sound is left out if far too much waits.
    pub(super) fn put(&self, item: Item) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if matches!(item, Item::Sound(_)) && state.items.len() >= MOST_ITEMS {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.put(item);
        self.filled.notify_one();
    }

    /// The next item; `None` once it is closed.
    ///
    /// # Blocking
    ///
    /// Until there is one.
    pub(super) fn recv(&self) -> Option<Item> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                if let Item::Picture(picture, _) = &item {
                    state.pictures -= 1;
                    state.bytes = state.bytes.saturating_sub(size_of(picture));
                    self.room.notify_one();
                }
                return Some(item);
            }
            (state.idle, state.waited) = (true, Duration::ZERO);
            self.filled.wait(&mut state);
        }
    }

    /// Takes nothing more, and gives nothing more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.items.clear();
        (state.pictures, state.bytes) = (0, 0);
        self.filled.notify_all();
        self.room.notify_all();
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Whether nothing waits, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.closed || (state.items.is_empty() && state.idle)
    }

    /// Pictures that wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.pictures, state.bytes)
    }

    /// Pictures, and frames of sound, that were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
