//! The tags of a copied file are those FFmpeg 7.1 writes.

use super::*;
use kit::ffmpeg7;

/// What is in the tags of pictures: configuration and frames, by their bytes. FFmpeg's facts about colours and its end of the
/// track are its own.
fn pictures(file: &Path) -> Vec<Bytes> {
    let kept = [PacketType::SequenceStart, PacketType::CodedFrames, PacketType::CodedFramesX];
    let pictures = whole_flv_tags(file).into_iter().filter(Tag::is_video);
    let coded = pictures.filter(|tag| parts(tag).is_some_and(|(kind, ..)| kept.contains(&kind)));
    coded.map(|tag| tag.body.to_bytes()).collect()
}

#[test]
fn copies_are_the_tags_that_ffmpeg_writes() {
    if !need(&[Need::Ffmpeg, Need::Ffmpeg7]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    let engine = Engine::new(Config::default()).expect("the defaults work");
    std::thread::scope(|scope| {
        // FFmpeg 7.1 writes no VP8; of start codes it drops a zero that 5.1 keeps, which av's own tests hold them against.
        let is_written = |(name, code, _): &(&str, &str, &str)| *code != "vp08" && !name.ends_with(".ts");
        for file in FILES.into_iter().filter(is_written) {
            let engine = &engine;
            scope.spawn(move || {
                let (name, path) = (file.0, make(directory, file));
                let ours = directory.join(format!("{name}.ours.flv"));
                let live = engine.stream(Source::file(&path).enhanced()).to(Output::record(&ours)).start();
                live.expect("it can be played").wait().expect("to its end");
                let theirs = directory.join(format!("{name}.theirs.flv"));
                let copy =
                    ["-nostdin", "-v", "error", "-i", path.to_str().expect("a plain path"), "-map", "0:v"];
                run(ffmpeg7(), copy.into_iter().chain(["-c", "copy"]).chain(theirs.to_str()), PATIENCE);
                let (ours, theirs) = (pictures(&ours), pictures(&theirs));
                assert_eq!(ours.len(), FRAMES + 1, "{name}");
                assert_eq!(ours.len(), theirs.len(), "{name}");
                for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                    assert!(
                        ours == theirs,
                        "{name}: tag {number}\n{:02x?}\n{:02x?}",
                        &ours[..60.min(ours.len())],
                        &theirs[..60.min(theirs.len())]
                    );
                }
            });
        }
    });
}
