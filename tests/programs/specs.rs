//! Streams as data: in TOML, as people write it, started, and written again.

use flowcast::spec::StreamSpec;
use flowcast::{Engine, Error, Output, Source};
use tempfile::TempDir;

use kit::rig::{Known, engine};
use kit::{PATIENCE, wait_until};

fn read(text: &str) -> StreamSpec {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_stream_in_toml_is_started_and_written_again() {
    let (clip, directory) = (Known::small(), TempDir::new().expect("a temporary directory"));
    let archive = directory.path().join("archive.flv");
    let spec = read(&format!(
        r#"
        label = "show"
        owner = "alice"

        [source]
        file = {:?}
        looped = true

        [[outputs]]
        record = {archive:?}
        label = "archive"
        existing = "append"

        [[outputs]]
        publish = "show"
        "#,
        clip.file
    ));
    let engine = engine(|_| {});
    let live = engine.start(spec.clone()).expect("it starts");
    assert_eq!((live.label(), engine.owner_running("alice")), (Some("show"), 1));
    let output = live.output("archive").expect("it has its label");
    let is_written = || {
        let outputs = live.stats().outputs;
        outputs.iter().any(|figures| figures.id == output && figures.bytes_sent > 0)
    };
    assert!(wait_until(PATIENCE, is_written), "{}", live.stats());
    assert!(engine.hub().find("show").is_some());
    live.stop(PATIENCE).expect("it stops");
    // The same description starts another stream, which appends.
    let again = engine.start(spec.clone()).expect("a spec is data");
    again.stop(PATIENCE).expect("it stops");
    assert_eq!(read(&toml::to_string(&spec).expect("it can be written")), spec);
}

#[test]
fn keys_are_written_only_where_they_are_asked_for_and_hidden_ones_are_not_dialled() {
    let source = Source::file("show.mp4").looped();
    let spec = StreamSpec::new(source).to(Output::rtmp("rtmps://host/live2", "a-stream-key"));
    let hidden = toml::to_string(&spec).expect("it can be written");
    assert!(!hidden.contains("a-stream-key"), "{hidden}");
    let Err(Error::Spec { problems }) =
        Engine::new(flowcast::Config::default()).expect("an engine").start(read(&hidden))
    else {
        panic!("a key that is hidden is none")
    };
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["outputs[0]: key: hidden (****): the output was written without its key"]);
    let shown = toml::to_string(&spec.with_keys()).expect("it can be written");
    assert!(shown.contains("a-stream-key"), "{shown}");
    assert_eq!(read(&shown), spec);
}

#[test]
fn what_is_misspelt_is_named_with_its_line() {
    let text = "[source]\nfile = \"show.mp4\"\nlooop = true\n";
    let error = toml::from_str::<StreamSpec>(text).expect_err("there is no such field").to_string();
    assert!(error.contains("unknown field `looop`") && error.contains("line 3"), "{error}");
}

#[test]
fn certificates_that_are_not_there_are_told_when_the_stream_is_started() {
    let clip = Known::small();
    let spec = read(&format!(
        "source.file = {:?}\n[[outputs]]\nurl = \"rtmps://localhost/live/key\"\ntls_roots = {:?}\n",
        clip.file,
        clip.beside("missing.pem")
    ));
    let refused = engine(|_| {}).start(spec).expect_err("there is no such file");
    assert_eq!(refused.code(), "CERTIFICATES_UNREADABLE");
    assert!(refused.to_string().contains("missing.pem"), "{refused}");
}
