//! The sound of files, on its way into a mix.
//!
//! In: a list. Out: samples of its files, one after the other without a gap, in the input's queue, as far ahead as that has room. On a
//! thread of its own, so that a file that does not come up makes nobody wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::{AudioDecoder, DecoderOptions, Demuxer, Error as Media, Interrupt, OpenOptions};

use super::control::Shared;
use super::level::{Ramp, amplitude, samples};
use super::queue::SampleQueue;
use super::sound::Sound;
use crate::ears::{Gain, Heard, LastGain, Turn, listen, sound_of};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::ItemId;
use crate::loudness::Loudness;
use crate::playlist::{Next, Playlist, PlaylistCursor, PlaylistItem};
use crate::sys::{self, CodecHost, CpuLap, CpuMeter};

const STACK: usize = 1 << 20;
/// Samples that are made at once.
const PIECE: usize = 1024;
/// Pauses before a list of which nothing can be played is tried again.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_CAP: Duration = Duration::from_secs(30);
/// How often a list that has nothing to play now is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// An item that failed is left out for so long.
const HELD: Duration = Duration::from_secs(60);
/// How long an item waits for its loudness: less than the mix is ahead.
const LOUDNESS_WAIT: Duration = Duration::from_millis(400);
/// How long a gain takes to move that was found while the item plays, in seconds.
const FADE: f64 = 3.0;
/// Packets of an item after which the next one is looked at.
const LOOK_AHEAD: u64 = 64;
/// Damaged packets of an item in a row before the rest of it is left out.
const MOST_DAMAGED: u32 = 500;

/// One list, and where its sound goes.
#[derive(Debug)]
pub(super) struct FileFeed {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) queue: Arc<SampleQueue>,
    pub(super) list: Playlist,
    /// How loud its items are to be, if that is asked for.
    pub(super) loudness: Option<Loudness>,
    pub(super) interrupt: Interrupt,
    pub(super) cpu: CpuMeter,
}

/// How an item ended.
enum Played {
    ToItsEnd,
    /// The program went on to another one.
    Left,
    /// Nobody mixes any more.
    Over,
}

impl FileFeed {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn start(self, stream: &str) -> Result<sys::Worker, Error> {
        sys::Worker::start("a reader of a mix", format!("fm-{stream}"), STACK, move || self.run())
            .map_err(|source| Error::System { what: "no thread to mix", source: source.into() })
    }

    fn run(self) {
        let _host = CodecHost::enter(&self.cpu);
        let (mut cursor, mut pause) = (self.list.cursor_at(None), PAUSE_FIRST);
        let mut held: HashMap<ItemId, Instant> = HashMap::new();
        let mut told: HashMap<ItemId, String> = HashMap::new();
        let mut lap = CpuLap::default();
        let mut levels = Levels::default();
        while !self.queue.is_closed() {
            let now = Instant::now();
            if held.values().any(|until| *until <= now) {
                cursor.release(|id| held.get(&id).is_some_and(|until| *until <= now));
                held.retain(|_, until| *until > now);
            }
            let item = match cursor.next() {
                Next::Item(item) => item,
                Next::AllFailed => {
                    self.queue.wait_closed(pause);
                    pause = (2 * pause).min(PAUSE_CAP);
                    continue;
                }
                Next::Empty | Next::Complete => {
                    // That there is nothing behind it is no fault.
                    self.queue.finish();
                    self.queue.wait_closed(LOOK);
                    continue;
                }
            };
            self.queue.begin();
            self.shared.inputs[self.index].plays(Some(item.path.clone()));
            let played = self.play(&item, &mut cursor, &mut lap, &mut levels);
            self.shared.inputs[self.index].plays(None);
            match played {
                Ok(Played::ToItsEnd) => {
                    pause = PAUSE_FIRST;
                    told.remove(&item.id);
                }
                Ok(Played::Left) => self.queue.clear(),
                Ok(Played::Over) | Err(Error::Media(Media::Cancelled { .. })) => break,
                Err(error) => {
                    cursor.looker().hold(item.id);
                    held.insert(item.id, Instant::now() + HELD);
                    // Once for as long as it fails the same way.
                    let text = error.to_string();
                    if told.insert(item.id, text.clone()) != Some(text) {
                        self.shared.tell(EventKind::ItemSkipped { path: item.path.clone(), error });
                    }
                }
            }
        }
        self.cpu.lap(&mut lap);
    }

    /// Gives the sound of one file.
    ///
    /// # Errors
    ///
    /// It has none that can be decoded, or breaks off.
    fn play(
        &self,
        item: &PlaylistItem,
        cursor: &mut PlaylistCursor,
        lap: &mut CpuLap,
        levels: &mut Levels,
    ) -> Result<Played, Error> {
        let mut input = Demuxer::open(&item.path, &OpenOptions::default(), &self.interrupt)?;
        let track = sound_of(input.media()).cloned();
        let track = track.ok_or_else(|| Media::NoPlayableTrack { input: item.path.display().to_string() })?;
        let gain = self.loudness.map(|loudness| {
            let heard = listen(&item.path, input.media(), &track, self.shared.format.channels, Turn::Now);
            let mut gain = Gain::new(&item.path, loudness, heard, &levels.last);
            // Why it is not known is told when it is played.
            let _ = gain.wait(Some(Instant::now() + LOUDNESS_WAIT), &self.interrupt);
            drop(levels.next.take());
            gain
        });
        let mut decoder = AudioDecoder::open(&track, &DecoderOptions::default())?;
        input.select(&[track.index]);
        let mut sound = Sound::new(self.shared.format, PIECE);
        let mut level = gain.map(Level::new);
        let (mut damaged, mut any, mut packets) = (0, false, 0_u64);
        loop {
            let packet = match input.read() {
                Ok(packet) => packet,
                Err(error) if error.is_damage() => {
                    damaged += 1;
                    if damaged > MOST_DAMAGED {
                        return Err(error.into());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let pushed = match &packet {
                Some(packet) => decoder.push(packet),
                None => decoder.finish(),
            };
            match pushed {
                Ok(()) => damaged = 0,
                Err(error) if error.is_damage() && damaged < MOST_DAMAGED => damaged += 1,
                Err(error) => return Err(error.into()),
            }
            loop {
                let frame = match decoder.pull() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error.into()),
                };
                any = true;
                if !self.give(sound.take(&frame)?, &mut level) {
                    return Ok(Played::Over);
                }
            }
            packets += 1;
            if packets == LOOK_AHEAD && self.loudness.is_some() {
                levels.next = cursor.peek().and_then(|next| self.look_ahead(&next));
            }
            if packets % 64 == 0 {
                self.cpu.lap(lap);
            }
            if cursor.take_command().is_some() {
                return Ok(Played::Left);
            }
            if packet.is_none() {
                break;
            }
        }
        if !self.give(sound.end()?, &mut level) {
            return Ok(Played::Over);
        }
        if !any {
            return Err(Media::NoPlayableTrack { input: item.path.display().to_string() }.into());
        }
        Ok(Played::ToItsEnd)
    }

    fn give(&self, mut pieces: Vec<Vec<Vec<f32>>>, level: &mut Option<Level>) -> bool {
        if let Some(level) = level {
            level.look(&self.shared);
            pieces.iter_mut().for_each(|rows| level.apply(rows));
        }
        pieces.iter().all(|rows| self.queue.push_in_strides(rows))
    }

    /// Has the item measured that comes next.
    fn look_ahead(&self, next: &PlaylistItem) -> Option<Heard> {
        // What is wrong with it is told when its turn comes.
        let input = Demuxer::open(&next.path, &OpenOptions::default(), &self.interrupt).ok()?;
        let track = sound_of(input.media())?;
        Some(listen(&next.path, input.media(), track, self.shared.format.channels, Turn::Later))
    }
}

/// What is known from item to item of how loud they are.
#[derive(Debug, Default)]
struct Levels {
    last: LastGain,
    /// The item that comes next is being measured.
    next: Option<Heard>,
}

/// An item on its way to its loudness.
#[derive(Debug)]
struct Level {
    gain: Gain,
    ramp: Ramp,
}

impl Level {
    fn new(mut gain: Gain) -> Self {
        Self { ramp: Ramp::still(amplitude(gain.begin())), gain }
    }

    /// Takes up what is known by now.
    fn look(&mut self, shared: &Shared) {
        if let Some(db) = self.gain.look(|event| shared.tell(event)) {
            self.ramp.go(amplitude(db), samples(FADE, shared.format.rate));
        }
    }

    fn apply(&mut self, rows: &mut [Vec<f32>]) {
        for index in 0..rows.first().map_or(0, Vec::len) {
            let gain = self.ramp.next() as f32;
            rows.iter_mut().for_each(|row| row[index] *= gain);
        }
    }
}
