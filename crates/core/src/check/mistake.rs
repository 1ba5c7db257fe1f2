//! What a check finds.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, chain};
use crate::words::words;

/// What a driver does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MistakeKind {
    /// It was refused, or could not be opened.
    DoesNotOpen,
    /// A call panicked.
    Panics,
    /// A call slept or computed for longer than a turn may take: all of the stream waits meanwhile.
    Blocks,
    /// It returns `More` again and again without doing anything.
    Spins,
    /// It registered a socket with a token that is not its own: its events go to another driver.
    WrongToken,
    /// It holds more and more memory.
    GrowsWithoutBound,
    /// A source is not stopped, or an output not finished, in time.
    NeverEnds,
    /// The times of a track go back, or a track lags far behind the other one.
    TimeGoesBack,
    /// A frame comes before the sequence header of its track.
    HeaderMissing,
    /// The pictures do not begin with a keyframe.
    NoKeyframeFirst,
    /// A picture that decoding can begin at is not marked as a keyframe.
    KeyframeNotMarked,
    /// Pictures come for more than 20 s without a keyframe: nobody can join.
    NoKeyframes,
    /// It gives media faster than real time: a source paces itself.
    RunsAhead,
    /// It gives nothing, and does not rest.
    Silent,
    /// It says that it rests, and gives media.
    RestsAndGives,
    /// What it makes again differs from what it gave.
    RefillDiffers,
    /// Its readiness stays `Pending` for more than five seconds: media time waits for it.
    NeverReady,
    /// Its cursor stands still while the stream goes on: the ring keeps tags for it in vain.
    KeepsTheRing,
    /// Its cursor is beyond the end of the ring.
    CursorBeyondRing,
    /// It is immediate, but takes new tags on ticks only: its turns in between are in vain.
    ImmediateInVain,
    /// Its answer whether it is immediate changes: it is asked once.
    ImmediateChanges,
    /// It takes or sends tags that came after it was finished.
    SendsAfterEnd,
    /// It does not go on after a rest.
    NotBackFromRest,
    /// Its counters go back.
    FiguresGoBack,
}

words!(
    MistakeKind,
    "mistake",
    DoesNotOpen = "doesNotOpen",
    Panics = "panics",
    Blocks = "blocks",
    Spins = "spins",
    WrongToken = "wrongToken",
    GrowsWithoutBound = "growsWithoutBound",
    NeverEnds = "neverEnds",
    TimeGoesBack = "timeGoesBack",
    HeaderMissing = "headerMissing",
    NoKeyframeFirst = "noKeyframeFirst",
    KeyframeNotMarked = "keyframeNotMarked",
    NoKeyframes = "noKeyframes",
    RunsAhead = "runsAhead",
    Silent = "silent",
    RestsAndGives = "restsAndGives",
    RefillDiffers = "refillDiffers",
    NeverReady = "neverReady",
    KeepsTheRing = "keepsTheRing",
    CursorBeyondRing = "cursorBeyondRing",
    ImmediateInVain = "immediateInVain",
    ImmediateChanges = "immediateChanges",
    SendsAfterEnd = "sendsAfterEnd",
    NotBackFromRest = "notBackFromRest",
    FiguresGoBack = "figuresGoBack",
);

/// One kind of mistake that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// Which one.
    pub kind: MistakeKind,
    /// Where and how, at its first occurrence.
    pub detail: String,
    /// How often it was seen.
    pub count: u64,
}

/// What a check has seen. `Display` is one line, and one for each mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The mistakes, in the order in which they were seen first.
    pub mistakes: Vec<Mistake>,
    /// Calls of the driver.
    pub calls: u64,
    /// Tags a source gave, or an output was given.
    pub tags: u64,
    /// Media time of these tags.
    pub media: Duration,
    /// The longest time a call slept or computed.
    pub longest_turn: Duration,
    /// Why the driver ended by itself, if it did: empty where it was complete.
    pub ended: Option<String>,
}

impl Report {
    /// Whether there is no mistake.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Whether this mistake was seen.
    #[must_use]
    pub fn has(&self, kind: MistakeKind) -> bool {
        self.mistakes.iter().any(|mistake| mistake.kind == kind)
    }

    pub(super) fn add(&mut self, kind: MistakeKind, detail: impl FnOnce() -> String) {
        match self.mistakes.iter_mut().find(|mistake| mistake.kind == kind) {
            Some(known) => known.count += 1,
            None => self.mistakes.push(Mistake { kind, detail: detail(), count: 1 }),
        }
    }

    pub(super) fn not_run(error: &Error) -> Self {
        let mut report = Self::default();
        report.add(MistakeKind::DoesNotOpen, || chain(error));
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, {} tags of {:.1?}, longest turn {:.1?}, {} mistakes",
            self.calls,
            self.tags,
            self.media,
            self.longest_turn,
            self.mistakes.len()
        )?;
        match self.ended.as_deref() {
            None => {}
            Some("") => f.write_str(", it was complete")?,
            Some(why) => write!(f, ", it ended: {why}")?,
        }
        for Mistake { kind, detail, count } in &self.mistakes {
            write!(f, "\n{kind}: {detail}")?;
            if *count > 1 {
                write!(f, " ({count} times)")?;
            }
        }
        Ok(())
    }
}
