//! libav's log: silent by default, redacted on request. A process of its own, as the log is one for the process.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Scratch, open, small};
use flowcast_av::{Demuxer, Interrupt, OpenOptions};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PANIC: AtomicBool = AtomicBool::new(false);

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "libav");
        LINES.lock().unwrap().push(record.args().to_string());
        assert!(!PANIC.load(Ordering::Relaxed), "a logger that panics");
    }

    fn flush(&self) {}
}

/// A peer that answers RTMP's handshake with zeros and then only reads: libav logs what it sends.
fn mute_rtmp_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || {
                let mut hello = vec![0; 1537];
                if connection.read_exact(&mut hello).is_err() {
                    return;
                }
                let mut answer = vec![3];
                answer.extend_from_slice(&[0; 1536]);
                answer.extend_from_slice(&hello[1..]);
                let _ = connection.write_all(&answer);
                let mut rest = Vec::new();
                let _ = connection.read_to_end(&mut rest);
            });
        }
    });
    port
}

#[test]
fn keys_stay_out_of_the_log_and_panics_inside_the_logger() {
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &small());
    drop(open(&clip).unwrap());
    assert!(LINES.lock().unwrap().is_empty(), "nothing is captured unasked");

    flowcast_av::log::capture(log::LevelFilter::Trace);
    drop(open(&clip).unwrap());
    assert!(!LINES.lock().unwrap().is_empty());

    let options = OpenOptions { timeout: Duration::from_millis(500), ..OpenOptions::default() };
    let port = mute_rtmp_server();
    let query = "token=canary-0815";
    for url in [
        format!("rtmp://127.0.0.1:{port}/live/canary-4711"),
        format!("rtmp://127.0.0.1:{port}/live/canary-4711?{query}"),
        format!("rtmp://canary-user:canary-pass@127.0.0.1:{port}/live/canary-4711"),
        format!("http://canary-user:canary-pass@127.0.0.1:{port}/live/canary-4711?{query}"),
    ] {
        let before = LINES.lock().unwrap().len();
        let error = Demuxer::open_url(&url, &options, &Interrupt::new()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        let lines = LINES.lock().unwrap();
        assert!(lines.len() > before, "libav says something at this level: {url}");
        for line in lines.iter() {
            assert!(!line.contains("canary"), "{line}");
        }
    }

    PANIC.store(true, Ordering::Relaxed);
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = open(&clip).map(drop);
    std::panic::set_hook(quiet);
    PANIC.store(false, Ordering::Relaxed);
    assert!(result.is_ok());

    flowcast_av::log::release();
    LINES.clear_poison();
    LINES.lock().unwrap().clear();
    drop(open(&clip).unwrap());
    assert!(LINES.lock().unwrap().is_empty());
}
