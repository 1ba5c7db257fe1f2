//! The bit rate of a stream's pictures, set by some threads and looked at by others.
//!
//! In: what a program asks for, and what the network takes. Out: the rate, to who encodes. All of it is in numbers that need no lock; settings, which
//! change with the source, are behind one.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::ladder::{Cut, UnderLoad};
use super::settings::{Adaptation, LEAST};
use crate::bit_rate::BitRate;
use crate::error::Error;

/// The most that can be asked for.
const MOST: BitRate = BitRate::from_kbps(100_000);

/// The bit rate of one stream. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dial(Arc<State>);

/// Rates in thousand bits per second.
#[derive(Debug, Default)]
struct State {
    /// What the program asks for; 0 if it is content with what was planned.
    asked: AtomicU32,
    /// What the network takes; 0 if that is no limit.
    limit: AtomicU32,
    /// What the encoder that was opened last was to work at.
    planned: AtomicU32,
    /// The most that its headers allow; 0 if that is not known.
    most: AtomicU32,
    /// Encoders at work.
    encoders: AtomicU32,
    lowered: AtomicU64,
    raised: AtomicU64,
    /// How the rate follows the network, if it does; and how often that was said.
    adaptation: Mutex<Option<Adaptation>>,
    version: AtomicU64,
    /// It does.
    adapts: AtomicBool,
    /// The streams the encoders work for, if they are not those of one stream alone.
    streams: Mutex<Vec<Served>>,
    /// Whose encoders work for this stream, if it shares those of others.
    encoded_by: Mutex<Weak<Self>>,
    /// The rung of the engine's ladder it is on, and what that makes of the pictures, packed; 0 for nothing.
    rung: AtomicU32,
    cut: AtomicU64,
    under_load: Mutex<UnderLoad>,
    /// Pixels, and pictures times 1000, per second of what is asked for.
    pixels: AtomicU64,
    millihertz: AtomicU64,
}

/// A stream that shares encoders with others.
#[derive(Debug)]
struct Served {
    dial: Dial,
    at_work: Option<AtWork>,
}

/// A stream shares the encoders of others, until this is dropped.
#[derive(Debug)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
pub(crate) struct Sharing {
    encoders: Dial,
    stream: Dial,
}

impl Drop for Sharing {
    fn drop(&mut self) {
        let mut streams = self.encoders.0.streams.lock();
        let index = streams.iter().position(|served| Arc::ptr_eq(&served.dial.0, &self.stream.0));
        let gone = index.map(|index| streams.swap_remove(index));
        drop(streams);
        drop(gone);
        let mut encoded_by = self.stream.0.encoded_by.lock();
        if std::ptr::eq(encoded_by.as_ptr(), Arc::as_ptr(&self.encoders.0)) {
            *encoded_by = Weak::new();
        }
    }
}

/// What encoders are to do, for who sets the rung.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) under_load: UnderLoad,
    /// Pixels per second of what is asked for; 0 while nothing is encoded.
    pub(crate) pixels: f64,
    /// Pictures per second of what is asked for.
    pub(crate) rate: f64,
    /// The rung it is on.
    pub(crate) rung: usize,
}

/// An encoder is at work, until this is dropped.
#[derive(Debug)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
pub(crate) struct AtWork(Dial);

impl Drop for AtWork {
    fn drop(&mut self) {
        if self.0.0.encoders.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let over: Vec<_> =
            self.0.0.streams.lock().iter_mut().filter_map(|served| served.at_work.take()).collect();
        drop(over);
    }
}

fn kbps(rate: BitRate) -> u32 {
    u32::try_from(rate.bps() / 1000).unwrap_or(u32::MAX)
}

fn rate(kbps: u32) -> BitRate {
    BitRate::from_kbps(u64::from(kbps))
}

#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
impl Dial {
    /// Says how the rate follows the network, for the source that is about to be played; what the network took of the one before is no limit any
    /// more.
    pub(crate) fn follow(&self, adaptation: Option<&Adaptation>) {
        let mut kept = self.0.adaptation.lock();
        if kept.as_ref() == adaptation {
            return;
        }
        *kept = adaptation.cloned();
        self.0.adapts.store(kept.is_some(), Ordering::Relaxed);
        self.0.limit.store(0, Ordering::Relaxed);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Whether the rate follows the network.
    pub(crate) fn adapts(&self) -> bool {
        let streams = self.0.streams.lock();
        self.0.adapts.load(Ordering::Relaxed) || streams.iter().any(|served| served.dial.adapts())
    }

    /// The encoders of this dial work for the stream of another one, too: of what these ask for and their networks take, the least holds.
    pub(crate) fn serve(&self, stream: &Self) -> Sharing {
        let mut streams = self.0.streams.lock();
        let is_at_work = self.0.encoders.load(Ordering::Relaxed) > 0;
        let at_work = is_at_work.then(|| {
            let most = self.0.most.load(Ordering::Relaxed);
            stream.shows(self.0.pixels.load(Ordering::Relaxed), self.0.millihertz.load(Ordering::Relaxed));
            stream.begin(self.0.planned.load(Ordering::Relaxed), (most != 0).then(|| 1000 * u64::from(most)))
        });
        streams.push(Served { dial: stream.clone(), at_work });
        *stream.0.encoded_by.lock() = Arc::downgrade(&self.0);
        Sharing { encoders: self.clone(), stream: stream.clone() }
    }

    /// How often it was said how it does.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// How it follows the network, if it does.
    pub(crate) fn adaptation(&self) -> Option<Adaptation> {
        self.0.adaptation.lock().clone()
    }

    /// An encoder begins to work that is to be at `planned` kbit/s unless something else is said; its headers allow `most` bits per second, if that is
    /// known.
    pub(crate) fn begin(&self, planned: u32, most: Option<u64>) -> AtWork {
        self.0.planned.store(planned, Ordering::Relaxed);
        let most = most.map_or(0, |most| u32::try_from(most / 1000).unwrap_or(u32::MAX));
        self.0.most.store(most, Ordering::Relaxed);
        self.0.encoders.fetch_add(1, Ordering::Relaxed);
        for served in &mut *self.0.streams.lock() {
            served.at_work = Some(served.dial.begin(planned, (most != 0).then(|| 1000 * u64::from(most))));
        }
        AtWork(self.clone())
    }

    /// Says what the encoder that was opened last makes without a [rung](Self::step_to): pixels, and pictures times 1000, per second.
    pub(crate) fn shows(&self, pixels: u64, millihertz: u64) {
        self.0.pixels.store(pixels, Ordering::Relaxed);
        self.0.millihertz.store(millihertz, Ordering::Relaxed);
        self.0.streams.lock().iter().for_each(|served| served.dial.shows(pixels, millihertz));
    }

    /// Says how it gives way when the machine is loaded.
    pub(crate) fn give_way(&self, how: &UnderLoad) {
        self.0.under_load.lock().clone_from(how);
    }

    /// What its encoders do; `None` if there never was one.
    pub(crate) fn work(&self) -> Option<Work> {
        let pixels = self.0.pixels.load(Ordering::Relaxed);
        (pixels > 0).then(|| Work {
            under_load: self.0.under_load.lock().clone(),
            pixels: if self.planned().is_some() { pixels as f64 } else { 0.0 },
            rate: self.0.millihertz.load(Ordering::Relaxed) as f64 / 1000.0,
            rung: self.rung(),
        })
    }

    /// Says whose encoders work for it, as a number that is equal for those who share them.
    pub(crate) fn encoders(&self) -> usize {
        let encoded_by = self.0.encoded_by.lock();
        let of = if encoded_by.strong_count() > 0 { encoded_by.as_ptr() } else { Arc::as_ptr(&self.0) };
        of.addr()
    }

    /// Puts it on a rung.
    pub(crate) fn step_to(&self, rung: usize, cut: Cut) {
        self.0.rung.store(u32::try_from(rung).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.0.cut.store(cut.packed(), Ordering::Relaxed);
    }

    /// The rung it is on.
    pub(crate) fn rung(&self) -> usize {
        self.0.rung.load(Ordering::Relaxed) as usize
    }

    /// What that makes of the pictures; of streams that share an encoder, the lowest rung counts.
    pub(crate) fn cut(&self) -> Cut {
        let own = Cut::unpacked(self.0.cut.load(Ordering::Relaxed));
        self.0.streams.lock().iter().fold(own, |lowest, served| lowest.and(served.dial.cut()))
    }

    /// What the rung leaves of a rate.
    fn cut_to(&self, kbps: u32) -> u32 {
        let least = LEAST.bps() / 1000;
        let left = u64::from(kbps) * u64::from(self.cut().permille) / 1000;
        u32::try_from(left.max(least)).unwrap_or(u32::MAX).min(kbps)
    }

    /// What an encoder is to be at, in kbit/s, that was planned to be at `planned`.
    pub(crate) fn target(&self, planned: u32) -> u32 {
        let least = self.0.streams.lock().iter().map(|served| served.dial.target(planned)).min();
        if let Some(least) = least {
            return least;
        }
        let asked = self.0.asked.load(Ordering::Relaxed);
        let asked = self.cut_to(if asked == 0 { planned } else { asked });
        match self.0.limit.load(Ordering::Relaxed) {
            0 => asked,
            limit => asked.min(limit),
        }
    }

    /// What is asked for, of which the rung may leave only a part; `None` while nothing is encoded.
    pub(crate) fn asked(&self) -> Option<BitRate> {
        let planned = self.planned()?;
        let asked = self.0.asked.load(Ordering::Relaxed);
        Some(rate(self.cut_to(if asked == 0 { planned } else { asked })))
    }

    /// What pictures are encoded to now; `None` while nothing is encoded.
    pub(crate) fn now(&self) -> Option<BitRate> {
        let planned = self.planned()?;
        let encoded_by = self.0.encoded_by.lock().upgrade();
        Some(rate(encoded_by.map_or_else(|| self.target(planned), |encoders| Self(encoders).target(planned))))
    }

    fn planned(&self) -> Option<u32> {
        let is_at_work = self.0.encoders.load(Ordering::Relaxed) > 0;
        is_at_work.then(|| self.0.planned.load(Ordering::Relaxed))
    }

    /// The program asks for another rate; says what pictures were encoded to, and are now.
    ///
    /// # Errors
    ///
    /// [`Error::NotEncoded`]; [`Error::Config`] for a rate that cannot be.
    pub(crate) fn ask(&self, wanted: BitRate) -> Result<(BitRate, BitRate), Error> {
        let refuse = |reason: String| Error::Config { name: "bitrate", reason };
        if !(LEAST..=MOST).contains(&wanted) {
            return Err(refuse("must be 64 kbit/s to 100 Mbit/s".to_owned()));
        }
        let before = self.now().ok_or(Error::NotEncoded { what: "another bit rate" })?;
        let most = self.0.most.load(Ordering::Relaxed);
        if most != 0 && wanted > rate(most) {
            let reason = format!("the headers of the stream allow {} at most", rate(most));
            return Err(refuse(reason));
        }
        self.0.asked.store(kbps(wanted), Ordering::Relaxed);
        Ok((before, self.now().unwrap_or(wanted)))
    }

    /// The network takes this much; `None` if that is no limit.
    pub(crate) fn limit(&self, limit: Option<BitRate>) {
        self.0.limit.store(limit.map_or(0, |limit| kbps(limit).max(1)), Ordering::Relaxed);
    }

    /// Counts a step.
    pub(crate) fn count(&self, from: BitRate, to: BitRate) {
        let count = if to < from { &self.0.lowered } else { &self.0.raised };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the rate was lowered and raised, by the program or because of the network.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.0.lowered.load(Ordering::Relaxed), self.0.raised.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_what_the_network_takes_both_hold() {
        let dial = Dial::default();
        let kbps = BitRate::from_kbps;
        assert!(matches!(dial.ask(kbps(500)), Err(Error::NotEncoded { .. })), "nothing is encoded");
        assert_eq!((dial.target(2500), dial.now()), (2500, None));
        let at_work = dial.begin(2500, Some(10_000_000));
        assert_eq!((dial.asked(), dial.now()), (Some(kbps(2500)), Some(kbps(2500))));
        dial.limit(Some(kbps(1300)));
        assert_eq!((dial.target(2500), dial.asked()), (1300, Some(kbps(2500))));
        assert_eq!(dial.ask(kbps(4000)).expect("it can be"), (kbps(1300), kbps(1300)));
        dial.limit(None);
        assert_eq!(dial.target(2500), 4000, "the ceiling that was asked for meanwhile");
        for wrong in [kbps(63), kbps(10_001), kbps(100_001)] {
            assert!(matches!(dial.ask(wrong), Err(Error::Config { name: "bitrate", .. })), "{wrong}");
        }
        dial.count(kbps(2), kbps(1));
        dial.count(kbps(1), kbps(2));
        assert_eq!(dial.counts(), (1, 1));
        drop(at_work);
        assert!(matches!(dial.ask(kbps(500)), Err(Error::NotEncoded { .. })));
    }

    #[test]
    fn encoders_that_streams_share_are_at_the_least_of_what_these_want() {
        let (encoders, kbps) = (Dial::default(), BitRate::from_kbps);
        let [one, other] = [Dial::default(), Dial::default()];
        let first = encoders.serve(&one);
        let at_work = encoders.begin(2500, Some(5_000_000));
        assert_ne!(one.encoders(), other.encoders());
        let second = encoders.serve(&other);
        assert_eq!(one.encoders(), other.encoders());
        assert_eq!((one.now(), other.now()), (Some(kbps(2500)), Some(kbps(2500))));
        encoders.shows(640 * 360 * 25, 25_000);
        assert_eq!(other.work().expect("it has an encoder").pixels, 5_760_000.0);
        let cut = |every, percent| Cut { permille: 1000, every, percent };
        one.step_to(2, cut(2, 100));
        other.step_to(1, cut(1, 50));
        assert_eq!(encoders.cut(), cut(2, 50));
        one.step_to(0, Cut::default());
        other.step_to(0, Cut::default());
        one.ask(kbps(3000)).expect("it is encoded");
        assert_eq!(encoders.target(2500), 2500);
        assert_eq!(one.now(), Some(kbps(2500)), "the other one's");
        other.limit(Some(kbps(900)));
        assert_eq!((encoders.target(2500), one.now()), (900, Some(kbps(900))));
        assert!(matches!(other.ask(kbps(6000)), Err(Error::Config { .. })), "the headers allow less");
        drop(second);
        assert_ne!(one.encoders(), other.encoders());
        assert_eq!((encoders.target(2500), other.now()), (3000, None));
        // Another encoder takes the place of the first before that has gone.
        let next = encoders.begin(2500, None);
        drop(at_work);
        assert_eq!(one.now(), Some(kbps(3000)));
        drop(next);
        assert_eq!(one.now(), None);
        drop(first);
    }

    #[test]
    fn of_what_is_asked_for_the_network_takes_and_the_rung_leaves_the_least_holds() {
        let (dial, kbps) = (Dial::default(), BitRate::from_kbps);
        assert!(dial.work().is_none());
        let at_work = dial.begin(2500, None);
        dial.shows(1280 * 720 * 25, 25_000);
        dial.step_to(2, Cut { permille: 480, every: 2, percent: 100 });
        assert_eq!((dial.target(2500), dial.asked(), dial.rung()), (1200, Some(kbps(1200)), 2));
        dial.limit(Some(kbps(700)));
        assert_eq!(dial.target(2500), 700);
        dial.limit(Some(kbps(1300)));
        assert_eq!(dial.target(2500), 1200);
        let work = dial.work().expect("it has an encoder");
        assert_eq!((work.pixels, work.rate, work.rung), (23_040_000.0, 25.0, 2));
        drop(at_work);
        assert_eq!(dial.work().expect("it had one").pixels, 0.0);
        dial.step_to(0, Cut::default());
        assert_eq!((dial.target(2500), dial.cut()), (1300, Cut::default()));
    }

    #[test]
    fn another_source_begins_without_a_limit() {
        let dial = Dial::default();
        assert_eq!((dial.adapts(), dial.version()), (false, 0));
        let adaptation = Adaptation::default();
        dial.follow(Some(&adaptation));
        dial.limit(Some(BitRate::from_kbps(700)));
        dial.follow(Some(&adaptation));
        assert_eq!((dial.adapts(), dial.version(), dial.target(900)), (true, 1, 700), "the same again");
        dial.follow(None);
        assert_eq!((dial.adapts(), dial.version(), dial.target(900)), (false, 2, 900));
    }
}
