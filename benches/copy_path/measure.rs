//! One comparison: both sides on the air at the same time, and slices of one window of time.
//!
//! In one window, because the machine is as busy and as fast for the one as for the other. What is read and encoded ahead
//! comes in strides of seconds of media: only the whole window is long enough for a figure, a slice shows how it varies.

use std::path::Path;
use std::time::Duration;

use flowcast_bench::process::MachineTime;

use crate::Result;
use crate::around::{OnAir, Publisher};
use crate::case::Case;
use crate::side::{Figures, Which};

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// From the first byte of all streams until the window begins: read-ahead fills up.
    pub(crate) warm_up: Duration,
    pub(crate) slice: Duration,
    pub(crate) slices: usize,
    /// Streams of a case at most.
    pub(crate) streams: usize,
    /// How far the bytes of both sides may differ, of the floor's.
    pub(crate) tolerance: f64,
}

impl Plan {
    /// As many slices as criterion wants samples.
    pub(crate) const SAMPLES: usize = 10;

    pub(crate) const WHOLE: Self = Self {
        warm_up: Duration::from_secs(6),
        slice: Duration::from_millis(2500),
        slices: Self::SAMPLES,
        streams: usize::MAX,
        tolerance: 0.05,
    };

    /// To see that everything works.
    pub(crate) const GLANCE: Self = Self {
        warm_up: Duration::from_millis(500),
        slice: Duration::from_millis(1500),
        slices: 1,
        // More than players are let in at a time.
        streams: 20,
        // So little time has a keyframe in it or not.
        tolerance: 1.0,
    };
}

/// What came of a comparison.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// Of the floor and of flowcast, slice by slice.
    slices: Vec<[Figures; 2]>,
    /// Of the whole window.
    whole: [Figures; 2],
    /// Share of the processors that had nothing to do.
    pub(crate) idle: f64,
    /// Why the figures may not count.
    pub(crate) troubles: Vec<String>,
}

impl Measured {
    pub(crate) fn new(case: Case, plan: Plan, work: &Path, publisher: &Publisher) -> Result<Self> {
        let case = Case { streams: case.streams.min(plan.streams), ..case };
        let [floor, flowcast] = Which::BOTH.map(|which| OnAir::start(which, case, work, publisher));
        let mut sides = [floor?, flowcast?];
        std::thread::sleep(plan.warm_up);
        let (machine, begin) = (MachineTime::now(), figures(&mut sides)?);
        let (mut slices, mut before) = (Vec::new(), begin);
        for _ in 0..plan.slices {
            std::thread::sleep(plan.slice);
            let now = figures(&mut sides)?;
            slices.push(since(now, before));
            before = now;
        }
        let (whole, idle) = (since(before, begin), MachineTime::now().idle_since(&machine));
        let mut troubles = complaints(case, plan, &sides, whole);
        for side in sides {
            troubles.extend(side.finish()?);
        }
        Ok(Self { case, slices, whole, idle, troubles })
    }

    /// CPU time per stream-second in a slice, by its number modulo how many there are.
    pub(crate) fn slice(&self, which: Which, number: usize) -> Duration {
        let slice = self.slices.get(number % self.slices.len().max(1));
        slice.map_or(Duration::ZERO, |[floor, flowcast]| of(which, *floor, *flowcast).cost())
    }

    /// CPU time per stream-second in the whole window.
    pub(crate) fn cost(&self, which: Which) -> Duration {
        let [floor, flowcast] = self.whole;
        of(which, floor, flowcast).cost()
    }

    pub(crate) fn ratio(&self) -> f64 {
        ratio(&self.whole)
    }
}

fn of<T>(which: Which, floor: T, flowcast: T) -> T {
    match which {
        Which::Floor => floor,
        Which::Flowcast => flowcast,
    }
}

fn ratio([floor, flowcast]: &[Figures; 2]) -> f64 {
    flowcast.cost().as_secs_f64() / floor.cost().as_secs_f64().max(f64::MIN_POSITIVE)
}

fn figures([floor, flowcast]: &mut [OnAir; 2]) -> Result<[Figures; 2]> {
    Ok([floor.side.figures()?, flowcast.side.figures()?])
}

fn since(now: [Figures; 2], before: [Figures; 2]) -> [Figures; 2] {
    let ([floor, flowcast], [floor_before, flowcast_before]) = (now, before);
    [floor.since(floor_before), flowcast.since(flowcast_before)]
}

fn complaints(case: Case, plan: Plan, [floor, flowcast]: &[OnAir; 2], whole: [Figures; 2]) -> Vec<String> {
    let mut found = Vec::new();
    let lost: u64 = whole.iter().map(|side| side.lost).sum();
    if lost > 0 {
        found.push(format!("{lost} tags or connections were lost: the machine could not keep up"));
    }
    let rate = |side: &Figures| side.bytes as f64 / side.seconds.max(1e-3);
    let [expected, sent] = whole.each_ref().map(rate);
    if case.kind.sends_the_same() && (sent - expected).abs() > plan.tolerance * expected {
        found.push(format!("the floor sent {expected:.0} bytes a second, flowcast {sent:.0}"));
    }
    if floor.side.settings != flowcast.side.settings {
        let [floor, flowcast] = [floor, flowcast].map(|side| side.side.settings.as_deref().unwrap_or("none"));
        found.push(format!("the encoders' settings differ:\n  {floor}\n  {flowcast}"));
    }
    found
}
