//! flowcast's own drivers, held against the contract they share with those of programs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flowcast::driver::check::{Check, check_output};
use flowcast::driver::{Entrance, PublishOptions, ServerEngine};
use flowcast::{Config, Engine, Output, Playlist, Source};
use kit::rig::{Known, engines};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, directory, wait_until};

use crate::card::OnAir;

#[test]
fn a_file_read_from_itself_and_from_a_reel() {
    let clip = Known::small();
    for (how, engine) in engines(clip.directory.path()) {
        let file = clip.file.clone();
        let report = Check::new().on(&engine).source(move || Source::file(&file).looped());
        assert!(report.is_clean(), "{how}: {report}");
        assert!(report.media >= Duration::from_secs(15), "{how}: {report}");
    }
}

#[test]
fn a_list_that_is_complete_once_played() {
    let clip = Known::small();
    let (directory, file) = (clip.directory, clip.file);
    let report = Check::new().source(move || Source::playlist(Playlist::files([&file, &file, &file]).once()));
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.ended.as_deref(), Some(""), "{report}");
    assert!(report.media >= Duration::from_secs(5), "{report}");
    drop(directory);
}

#[test]
fn what_is_published() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let Ok(Entrance::New(claim)) = engine.hub().enter("studio", None, Duration::ZERO) else {
        panic!("nobody else publishes");
    };
    let publication = engine
        .publish(claim, Box::new(OnAir::default()), &PublishOptions::default())
        .expect("there are threads");
    assert!(wait_until(PATIENCE, || engine.hub().find("studio").is_some()));
    let check = Check::new().on(&engine).in_real_time().media(Duration::from_secs(3));
    let report = check.source(|| Source::published("studio"));
    assert!(report.is_clean(), "{report}");
    assert!(report.tags > 20, "{report}");
    assert!(!publication.has_ended());
    engine.shutdown(PATIENCE);
}

#[test]
fn a_recording() {
    let directory = directory();
    let (home, number) = (directory.path().to_owned(), AtomicU32::new(0));
    let report = check_output(move || {
        Output::record(home.join(format!("{}.flv", number.fetch_add(1, Ordering::Relaxed))))
    });
    assert!(report.is_clean(), "{report}");
    assert!(directory.path().join("1.flv").metadata().expect("a recording").len() > 1 << 20, "{report}");
}

#[test]
fn a_push() {
    let server = Scripted::start(Script::Record);
    let url = server.url();
    let report = check_output(move || Output::rtmp(url.as_str(), "key"));
    assert!(report.is_clean(), "{report}");
    let pictures = |visit: &kit::scripted::Visit| visit.tags.iter().filter(|tag| tag.is_picture()).count();
    let visits = server.visits();
    assert!(visits.iter().map(pictures).sum::<usize>() > 300, "{report}: {} connections", visits.len());
}

#[test]
fn a_name_on_the_hub() {
    let report = check_output(|| Output::publish("channel"));
    assert!(report.is_clean(), "{report}");
}
