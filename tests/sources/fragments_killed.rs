//! Fragments that were cut from real footage, put into a directory for a program that is killed while it publishes them, and started again.

use std::fs;
use std::path::{Path, PathBuf};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, TrackKind};
use flowcast::fragment::FragmentDirectory;
use flowcast::rtmp::flv::TagKind;
use flowcast::{Output, Source};
use kit::rig::engine;
use kit::scripted::{Script, Scripted, Seen, hash};
use kit::{
    Need, PATIENCE, Peer, alone, directory, files, make, media, need, role_arguments, text, wait_until,
};

/// The test that is also the program which is killed.
const KILLED: &str = "fragments_killed::a_program_that_is_killed_goes_on_with_what_was_on_the_air";
const ROLE: &str = "fragments";
/// Frames of sound that may be missing, or not be those of the footage, where footage begins that has nothing to do with what was before.
const SEAM: usize = 3;

/// How a fragment came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// Cut from a file without encoding: what follows in the file is in the next one.
    Cut,
    /// Encoded by itself.
    Apart,
}

/// A fragment, and the hashes of its packets.
struct Piece {
    file: PathBuf,
    made: Made,
    pictures: Vec<u64>,
    sound: Vec<u64>,
}

impl Piece {
    fn of(file: PathBuf, made: Made) -> Self {
        let mut demuxer = Demuxer::open(&file, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
        let kinds: Vec<_> = demuxer.media().tracks.iter().map(|track| (track.index, track.kind)).collect();
        let (mut pictures, mut sound) = (Vec::new(), Vec::new());
        while let Some(packet) = demuxer.read().expect("it reads") {
            let kind = kinds.iter().find(|(index, _)| *index == packet.track).map(|(_, kind)| *kind);
            match kind {
                Some(TrackKind::Video) => pictures.push(hash(&packet.data)),
                Some(TrackKind::Audio) => sound.push(hash(&packet.data)),
                _ => {}
            }
        }
        Self { file, made, pictures, sound }
    }
}

/// So many fragments of footage: of 25 pictures a second with B-frames and sound of 44.1 kHz, as plain files; of 30 with odd GOPs and sound of 48 kHz, as
/// fragmented files; and of odd lengths, each encoded by itself.
fn footage(directory: &Path, [plain, fragmented, apart]: [usize; 3]) -> Vec<Piece> {
    let film = media("bigbuckbunny.mp4").unwrap_or_else(|| {
        let made = "-f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=sample_rate=48000 -t 5 -g 50";
        make(directory, "film.mp4", made)
    });
    let coded = "-c:v libx264 -preset veryfast -threads 1 -pix_fmt yuv420p -sc_threshold 0 -c:a aac -ac 2";
    let mut found = Vec::new();
    for (name, count, picture, rate, gop, muxer) in [
        ("plain", plain, "scale=320:180,fps=25", 44_100, 13.0 / 25.0, "-reset_timestamps 1"),
        (
            "fragmented",
            fragmented,
            "scale=320:180,fps=30",
            48_000,
            17.0 / 30.0,
            "-reset_timestamps 0 -segment_format_options movflags=frag_keyframe+delay_moov+default_base_moof",
        ),
    ] {
        let frames = if name == "plain" { 13 } else { 17 };
        // Sound that does not end with the picture belongs to the last one.
        let seconds = gop * count as f64 - 0.001;
        let whole = make(
            directory,
            &format!("{name}.mp4"),
            &format!(
                "-stream_loop -1 -i {} -t {seconds} -vf {picture} {coded} -ar {rate} -g {frames} -keyint_min {frames} -bf 2",
                text(&film)
            ),
        );
        let cut = directory.join(name);
        fs::create_dir(&cut).expect("it is new");
        make(&cut, "%04d.mp4", &format!("-i {} -c copy -f segment -segment_time 0.3 {muxer}", text(&whole)));
        let pieces = files(&cut);
        assert!(pieces.len().abs_diff(count) <= 1, "{name}: {} pieces", pieces.len());
        found.extend(pieces.into_iter().map(|piece| Piece::of(piece, Made::Cut)));
    }
    for number in 0..apart {
        let (from, length) = (0.37 * (number % 10) as f64, 0.44 + 0.04 * (number % 3) as f64);
        let rate = 44_100;
        let how = format!(
            "-ss {from} -t {length} -i {} -vf scale=320:180,fps=25 {coded} -ar {rate} -bf 2",
            text(&film)
        );
        found.push(Piece::of(make(directory, &format!("apart-{number}.mp4"), &how), Made::Apart));
    }
    found
}

/// Publishes what is in a directory until it is empty, or this process is killed.
fn publish() {
    let given = |name| std::env::var(name).expect("who starts it says so");
    let engine = engine(|_| {});
    let spool = FragmentDirectory::new(given("FRAGMENTS_SPOOL")).removing();
    let to = Output::rtmp(&given("FRAGMENTS_TO"), "key");
    let live = engine.stream(Source::fragments_in(spool).once()).to(to).start().expect("it starts");
    live.wait().expect("it ends well");
}

/// What was heard, held against the sound of fragments: how many frames are missing, and how many are none of theirs, in fragments that were cut and
/// in those that were encoded apart.
fn compare(heard: &[u64], pieces: &[Piece]) -> [usize; 2] {
    const AHEAD: usize = 8;
    let known: Vec<_> =
        pieces.iter().flat_map(|piece| piece.sound.iter().map(|frame| (*frame, piece.made))).collect();
    let (mut next, mut wrong) = (0, [0; 2]);
    for frame in heard {
        let ahead = known.iter().skip(next).take(AHEAD).position(|(known, _)| known == frame);
        let made = known.get(next).map_or(Made::Apart, |(_, made)| *made);
        wrong[made as usize] += ahead.unwrap_or(1);
        next += ahead.map_or(0, |ahead| ahead + 1);
    }
    wrong
}

/// The longest distance between two tags of a kind, and whether times always increase.
fn longest(tags: &[Seen], kind: TagKind) -> i64 {
    let times: Vec<_> =
        tags.iter().filter(|tag| tag.kind == kind && !tag.header).map(|tag| tag.time).collect();
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.clone().all(|step| step > 0), "{kind:?}");
    steps.max().unwrap_or(0)
}

/// Publishes so many fragments with a program that is killed this often.
fn killed(counts: [usize; 3], kills: usize) {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let pieces = footage(directory.path(), counts);
    let spool = directory.path().join("spool");
    fs::create_dir(&spool).expect("it is new");
    let name = |number: usize| spool.join(format!("batch-{number}.mp4"));
    for (number, piece) in pieces.iter().enumerate() {
        fs::rename(&piece.file, name(number)).expect("it is the same disk");
    }
    let pictures: Vec<_> = pieces.iter().flat_map(|piece| piece.pictures.iter().copied()).collect();
    // Where the pictures of each fragment begin among all.
    let begins: Vec<_> = pieces
        .iter()
        .scan(0, |next, piece| Some(std::mem::replace(next, *next + piece.pictures.len())))
        .collect();

    let server = Scripted::start(Script::Record);
    let (program, arguments) = role_arguments(ROLE, KILLED);
    let to = server.url();
    let environment = [("FRAGMENTS_SPOOL", spool.as_os_str()), ("FRAGMENTS_TO", to.as_ref())];
    let start = || Peer::spawn_with(&program, &arguments, &environment);
    let (mut child, mut first) = (start(), vec![0]);
    for kill in 1..=kills {
        let from = *first.last().expect("it began");
        let until = pictures.len() * kill / (kills + 1);
        let seen = until.saturating_sub(begins[from]).max(1);
        assert!(server.wait_pictures(kill - 1, seen, 4 * PATIENCE), "{}", child.report());
        child.kill();
        let left = (from..pieces.len()).find(|number| name(*number).exists());
        first.push(left.expect("it was not killed at the end"));
        child = start();
    }
    child.wait_success(10 * PATIENCE);
    assert_eq!(files(&spool).len(), 0, "all were played");
    let all_closed = || server.visits().iter().all(|visit| visit.closed.is_some());
    assert!(wait_until(PATIENCE, all_closed));

    let visits = server.visits();
    assert_eq!(visits.len(), kills + 1);
    let mut played = 0;
    for (visit, from) in visits.iter().zip(first) {
        let tags = &visit.tags;
        let seen: Vec<_> = tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.hash).collect();
        let begin = begins[from];
        assert!(begin <= played, "pictures from {played} to {begin} were sent to nobody");
        let expected = &pictures[begin..(begin + seen.len()).min(pictures.len())];
        assert!(seen == expected, "from {begin}: {} pictures in order, none missing", seen.len());
        played = begin + seen.len();
        let heard: Vec<_> =
            tags.iter().filter(|tag| tag.kind == TagKind::Audio && !tag.header).map(|tag| tag.hash).collect();
        let [cut, apart] = compare(&heard, &pieces[from..]);
        let (picture, sound) = (longest(tags, TagKind::Video), longest(tags, TagKind::Audio));
        println!(
            "from fragment {from} on: {} pictures, {} frames of sound, {cut} wrong in fragments that were cut, {apart} in others; \
             the longest steps are {picture} and {sound} ms",
            seen.len(),
            heard.len()
        );
        assert!(picture <= 42 && sound <= 2 * 24, "gaps of {picture} and {sound} ms");
        assert!(cut <= 2 * SEAM, "{cut} frames of sound in fragments that were cut");
        assert!(apart <= SEAM * counts[2], "{apart} frames of sound in {} fragments", counts[2]);
    }
    assert_eq!(played, pictures.len(), "to the end");
    println!("{} fragments, {kills} kills", pieces.len());
}

#[test]
fn a_program_that_is_killed_goes_on_with_what_was_on_the_air() {
    if alone(ROLE) {
        return publish();
    }
    killed([6, 6, 4], 1);
}

/// For a change of how fragments are read or spliced: takes two minutes.
#[test]
#[ignore = "two minutes"]
fn two_hundred_fragments_arrive_in_order_although_their_program_is_killed() {
    killed([85, 75, 40], 3);
}
