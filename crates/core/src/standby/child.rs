//! One of several drivers behind the one that the stream's thread serves.
//!
//! In: a driver, and the turns of the stream's thread. Out: what it gave, kept apart from what is on the air.

use std::any::Any;
use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;

use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::event::EventKind;
use crate::ring::Headers;

/// A message for the source with this number among those of the stream.
pub(crate) struct Addressed {
    /// The number; the source that the stream began with has 0, and gets its messages as they are.
    pub(crate) seat: u64,
    pub(crate) message: Box<dyn Any + Send>,
}

/// Whether a notice says that what comes now has nothing to do with what came before.
pub(super) fn begins_anew(notice: &EventKind) -> bool {
    matches!(notice, EventKind::PublicationBegan { .. })
}

/// A coded picture.
pub(super) fn is_picture(tag: &Tag) -> bool {
    tag.is_video() && !tag.is_header()
}

/// How long pictures are waited for once sound has come.
const SOUND_ALONE_AFTER_MS: i64 = 1000;

/// A driver that is not on the air: it is pulled, and nothing of it is sent before its keyframe.
pub(super) struct Candidate {
    pub(super) driver: Box<dyn SourceDriver>,
    /// What a decoder needs before the keyframe.
    pub(super) headers: Headers,
    /// What it reported; told once it is on the air.
    pub(super) notices: Vec<EventKind>,
    started: bool,
    /// Pictures have come.
    has_pictures: bool,
    /// The time of the first sound.
    first_sound: Option<i64>,
    /// Media has come in this turn.
    pub(super) gave: bool,
    /// What it has given, if somebody looks at that.
    pub(super) seen: Option<Vec<Tag>>,
}

/// What a candidate can begin with.
pub(super) struct Beginning {
    /// A keyframe, or sound where there are no pictures, and what came after it in the same turn.
    pub(super) tags: Vec<Tag>,
}

impl Candidate {
    pub(super) fn new(driver: Box<dyn SourceDriver>) -> Self {
        Self {
            driver,
            headers: Headers::default(),
            notices: Vec::new(),
            started: false,
            has_pictures: false,
            first_sound: None,
            gave: false,
            seen: None,
        }
    }

    /// Keeps what it gives for whom looks at it, if anybody does.
    pub(super) fn watched(mut self, is_watched: bool) -> Self {
        self.seen = is_watched.then(Vec::new);
        self
    }

    /// One that was on the air, after these headers; `has_pictures` says that it has given pictures itself: the headers may be those of others
    /// that were on the air before.
    pub(super) fn returning(driver: Box<dyn SourceDriver>, headers: Headers, has_pictures: bool) -> Self {
        Self { headers, has_pictures, started: true, ..Self::new(driver) }
    }

    /// Media time begins for it, once.
    pub(super) fn start(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.started, true) {
            self.driver.start(now);
        }
    }

    /// Pulls it; what it can begin with, once there is something. What came before that is left out.
    pub(super) fn pull(&mut self, cx: &mut SourceContext<'_>) -> (SourceState, Option<Beginning>) {
        let (mut tags, mut refills, told) = (Vec::new(), Vec::new(), self.notices.len());
        let state = self.driver.pull(&mut SourceContext {
            now: cx.now,
            clock: cx.clock,
            readable: cx.readable,
            writable: cx.writable,
            tick: cx.tick,
            ticks_only: cx.ticks_only,
            registry: cx.registry,
            token: cx.token,
            scratch: cx.scratch,
            tags: &mut tags,
            refills: &mut refills,
            notices: &mut self.notices,
        });
        if self.notices.iter().skip(told).any(begins_anew) {
            // What others have published says nothing of what comes now.
            (self.has_pictures, self.first_sound) = (false, None);
        }
        self.gave = tags.iter().any(|tag| !tag.is_header() && !tag.is_script());
        if let Some(seen) = &mut self.seen {
            seen.extend(tags.iter().cloned());
        }
        let begin = tags.iter().position(|tag| self.can_begin_with(tag));
        tags.iter().take(begin.unwrap_or(tags.len())).for_each(|tag| {
            self.headers.note(tag);
        });
        let beginning = begin.map(|begin| Beginning { tags: tags.split_off(begin) });
        (state, beginning)
    }

    fn can_begin_with(&mut self, tag: &Tag) -> bool {
        if tag.is_script() || tag.is_header() || tag.track() != 0 {
            self.has_pictures |= tag.is_video();
            return false;
        }
        if tag.is_video() {
            self.has_pictures = true;
            return tag.is_keyframe();
        }
        let at = tag.timestamp.as_millis();
        !self.has_pictures && at - *self.first_sound.get_or_insert(at) >= SOUND_ALONE_AFTER_MS
    }
}
