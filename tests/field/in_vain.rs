//! Settings that cannot work, or would be accepted without any effect, are refused by name.

use flowcast::{Engine, Error, Output, Playlist, Profile, ReelStore, Source};
use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::rig::{Known, engine};

fn refused(engine: &Engine, source: Source, file: &Path) -> Option<&'static str> {
    match engine.stream(source).to(Output::record(file)).start() {
        Err(Error::Config { name, reason }) => {
            assert!(!reason.is_empty());
            Some(name)
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => None,
    }
}

#[test]
fn source_settings_without_effect() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let list = || Playlist::files([&clip.file]);
    let second = Duration::from_secs(1);
    for (source, name) in [
        (Source::published("studio").with_silence(), "with_silence"),
        (Source::published("studio").starting_at(second), "starting_at"),
        (Source::published("studio").looped(), "looped"),
        (Source::published("studio").with_audio(list()), "with_audio"),
        (Source::playlist(list()).looped(), "looped"),
        (Source::playlist(list()).once(), "once"),
        (Source::file(&clip.file).once(), "once"),
        (Source::file(&clip.file).looped().once(), "once"),
        (Source::video(&clip.file).looped().with_audio(list()).with_silence(), "with_silence"),
        (Source::file(&clip.file).looped().encoding(Profile::High), "encoding"),
        (Source::published("studio").all_tracks(), "all_tracks"),
        (Source::video(&clip.file).all_tracks(), "all_tracks"),
        (Source::playlist(list()).all_tracks().with_audio(list()), "all_tracks"),
    ] {
        let text = format!("{source:?}");
        let file = clip.beside("refused.flv");
        assert_eq!(refused(&engine, source, &file), Some(name), "{text}");
        assert!(!file.exists(), "{name}: something was made before it was refused");
    }
    let file = clip.beside("taken.flv");
    let taken = Source::file(&clip.file).looped().with_silence().starting_at(second).encoding(Profile::Copy);
    assert_eq!(refused(&engine, taken, &file), None);
}

#[test]
fn reel_directories_that_cannot_be_made() {
    let clip = Known::small();
    let file = clip.beside("a-file");
    fs::write(&file, "").expect("it is written");
    for directory in [file.clone(), file.join("below"), clip.beside(&"x".repeat(300)), clip.beside("nul\0")] {
        let mut config = flowcast::Config::default();
        config.reels = Some(ReelStore::new(&directory));
        let error = Engine::new(config).expect_err("it cannot be made");
        assert_eq!(error.code(), "REEL_STORE_FAILED", "{}: {error:?}", directory.display());
    }
}
