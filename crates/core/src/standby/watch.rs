//! Whether a source gives what it should.
//!
//! In: the tags it gave, turn by turn. Out: that it has given no packet, or no keyframe, for too long. Once each.

use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;

use crate::content::Rules;
use crate::words::words;

/// What is done about a source that stalls; see [`Watchdog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reaction {
    /// It is told by an event, and nothing else happens.
    #[default]
    Tell,
    /// The source is closed and opened again; the one that was opened goes on with its first keyframe.
    Restart,
    /// The [fallback](crate::Source::fallback) takes over.
    Fallback,
    /// The stream ends with [`Error::SourceStalled`](crate::Error::SourceStalled).
    End,
}

words!(
    Reaction,
    "reaction to a source that stalls",
    Tell = "tell",
    Restart = "restart",
    Fallback = "fallback",
    End = "end"
);

/// How a source is watched; see [`Source::watchdog`](crate::Source::watchdog). Without limits it does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Watchdog {
    /// It has stalled if it gives nothing at all for this long; 100 ms to a day. Default `None`: it is not watched for that.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub no_packet: Option<Duration>,
    /// It has stalled if it gives no keyframe for this long, in a stream with pictures; 100 ms to a day, and more than its keyframes are
    /// apart. Default `None`: it is not watched for that.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub no_keyframe: Option<Duration>,
    /// Something is wrong with it if its pictures have been black for this long (98 % of the pixels of each picture that is looked at are darker than 10 %); at
    /// least [`look_every`](Self::look_every), at most a day. Default `None`: it is not watched for that.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub black: Option<Duration>,
    /// The same if its pictures have not moved for this long. Default `None`.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub frozen: Option<Duration>,
    /// The same if its sound has been below [`silent_below_db`](Self::silent_below_db) for this long. A source without sound is not silent.
    /// Default `None`.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub silent: Option<Duration>,
    /// The level below which sound is silent, averaged over a second and all channels, in decibels of full scale: -90 to -10. Default -40.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_usual_level"))]
    pub silent_below_db: i8,
    /// How often content is looked at, if `black`, `frozen` or `silent` is set: 1 s to a minute. Live media that is encoded is looked at by its encoder,
    /// twice a second, whatever this says. Each other look decodes a keyframe and a second of
    /// sound on another thread; a second of pictures, too, where the keyframe is black or like the one before. Default 10 s, and at times a little less.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span", skip_serializing_if = "is_usual_look")
    )]
    pub look_every: Duration,
    /// What is done about it. Default [`Reaction::Tell`].
    pub then: Reaction,
}

/// How often content is looked at, if nothing is said.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Below this sound is silent, if nothing is said.
const SILENT_BELOW_DB: i8 = -40;

#[cfg(feature = "serde")]
fn is_usual_level(level: &i8) -> bool {
    *level == SILENT_BELOW_DB
}

#[cfg(feature = "serde")]
fn is_usual_look(every: &Duration) -> bool {
    *every == LOOK_EVERY
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            no_packet: None,
            no_keyframe: None,
            black: None,
            frozen: None,
            silent: None,
            silent_below_db: SILENT_BELOW_DB,
            look_every: LOOK_EVERY,
            then: Reaction::Tell,
        }
    }
}

impl Watchdog {
    /// Watches content by the usual figures: black pictures for 10 s, frozen ones for 30 s, sound below -40 dB for 30 s.
    #[must_use]
    pub fn content() -> Self {
        let half_a_minute = Some(Duration::from_secs(30));
        let black = Some(Duration::from_secs(10));
        Self { black, frozen: half_a_minute, silent: half_a_minute, ..Self::default() }
    }

    /// What its content is watched for, if it is.
    pub(crate) fn content_rules(&self) -> Option<Rules> {
        let Self { black, frozen, silent, silent_below_db, look_every, .. } = *self;
        let is_watched = black.or(frozen).or(silent).is_some();
        is_watched.then_some(Rules { black, frozen, silent, silent_below_db, every: look_every })
    }
}

crate::settings::settings!(Watchdog);

/// What a source has not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    Packets(Duration),
    Keyframes(Duration),
}

/// A source that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) rules: Watchdog,
    /// When it last gave anything, or began.
    heard: Instant,
    /// The same, but for times in which nothing was expected of it.
    since: Instant,
    /// When it last gave a keyframe, or began; `None` while it has given no picture.
    key: Option<Instant>,
    told: [bool; 2],
}

impl Watch {
    pub(super) fn new(rules: Watchdog, now: Instant) -> Self {
        Self { rules, heard: now, since: now, key: None, told: [false; 2] }
    }

    /// When it last gave anything, or began.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether it lacks something, and that was told.
    pub(super) fn is_stalled(&self) -> bool {
        self.told.contains(&true)
    }

    /// It begins.
    pub(super) fn begins(&mut self, now: Instant) {
        (self.heard, self.since, self.key, self.told) = (now, now, None, [false; 2]);
    }

    /// It is not expected to give anything at the moment: its time begins when it is.
    pub(super) fn rests(&mut self, now: Instant) {
        (self.since, self.key, self.told[1]) = (now, None, false);
    }

    /// Nobody has asked it for so long, because the process or the machine stood still: what it gave meanwhile may be on its way.
    pub(super) fn stood_still(&mut self, by: Duration) {
        self.heard += by;
        self.since += by;
        self.key = self.key.map(|key| key + by);
    }

    /// It gave this; for how long it had given nothing, if that was told.
    pub(super) fn note(&mut self, now: Instant, tags: &[Tag]) -> Option<Duration> {
        let is_media = |tag: &&Tag| !tag.is_header() && !tag.is_script();
        let mut media = tags.iter().filter(is_media).peekable();
        media.peek()?;
        let silent = now.saturating_duration_since(self.heard);
        (self.heard, self.since) = (now, now);
        if self.rules.no_keyframe.is_some() {
            let mut pictures = media.filter(|tag| tag.is_video()).peekable();
            if pictures.peek().is_some() {
                self.key.get_or_insert(now);
            }
            if pictures.any(|tag| tag.is_keyframe()) {
                (self.key, self.told[1]) = (Some(now), false);
            }
        }
        std::mem::take(&mut self.told[0]).then_some(silent)
    }

    /// What it has not given for too long; each is told once.
    pub(super) fn check(&mut self, now: Instant) -> Option<Stall> {
        let over = |since: Instant, limit: Option<Duration>| {
            let passed = now.saturating_duration_since(since);
            limit.is_some_and(|limit| passed >= limit).then_some(passed)
        };
        if !self.told[0]
            && let Some(passed) = over(self.since, self.rules.no_packet)
        {
            self.told[0] = true;
            return Some(Stall::Packets(passed));
        }
        if !self.told[1]
            && let Some(passed) = self.key.and_then(|since| over(since, self.rules.no_keyframe))
        {
            self.told[1] = true;
            return Some(Stall::Keyframes(passed));
        }
        None
    }
}
