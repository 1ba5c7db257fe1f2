//! Files that were put one behind the other, as `cat` does: the container calls the last packets before the joint damaged,
//! because what follows is not what it expects.

use super::*;

/// Plays two files of the same make as one; the numbers of all pictures, the tags and what was told.
fn joined(scratch: &Scratch, cases: [&Case; 2]) -> (Vec<usize>, Vec<Tag>, Vec<EventKind>) {
    let directory = scratch.0.path();
    let mut bytes = Vec::new();
    for case in cases {
        make(directory, case);
        bytes.extend(std::fs::read(directory.join(case.name)).expect("it was made"));
    }
    let file = directory.join("joined.ts");
    std::fs::write(&file, bytes).expect("the directory is writable");
    let supply = supply_of(None, recipes(Mode::Encode, Profile::Ultra));
    let mut played = Unpaced::looped_as(&file, supply, false);
    let tags = record(&mut played, directory);
    (numbers(directory, "recording.flv"), tags, played.notices)
}

const VIDEO: &str = "-r 25|-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p";

#[test]
fn a_packet_the_container_calls_damaged_is_decoded_all_the_same() {
    if !need_ffmpeg() {
        return;
    }
    let first = case("first.ts", VIDEO, "");
    // Its clock goes on where the first one's ends.
    let second = case(
        "second.ts",
        "-r 25|-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p -output_ts_offset 2.48",
        "",
    );
    let scratch = Scratch::new();
    let (shown, tags, notices) = joined(&scratch, [&first, &second]);
    assert!(shown.len() >= 120 * LAPS, "{} pictures", shown.len());
    for (number, lap) in shown.chunks_exact(120).enumerate() {
        assert!(lap.iter().copied().eq((0..60).chain(0..60)), "lap {number}: {lap:?}");
    }
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
    let faults: Vec<_> = notices
        .iter()
        .filter_map(|notice| match notice {
            EventKind::SourceFault { error } => Some(error.to_string()),
            _ => None,
        })
        .collect();
    assert!(matches!(&faults[..], [one] if one.contains("1 packets are damaged")), "{faults:?}");
}

#[test]
fn pictures_around_a_jump_of_the_clock_are_all_shown() {
    if !need_ffmpeg() {
        return;
    }
    let plain = "-r 25|-c:v libx264 -preset veryfast -bf 0 -pix_fmt yuv420p";
    let (long, short) = (":s=48000:c=stereo:d=2.4|-c:a aac", ":s=48000:c=stereo:d=2|-c:a aac");
    // Pictures are shown later than they are decoded by as many as there may be B-frames: here and there, or not.
    for (first, second, sound) in [
        (VIDEO, VIDEO, ""),
        (VIDEO, plain, ""),
        (plain, VIDEO, ""),
        (VIDEO, plain, long),
        (VIDEO, VIDEO, short),
    ] {
        let who = format!("{first} {second} {sound}");
        let scratch = Scratch::new();
        let (shown, tags, _) =
            joined(&scratch, [&case("first.ts", first, sound), &case("second.ts", second, sound)]);
        assert!(shown.len() >= 120 * LAPS, "{who}: {} pictures", shown.len());
        for (number, lap) in shown.chunks_exact(120).enumerate() {
            assert!(lap.iter().copied().eq((0..60).chain(0..60)), "{who}: lap {number}: {lap:?}");
        }
        for pair in times(&tags, TagKind::Video).windows(2) {
            assert_eq!(pair[1] - pair[0], 40, "{who}: pictures at {pair:?}");
        }
    }
}
