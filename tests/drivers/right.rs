//! A source and an output without a mistake. What is wrong is made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast::Error;
use flowcast::driver::bytes::Bytes;
use flowcast::driver::check::{Check, check_output, check_source};
use flowcast::driver::{
    Cursor, MediaTime, Offer, OpenOutput, OpenSource, OpenedOutput, OutputContext, OutputDriver,
    OutputOpening, OutputState, Read, Readiness, Ring, Skipping, SourceContext, SourceDriver, SourceOpening,
    SourceState, Tag, TagKind,
};
use flowcast::stats::OutputPhase;
use flowcast::stats::OutputStats;

use crate::card::{RATE, TestCard};

/// From one picture to the next, milliseconds.
pub(crate) const STEP: i64 = 40;
/// Pictures from one keyframe to the next.
pub(crate) const GOP: i64 = 25;

/// The sequence header of the pictures.
pub(crate) fn header() -> Tag {
    let avc: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x42, 0xC0, 0x0A, 0xFF, 0xE0, 0];
    Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from_static(avc))
}

/// Picture number `number` of time `time`: one NAL unit of a single byte.
pub(crate) fn picture(number: i64, time: i64) -> Tag {
    let body: &'static [u8] = if number % GOP == 0 {
        &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]
    } else {
        &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41]
    };
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(time), Bytes::from_static(body))
}

/// A driver made by a function, as a source.
pub(crate) struct Made<F>(pub(crate) F);

impl<F> std::fmt::Debug for Made<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

impl<F: FnOnce(&SourceOpening<'_>) -> Box<dyn SourceDriver> + Send> OpenSource for Made<F> {
    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok((self.0)(cx))
    }
}

impl<F: FnOnce(&OutputOpening<'_>) -> Box<dyn OutputDriver> + Send> OpenOutput for Made<F> {
    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "made".to_owned(), driver: (self.0)(cx) })
    }
}

/// Pictures that are paced by the stream's time.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    pub(crate) began: Option<Instant>,
    pub(crate) next: i64,
}

impl Pictures {
    /// How much media is due, milliseconds; `None` before media time begins.
    pub(crate) fn due(&self, now: Instant) -> Option<i64> {
        let passed = now.saturating_duration_since(self.began?);
        Some(i64::try_from(passed.as_millis()).expect("a short time"))
    }
}

impl SourceDriver for Pictures {
    fn start(&mut self, now: Instant) {
        self.began = Some(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(due) = self.due(cx.now) else { return SourceState::Running };
        if self.next == 0 {
            cx.tags.push(header());
        }
        while self.next * STEP <= due {
            cx.tags.push(picture(self.next, self.next * STEP));
            self.next += 1;
        }
        SourceState::Running
    }
}

/// Takes tags and counts their bytes.
#[derive(Debug)]
pub(crate) struct Taker {
    pub(crate) cursor: Cursor,
    pub(crate) until: Option<u64>,
    pub(crate) taken: u64,
    pub(crate) keyframes: Arc<AtomicU64>,
}

impl Default for Taker {
    fn default() -> Self {
        Self { cursor: Cursor::oldest(), until: None, taken: 0, keyframes: Arc::default() }
    }
}

impl Taker {
    pub(crate) fn take(&mut self, ring: &Ring) {
        let Self { cursor, until, taken, keyframes } = self;
        cursor.lose_until(ring.start(), Skipping::Pictures);
        ring.read(cursor.next(), &mut |read| {
            if until.is_some_and(|until| cursor.next() >= until) {
                return false;
            }
            match read {
                Read::Tag(entry) => {
                    let tag = entry.message.tag();
                    if matches!(cursor.offer(entry, || true), Offer::Begin { .. } | Offer::Send) {
                        *taken += tag.body.len() as u64;
                        keyframes.fetch_add(u64::from(tag.is_keyframe()), Ordering::Relaxed);
                    }
                }
                Read::Lost(count) => cursor.lose_until(cursor.next() + count, Skipping::Pictures),
            }
            true
        });
    }
}

impl OutputDriver for Taker {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.take(cx.ring);
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        Some(self.cursor.next())
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
    }

    fn is_finished(&mut self) -> bool {
        self.until.is_some_and(|until| self.cursor.next() >= until)
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
        stats.bytes_sent = self.taken;
        stats.drops = self.cursor.drops();
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let report =
        check_source(|| Made(|_: &SourceOpening<'_>| Box::new(Pictures::default()) as Box<dyn SourceDriver>));
    assert!(report.is_clean(), "{report}");
    assert!(report.media >= Duration::from_secs(19) && report.tags > 450, "{report}");
    assert_eq!(report.ended, None, "{report}");

    let keyframes = Arc::new(AtomicU64::new(0));
    let seen = keyframes.clone();
    let report = check_output(move || {
        let taker = Taker { keyframes: keyframes.clone(), ..Taker::default() };
        Made(move |_: &OutputOpening<'_>| Box::new(taker) as Box<dyn OutputDriver>)
    });
    assert!(report.is_clean(), "{report}");
    assert!(seen.load(Ordering::Relaxed) >= 19, "{report}");
}

#[test]
fn the_test_card_of_the_example_keeps_the_contract() {
    let report = check_source(TestCard::default);
    assert!(report.is_clean(), "{report}");
    let ten_seconds = TestCard { pictures: Some(10 * RATE) };
    let report = check_source(move || ten_seconds);
    assert!(report.is_clean() && report.ended.as_deref() == Some(""), "{report}");
}

#[test]
fn a_report_says_it_in_words_and_in_data() {
    let check = Check::new().media(Duration::from_secs(1));
    let report = check.source(|| flowcast::Source::published("no name, it has spaces"));
    assert!(!report.is_clean() && report.mistakes[0].kind.as_str() == "doesNotOpen", "{report}");
    assert!(report.to_string().contains("\ndoesNotOpen: "), "{report}");
}
