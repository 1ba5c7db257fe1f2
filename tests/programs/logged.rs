//! With the feature `tracing`, each line that is logged for a stream is in the span of that stream: one stream's lines are found among
//! all. In a process of its own, since there is one log in a process.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowcast::config::ReconnectPolicy;
use flowcast::{Config, Engine, EventKind, Output, Source, StreamHandle};
use kit::rig::Known;
use kit::{PATIENCE, alone, run_alone};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn of(&self, part: &str) -> Vec<String> {
        let all = self.0.lock().expect("nobody panics with it");
        let lines = String::from_utf8_lossy(&all).into_owned();
        lines.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn one_streams_lines_are_found_among_all() {
    if alone("logged") {
        in_a_process_of_its_own();
    } else {
        run_alone("logged", "logged::one_streams_lines_are_found_among_all", 3 * PATIENCE);
    }
}

/// A file that is read by a thread of its stream, sent to where nobody is and recorded.
fn start(engine: &Engine, clip: &Known, label: &str) -> StreamHandle {
    let tries = ReconnectPolicy::default().with(|policy| policy.first = Duration::from_millis(20));
    let nobody = Output::rtmp("rtmp://127.0.0.1:1/live", "secret-key").label("nobody").reconnect(tries);
    let archive = Output::record(clip.beside(&format!("{label}.flv"))).label("archive");
    let stream = engine.stream(Source::file(&clip.file).looped()).label(label);
    stream.to(archive).to(nobody).start().expect("it starts")
}

fn in_a_process_of_its_own() {
    let lines = Lines::default();
    // Warnings of all streams, and everything of one of them.
    let filter = EnvFilter::new("warn,[stream{label=two}]=trace");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone()).with_ansi(false).init();
    flowcast::av::log::capture(log::LevelFilter::Trace);

    let clip = Known::small();
    let engine = Engine::new(Config::default()).expect("an engine");
    let events = engine.events();
    let streams = ["one", "two"].map(|label| start(&engine, &clip, label));
    let mut tries = [0, 0];
    while tries.iter().any(|tries| *tries < 3) {
        let event = events.next_timeout(PATIENCE).expect("both are tried again and again");
        if matches!(event.kind, EventKind::OutputRetrying { .. }) {
            tries[usize::from(event.label.as_deref() == Some("two"))] += 1;
        }
    }
    streams
        .map(|stream| stream.stop(PATIENCE))
        .into_iter()
        .for_each(|stopped| drop(stopped.expect("it stops")));

    let (one, two) =
        (lines.of("stream{stream=s1 label=\"one\"}"), lines.of("stream{stream=s2 label=\"two\"}"));
    for lines in [&one, &two] {
        let retrying = lines.iter().filter(|line| {
            line.contains("event{event=\"output_retrying\" output=o1 label=\"nobody\"}")
                && line.contains("WARN")
        });
        assert!(retrying.count() >= 3, "{lines:#?}");
    }
    assert!(one.iter().all(|line| !line.contains(" DEBUG ")), "{one:#?}");
    assert!(two.iter().any(|line| line.contains(" DEBUG ") && line.contains("event=\"ended\"")), "{two:#?}");
    // What libav says while a thread of the stream reads the file.
    assert!(two.iter().any(|line| line.contains(" TRACE ") && line.contains(" libav: ")), "{two:#?}");
    // No line of a stream is outside its span, and none is in both.
    let said = lines.of(": s1 \"one\"").len() + lines.of(": s2 \"two\"").len();
    let within = [&one, &two]
        .into_iter()
        .flatten()
        .filter(|line| line.contains(": s1 \"one\"") || line.contains(": s2 \"two\""));
    assert_eq!(said, within.count(), "{:#?}", lines.of(""));
    assert!(one.iter().all(|line| !line.contains("two")) && two.iter().all(|line| !line.contains("one")));
    assert!(lines.of("secret").is_empty(), "{:#?}", lines.of("secret"));
}
