//! Ends and events that are awaited, on tokio with one thread.

use std::collections::BTreeSet;
use std::time::Duration;

use flowcast::task::Ended;
use flowcast::{Config, Engine, Error, EventKind, Events, Output, RtmpServerExt, Source, StreamHandle};
use kit::rig::Known;
use kit::{Need, PATIENCE, Peer, directory, example, need, text, wait_until};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

fn engine(config: impl FnOnce(&mut Config)) -> Engine {
    Engine::new(Config::default().with(config)).expect("an engine")
}

/// Runs it on a runtime with one thread: what blocks that blocks everything.
fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE, future).await.expect("in time") })
}

/// A stream of the clip that goes round, to a file.
fn looped(engine: &Engine, clip: &Known, name: &str) -> StreamHandle {
    let source = Source::file(&clip.file).looped();
    engine.stream(source).label(name).to(Output::record(clip.beside(name))).start().expect("it starts")
}

/// The next event that `is_wanted`.
async fn wait_for(events: &Events, is_wanted: impl Fn(&EventKind) -> bool) -> flowcast::Event {
    loop {
        let event = events.recv().await.expect("the engine lives");
        if is_wanted(&event.kind) {
            return event;
        }
    }
}

#[test]
fn ends_of_streams_are_awaited_together_with_events() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    on_tokio(async {
        let mut ends = JoinSet::new();
        for number in 0..4 {
            let live = looped(&engine, &clip, &format!("{number}.flv"));
            ends.spawn(async move {
                let outcome = live.ended().await;
                (number, outcome, live.stats())
            });
        }
        let mut on_the_air = BTreeSet::new();
        while on_the_air.len() < 4 {
            on_the_air
                .insert(wait_for(&events, |kind| matches!(kind, EventKind::Looped { .. })).await.stream);
        }
        let first =
            engine.streams().into_iter().find(|stream| stream.label() == Some("2.flv")).expect("it runs");
        let stopping = spawn_blocking(move || first.stop(PATIENCE));
        let (number, outcome, stats) = ends.join_next().await.expect("one ends").expect("no panic");
        assert!(number == 2 && outcome.is_ok() && stats.bytes_sent > 0, "{number}: {outcome:?}");
        stopping.await.expect("no panic").expect("it stops");
        let ended = wait_for(&events, |kind| matches!(kind, EventKind::Ended { .. })).await;
        assert_eq!(ended.label.as_deref(), Some("2.flv"));

        let report = spawn_blocking(move || engine.shutdown(PATIENCE)).await.expect("no panic");
        assert_eq!((report.stopped, report.abandoned, ends.join_all().await.len()), (3, 0, 3));
        // The engine went with the closure: nothing can report any more.
        while events.recv().await.is_some() {}
    });
}

#[test]
fn a_dropped_handle_is_a_stop_that_is_awaited() {
    let clip = Known::small();
    let engine = engine(|_| {});
    on_tokio(async {
        let live = looped(&engine, &clip, "dropped.flv");
        let ended = live.ended();
        drop(live);
        ended.await.expect("it was stopped");
        assert_eq!(engine.running(), 0, "its place is free before its end is told");
    });
}

#[test]
fn the_end_is_what_wait_gives_also_after_it_and_without_the_engine() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let no_server = Output::rtmp("rtmp://127.0.0.1:1/live", "key").reconnect(
        flowcast::config::ReconnectPolicy::default().with(|policy| {
            (policy.first, policy.tries) = (Duration::from_millis(1), Some(1));
        }),
    );
    let live = engine.stream(Source::file(&clip.file).looped()).to(no_server).start().expect("it starts");
    let (early, late) = (live.ended(), live.stream());
    let expected = live.wait().expect_err("its only output gave up");
    let ended = on_tokio(early).expect_err("the same");
    assert!(matches!(ended, Error::GaveUp { .. }) && ended.code() == expected.code(), "{ended}");
    let again: Ended = late.ended();
    drop((engine, late));
    assert_eq!(on_tokio(again).expect_err("the same").code(), expected.code());
}

#[test]
fn a_future_that_is_dropped_changes_nothing() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    on_tokio(async {
        let live = looped(&engine, &clip, "kept.flv");
        // Each pass drops both futures unfinished, or one of them.
        let mut heard = 0;
        while heard < 3 {
            tokio::select! {
                biased;
                outcome = live.ended() => panic!("it goes round: {outcome:?}"),
                event = events.recv() => heard += u32::from(event.is_some()),
                () = tokio::task::yield_now() => {}
            }
        }
        assert!(!live.has_ended());
        assert_eq!(events.dropped(), 0);
    });
}

#[test]
fn events_are_a_stream_for_what_takes_one() {
    use std::pin::Pin;

    use futures_core::Stream;

    let clip = Known::small();
    let engine = engine(|_| {});
    let mut stream = engine.events().into_stream();
    let live = looped(&engine, &clip, "streamed.flv");
    on_tokio(async {
        let mut names = Vec::new();
        spawn_blocking(move || drop((live, engine)));
        while let Some(event) = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
            names.push(event.kind.name());
        }
        assert!(names.contains(&"started") && names.contains(&"ended"), "{names:?}");
    });
}

#[test]
fn the_end_of_a_server_is_awaited() {
    let engine = engine(|_| {});
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let events = server.events();
    let ended = server.ended();
    on_tokio(async {
        let stopping = spawn_blocking(move || server.stop(PATIENCE));
        ended.await;
        assert_eq!(stopping.await.expect("no panic").abandoned, 0);
        assert!(events.recv().await.is_none(), "nothing can report any more");
    });
}

#[test]
fn the_example_ends_with_its_files_and_at_ctrl_c() {
    let Some(program) = example("async_program").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let folder = directory();
    let clip = Known::small();
    let archive = folder.path().join("{}.flv");
    let file = text(&clip.file);
    let mut played = Peer::spawn(&program, [file, file, "--record", text(&archive)]);
    played.wait_success(PATIENCE);
    let told = played.output();
    assert_eq!(told.matches(": over after ").count(), 2, "{told}");
    assert!(told.ends_with("stopped 0, abandoned 0\n"), "{told}");

    let mut looped =
        Peer::spawn(&program, [file, "--looped", "--record", text(&folder.path().join("l.flv"))]);
    let records = wait_until(PATIENCE, || looped.errors().contains("records to"));
    assert!(records, "{}", looped.report());
    assert!(looped.interrupt(PATIENCE).success(), "{}", looped.report());
    assert!(looped.output().ends_with("stopped 1, abandoned 0\n"), "{}", looped.report());

    let mut wrong = Peer::spawn(&program, ["/nonexistent.mp4", "--record", "/dev/null"]);
    assert_eq!(wrong.wait(PATIENCE).code(), Some(1), "{}", wrong.report());
}
