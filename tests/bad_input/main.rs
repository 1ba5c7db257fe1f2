//! What a program is told about files, addresses and disks that are no good, and that nothing else is harmed by them.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures of each fault are shown with --nocapture")]

mod destinations;
mod files;
mod keys;
mod looping;
mod recordings;
mod signals;

use std::time::Duration;

use flowcast::error::chain;
use flowcast::{Engine, Source, StreamHandle};
use kit::rig::{Known, push, read_flv};
use kit::scripted::{Script, Scripted};

/// A stream that runs beside what goes wrong: to a server and to a file.
struct Beside {
    server: Scripted,
    file: std::path::PathBuf,
    live: StreamHandle,
}

impl Beside {
    fn start(engine: &Engine, clip: &Known) -> Self {
        let server = Scripted::start(Script::Record);
        let file = clip.beside("beside.flv");
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(push(&server))
            .record(&file)
            .start()
            .expect("the stream starts");
        assert!(server.wait_pictures(0, 5, kit::PATIENCE), "the stream beside gets nowhere");
        Self { server, file, live }
    }

    /// It missed nothing, and its recording is complete.
    #[track_caller]
    fn assert_unharmed(self, clip: &Known) {
        let Self { server, file, live } = self;
        let sent = server.visits()[0].tags.len();
        assert!(
            kit::wait_until(kit::PATIENCE, || server.visits()[0].tags.len() > sent + 10),
            "it is off the air"
        );
        live.stop(Duration::from_secs(3)).expect("it stops");
        let visits = server.visits();
        assert_eq!(visits.len(), 1);
        clip.assert_fresh_start(&visits[0].tags);
        let sent = clip.assert_gapless(&visits[0].tags);
        assert!(clip.assert_gapless(&read_flv(&file)) >= sent);
    }
}
