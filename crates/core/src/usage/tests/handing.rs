//! How records get to those who want them: bounds, callbacks that panic, wait or end themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A callback that waits until the test lets it go on, and says when it was called.
fn waiting(usage: &Usage) -> (UsageSink, crossbeam_channel::Receiver<u64>, crossbeam_channel::Sender<()>) {
    let (called, calls) = crossbeam_channel::unbounded();
    let (go_on, goes_on) = crossbeam_channel::unbounded::<()>();
    let callback = move |record: &UsageRecord| {
        called.send(record.used.bytes).expect("the test hears it");
        let _ = goes_on.recv();
    };
    (usage.records(callback).expect("a thread"), calls, go_on)
}

#[test]
fn records_that_find_no_room_are_lost_counted_and_leave_their_numbers_out() {
    let (usage, _engine) = usage(|settings| settings.kept = 5);
    let (sink, calls, go_on) = waiting(&usage);
    let (_second, all) = collected(&usage);
    usage.desk.push(of_bytes(1));
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(1), "the thread is in the callback");
    for bytes in 2..=10 {
        usage.desk.push(Unnumbered { cut: UsageCut::End, ..of_bytes(bytes) });
    }
    assert_eq!(usage.lost(), 4);
    assert!(!usage.desk.takes(UsageCut::Interval), "the next one has what this one would have");
    assert!(usage.desk.takes(UsageCut::End));
    assert!(!usage.flush(Duration::ZERO), "they wait for the callback");
    // What was begun while there was room is not torn apart.
    usage.desk.push(of_bytes(11));
    assert_eq!(usage.lost(), 4);
    drop(go_on);
    assert!(usage.flush(PATIENCE));
    usage.desk.push(of_bytes(12));
    assert!(usage.flush(PATIENCE));
    let all = all.lock().clone();
    let numbers: Vec<_> = all.iter().map(|record| record.id.number()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 11, 12]);
    assert_eq!((sink.status().delivered, sink.status().lost), (8, 0));
}

#[test]
fn a_callback_that_panics_gets_the_next_record_and_others_get_all() {
    let (usage, _engine) = usage(|_| {});
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let panics = move |_: &UsageRecord| {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("of the program");
    };
    let _panics = usage.records(panics).expect("a thread");
    let (_sink, all) = collected(&usage);
    (1..=3).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
    assert!(usage.flush(PATIENCE));
    assert_eq!((calls.load(Ordering::Relaxed), all.lock().len()), (3, 3));
}

#[test]
fn a_callback_may_end_itself_and_ask_for_more_and_nothing_waits_for_it() {
    let (usage, _engine) = usage(|_| {});
    let own: Arc<Mutex<Option<UsageSink>>> = Arc::default();
    let (within, mine, calls) = (usage.clone(), own.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let callback = move |_: &UsageRecord| {
        counted.fetch_add(1, Ordering::Relaxed);
        // It does not wait for itself.
        assert!(!within.flush(PATIENCE));
        if let Some(sink) = mine.lock().take() {
            sink.cancel(PATIENCE);
        }
    };
    let begin = Instant::now();
    *own.lock() = Some(usage.records(callback).expect("a thread"));
    usage.desk.push(of_bytes(1));
    assert!(usage.flush(PATIENCE));
    assert!(begin.elapsed() < PATIENCE, "something waited for itself");
    // Nobody wants any more; then somebody does again.
    assert!(!usage.desk.is_wanted());
    let (_sink, all) = collected(&usage);
    usage.desk.push(of_bytes(2));
    assert!(usage.flush(PATIENCE));
    assert_eq!((calls.load(Ordering::Relaxed), all.lock().len()), (1, 1));
}

#[test]
fn whoever_cancels_has_what_was_cut_before() {
    let (usage, _engine) = usage(|_| {});
    let (sink, all) = collected(&usage);
    (1..=1000).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
    sink.cancel(PATIENCE);
    usage.desk.push(of_bytes(1001));
    assert_eq!(all.lock().len(), 1000);
}

#[test]
fn what_waits_when_the_engine_ends_is_handed_over_and_nothing_after_that() {
    let (usage, engine) = usage(|_| {});
    let (_sink, all) = collected(&usage);
    (1..=100).for_each(|bytes| usage.desk.push(of_bytes(bytes)));
    drop(engine);
    assert!(usage.desk.close(Instant::now() + PATIENCE), "the thread ends");
    usage.desk.push(of_bytes(101));
    assert!(usage.records(|_| {}).is_ok(), "it is never called");
    assert_eq!(all.lock().len(), 100);
}

#[test]
fn numbers_from_many_threads_are_given_once_and_in_order() {
    let (usage, _engine) = usage(|_| {});
    let (_sink, all) = collected(&usage);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..500).for_each(|bytes| usage.desk.push(of_bytes(bytes))));
        }
    });
    assert!(usage.flush(PATIENCE));
    let numbers: Vec<_> = all.lock().iter().map(|record| record.id.number()).collect();
    assert_eq!(numbers, (1..=4000).collect::<Vec<_>>());
}

#[test]
fn settings_that_cannot_work_are_refused_and_change_nothing() {
    let (usage, _engine) = usage(|_| {});
    let refused = |change: fn(&mut UsageConfig)| usage.set(usage.settings().with(change)).is_err();
    assert!(refused(|settings| settings.interval = Duration::from_millis(999)));
    assert!(refused(|settings| settings.interval = Duration::from_secs(86_401)));
    assert!(refused(|settings| settings.kept = 0));
    assert_eq!(usage.settings(), UsageConfig::default());
    assert!(!refused(|settings| settings.interval = Duration::from_secs(1)));
    assert_eq!(usage.settings().interval, Duration::from_secs(1));
}
