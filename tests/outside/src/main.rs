//! A source and an output of this program's own, with `flowcast` as its only dependency: `outside URL PICTURES` sends this many pictures
//! of a test card to an RTMP server and to a counter. It checks both against the contract of drivers before, and prints what it counted.

// The card is the one of the example, built here without what the example leans on.
#[path = "../../../examples/own_source/card.rs"]
mod card;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use card::TestCard;
use flowcast::driver::check::{check_output, check_source};
use flowcast::driver::{
    Cursor, Offer, OpenOutput, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Read,
    Readiness, Skipping,
};
use flowcast::stats::OutputPhase;
use flowcast::stats::OutputStats;
use flowcast::{Config, Engine, Error, Output};

/// What the output has seen.
#[derive(Debug, Default)]
struct Counts {
    pictures: AtomicU64,
    keyframes: AtomicU64,
}

/// An output that counts.
#[derive(Debug, Clone, Default)]
struct Counter(Arc<Counts>);

impl OpenOutput for Counter {
    fn open(self: Box<Self>, _cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        let driver = Counting { counts: self.0, cursor: Cursor::oldest(), until: None, bytes: 0 };
        Ok(OpenedOutput { name: "counter".to_owned(), driver: Box::new(driver) })
    }
}

struct Counting {
    counts: Arc<Counts>,
    cursor: Cursor,
    until: Option<u64>,
    bytes: u64,
}

impl OutputDriver for Counting {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        let Self { counts, cursor, until, bytes } = self;
        cursor.lose_until(cx.ring.start(), Skipping::Pictures);
        cx.ring.read(cursor.next(), &mut |read| {
            if until.is_some_and(|until| cursor.next() >= until) {
                return false;
            }
            match read {
                Read::Tag(entry) => {
                    let tag = entry.message.tag();
                    if matches!(cursor.offer(entry, || true), Offer::Begin { .. } | Offer::Send) {
                        *bytes += tag.body.len() as u64;
                        let is_picture = tag.is_video() && !tag.is_header();
                        counts.pictures.fetch_add(u64::from(is_picture), Ordering::Relaxed);
                        counts.keyframes.fetch_add(u64::from(tag.is_keyframe()), Ordering::Relaxed);
                    }
                }
                Read::Lost(count) => cursor.lose_until(cursor.next() + count, Skipping::Pictures),
            }
            true
        });
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
        stats.bytes_sent = self.bytes;
        stats.drops = self.cursor.drops();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(pictures)) = (arguments.next(), arguments.next()) else {
        return Err("give the URL of a stream on an RTMP server, and how many pictures to send".into());
    };
    let pictures = pictures.parse()?;
    for report in [check_source(TestCard::default), check_output(Counter::default)] {
        if !report.is_clean() {
            return Err(report.to_string().into());
        }
    }
    let engine = Engine::new(Config::default())?;
    let counter = Counter::default();
    let card = TestCard { pictures: Some(pictures) };
    engine.stream(card).to(Output::rtmp_url(&url)).to(counter.clone()).start()?.wait()?;
    let [pictures, keyframes] =
        [&counter.0.pictures, &counter.0.keyframes].map(|count| count.load(Ordering::Relaxed));
    println!("counted {pictures} pictures, {keyframes} keyframes");
    Ok(())
}
