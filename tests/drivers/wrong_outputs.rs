//! Outputs with one mistake each, found by name.

use std::time::Duration;

use flowcast::driver::check::{Check, MistakeKind, Report};
use flowcast::driver::{OutputContext, OutputDriver, OutputOpening, OutputState, Read, Readiness, Tag};
use flowcast::stats::OutputStats;

use crate::right::{Made, Taker};

/// What an output does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Blocks,
    PanicsAtItsEnd,
    NeverFinishes,
    NeverReady,
    StandsStill,
    RunsBeyondTheEnd,
    Hoards,
    TakesOnTicksOnly,
    ChangesItsMind,
    GoesOnAfterItsEnd,
    DoesNotResume,
    ForgetsWhatItSent,
    AlwaysHasMore,
}

struct With {
    taker: Taker,
    wrong: Wrong,
    turns: u32,
    hoard: Vec<Tag>,
    rests: bool,
}

impl With {
    fn new(wrong: Wrong) -> Self {
        Self { taker: Taker::default(), wrong, turns: 0, hoard: Vec::new(), rests: false }
    }
}

impl OutputDriver for With {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.turns += 1;
        match self.wrong {
            Wrong::Blocks if self.turns == 50 => std::thread::sleep(Duration::from_millis(500)),
            Wrong::StandsStill if self.turns > 50 && self.taker.until.is_none() => {
                return OutputState::Running;
            }
            Wrong::TakesOnTicksOnly if !cx.tick && self.taker.until.is_none() => return OutputState::Running,
            Wrong::DoesNotResume if self.rests => return OutputState::Running,
            Wrong::Hoards => {
                cx.ring.read(self.taker.cursor.next(), &mut |read| {
                    if let Read::Tag(entry) = read {
                        self.hoard.push(entry.message.tag().clone());
                    }
                    true
                });
            }
            Wrong::GoesOnAfterItsEnd if self.taker.until.is_some() => {
                self.taker.until = Some(cx.ring.end());
            }
            _ => {}
        }
        let state = self.taker.turn(cx);
        if self.wrong == Wrong::AlwaysHasMore { OutputState::More } else { state }
    }

    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.rests = true;
        self.turn(cx)
    }

    fn is_immediate(&self) -> bool {
        self.wrong != Wrong::ChangesItsMind || self.turns < 50
    }

    fn cursor(&self) -> Option<u64> {
        let beyond = u64::from(self.wrong == Wrong::RunsBeyondTheEnd) * 1_000_000;
        self.taker.cursor().map(|cursor| cursor + beyond)
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.rests = false;
        self.taker.finish(cx);
    }

    fn is_finished(&mut self) -> bool {
        if self.wrong == Wrong::PanicsAtItsEnd {
            // As a panic does whose backtrace is printed on a busy machine.
            std::thread::sleep(Duration::from_millis(300));
            panic!("planted");
        }
        match self.wrong {
            Wrong::NeverFinishes => false,
            Wrong::GoesOnAfterItsEnd => true,
            _ => self.taker.is_finished(),
        }
    }

    fn readiness(&self) -> Readiness {
        if self.wrong == Wrong::NeverReady { Readiness::Pending } else { Readiness::Always }
    }

    fn stats(&self, stats: &mut OutputStats) {
        self.taker.stats(stats);
        if self.wrong == Wrong::ForgetsWhatItSent && self.turns % 50 == 49 {
            stats.bytes_sent = 0;
        }
    }
}

fn report(wrong: Wrong) -> Report {
    let check = Check::new().patience(Duration::from_secs(1));
    check.output(move || {
        Made(move |_: &OutputOpening<'_>| Box::new(With::new(wrong)) as Box<dyn OutputDriver>)
    })
}

/// The mistake, and no other, is found.
fn is_found(kind: MistakeKind, wrong: Wrong) {
    let report = report(wrong);
    assert!(report.has(kind), "{kind} is not found: {report}");
    assert_eq!(report.mistakes.len(), 1, "something else is found, too: {report}");
}

#[test]
fn one_that_blocks() {
    is_found(MistakeKind::Blocks, Wrong::Blocks);
}

#[test]
fn one_that_panics() {
    is_found(MistakeKind::Panics, Wrong::PanicsAtItsEnd);
}

#[test]
fn one_that_never_finishes() {
    is_found(MistakeKind::NeverEnds, Wrong::NeverFinishes);
}

#[test]
fn one_that_is_never_ready() {
    is_found(MistakeKind::NeverReady, Wrong::NeverReady);
}

#[test]
fn one_whose_cursor_stands_still() {
    let report = report(Wrong::StandsStill);
    assert!(report.has(MistakeKind::KeepsTheRing), "{report}");
}

#[test]
fn one_whose_cursor_is_beyond_the_ring() {
    let report = report(Wrong::RunsBeyondTheEnd);
    assert!(report.has(MistakeKind::CursorBeyondRing), "{report}");
}

#[test]
fn one_that_gathers_tags_without_a_bound() {
    is_found(MistakeKind::GrowsWithoutBound, Wrong::Hoards);
}

#[test]
fn one_that_says_it_is_immediate_and_waits_for_ticks() {
    is_found(MistakeKind::ImmediateInVain, Wrong::TakesOnTicksOnly);
}

#[test]
fn one_that_is_immediate_only_at_first() {
    is_found(MistakeKind::ImmediateChanges, Wrong::ChangesItsMind);
}

#[test]
fn one_that_sends_after_it_ended() {
    is_found(MistakeKind::SendsAfterEnd, Wrong::GoesOnAfterItsEnd);
}

#[test]
fn one_that_does_not_go_on_after_a_rest() {
    let report = report(Wrong::DoesNotResume);
    assert!(report.has(MistakeKind::NotBackFromRest), "{report}");
}

#[test]
fn one_whose_figures_go_back() {
    is_found(MistakeKind::FiguresGoBack, Wrong::ForgetsWhatItSent);
}

#[test]
fn one_that_always_has_more() {
    is_found(MistakeKind::Spins, Wrong::AlwaysHasMore);
}
