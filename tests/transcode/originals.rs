//! Real files as they are: what is made of them loops, and platforms take it.

use flowcast::{BitRate, Encoding, Mode, Platform, Profile, Source};

use crate::air::{SEAMS, Server, air, cut, each, reels};
use crate::picture;
use kit::{Need, frame_hashes, media, need, packet_count, turn};

/// A file, and the size it is brought to, for those below what platforms take.
const FILES: [(&str, Option<(u32, u32)>); 4] = [
    ("bigbuckbunny.mp4", None),
    ("carphone_pristine.mp4", Some((640, 360))),
    ("muxjs/test-segment.ts", Some((640, 360))),
    ("matroska/bbb.mkv", Some((640, 360))),
];

#[test]
fn real_files_become_what_platforms_take() {
    if !need(&[Need::Ffmpeg]) || !need(&FILES.map(|(name, ..)| Need::Media(name))) {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = reels(directory.path());
    each(&FILES, |(name, size)| {
        let file = media(name).expect("it is there");
        let mut encoding = Encoding::new(Profile::Ultra);
        encoding.size = *size;
        encoding.video_bit_rate = Some(BitRate::from_kbps(800));
        let source = Source::file(&file).looped().mode(Mode::Encode).encoding(encoding);
        let source = source.platform(Platform::youtube()).platform(Platform::twitch());
        // On a busy machine the first lap may be encoded twice: for the reel, and while it plays.
        cut(&engine, source.clone()).map_err(|why| format!("{name}: {why}"))?;
        let aired = air(&engine, source, &name.replace('/', "-"), Server::Ffmpeg)
            .map_err(|why| format!("{name}: {why}"))?;
        let mut found = name.to_string();
        for (by, recording) in &aired.recordings {
            let facts = picture::check(recording)
                .and_then(|facts| picture::decodes(recording).map(|()| facts))
                .map_err(|why| format!("{name}: {by}: {why}; {:?}", aired.told))?;
            // Each lap is encoded to the same pictures.
            let frames = frame_hashes(recording);
            let lap = (1..frames.len()).find(|at| frames[*at..] == frames[..frames.len() - at]);
            let lap = lap.ok_or_else(|| format!("{name}: {by}: no lap in {} pictures", frames.len()))?;
            let original = packet_count(&file, "v");
            if frames.len() / lap < SEAMS as usize {
                return Err(format!("{name}: {by}: laps of {lap}"));
            }
            let video = facts.video.as_ref().ok_or("no picture")?;
            found += &format!(
                "; {by}: laps of {lap} pictures, {original} in the file, {}x{} at {:.3}",
                video.width, video.height, video.frame_rate
            );
        }
        Ok(found)
    });
}
