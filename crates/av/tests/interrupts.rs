//! Deadlines are absolute, and a cancel latches.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{Scratch, open, packets, small};
use flowcast_av::{Demuxer, Error, Interrupt, OpenOptions};

/// Accepts connections and, every 100 ms, sends each a byte: an inactivity timeout never fires.
fn dripping_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || {
                // The pause is what this peer does, not a wait for something.
                while connection.write_all(&[3]).is_ok() {
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
        }
    });
    port
}

#[test]
fn the_open_deadline_is_absolute() {
    let port = dripping_server();
    let options = OpenOptions { timeout: Duration::from_millis(700), ..OpenOptions::default() };
    for scheme in ["rtmp", "http"] {
        let url = format!("{scheme}://127.0.0.1:{port}/live/canary-4711");
        let started = Instant::now();
        let error = Demuxer::open_url(&url, &options, &Interrupt::new()).unwrap_err();
        let elapsed = started.elapsed();
        assert!(matches!(error, Error::Timeout { operation: "open" }), "{scheme}: {error:?}");
        assert!(error.is_retryable());
        assert!(
            elapsed >= Duration::from_millis(600) && elapsed < Duration::from_secs(3),
            "{scheme}: {elapsed:?}"
        );
    }
}

#[test]
fn cancel_from_another_thread_ends_an_open_and_latches() {
    let port = dripping_server();
    let interrupt = Interrupt::new();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let opening = {
        let interrupt = interrupt.clone();
        let url = url.clone();
        std::thread::spawn(move || {
            let started = Instant::now();
            let result = Demuxer::open_url(&url, &OpenOptions::default(), &interrupt);
            (result.map(drop), started.elapsed())
        })
    };
    interrupt.cancel();
    let (result, elapsed) = opening.join().unwrap();
    assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    let again = Demuxer::open_url(&url, &OpenOptions::default(), &interrupt);
    assert!(matches!(again, Err(Error::Cancelled { .. })));
}

#[test]
fn reading_a_file_obeys_the_interrupt() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let interrupt = Interrupt::new();
    let mut input = Demuxer::open(&path, &OpenOptions::default(), &interrupt).unwrap();
    interrupt.set_deadline(Some(Instant::now()));
    // Packets read while probing are still there; behind them, the deadline holds.
    let error = loop {
        match input.read() {
            Ok(packet) => assert!(packet.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Timeout { operation: "read" }), "{error:?}");
    interrupt.set_deadline(None);
    assert!(input.read().unwrap().is_some(), "a deadline that is taken away leaves the input usable");
    input.rewind().unwrap();
    assert_eq!(
        packets(&mut input),
        packets(&mut open(&path).unwrap()),
        "a rewind repairs what a deadline broke"
    );
    input.rewind().unwrap();
    interrupt.cancel();
    let error = loop {
        match input.read() {
            Ok(packet) => assert!(packet.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Cancelled { operation: "read" }), "{error:?}");
    assert!(matches!(input.rewind(), Err(Error::Cancelled { .. })));
}

#[test]
fn the_open_deadline_does_not_outlive_the_open() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let options = OpenOptions { timeout: Duration::from_secs(3600), ..OpenOptions::default() };
    let mut input = Demuxer::open(&path, &options, &Interrupt::new()).unwrap();
    while input.read().unwrap().is_some() {}
    let zero = OpenOptions { timeout: Duration::ZERO, ..OpenOptions::default() };
    assert!(matches!(Demuxer::open(&path, &zero, &Interrupt::new()), Err(Error::Timeout { .. })));
    assert!(open(&path).is_ok());
}

/// Tables of gigabytes of nothing, which take no place on a disk, and more boxes than a file has.
#[test]
fn tables_and_boxes_without_an_end_are_refused() {
    let scratch = Scratch::new();
    let head = |last: &[u8; 4], size: u64| {
        let mut head = b"\0\0\0\x10ftypisom\0\0\0\0".to_vec();
        for kind in [b"moov", b"trak", b"mdia", b"minf", b"stbl", last] {
            let rest = size - head.len() as u64;
            head.extend([&[0, 0, 0, 1][..], kind, &rest.to_be_bytes()].concat());
        }
        head
    };
    let mut paths = Vec::new();
    for kind in [b"stsc", b"stts", b"elst"] {
        let path = scratch.write(
            &format!("{}.mp4", String::from_utf8_lossy(kind)),
            &[&head(kind, 8 << 30)[..], &[0; 4], &[0xFF; 4]].concat(),
        );
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8 << 30).unwrap();
        paths.push(path);
    }
    let boxes = b"\0\0\0\x08free".repeat((1 << 20) + 1);
    paths.push(scratch.write("boxes.mp4", &[head(b"edts", 9 << 20), boxes].concat()));
    let patient = OpenOptions { timeout: Duration::from_secs(3600), ..OpenOptions::default() };
    for path in paths {
        let error = Demuxer::open(&path, &patient, &Interrupt::new()).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { limit: "max_samples", .. }), "{path:?}: {error:?}");
        let late = Interrupt::new();
        late.set_deadline(Some(Instant::now()));
        let error = Demuxer::open(&path, &patient, &late).unwrap_err();
        assert!(matches!(error, Error::Timeout { operation: "open" }), "{path:?}: {error:?}");
        late.cancel();
        let error = Demuxer::open(&path, &patient, &late).unwrap_err();
        assert!(matches!(error, Error::Cancelled { operation: "open" }), "{path:?}: {error:?}");
    }
}
