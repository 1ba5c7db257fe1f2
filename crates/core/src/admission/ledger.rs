//! What is in use, what was promised, and whether one more fits.

use std::collections::HashMap;
use std::time::Duration;

use super::kind::{Ask, Kind, Media, Ways, Work};
use super::lowering::CheaperEncoding;
use super::{MeasuredAdmission, MemoryBudget, WhenFull};
use crate::bit_rate::BitRate;
use crate::error::{Error, Resource, Shortage};

/// What a stream is expected to use.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Needs {
    /// CPU seconds per second: a core's worth is 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bits per second to the network.
    pub uplink: BitRate,
    /// Where that is known from. Memory is always of the table: what one stream takes of it cannot be measured.
    pub basis: NeedBasis,
}

/// Where the needs of a stream are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeedBasis {
    /// From streams of the same kind that run in this engine.
    Running {
        /// How many.
        streams: usize,
    },
    /// From the [`Costs`](crate::Costs).
    Table,
}

/// How a resource stands that has a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ResourceUse {
    /// Which.
    pub resource: Resource,
    /// What is in use, with what streams that were just admitted are expected to use: cores, bytes, or bits per second.
    pub used: f64,
    /// What may be used, in the same unit.
    pub budget: f64,
}

/// Whether a stream could be started; see [`Engine::can_start_spec`](crate::Engine::can_start_spec).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StartForecast {
    /// Whether there is room at this moment.
    pub allowed: bool,
    /// The error that a start would give, at once or after it has waited; `None` if there is room.
    pub reason: Option<Error>,
    /// What it is expected to use; `None` without [`Config::admission`](crate::Config::admission).
    pub needs: Option<Needs>,
    /// What it would be encoded with, if it only fits so; see [`WhenFull::Lower`](crate::WhenFull::Lower).
    pub lowered: Option<CheaperEncoding>,
}

/// What the machine has, and what is in use by whom the [`Reading`]s of streams do not tell of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Measured {
    /// Cores' worth of CPU time that may be used.
    pub(crate) cores: f64,
    /// Cores in use, streams that have a place left out: what else the process does, publications, and other processes.
    pub(crate) cpu: f64,
    /// Bytes this process has resident.
    pub(crate) resident: u64,
    /// Bytes there are in all, and those that are left; `None` where nothing tells.
    pub(crate) memory: Option<(u64, u64)>,
    /// Bits per second of streams that have no place.
    pub(crate) uplink: f64,
}

/// What one stream uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Reading {
    /// Cores.
    pub(crate) cpu: f64,
    /// Bits per second to the network.
    pub(crate) uplink: f64,
    /// Bytes it is known to hold.
    pub(crate) held: u64,
    /// It has been on the air for so long, with all its pushes; `None` if it is not.
    pub(crate) on_air: Option<Duration>,
    /// The outputs it has.
    pub(crate) ways: Ways,
    /// What it does to pictures; `None` while nobody can know.
    pub(crate) does: Option<Does>,
}

/// What a stream on the air does to pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It encodes them.
    Encode,
    /// It has encoded nothing, and reads its file through libav.
    CopyFile,
    /// It has encoded nothing, and takes over what is published.
    CopyPublished,
    /// Another thing: it plays a reel, which may be encoded beside it, or encodes sound alone.
    Other,
}

impl Does {
    /// What it is if it might have been encoded, and is not.
    const fn copies(self) -> Option<Work> {
        match self {
            Self::CopyFile => Some(Work::Direct),
            Self::CopyPublished => Some(Work::Restream),
            Self::Encode | Self::Other => None,
        }
    }
}

/// A place that was given away.
pub(crate) type Slot = u64;

/// A stream that has a place.
#[derive(Debug)]
struct Entry {
    ask: Ask,
    /// What it was expected to use.
    needs: Needs,
    reading: Option<Reading>,
    /// Another source has taken over: it is of no known kind.
    is_other: bool,
}

/// Streams of one kind that run: how many, and what they use together.
#[derive(Debug, Clone, Copy, Default)]
struct Examples {
    streams: usize,
    cpu: f64,
    uplink: f64,
}

/// Which of several forms of a stream fits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Choice {
    /// Its place among them.
    pub(crate) number: usize,
    pub(crate) needs: Option<Needs>,
    /// What was short for the first, if that did not fit.
    pub(crate) short: Option<Shortage>,
}

/// What is in use and what was promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    settings: Option<MeasuredAdmission>,
    measured: Option<Measured>,
    entries: HashMap<Slot, Entry>,
    next: Slot,
    examples: HashMap<(Kind, Option<Media>), Examples>,
}

impl Ledger {
    pub(crate) fn new(settings: Option<MeasuredAdmission>) -> Self {
        Self { settings, ..Self::default() }
    }

    pub(crate) fn settings(&self) -> Option<&MeasuredAdmission> {
        self.settings.as_ref()
    }

    /// Other settings from now on. What was measured before is measured again.
    pub(crate) fn set(&mut self, settings: Option<MeasuredAdmission>) {
        self.settings = settings;
        self.measured = None;
        let slots: Vec<_> = self.entries.keys().copied().collect();
        for slot in slots {
            let Some(needs) = self.entries.get(&slot).and_then(|entry| self.needs(&entry.ask)) else {
                continue;
            };
            if let Some(entry) = self.entries.get_mut(&slot) {
                entry.needs = needs;
            }
        }
    }

    /// Whether something was measured since the settings were given.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// What is used now. A stream without a reading was admitted meanwhile.
    pub(crate) fn measure(&mut self, measured: Measured, readings: &HashMap<Slot, Reading>) {
        self.measured = Some(measured);
        let mut copies = Vec::new();
        for (slot, entry) in &mut self.entries {
            let Some(reading) = readings.get(slot) else { continue };
            entry.reading = Some(*reading);
            // Of a list nobody knows what the next item will need.
            let might_encode = matches!(entry.ask.kind.work, Work::Encode(_)) && entry.ask.media.is_some();
            let work = reading.does.filter(|_| might_encode).and_then(Does::copies);
            copies.extend(work.map(|work| (*slot, work)));
        }
        copies.into_iter().for_each(|(slot, work)| self.correct(slot, |kind| kind.work = work));
        let mut examples: HashMap<_, Examples> = HashMap::new();
        for entry in self.entries.values() {
            let Some(reading) =
                self.settled(entry).filter(|reading| reading.ways == entry.ask.kind.ways && !entry.is_other)
            else {
                continue;
            };
            let mut note = |media| {
                let examples = examples.entry((entry.ask.kind.clone(), media)).or_default();
                examples.streams += 1;
                examples.cpu += reading.cpu;
                examples.uplink += reading.uplink;
            };
            // What plays an encoded reel says nothing of an encode, except that of the same file.
            if !matches!(entry.ask.kind.work, Work::Encode(_)) || reading.does == Some(Does::Encode) {
                note(None);
            }
            if entry.ask.media.is_some() {
                note(entry.ask.media.clone());
            }
        }
        self.examples = examples;
    }

    /// Its own figures, once they count.
    fn settled(&self, entry: &Entry) -> Option<Reading> {
        let settling = self.settings.as_ref()?.settling;
        entry.reading.filter(|reading| reading.on_air.is_some_and(|length| length >= settling))
    }

    /// What a stream is expected to use; `None` while nobody asks.
    pub(crate) fn needs(&self, ask: &Ask) -> Option<Needs> {
        let needs = self.settings.as_ref()?.costs.needs(&ask.kind);
        let of_media = ask.media.clone().map(|media| (ask.kind.clone(), Some(media)));
        let of_kind = ask.kind.says_it_all().then(|| (ask.kind.clone(), None));
        let examples = [of_media, of_kind].into_iter().flatten().find_map(|key| self.examples.get(&key));
        Some(examples.map_or(needs, |examples| {
            let streams = examples.streams as f64;
            Needs {
                cpu: examples.cpu / streams,
                memory: needs.memory,
                uplink: BitRate::from_bps((examples.uplink / streams) as u64),
                basis: NeedBasis::Running { streams: examples.streams },
            }
        }))
    }

    /// What a stream that has a place counts for: CPU, memory beyond what is resident, and uplink.
    fn counted(&self, entry: &Entry) -> [f64; 3] {
        let (needs, reading) = (&entry.needs, entry.reading.unwrap_or_default());
        match self.settled(entry) {
            Some(own) => [own.cpu, 0.0, own.uplink],
            None => [
                reading.cpu.max(needs.cpu),
                needs.memory.saturating_sub(reading.held) as f64,
                reading.uplink.max(needs.uplink.bps() as f64),
            ],
        }
    }

    /// Each resource that has a budget, as it is used.
    pub(crate) fn uses(&self) -> Vec<ResourceUse> {
        let (Some(settings), Some(measured)) = (&self.settings, &self.measured) else { return Vec::new() };
        let mut promised = [0.0; 3];
        for entry in self.entries.values() {
            let counted = self.counted(entry);
            promised.iter_mut().zip(counted).for_each(|(sum, part)| *sum += part);
        }
        let [cpu, memory, uplink] = promised;
        let mut uses = Vec::new();
        let mut add = |resource, used, budget| uses.push(ResourceUse { resource, used, budget });
        if let Some(share) = settings.cpu {
            add(Resource::Cpu, measured.cpu + cpu, measured.cores * share);
        }
        match settings.memory {
            Some(MemoryBudget::Bytes(most)) => {
                add(Resource::Memory, measured.resident as f64 + memory, most as f64);
            }
            Some(MemoryBudget::Share(share)) => {
                if let Some((all, left)) = measured.memory {
                    add(Resource::Memory, all.saturating_sub(left) as f64 + memory, all as f64 * share);
                }
            }
            None => {}
        }
        if let Some(most) = settings.uplink {
            add(Resource::Uplink, measured.uplink + uplink, most.bps() as f64);
        }
        uses
    }

    /// Each resource of which there is not enough for a stream with these needs.
    fn short(&self, needs: &Needs) -> Vec<Shortage> {
        let uses = self.uses();
        let shortages = uses.iter().map(|ResourceUse { resource, used, budget }| {
            let needed = match resource {
                Resource::Cpu => needs.cpu,
                Resource::Memory => needs.memory as f64,
                _ => needs.uplink.bps() as f64,
            };
            Shortage::new(*resource, *used, needed, *budget)
        });
        shortages.filter(|shortage| shortage.needed > 0.0 && shortage.missing() > 1e-9).collect()
    }

    /// The first of these that fits.
    ///
    /// # Errors
    ///
    /// [`Error::CapacityExceeded`]: what is short for the first, if none does.
    pub(crate) fn choose(&self, asks: &[Ask]) -> Result<Choice, Error> {
        let mut short = None;
        for (number, ask) in asks.iter().enumerate() {
            let needs = self.needs(ask);
            match needs.and_then(|needs| self.short(&needs).first().copied()) {
                None => return Ok(Choice { number, needs, short }),
                Some(shortage) => short = short.or(Some(shortage)),
            }
        }
        match short {
            Some(shortage) => Err(Error::CapacityExceeded { shortage }),
            None => Ok(Choice::default()),
        }
    }

    /// Gives a place away.
    pub(crate) fn take(&mut self, ask: Ask, needs: Option<Needs>) -> Slot {
        let slot = self.next;
        self.next += 1;
        let nothing = Needs { cpu: 0.0, memory: 0, uplink: BitRate::ZERO, basis: NeedBasis::Table };
        let entry = Entry { ask, needs: needs.unwrap_or(nothing), reading: None, is_other: false };
        self.entries.insert(slot, entry);
        slot
    }

    /// A place is free again, and with it what its stream used.
    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.entries.remove(&slot);
    }

    /// What a stream is has turned out.
    pub(crate) fn correct(&mut self, slot: Slot, change: impl FnOnce(&mut Kind)) {
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        let before = entry.ask.kind.clone();
        change(&mut entry.ask.kind);
        if entry.ask.kind == before {
            return;
        }
        let ask = entry.ask.clone();
        if let (Some(needs), Some(entry)) = (self.needs(&ask), self.entries.get_mut(&slot)) {
            entry.needs = needs;
        }
    }

    /// It plays something else than it was started with.
    pub(crate) fn plays_another(&mut self, slot: Slot) {
        if let Some(entry) = self.entries.get_mut(&slot) {
            (entry.is_other, entry.ask.is_once) = (true, false);
        }
    }

    /// Whether a stream ends together with its file.
    pub(crate) fn is_once(&self, slot: Slot) -> bool {
        self.entries.get(&slot).is_some_and(|entry| entry.ask.is_once)
    }

    /// The shortage of `ask` with when it is over, if that follows from these ends.
    pub(crate) fn with_end(&self, mut shortage: Shortage, ask: &Ask, ends: &[(Slot, Duration)]) -> Shortage {
        let Some(needs) = self.needs(ask) else { return shortage };
        let mut ends: Vec<_> =
            ends.iter().filter_map(|(slot, end)| Some((*end, self.entries.get(slot)?))).collect();
        ends.sort_by_key(|(end, _)| *end);
        let free_in = |short: &Shortage| {
            let mut missing = short.missing();
            let mut after = ends.iter();
            loop {
                let (end, entry) = after.next()?;
                missing -= self.freed(entry, short.resource);
                if missing <= 1e-9 {
                    return Some(*end);
                }
            }
        };
        let all: Option<Vec<_>> = self.short(&needs).iter().map(free_in).collect();
        shortage.free_in = all.and_then(|all| all.into_iter().max());
        shortage
    }

    /// What is free of a resource once a stream has ended.
    fn freed(&self, entry: &Entry, resource: Resource) -> f64 {
        let [cpu, memory, uplink] = self.counted(entry);
        match resource {
            Resource::Cpu => cpu,
            // What it was expected to take: what it has of what is resident nobody knows.
            Resource::Memory if self.settled(entry).is_some() => entry.needs.memory as f64,
            Resource::Memory => memory,
            _ => uplink,
        }
    }

    /// How long a start may wait.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.settings.as_ref()?.when_full {
            WhenFull::Queue(wait) => Some(wait),
            WhenFull::Refuse | WhenFull::Lower(_) => None,
        }
    }

    /// What encodes may be brought down to.
    pub(crate) fn lowerings(&self) -> Vec<CheaperEncoding> {
        match self.settings.as_ref().map(|settings| &settings.when_full) {
            Some(WhenFull::Lower(chain)) => chain.clone(),
            _ => Vec::new(),
        }
    }
}
