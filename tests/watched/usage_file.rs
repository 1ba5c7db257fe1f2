//! Files of usage records: processes that are killed while they write, and disks that are full.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flowcast::driver::{OpenSource, SourceContext, SourceDriver, SourceOpening, SourceState};
use flowcast::usage::{UsageFile, UsageRecord};
use flowcast::{Error, Output, Source};
use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Peer, SmallDisk, alone, directory, role_arguments, wait_until};

/// How often a process is killed while it writes.
const MOMENTS: usize = 25;
/// It is killed once it has written so much, at most; about 300 bytes are a record.
const MOST_BYTES: u64 = 200_000;
/// The file that the process writes to.
const FILE: &str = "FLOWCAST_TEST_FILE";

/// A source that gives nothing.
#[derive(Debug)]
struct Silence;

impl OpenSource for Silence {
    fn open(self: Box<Self>, _: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(self)
    }
}

impl SourceDriver for Silence {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        SourceState::Running
    }
}

/// The program that is killed: records of ten streams are cut without a pause.
fn child() {
    let path = PathBuf::from(std::env::var(FILE).expect("the test that starts this process says so"));
    // Files that are brought to the disk with each batch, and files that are not.
    let file =
        UsageFile::open(&path).expect("the one before is dead").synced(std::process::id().is_multiple_of(2));
    println!("\ntorn {}", file.torn_bytes());
    let engine = engine(|config| (config.usage.kept, config.max_streams_per_owner) = (1000, 10));
    println!("run {}", engine.usage().run());
    let sink = engine.usage().to_file(file).expect("a thread");
    let streams: Vec<_> = (0..10)
        .map(|number| engine.stream(Silence).label(format!("s{number}")).owner("alice").without_outputs())
        .map(|stream| stream.start().expect("it starts"))
        .collect();
    let until = Instant::now() + 3 * PATIENCE;
    while Instant::now() < until {
        engine.usage().cut();
        assert!(sink.status().last_error.is_none(), "{:?}", sink.status());
    }
    panic!("nobody ended it, and its {} streams", streams.len());
}

/// Numbers by lot.
struct Lots(u64);

impl Lots {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The whole lines, and how many bytes follow them.
fn lines(path: &Path) -> (Vec<UsageRecord>, usize) {
    let bytes = fs::read(path).unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    let text = std::str::from_utf8(&bytes[..whole]).expect("whole lines are text");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (text.lines().map(parse).collect(), bytes.len() - whole)
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_whole_records_and_no_id_twice() {
    const TEST: &str =
        "usage_file::a_process_that_is_killed_while_it_writes_leaves_whole_records_and_no_id_twice";
    if alone("bills") {
        return child();
    }
    let directory = directory();
    let path = directory.path().join("usage.jsonl");
    let (program, arguments) = role_arguments("bills", TEST);
    let seed = u64::from(std::process::id()) | 1;
    let mut lots = Lots(seed);
    let (mut torn, mut torn_by_kill, mut runs) = (0, 0, HashSet::new());
    for moment in 0..MOMENTS {
        let length = || fs::metadata(&path).map_or(0, |file| file.len());
        let mut process = Peer::spawn_with(&program, &arguments, &[(FILE, path.as_os_str())]);
        // The one before left this, and this life has found it.
        let found = process.wait_for_line("torn ", PATIENCE);
        assert_eq!(found.parse(), Ok(torn), "moment {moment} of seed {seed}");
        assert!(runs.insert(process.wait_for_line("run ", PATIENCE)), "two lives have one run");
        let enough = length() + lots.below(MOST_BYTES);
        assert!(wait_until(PATIENCE, || length() > enough), "it writes nothing\n{}", process.report());
        assert!(process.is_running(), "it ended by itself\n{}", process.report());
        process.kill();
        let (_, left) = lines(&path);
        torn = left;
        torn_by_kill += usize::from(left > 0);
        if moment % 4 == 3 && left == 0 {
            // A kill leaves a torn line only where it meets a write at a page's end: this is one of the others.
            let bytes = fs::read(&path).expect("it is there");
            let last =
                bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let cut =
                last + 1 + usize::try_from(lots.below((bytes.len() - last - 1) as u64)).expect("a line");
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .expect("it is there")
                .set_len(cut as u64)
                .expect("shorter");
            torn = cut - last;
        }
    }
    let file = UsageFile::open(&path).expect("nobody has it");
    assert_eq!(file.torn_bytes(), torn as u64);
    let (records, rest) = lines(&path);
    assert_eq!(rest, 0, "what was torn is cut off");
    let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), records.len(), "an id is there twice");
    let mut lives: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in &records {
        lives.entry(record.id.run()).or_default().push(record.id.number());
    }
    for (run, numbers) in &lives {
        assert!(runs.contains(run));
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "seed {seed}, {run}: {numbers:?}");
    }
    // Runs sort by their time, so the file is in the order of ids.
    assert!(records.is_sorted_by_key(|record| record.id));
    assert!(lives.len() >= MOMENTS / 2, "only {} lives wrote whole records", lives.len());
    println!(
        "{MOMENTS} lives of seed {seed}: {} records, {torn_by_kill} lines torn by the kill itself",
        records.len()
    );
}

#[test]
fn a_disk_that_is_full_costs_no_stream_anything_and_no_record_until_too_many_wait() {
    const KEPT: usize = 12;
    let Some(disk) = SmallDisk::mount() else { return };
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|config| config.usage.kept = KEPT);
    let (path, ballast) = (disk.path().join("usage.jsonl"), disk.path().join("ballast"));
    let sink = engine.usage().to_file(UsageFile::open(&path).expect("there is room")).expect("a thread");
    let to = [push(&server), Output::record(clip.beside("all.flv"))];
    let [first, second] = to;
    let live =
        engine.stream(Source::file(&clip.file).looped()).to(first).to(second).start().expect("it starts");
    assert!(server.wait_pictures(0, 10, PATIENCE));
    let cut = || {
        engine.usage().cut();
        assert!(engine.usage().flush(PATIENCE), "a full disk is waited for");
        sink.status()
    };
    assert_eq!((cut().delivered, lines(&path).0.len()), (3, 3));
    // All that is left of it, to the byte: a whole page first, then what is left of the last one.
    let mut full = fs::File::create(&ballast).expect("there is room");
    for size in [4096, 1] {
        while std::io::Write::write_all(&mut full, &vec![0; size]).is_ok() {}
    }
    // The file has the rest of its own last page, too.
    assert!(wait_until(PATIENCE, || cut().waiting > 0), "{:?}", sink.status());
    let waits = sink.status();
    assert_eq!(waits.last_error.as_ref().map(Error::code), Some("USAGE_FILE_FAILED"));
    assert_eq!(waits.lost, 0);
    let (records, rest) = lines(&path);
    assert_eq!(
        (records.len() as u64, rest),
        (waits.delivered, 0),
        "the file was set back to its last whole line"
    );
    // There is room again: nothing is missing, nothing twice.
    fs::remove_file(&ballast).expect("it is there");
    drop(full);
    assert!(wait_until(PATIENCE, || cut().waiting == 0), "{:?}", sink.status());
    let numbers =
        |records: &[UsageRecord]| records.iter().map(|record| record.id.number()).collect::<Vec<_>>();
    let (records, _) = lines(&path);
    assert_eq!(numbers(&records), (1..=records.len() as u64).collect::<Vec<_>>());
    assert!(sink.status().last_error.is_none());
    // Full for longer than records are kept: the newest are lost, and counted.
    let mut full = fs::File::create(&ballast).expect("there is room");
    for size in [4096, 1] {
        while std::io::Write::write_all(&mut full, &vec![0; size]).is_ok() {}
    }
    assert!(wait_until(PATIENCE, || cut().lost > 0), "{:?}", sink.status());
    let status = sink.status();
    assert_eq!(status.waiting, KEPT as u64);
    fs::remove_file(&ballast).expect("it is there");
    drop(full);
    let pictures = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, pictures + 10, PATIENCE));
    live.stop(PATIENCE).expect("it runs well");
    assert!(engine.usage().flush(PATIENCE));
    assert!(wait_until(PATIENCE, || sink.status().waiting == 0), "{:?}", sink.status());
    let (records, status) = (lines(&path).0, sink.status());
    assert_eq!(records.len() as u64, status.delivered);
    let last = records.last().expect("there are some").id.number();
    assert_eq!(last, status.delivered + status.lost, "each number is in the file, or was counted as lost");
    assert_eq!(server.count(), 1, "the push was never connected anew");
    clip.assert_gapless(&server.visits()[0].tags);
    println!("{} records written, {} lost on purpose", status.delivered, status.lost);
}
