//! Puts streams on rungs of the engine's ladder, by the load of the machine.
//!
//! In: the kernel's figures, and what each stream's encoder needs; twice a second, on a thread of its own that is there where the engine has a ladder.
//! Out: rungs, to who encodes, and events. No stream's thread waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::registry::Registry;
use super::shared::StreamShared;
use crate::adapt::{Pressure, QualityLadder, Sight, Use};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::StreamId;
use crate::machine::{BusySince, Load};
use crate::stats::Histogram;
use crate::sys::spawn;

const STACK: usize = 256 << 10;
/// How often.
const EVERY: Duration = Duration::from_millis(500);
/// Over so many of these the use of the machine is measured.
const WINDOW: usize = 2;
/// One picture in twenty.
const FEW: f64 = 0.05;

/// What is kept between two looks.
struct Watch {
    ladder: QualityLadder,
    pressure: Pressure,
    /// Beginnings of windows, the oldest first.
    marks: VecDeque<BusySince>,
    /// How long encoders took, how long pictures waited, and pixels that were encoded, when streams were looked at last.
    before: HashMap<StreamId, (Histogram, Histogram, u64)>,
}

impl Watch {
    fn new(ladder: QualityLadder) -> Self {
        let pressure = Pressure::new(ladder.clone());
        Self { ladder, pressure, marks: VecDeque::new(), before: HashMap::new() }
    }

    /// Looks at all, and has those take steps that are due to.
    fn look(&mut self, engine: &Registry) {
        let streams = engine.running_streams();
        let seen: Vec<_> =
            streams.iter().filter_map(|stream| Some((stream.dial.encoders(), self.sight(stream)?))).collect();
        self.before.retain(|id, _| seen.iter().any(|(_, sight)| sight.stream == *id));
        let mut crews = crews(seen);
        for crew in &mut crews {
            crew.sight.rung = self.pressure.rung(crew.sight.stream).unwrap_or(crew.sight.rung);
        }
        let step_to = |of: &Crew, rung: usize, tell: &dyn Fn(&StreamShared)| {
            for stream in streams.iter().filter(|stream| of.streams.contains(&stream.id)) {
                if stream.dial.rung() != rung {
                    stream.dial.step_to(rung, self.ladder.cut(rung));
                    tell(stream);
                }
            }
        };
        // Who has come to share an encoder takes it as it is.
        crews.iter().for_each(|crew| step_to(crew, crew.sight.rung, &|_| ()));
        let sights: Vec<_> = crews.iter().map(|crew| crew.sight).collect();
        let used = self.marks.front().map(|since| {
            let load = Load::since(since);
            let cores = load.cores.max(0.01);
            Use { all: (load.own + load.others) / cores, own: load.own / cores }
        });
        self.marks.push_back(BusySince::now());
        if self.marks.len() > WINDOW {
            self.marks.pop_front();
        }
        let Some(used) = used else { return };
        let name =
            |place: usize| Arc::from(self.ladder.rungs.get(place).map_or("", |rung| rung.name.as_str()));
        for step in self.pressure.tick(Instant::now(), used, &sights) {
            let Some(crew) = crews.iter().find(|crew| crew.sight.stream == step.stream) else { continue };
            step_to(crew, step.to, &|stream| {
                let (from, to) = (name(step.from), name(step.to));
                stream.tell(EventKind::RungChanged { from, to, reason: step.reason });
            });
        }
    }

    /// What is known of a stream, if it ever encoded pictures.
    fn sight(&mut self, stream: &StreamShared) -> Option<Sight> {
        let work = stream.dial.work()?;
        let (times, waits) = stream.encode_times();
        let (_, pixels) = stream.cpu.encoded();
        // Figures are of the last second: those of none are no news.
        let seen = (times, waits, pixels);
        let before = self.before.insert(stream.id, seen).unwrap_or(seen);
        let cut = self.ladder.cut(work.rung);
        let encoded = pixels.saturating_sub(before.2) as f64 / cut.encoded(work.pixels).max(1.0);
        let shown = f64::from(cut.every) / work.rate.max(0.1);
        let lowest = self.ladder.rungs.len();
        let floor =
            work.under_load.floor.as_deref().and_then(|name| self.ladder.place_of(name)).unwrap_or(lowest);
        Some(Sight {
            stream: stream.id,
            rung: work.rung,
            priority: work.under_load.priority,
            floor,
            pixels: work.pixels,
            encoded: Duration::try_from_secs_f64(encoded).unwrap_or_default(),
            encode: times.since(&before.0).at_least(FEW).as_secs_f64() / shown,
            waited: waits.since(&before.1).at_least(FEW),
        })
    }
}

/// Streams whose pictures are made by the same encoder: they take each step together.
#[derive(Debug)]
struct Crew {
    encoders: usize,
    streams: Vec<StreamId>,
    /// What is known of the encoder, under the number of the oldest of them.
    sight: Sight,
}

/// Puts together who shares an encoder, by its number.
fn crews(mut seen: Vec<(usize, Sight)>) -> Vec<Crew> {
    seen.sort_by_key(|(_, sight)| sight.stream);
    let mut crews: Vec<Crew> = Vec::new();
    for (encoders, sight) in seen {
        let Some(crew) = crews.iter_mut().find(|crew| crew.encoders == encoders) else {
            crews.push(Crew { encoders, streams: vec![sight.stream], sight });
            continue;
        };
        crew.streams.push(sight.stream);
        let whole = &mut crew.sight;
        whole.rung = whole.rung.max(sight.rung);
        whole.priority = whole.priority.max(sight.priority);
        whole.floor = whole.floor.min(sight.floor);
        whole.pixels = whole.pixels.max(sight.pixels);
        // What one encoder does is divided among the sums of its streams.
        whole.encoded += sight.encoded;
        whole.encode = whole.encode.max(sight.encode);
        whole.waited = whole.waited.max(sight.waited);
    }
    crews
}

impl Registry {
    /// Begins to put streams on rungs, if there is a ladder.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread.
    pub(crate) fn begin_to_step(self: &Arc<Self>) -> Result<(), Error> {
        let Some(ladder) = self.config.ladder.clone() else { return Ok(()) };
        let engine = Arc::downgrade(self);
        spawn("fc-ladder", STACK, move || run(&engine, Watch::new(ladder)))
            .map(drop)
            .map_err(|source| Error::System { what: "no thread for the ladder", source: source.into() })
    }
}

/// The thread.
fn run(engine: &Weak<Registry>, mut watch: Watch) {
    while let Some(engine) = engine.upgrade() {
        watch.look(&engine);
        // An engine that ends says so.
        if engine.wait_closed(Instant::now() + EVERY) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_an_encoder_is_seen_once_and_on_its_rung() {
        let sight = |number: u64, rung: usize, pixels: f64| Sight {
            stream: StreamId(number),
            rung,
            priority: 0,
            floor: 3,
            pixels,
            encoded: Duration::ZERO,
            encode: 0.1 * pixels,
            waited: Duration::ZERO,
        };
        let crews = crews(vec![(7, sight(3, 0, 2.0)), (9, sight(2, 1, 5.0)), (7, sight(1, 2, 1.0))]);
        let streams: Vec<_> = crews.iter().map(|crew| crew.streams.clone()).collect();
        assert_eq!(streams, [vec![StreamId(1), StreamId(3)], vec![StreamId(2)]]);
        let whole = crews[0].sight;
        assert_eq!((whole.stream, whole.rung, whole.pixels, whole.encode), (StreamId(1), 2, 2.0, 0.2));
    }
}
